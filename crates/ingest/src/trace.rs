//! The span of a request to publish: a child of its publisher's, and what its events carry on.
//!
//! Of a body that streams it covers what comes before the first receipts, not the hours after.

use axum::http::StatusCode;
use event_log::TraceParent;
use metrics::trace::{self, Remote};
use tracing::field::{Empty, display};
use tracing::{Span, debug_span};

use crate::error::Error;
use crate::head::Head;

/// The span for a request; one that was refused for its head has no topic. If it is kept, the events
/// of the request carry it on, in place of the publisher's own.
pub(crate) fn span(head: &mut Result<Head, Error>) -> Span {
    let span = debug_span!(
        target: trace::TARGET,
        "publish",
        otel.kind = "server",
        otel.status_code = Empty,
        topic = Empty,
        status = Empty,
    );
    if let Ok(head) = head {
        if let Some(topic) = &head.topic {
            span.record("topic", display(topic));
        }
        if let Some(publisher) = head.trace.as_ref().and_then(|trace| Remote::parse(trace.as_str()))
        {
            publisher.adopt(&span);
        }
        let own = trace::traceparent(&span).and_then(|own| TraceParent::parse(&own));
        head.trace = own.or(head.trace.take());
    }
    span
}

/// Notes the answer.
pub(crate) fn answered(span: &Span, status: StatusCode) {
    span.record("status", status.as_u16());
    if status.is_server_error() {
        span.record("otel.status_code", "ERROR");
    }
}

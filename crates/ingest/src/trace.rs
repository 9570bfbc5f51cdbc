//! The span of a request to publish. It is a child of the publisher's span, and the events of the request
//! carry it on.
//!
//! For a streaming body the span ends with the first receipts, so it does not last for hours.

use axum::http::StatusCode;
use event_log::TraceParent;
use metrics::trace::{self, Remote};
use tracing::field::{Empty, display};
use tracing::{Span, debug_span};

use crate::error::Error;
use crate::head::RequestHead;

/// Returns the span of a request. If the head was refused, the span has no topic. If the span is sampled,
/// the events of the request carry it on instead of the publisher's span.
pub(crate) fn span(head: &mut Result<RequestHead, Error>) -> Span {
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

/// Records the status of the answer.
pub(crate) fn answered(span: &Span, status: StatusCode) {
    span.record("status", status.as_u16());
    if status.is_server_error() {
        span.record("otel.status_code", "ERROR");
    }
}

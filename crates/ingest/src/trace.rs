//! The span of a request to publish, as a child of its publisher's.

use axum::http::StatusCode;
use event_log::TraceParent;
use opentelemetry::Context;
use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState,
};
use tracing::field::{Empty, display};
use tracing::{Span, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::error::Error;
use crate::head::Head;

/// The span for a request; one that was refused for its head has no topic.
pub(crate) fn span(head: &Result<Head, Error>) -> Span {
    let span = info_span!("publish", topic = Empty, status = Empty);
    if let Ok(head) = head {
        if let Some(topic) = &head.topic {
            span.record("topic", display(topic));
        }
        if let Some(parent) = head.trace.as_ref().and_then(parent) {
            // Fails where no traces are exported, and there it does not matter.
            let _exported = span.set_parent(parent);
        }
    }
    span
}

/// Notes the answer.
pub(crate) fn answered(span: &Span, status: StatusCode) {
    span.record("status", status.as_u16());
}

fn parent(trace: &TraceParent) -> Option<Context> {
    let mut parts = trace.as_str().split('-').skip(1);
    let trace_id = TraceId::from_hex(parts.next()?).ok()?;
    let span_id = SpanId::from_hex(parts.next()?).ok()?;
    let flags = TraceFlags::new(u8::from_str_radix(parts.next()?, 16).ok()?);
    let remote = SpanContext::new(trace_id, span_id, flags, true, TraceState::NONE);
    remote.is_valid().then(|| Context::new().with_remote_span_context(remote))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_names_the_parent() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let context = parent(&TraceParent::parse(text).unwrap()).unwrap();
        let remote = context.span().span_context().clone();
        assert_eq!(remote.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(remote.span_id().to_string(), "00f067aa0ba902b7");
        assert!(remote.is_sampled() && remote.is_remote());
    }

    #[test]
    fn zeros_are_no_parent() {
        let text = "00-00000000000000000000000000000000-0000000000000000-01";
        assert!(parent(&TraceParent::parse(text).unwrap()).is_none());
    }
}

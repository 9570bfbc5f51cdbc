//! W3C Trace Context: continues a trace that began in another process.
//!
//! Uses the OpenTelemetry API alone. The binary decides whether spans are exported.

use opentelemetry::Context;
use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState,
};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// The target of all exported spans, which have level debug. Without a receiver of traces, and with logs
/// at info, such a span is disabled and costs one load.
pub const TARGET: &str = "tailwater::trace";

/// A span in another process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote(SpanContext);

impl Remote {
    /// Parses the value of a `traceparent` header, version 00.
    #[must_use]
    pub fn parse(traceparent: &str) -> Option<Self> {
        let mut parts = traceparent.split('-').skip(1);
        let trace_id = TraceId::from_hex(parts.next()?).ok()?;
        let span_id = SpanId::from_hex(parts.next()?).ok()?;
        let flags = TraceFlags::new(u8::from_str_radix(parts.next()?, 16).ok()?);
        let context = SpanContext::new(trace_id, span_id, flags, true, TraceState::NONE);
        context.is_valid().then_some(Self(context))
    }

    /// Returns whether its trace is sampled.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.0.is_sampled()
    }

    /// Makes a new span its child. Does nothing if spans are not exported.
    pub fn adopt(&self, span: &Span) {
        let parent = Context::new().with_remote_span_context(self.0.clone());
        let _exported = span.set_parent(parent);
    }

    /// Links a span to it. Does nothing if spans are not exported.
    pub fn link(&self, span: &Span) {
        span.add_link(self.0.clone());
    }
}

/// Returns the `traceparent` of a span, for other processes; `None` if it is not sampled or not exported.
#[must_use]
pub fn traceparent(span: &Span) -> Option<String> {
    let context = span.context();
    let here = context.span();
    let here = here.span_context();
    let is_exported = here.is_valid() && here.is_sampled();
    is_exported.then(|| format!("00-{}-{}-01", here.trace_id(), here.span_id()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_names_a_span() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let Remote(context) = Remote::parse(text).unwrap();
        assert_eq!(context.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(context.span_id().to_string(), "00f067aa0ba902b7");
        assert!(context.is_sampled() && context.is_remote());
        assert!(!Remote::parse(&text.replace("-01", "-00")).unwrap().is_sampled());
    }

    #[test]
    fn zeros_and_garbage_name_no_span() {
        let zeros = "00-00000000000000000000000000000000-0000000000000000-01";
        for text in [zeros, "", "00", "00-x-y-z", "00-4bf92f3577b34da6a3ce929d0e0e4736"] {
            assert_eq!(Remote::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_span_that_is_not_exported_has_no_traceparent() {
        assert_eq!(traceparent(&Span::current()), None);
    }
}

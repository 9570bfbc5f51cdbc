//! Spans of subscribers: one for each connect, and one for each event when a node first delivers it.
//! There is no span for each delivery.

use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use event_log::{Event, Outcome, TraceParent};
use metrics::Label as _;
use metrics::trace::{Remote, TARGET};
use tracing::field::Empty;
use tracing::{Span, debug_span};

use crate::error::Refusal;
use crate::metrics::{Reject, age};
use crate::request::Request;

/// An older event is part of a replay and gets no span.
const ON_ITS_WAY: Duration = Duration::from_mins(1);
/// Number of delivered events that this node remembers. Readers that are a page or two apart read
/// about as many events at the same time.
const REMEMBERED: usize = 1024;

/// Hashes of events that this process has delivered. The hash selects the slot.
static DELIVERED: [AtomicU64; REMEMBERED] = [const { AtomicU64::new(0) }; REMEMBERED];

/// Returns the span of a connect. The span ends when the outcome of the request is known, not when
/// the stream closes hours later.
pub(crate) fn connect(request: &Request) -> Span {
    let span = debug_span!(
        target: TARGET,
        "connect",
        otel.kind = "server",
        otel.status_code = Empty,
        topics = request.texts().count(),
        form = request.form.as_str(),
        resume = request.resume.as_str(),
        outcome = Empty,
    );
    if let Some(subscriber) = remote(request.trace.as_ref()) {
        subscriber.adopt(&span);
    }
    span
}

/// Records the outcome of a connect.
pub(crate) fn connected(span: &Span, outcome: Result<Outcome, Refusal>) {
    match outcome {
        Ok(outcome) => span.record("outcome", outcome.as_str()),
        Err(refusal) => span
            .record("outcome", Reject::from(refusal).as_str())
            .record("otel.status_code", "ERROR"),
    };
}

/// Records the first delivery of an event by this process. The span is part of the publisher's trace
/// and is linked to the span that published the event.
pub(crate) fn deliver(event: &Event) {
    let Some(publisher) = remote(event.trace()).filter(Remote::is_sampled) else { return };
    let age = age(event);
    if age > ON_ITS_WAY || !is_first(event) {
        return;
    }
    let span = debug_span!(
        target: TARGET,
        parent: None,
        "deliver",
        otel.kind = "consumer",
        topic = %event.topic(),
        id = %event.position(),
        age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX),
    );
    publisher.adopt(&span);
    publisher.link(&span);
}

fn remote(trace: Option<&TraceParent>) -> Option<Remote> {
    Remote::parse(trace?.as_str())
}

/// Returns true if this process does not remember a delivery of the event in any form. The event
/// itself cannot hold the flag, because readers outside the window read copies of their own.
fn is_first(event: &Event) -> bool {
    let hasher = BuildHasherDefault::<DefaultHasher>::default();
    let hash = hasher.hash_one((event.topic(), event.position()));
    DELIVERED[hash as usize % REMEMBERED].swap(hash, Relaxed) != hash
}

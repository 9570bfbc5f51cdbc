//! The spans of subscribers in a trace: one a connect, and one where a node first delivers an event.
//! Never a span a delivery.

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

/// Beyond this age an event is history that somebody reads, not an event on its way.
const ON_ITS_WAY: Duration = Duration::from_mins(1);
/// Events of which it is remembered that this node has delivered them: what readers that are apart by
/// a page or two read at the same time.
const REMEMBERED: usize = 1024;

/// Hashes of the events that this process has delivered, each in its own place.
static DELIVERED: [AtomicU64; REMEMBERED] = [const { AtomicU64::new(0) }; REMEMBERED];

/// The span of a connect: until it is known what the subscriber will get, and not the hours in which
/// it does.
pub(crate) fn connect(request: &Request) -> Span {
    let span = debug_span!(
        target: TARGET,
        "connect",
        otel.kind = "server",
        otel.status_code = Empty,
        topics = request.topics.len(),
        form = request.form.as_str(),
        resume = request.resume.as_str(),
        outcome = Empty,
    );
    if let Some(subscriber) = remote(request.trace.as_ref()) {
        subscriber.adopt(&span);
    }
    span
}

/// Notes what became of a connect.
pub(crate) fn connected(span: &Span, outcome: Result<Outcome, Refusal>) {
    match outcome {
        Ok(outcome) => span.record("outcome", outcome.as_str()),
        Err(refusal) => span
            .record("outcome", Reject::from(refusal).as_str())
            .record("otel.status_code", "ERROR"),
    };
}

/// A span for an event of which this process makes the first bytes for a subscriber: part of its
/// publisher's trace, and linked to the span that published it.
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

/// Returns true if nobody has delivered it here, in any form, as far as is remembered: readers outside the
/// window read copies of their own.
fn is_first(event: &Event) -> bool {
    let hasher = BuildHasherDefault::<DefaultHasher>::default();
    let hash = hasher.hash_one((event.topic(), event.position()));
    DELIVERED[hash as usize % REMEMBERED].swap(hash, Relaxed) != hash
}

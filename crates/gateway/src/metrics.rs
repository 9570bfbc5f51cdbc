//! The gateway's metrics.

use std::time::{Duration, SystemTime};

use event_log::{Event, Outcome, Reason};
use metrics::{Counters, Histogram, IntCounter, IntGauge, Registry, buckets, label};

use crate::error::Refusal;

label! {
    /// The part of the request that carried the client's cursor.
    pub(crate) enum Resume as "resume" {
        /// The request had no cursor.
        None => "none",
        /// The header `Last-Event-ID`.
        Header => "header",
        /// The query.
        Query => "query",
    }
}

label! {
    /// The reason why a connection closed.
    pub(crate) enum Close as "reason" {
        /// The client went away.
        Client => "client",
        /// All topics of the subscription have ended.
        End => "end",
        /// This gateway is to stop.
        Drain => "drain",
        /// The connection reached its maximum age.
        MaxAge => "max_age",
        /// The client's token ends.
        TokenExpired => "token_expired",
        /// The client's right was revoked.
        Revoked => "revoked",
        /// The bytes that wait for the client do not fit into the memory budget.
        Memory => "memory",
        /// The client has acknowledged nothing for too long.
        Vanished => "vanished",
        /// Events are gone, and the stream has no control events that tell it.
        Gap => "gap",
        /// The publisher broke off, and the stream has no control events that tell it.
        Broken => "broken",
    }
}

label! {
    /// The reason why a request was refused.
    pub(crate) enum Reject as "reason" {
        /// The request is malformed.
        BadRequest => "bad_request",
        /// Too many connections are open.
        Overload => "overload",
        /// This gateway is to stop.
        Drain => "drain",
        /// The log is unreachable.
        Unavailable => "unavailable",
        /// The client's credentials were refused, or do not suffice.
        Denied => "denied",
        /// The client's ticket or cookie is over.
        TokenExpired => "token_expired",
    }
}

/// The outcomes of a resume: all outcomes except that of a client without a cursor.
const RESUMED: [Outcome; 5] =
    [Outcome::Exact, Outcome::Gap, Outcome::Rewound, Outcome::Reset, Outcome::Invalid];

/// The metric families of the gateway.
#[derive(Debug)]
pub(crate) struct Metrics {
    pub(crate) connections: IntGauge,
    pub(crate) opened: Counters<Resume>,
    pub(crate) closed: Counters<Close>,
    pub(crate) rejected: Counters<Reject>,
    pub(crate) age_seconds: Histogram,
    pub(crate) resumes: Counters<Outcome>,
    pub(crate) resume_missed_events: Histogram,
    pub(crate) replayed: IntCounter,
    pub(crate) replay_waits: IntCounter,
    pub(crate) replay_seconds: Histogram,
    pub(crate) replay_age_seconds: Histogram,
    pub(crate) delivered: IntCounter,
    pub(crate) delivered_bytes: IntCounter,
    pub(crate) delivery_latency_seconds: Histogram,
    pub(crate) gaps: Counters<Reason>,
    pub(crate) draining: IntGauge,
    pub(crate) long_polls: IntCounter,
}

impl Metrics {
    pub(crate) fn register(registry: &Registry) -> Self {
        Self {
            connections: registry.gauge("connections", "Open subscriptions."),
            opened: registry.counters(
                "connections_opened_total",
                "Subscriptions opened, by the part of the request that held the cursor.",
            ),
            closed: registry.counters("connections_closed_total", "Subscriptions closed, by reason."),
            rejected: registry.counters("connections_rejected_total", "Requests refused, by reason."),
            age_seconds: registry.histogram(
                "connection_age_seconds",
                "Age of a subscription when it closed.",
                buckets::AGE,
            ),
            resumes: registry.counters_of(
                "resumes_total",
                "Cursors of clients, by outcome.",
                "outcome",
                &RESUMED,
                Outcome::as_str,
            ),
            resume_missed_events: registry.histogram(
                "resume_missed_events",
                "Events of one topic that a client had missed when it resumed; 0 is not counted.",
                buckets::HISTORY_EVENTS,
            ),
            replayed: registry.counter(
                "replayed_events_total",
                "Events delivered to readers that had not reached the tail.",
            ),
            replay_waits: registry.counter(
                "replay_waits_total",
                "Times that a reader waited because its subject, address or connection had used up its replay rate.",
            ),
            replay_seconds: registry.histogram(
                "replay_seconds",
                "Time from a resume until the reader reached the tail.",
                buckets::LATENCY,
            ),
            replay_age_seconds: registry.histogram(
                "replay_age_seconds",
                "Age of the first event of a replay.",
                buckets::HISTORY_AGE,
            ),
            delivered: registry.counter("events_delivered_total", "Events written to subscribers."),
            delivered_bytes: registry.counter(
                "delivered_bytes_total",
                "Bytes of streams and long-polls written to subscribers, heartbeats too.",
            ),
            delivery_latency_seconds: registry.histogram(
                "delivery_latency_seconds",
                "Time from an append to the write to a subscriber, observed for the last event of each write.",
                buckets::LATENCY,
            ),
            gaps: registry.counters_of(
                "gaps_total",
                "Gaps reported to subscribers, by kind.",
                "kind",
                &Reason::ALL,
                Reason::as_str,
            ),
            draining: registry.gauge("draining", "1 while this gateway drains."),
            long_polls: registry.counter("long_polls_total", "Long-polls answered."),
        }
    }
}

impl From<Refusal> for Reject {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Overload(_) => Self::Overload,
            Refusal::Drain => Self::Drain,
            Refusal::Unavailable => Self::Unavailable,
            Refusal::Denied(_) => Self::Denied,
        }
    }
}

/// Returns the time since an event's append: the difference between this node's clock and the log's.
pub(crate) fn age(event: &Event) -> Duration {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    since_epoch.saturating_sub(Duration::from_millis(event.position().ms))
}

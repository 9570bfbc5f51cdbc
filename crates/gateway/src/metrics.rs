//! The gateway's metrics.

use std::time::{Duration, SystemTime};

use event_log::{Event, Outcome, Reason};
use metrics::{Counters, Histogram, IntCounter, IntGauge, Registry, buckets, label};

use crate::error::Refusal;

label! {
    /// The part of a request that brought the client's cursor.
    pub(crate) enum Resume as "resume" {
        /// There was none.
        None => "none",
        /// In the header `Last-Event-ID`.
        Header => "header",
        /// In the query.
        Query => "query",
    }
}

label! {
    /// Why a connection closed.
    pub(crate) enum Close as "reason" {
        /// The client went away.
        Client => "client",
        /// All its topics were ended.
        End => "end",
        /// This gateway is to stop.
        Drain => "drain",
        /// It was old.
        MaxAge => "max_age",
    }
}

label! {
    /// Why a request was refused.
    pub(crate) enum Reject as "reason" {
        /// It makes no sense.
        BadRequest => "bad_request",
        /// There were too many connections.
        Overload => "overload",
        /// This gateway is to stop.
        Drain => "drain",
        /// The log could not be reached.
        Unavailable => "unavailable",
    }
}

label! {
    /// The outcome of a client's cursor.
    pub(crate) enum Resumed as "outcome" {
        /// Nothing is missing.
        Exact => "exact",
        /// Some events were trimmed.
        Gap => "gap",
        /// The log has lost what the client had seen.
        Rewound => "rewound",
        /// The topic began anew.
        Reset => "reset",
        /// It was not understood.
        Invalid => "invalid",
    }
}

label! {
    /// Why events could not be read.
    pub(crate) enum GapKind as "kind" {
        /// Dropped for length or age.
        Trimmed => "trimmed",
        /// Lost after they were seen.
        Rewound => "rewound",
        /// The topic began anew.
        Reset => "reset",
        /// The cursor was not understood.
        Invalid => "invalid",
    }
}

/// The families that the gateway counts in.
#[derive(Debug)]
pub(crate) struct Metrics {
    pub(crate) connections: IntGauge,
    pub(crate) opened: Counters<Resume>,
    pub(crate) closed: Counters<Close>,
    pub(crate) rejected: Counters<Reject>,
    pub(crate) age_seconds: Histogram,
    pub(crate) resumes: Counters<Resumed>,
    pub(crate) resume_missed_events: Histogram,
    pub(crate) replayed: IntCounter,
    pub(crate) replay_seconds: Histogram,
    pub(crate) replay_age_seconds: Histogram,
    pub(crate) delivered: IntCounter,
    pub(crate) delivery_latency_seconds: Histogram,
    pub(crate) gaps: Counters<GapKind>,
    pub(crate) draining: IntGauge,
    pub(crate) long_polls: IntCounter,
}

impl Metrics {
    pub(crate) fn register(registry: &Registry) -> Self {
        Self {
            connections: registry.gauge("connections", "Open subscriptions."),
            opened: registry.counters(
                "connections_opened_total",
                "Subscriptions opened, by how the client's cursor came.",
            ),
            closed: registry.counters("connections_closed_total", "Subscriptions closed, by reason."),
            rejected: registry.counters("connections_rejected_total", "Requests refused, by reason."),
            age_seconds: registry.histogram(
                "connection_age_seconds",
                "Age of a subscription when it closed.",
                buckets::AGE,
            ),
            resumes: registry.counters("resumes_total", "Cursors brought by clients, by outcome."),
            resume_missed_events: registry.histogram(
                "resume_missed_events",
                "Events of one topic that a client had missed when it resumed, if any.",
                buckets::HISTORY_EVENTS,
            ),
            replayed: registry.counter(
                "replayed_events_total",
                "Events delivered to readers that had not been at the tail yet.",
            ),
            replay_seconds: registry.histogram(
                "replay_seconds",
                "Time from a resume until its reader was at the tail.",
                buckets::LATENCY,
            ),
            replay_age_seconds: registry.histogram(
                "replay_age_seconds",
                "Age of the first event of a replay.",
                buckets::HISTORY_AGE,
            ),
            delivered: registry.counter("events_delivered_total", "Events written to subscribers."),
            delivery_latency_seconds: registry.histogram(
                "delivery_latency_seconds",
                "Time from an append to the write to a subscriber, once a write, by its last event.",
                buckets::LATENCY,
            ),
            gaps: registry.counters("gaps_total", "Gaps announced to subscribers, by kind."),
            draining: registry.gauge("draining", "1 while this gateway gives its connections away."),
            long_polls: registry.counter("long_polls_total", "Long-polls answered."),
        }
    }
}

impl Resumed {
    /// The outcome of a cursor that was brought; `None` if none was.
    pub(crate) const fn of(outcome: Outcome) -> Option<Self> {
        Some(match outcome {
            Outcome::Live => return None,
            Outcome::Exact => Self::Exact,
            Outcome::Gap => Self::Gap,
            Outcome::Rewound => Self::Rewound,
            Outcome::Reset => Self::Reset,
            Outcome::Invalid => Self::Invalid,
        })
    }
}

impl From<Refusal> for Reject {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Overload => Self::Overload,
            Refusal::Drain => Self::Drain,
            Refusal::Unavailable => Self::Unavailable,
        }
    }
}

impl From<Reason> for GapKind {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::Trimmed => Self::Trimmed,
            Reason::Rewound => Self::Rewound,
            Reason::Reset => Self::Reset,
            Reason::Invalid => Self::Invalid,
        }
    }
}

/// Time from an event's append until now, by two clocks: the log's and this node's.
pub(crate) fn age(event: &Event) -> Duration {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    since_epoch.saturating_sub(Duration::from_millis(event.position().ms))
}

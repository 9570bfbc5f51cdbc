//! Control events: Tailwater's own events, which report the state of a stream to its subscriber.
//!
//! Each has a type `tailwater.<word>`, JSON data, and the cursor as its id. A stream may have them as comments,
//! or not at all.

use std::time::Duration;

use bytes::BytesMut;
use event_log::{BreakReason, Gap, Topic};
use metrics::Label;
use serde::{Serialize, Serializer};

use crate::frame::{put_comment, put_control};

/// A control event without its id.
#[derive(Debug)]
pub(crate) struct ControlEvent<'a> {
    kind: &'static str,
    data: Data<'a>,
    retry_ms: Option<u64>,
}

/// The data of a control event. The names are in the order of the alphabet.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Data<'a> {
    Ready(Ready<'a>),
    Gap(GapReport),
    Broken(BreakReport),
    End {
        topic: String,
    },
    Cursor {
        cursor: &'a str,
    },
    Reconnect {
        reason: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        ticket: Option<String>,
    },
}

/// The contents of the first event of a stream.
#[derive(Debug, Serialize)]
pub(crate) struct Ready<'a> {
    pub(crate) cursor: &'a str,
    /// The time between heartbeats, if there are any.
    #[serde(serialize_with = "seconds")]
    pub(crate) heartbeat: Option<Duration>,
    /// Topics that the client's cursor does not know.
    #[serde(rename = "new", skip_serializing_if = "Vec::is_empty")]
    pub(crate) new_topics: Vec<&'a str>,
    /// The serving node.
    pub(crate) node: &'a str,
    /// The outcome of the client's cursor.
    pub(crate) outcome: &'static str,
    /// The ticket for the next stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ticket: Option<String>,
}

/// A gap as a subscriber is told of it.
#[derive(Debug, Serialize)]
pub(crate) struct GapReport {
    missed: Option<u64>,
    /// An upper bound of `missed`, for a subscriber that selects.
    #[serde(skip_serializing_if = "Option::is_none")]
    missed_at_most: Option<u64>,
    newest: String,
    oldest: Option<String>,
    reason: &'static str,
    /// The position of the client's cursor, or the cursor's text if it could not be decoded.
    requested: Option<String>,
    topic: String,
}

/// A publisher that broke off, as a subscriber is told of it.
#[derive(Debug, Serialize)]
pub(crate) struct BreakReport {
    reason: &'static str,
    topic: String,
}

/// The data of a control event that is a comment.
#[derive(Debug, Serialize)]
struct Comment<'a> {
    #[serde(flatten)]
    data: Data<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry: Option<u64>,
}

impl<'a> ControlEvent<'a> {
    /// The first event of a stream.
    pub(crate) const fn ready(ready: Ready<'a>, retry_ms: u64) -> Self {
        Self { kind: "tailwater.ready", data: Data::Ready(ready), retry_ms: Some(retry_ms) }
    }

    /// A range of positions can no longer be read.
    pub(crate) const fn gap(gap: GapReport) -> Self {
        Self { kind: "tailwater.gap", data: Data::Gap(gap), retry_ms: None }
    }

    /// The publisher of the events before broke off.
    pub(crate) const fn broken(report: BreakReport) -> Self {
        Self { kind: "tailwater.broken", data: Data::Broken(report), retry_ms: None }
    }

    /// The publisher has ended the topic.
    pub(crate) fn end(topic: &str) -> Self {
        let topic = topic.to_string();
        Self { kind: "tailwater.end", data: Data::End { topic }, retry_ms: None }
    }

    /// The topic was opened again after its end.
    pub(crate) fn reopened(topic: &str) -> Self {
        let topic = topic.to_string();
        Self { kind: "tailwater.reopened", data: Data::End { topic }, retry_ms: None }
    }

    /// A cursor that only filtered-out events have moved. Without this event a resume would start
    /// before those events, and might report a gap among events that the subscriber does not want.
    pub(crate) const fn cursor(cursor: &'a str) -> Self {
        Self { kind: "tailwater.cursor", data: Data::Cursor { cursor }, retry_ms: None }
    }

    /// A sign of life that a page can see.
    pub(crate) const fn heartbeat(cursor: &'a str) -> Self {
        Self { kind: "tailwater.heartbeat", data: Data::Cursor { cursor }, retry_ms: None }
    }

    /// The stream closes and the client should reconnect.
    pub(crate) fn reconnect(reason: impl Label, retry_ms: u64, ticket: Option<String>) -> Self {
        let data = Data::Reconnect { reason: reason.as_str(), ticket };
        Self { kind: "tailwater.reconnect", data, retry_ms: Some(retry_ms) }
    }

    /// Writes the event.
    pub(crate) fn put(&self, out: &mut BytesMut, id: Option<&str>) {
        put_control(out, self.kind, &json(&self.data), self.retry_ms, id);
    }

    /// Writes the event as a comment. A comment has no fields, so its JSON says after which time to come back.
    pub(crate) fn put_comment(self, out: &mut BytesMut) {
        put_comment(out, self.kind, &json(&Comment { data: self.data, retry: self.retry_ms }));
    }
}

impl GapReport {
    /// A gap in a topic or in what a pattern selects. `requested` is the text of a cursor that could not be decoded.
    pub(crate) fn new(topic: &str, gap: &Gap, requested: Option<&str>) -> Self {
        Self {
            missed: gap.missed,
            missed_at_most: gap.missed_at_most,
            newest: gap.newest.to_string(),
            oldest: gap.oldest.map(|position| position.to_string()),
            reason: gap.reason.as_str(),
            requested: gap
                .requested
                .map(|position| position.to_string())
                .or_else(|| requested.map(shorten)),
            topic: topic.to_string(),
        }
    }
}

impl BreakReport {
    /// The break of a topic's publisher.
    pub(crate) fn new(topic: &Topic, reason: BreakReason) -> Self {
        Self { reason: reason.as_str(), topic: topic.to_string() }
    }
}

fn json(data: &impl Serialize) -> String {
    serde_json::to_string(data).expect("strings and numbers are JSON")
}

/// Writes a time in seconds, as a whole number if it is one.
fn seconds<S: Serializer>(time: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) if time.subsec_nanos() == 0 => to.serialize_u64(time.as_secs()),
        Some(time) => to.serialize_f64(time.as_secs_f64()),
        None => to.serialize_none(),
    }
}

/// Returns a random pause between one and two times `least`, in milliseconds, so that clients that are
/// disconnected together do not reconnect together. The pause is at least half a second: a browser
/// obeys any `retry`, and with 0 it sends 800 requests a second.
pub(crate) fn jittered(least: Duration) -> u64 {
    let least = u64::try_from(least.as_millis()).unwrap_or(u64::MAX).clamp(500, 3_600_000);
    fastrand::u64(least..=2 * least)
}

/// Shortens a client's text before it is echoed.
fn shorten(text: &str) -> String {
    text.chars().take(128).collect()
}

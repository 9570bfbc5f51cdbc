//! Control events: Tailwater's own events, which report the state of a stream to its subscriber.
//!
//! Each has a type `tailwater.<word>`, JSON data, and the cursor as its id. A stream may have them as comments,
//! or not at all.

use std::time::Duration;

use bytes::BytesMut;
use event_log::{Gap, Outcome, Topic};
use metrics::Label;
use serde_json::{Value, json};

use crate::frame::{put_comment, put_control};

/// A control event without its id.
#[derive(Debug)]
pub(crate) struct ControlEvent {
    kind: &'static str,
    json: Value,
    retry_ms: Option<u64>,
}

/// The contents of the first event of a stream, beside the cursor.
#[derive(Debug)]
pub(crate) struct Ready<'a> {
    /// The outcome of the client's cursor.
    pub(crate) outcome: Outcome,
    /// The serving node.
    pub(crate) node: &'a str,
    /// The time between heartbeats, if there are any.
    pub(crate) heartbeat: Option<Duration>,
    /// Topics that the client's cursor does not know.
    pub(crate) new_topics: &'a [Topic],
    /// The ticket for the next stream.
    pub(crate) ticket: Option<String>,
    pub(crate) retry_ms: u64,
}

impl ControlEvent {
    /// The first event of a stream.
    pub(crate) fn ready(ready: Ready<'_>, cursor: &str) -> Self {
        let mut json = json!({
            "outcome": ready.outcome.as_str(),
            "cursor": cursor,
            "node": ready.node,
            "heartbeat": ready.heartbeat.map(seconds),
        });
        if !ready.new_topics.is_empty() {
            json["new"] = ready.new_topics.iter().map(Topic::as_str).collect();
        }
        add_ticket(&mut json, ready.ticket);
        Self { kind: "tailwater.ready", json, retry_ms: Some(ready.retry_ms) }
    }

    /// A range of positions can no longer be read.
    pub(crate) const fn gap(json: Value) -> Self {
        Self { kind: "tailwater.gap", json, retry_ms: None }
    }

    /// The publisher has ended the topic.
    pub(crate) fn end(topic: &Topic) -> Self {
        Self { kind: "tailwater.end", json: json!({ "topic": topic.as_str() }), retry_ms: None }
    }

    /// A cursor that only filtered-out events have moved. Without this event a resume would start
    /// before those events, and might report a gap among events that the subscriber does not want.
    pub(crate) fn cursor(cursor: &str) -> Self {
        Self { kind: "tailwater.cursor", json: json!({ "cursor": cursor }), retry_ms: None }
    }

    /// A sign of life that a page can see.
    pub(crate) fn heartbeat(cursor: &str) -> Self {
        Self { kind: "tailwater.heartbeat", json: json!({ "cursor": cursor }), retry_ms: None }
    }

    /// The stream closes and the client should reconnect.
    pub(crate) fn reconnect(reason: impl Label, retry_ms: u64, ticket: Option<String>) -> Self {
        let mut json = json!({ "reason": reason.as_str() });
        add_ticket(&mut json, ticket);
        Self { kind: "tailwater.reconnect", json, retry_ms: Some(retry_ms) }
    }

    /// Writes the event.
    pub(crate) fn put(&self, out: &mut BytesMut, id: Option<&str>) {
        put_control(out, self.kind, &self.json.to_string(), self.retry_ms, id);
    }

    /// Writes the event as a comment. A comment has no fields, so its JSON says after which time to come back.
    pub(crate) fn put_comment(mut self, out: &mut BytesMut) {
        if let Some(retry_ms) = self.retry_ms {
            self.json["retry"] = retry_ms.into();
        }
        put_comment(out, self.kind, &self.json.to_string());
    }
}

/// Adds the ticket for the next stream.
fn add_ticket(json: &mut Value, ticket: Option<String>) {
    if let Some(ticket) = ticket {
        json["ticket"] = ticket.into();
    }
}

/// A time in seconds, as a whole number where it is one.
fn seconds(time: Duration) -> Value {
    match time.subsec_nanos() {
        0 => time.as_secs().into(),
        _ => time.as_secs_f64().into(),
    }
}

/// Returns the JSON of a gap. `requested` is the text of a cursor that could not be decoded.
pub(crate) fn gap_json(topic: &Topic, gap: &Gap, requested: Option<&str>) -> Value {
    let requested = gap.requested.map(|p| p.to_string()).or_else(|| requested.map(shorten));
    json!({
        "topic": topic.as_str(),
        "reason": gap.reason.as_str(),
        "missed": gap.missed,
        "requested": requested,
        "oldest": gap.oldest.map(|p| p.to_string()),
        "newest": gap.newest.to_string(),
    })
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

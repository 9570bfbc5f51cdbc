//! Control events: Tailwater's own events, which report the state of a stream to its subscriber.
//!
//! Each has a type `tailwater.<word>`, JSON data, and the cursor as its id.

use std::time::Duration;

use bytes::BytesMut;
use event_log::{Gap, Outcome, Topic};
use metrics::Label;
use serde_json::{Value, json};

use crate::frame::put_control;

/// Writes the first event of a stream: the outcome of the client's cursor, and the serving node.
pub(crate) fn put_ready(
    out: &mut BytesMut,
    outcome: Outcome,
    node: &str,
    retry_ms: u64,
    (cursor, ticket): (&str, Option<&str>),
) {
    let mut json = json!({ "outcome": outcome.as_str(), "cursor": cursor, "node": node });
    add_ticket(&mut json, ticket);
    put_control(out, "tailwater.ready", &json.to_string(), Some(retry_ms), Some(cursor));
}

/// Writes that a range of positions can no longer be read.
pub(crate) fn put_gap(out: &mut BytesMut, gap: &Value, cursor: &str) {
    put_control(out, "tailwater.gap", &gap.to_string(), None, Some(cursor));
}

/// Writes that the publisher has ended the topic.
pub(crate) fn put_end(out: &mut BytesMut, topic: &Topic, cursor: &str) {
    let json = json!({ "topic": topic.as_str() });
    put_control(out, "tailwater.end", &json.to_string(), None, Some(cursor));
}

/// Writes a cursor that only filtered-out events have moved. Without this event a resume would start
/// before those events, and might report a gap among events that the subscriber does not want.
pub(crate) fn put_cursor(out: &mut BytesMut, cursor: &str) {
    let json = json!({ "cursor": cursor });
    put_control(out, "tailwater.cursor", &json.to_string(), None, Some(cursor));
}

/// Writes that the stream closes and the client should reconnect.
pub(crate) fn put_reconnect(
    out: &mut BytesMut,
    reason: impl Label,
    retry_ms: u64,
    (cursor, ticket): (Option<&str>, Option<&str>),
) {
    let mut json = json!({ "reason": reason.as_str() });
    add_ticket(&mut json, ticket);
    put_control(out, "tailwater.reconnect", &json.to_string(), Some(retry_ms), cursor);
}

/// Adds the ticket for the next stream.
fn add_ticket(json: &mut Value, ticket: Option<&str>) {
    if let Some(ticket) = ticket {
        json["ticket"] = ticket.into();
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

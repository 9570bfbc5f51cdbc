//! Events of Tailwater's own, which tell a subscriber what happens to its stream.
//!
//! All are typed `tailwater.<word>`, carry JSON and the cursor as their id.

use std::time::Duration;

use bytes::BytesMut;
use event_log::{Gap, Outcome, Topic};
use metrics::Label;
use serde_json::{Value, json};

use crate::frame::put_control;

/// The first event of a stream: what became of the client's cursor, and who serves it.
pub(crate) fn put_ready(
    out: &mut BytesMut,
    outcome: Outcome,
    node: &str,
    retry_ms: u64,
    cursor: &str,
) {
    let json = json!({ "outcome": outcome.as_str(), "cursor": cursor, "node": node });
    put_control(out, "tailwater.ready", &json.to_string(), Some(retry_ms), Some(cursor));
}

/// Positions that can no longer be read.
pub(crate) fn put_gap(out: &mut BytesMut, gap: &Value, cursor: &str) {
    put_control(out, "tailwater.gap", &gap.to_string(), None, Some(cursor));
}

/// The topic was ended by its publisher.
pub(crate) fn put_end(out: &mut BytesMut, topic: &Topic, cursor: &str) {
    let json = json!({ "topic": topic.as_str() });
    put_control(out, "tailwater.end", &json.to_string(), None, Some(cursor));
}

/// The cursor, where only events that the subscriber filters out have moved it: without it a resume
/// would start before them, and might meet a gap in what nobody wanted.
pub(crate) fn put_cursor(out: &mut BytesMut, cursor: &str) {
    let json = json!({ "cursor": cursor });
    put_control(out, "tailwater.cursor", &json.to_string(), None, Some(cursor));
}

/// The stream closes; the client is to come back.
pub(crate) fn put_reconnect(
    out: &mut BytesMut,
    reason: impl Label,
    retry_ms: u64,
    cursor: Option<&str>,
) {
    let json = json!({ "reason": reason.as_str() });
    put_control(out, "tailwater.reconnect", &json.to_string(), Some(retry_ms), cursor);
}

/// A gap as subscribers see it. `requested` is the client's text where it could not be understood.
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

/// A pause between one and two times `least`, so that clients who leave together do not come back
/// together. At least half a second: browsers obey any number, and 0 is 800 requests a second.
pub(crate) fn jittered(least: Duration) -> u64 {
    let least = u64::try_from(least.as_millis()).unwrap_or(u64::MAX).clamp(500, 3_600_000);
    fastrand::u64(least..=2 * least)
}

/// A client's text, short enough to send back.
fn shorten(text: &str) -> String {
    text.chars().take(128).collect()
}

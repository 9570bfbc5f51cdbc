//! Events as JSON: the elements of a long-poll response, and the data of `envelope=json`.

use event_log::{Event, EventType, TraceParent};
use jiff::Timestamp;
use serde::Serialize;

use crate::trace;

const SLOT: usize = 2;

#[derive(Serialize)]
struct Envelope<'a> {
    id: String,
    topic: &'a str,
    r#type: Option<&'a str>,
    data: &'a str,
    time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<&'a str>,
}

/// Returns the envelope. Each node encodes it once.
pub(crate) fn of(event: &Event) -> &[u8] {
    event.encoding(SLOT, |event| {
        trace::deliver(event);
        let position = event.position();
        let envelope = Envelope {
            id: position.to_string(),
            topic: event.topic().as_str(),
            r#type: event.kind().map(EventType::as_str),
            data: event.data(),
            time: rfc3339(position.ms),
            traceparent: event.trace().map(TraceParent::as_str),
        };
        serde_json::to_vec(&envelope).expect("strings always serialise").into()
    })
}

/// Formats milliseconds since 1970 as RFC 3339 in UTC. Times after the year 9999 are clamped.
pub(crate) fn rfc3339(ms: u64) -> String {
    let time = i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    format!("{:.3}", time.unwrap_or(Timestamp::MAX))
}

//! The gateway's own events on a stream, whose types begin with `tailwater.`.

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::client::sse::Event;

/// A control event, read from its JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// `tailwater.ready`: the stream is open.
    Ready(Ready),
    /// `tailwater.gap`: positions that can no longer be read.
    Gap(Gap),
    /// `tailwater.end`: the topic is complete.
    End(EndNotice),
    /// `tailwater.reconnect`: the gateway is about to close.
    Reconnect(Reconnect),
    /// Any other, by its type and its data. A stream goes on after an event that its client does not know; a judge
    /// that expects none names it.
    Other(String, String),
}

/// Data of `tailwater.ready`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Ready {
    /// `live`, `exact`, `gap`, `reset`, `rewound` or `invalid`.
    pub outcome: String,
    /// The start of the stream; for one topic a position.
    pub cursor: String,
    /// The gateway that answers.
    pub node: String,
}

/// Data of `tailwater.gap`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Gap {
    /// The topic with the gap.
    pub topic: String,
    /// `trimmed`, `reset`, `rewound` or `invalid`.
    pub reason: String,
    /// The number of missing events, if the gateway can know it.
    pub missed: Option<u64>,
    /// An upper bound of that number, for a subscription that selects.
    pub missed_at_most: Option<u64>,
    /// The position that was asked for.
    pub requested: Option<String>,
    /// The oldest position that can be read.
    pub oldest: Option<String>,
    /// The newest position.
    pub newest: Option<String>,
}

/// Data of `tailwater.end`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct EndNotice {
    /// The topic that is complete.
    pub topic: String,
}

/// Data of `tailwater.reconnect`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Reconnect {
    /// `drain`, `max_age`, `token_expired` or `overload`.
    pub reason: String,
}

impl Control {
    /// Reads a control event; `None` for an event of a publisher.
    ///
    /// # Errors
    /// When the data has another form than that of its type.
    pub fn read(event: &Event) -> Result<Option<Control>> {
        let Some(word) = event.event_type().strip_prefix("tailwater.") else {
            return Ok(None);
        };
        let data = event.data.as_str();
        let control = match word {
            "ready" => serde_json::from_str(data).map(Control::Ready),
            "gap" => serde_json::from_str(data).map(Control::Gap),
            "end" => serde_json::from_str(data).map(Control::End),
            "reconnect" => serde_json::from_str(data).map(Control::Reconnect),
            _ => Ok(Control::Other(event.event_type().to_owned(), data.to_owned())),
        };
        let control = control.with_context(|| format!("bad data of tailwater.{word}: {data}"))?;
        Ok(Some(control))
    }
}

#[cfg(test)]
mod tests {
    use super::Control;
    use crate::client::sse::{Event, Parser};

    fn event(wire: &str) -> Event {
        let mut events = Vec::new();
        Parser::default().feed(wire.as_bytes(), &mut |event| events.push(event));
        events.pop().expect("an event")
    }

    #[test]
    fn ready_and_gap_are_read() {
        let ready = event(
            "event: tailwater.ready\ndata: {\"outcome\":\"live\",\"cursor\":\"5-1\",\"node\":\"a\"}\nid: 5-1\n\n",
        );
        let Ok(Some(Control::Ready(ready))) = Control::read(&ready) else {
            panic!("not ready");
        };
        assert_eq!((ready.outcome.as_str(), ready.cursor.as_str()), ("live", "5-1"));
        let gap = event(
            "event: tailwater.gap\ndata: {\"topic\":\"t\",\"reason\":\"invalid\",\"missed\":null}\n\n",
        );
        assert!(matches!(Control::read(&gap), Ok(Some(Control::Gap(gap))) if gap.missed.is_none()));
    }

    #[test]
    fn events_of_publishers_pass_and_unknown_ones_of_the_gateway_are_named() {
        assert_eq!(Control::read(&event("data: x\n\n")).expect("passes"), None);
        let other = Control::read(&event("event: tailwater.what\ndata: {}\n\n")).expect("is read");
        assert_eq!(other, Some(Control::Other("tailwater.what".to_owned(), "{}".to_owned())));
        assert!(Control::read(&event("event: tailwater.ready\ndata: {}\n\n")).is_err());
    }
}

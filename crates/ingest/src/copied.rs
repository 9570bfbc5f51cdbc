//! The stream of a gateway that a body copies: its control events tell whether the source is over.

use event_log::EventType;
use serde_json::Value;

/// The state of the source, by its last control event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Copied {
    /// No gateway has sent a control event: another server, or a stream with `control=off`.
    #[default]
    Unknown,
    Open {
        /// Several topics, so the end of one is not the end of the stream.
        several: bool,
    },
    /// The topic has ended, and all of its events came before.
    Ended,
    /// The gateway has closed the stream for a reason of its own.
    Left,
}

impl Copied {
    /// Takes a control event.
    pub(crate) fn control(&mut self, kind: &str, data: &str) {
        *self = match kind.strip_prefix(EventType::RESERVED) {
            Some("ready") => {
                let ready: Value = serde_json::from_str(data).unwrap_or_default();
                let cursor = ready["cursor"].as_str().unwrap_or_default();
                // A cursor of several topics begins with its version.
                Self::Open { several: cursor.starts_with("2.") || cursor.starts_with("v1.") }
            }
            Some("end") if *self != (Self::Open { several: true }) => Self::Ended,
            Some("reopened") if *self == Self::Ended => Self::Open { several: false },
            Some("reconnect") => Self::Left,
            _ => return,
        };
    }

    /// Takes a comment, which is a control event in a stream with `control=comment`.
    pub(crate) fn comment(&mut self, text: &[u8]) {
        let Ok(text) = str::from_utf8(text) else { return };
        if let Some((kind, data)) = text.trim_start().split_once(' ') {
            self.control(kind, data);
        }
    }

    /// Returns the reason why the source may have more to come, if it may.
    pub(crate) const fn unfinished(self) -> Option<&'static str> {
        match self {
            Self::Unknown | Self::Ended => None,
            Self::Open { several: false } => Some("the stream that it copies broke off"),
            Self::Open { several: true } => Some(
                "the stream that it copies has several topics, whose end is not told from a break",
            ),
            Self::Left => Some("the gateway has closed the stream that it copies, which goes on"),
        }
    }
}

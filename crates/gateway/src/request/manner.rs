//! The manner of an event stream: everything in it that is no publisher's event.

use std::time::Duration;

use crate::error::BadRequest;

use super::number;

/// The manner of a stream, apart from the events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Manner {
    /// The longest silence that the request asks for.
    pub(crate) silence: Option<Duration>,
    /// The sign of life that ends a silence.
    pub(crate) heartbeat: Heartbeat,
    /// The form of control events.
    pub(crate) control: Control,
    /// True if the body is broken off when the client is to come back, for clients that take a clean end for the
    /// end of the matter.
    pub(crate) aborts: bool,
}

/// The sign of life that ends a silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Heartbeat {
    /// A comment, which no client hands on.
    #[default]
    Comment,
    /// An event, which a page can see.
    Event,
    /// Nothing, for parsers that choke on comments.
    Off,
}

/// The form of control events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Control {
    /// Events.
    #[default]
    Event,
    /// Comments.
    Comment,
    /// None: the stream holds nothing but the publisher's events. Headers and statuses say the most important.
    Off,
    /// None, as in Mercure: a gap at the opening is in the head of the answer, a later one passes, and a client that is
    /// refused for a passing reason is told so by a stream that holds nothing but the time to come back.
    Mute,
}

/// Seconds of silence between heartbeats that a request may ask for. Some clients give up after 5 s;
/// below 3 s heartbeats would cost more than events.
const SILENCE_SECONDS: (u64, u64) = (3, 60);

impl Manner {
    /// Takes the parameter `heartbeat`, which a request may have twice: a time, and a form.
    pub(super) fn set_heartbeat(&mut self, value: &str) -> Result<(), BadRequest> {
        match value {
            "event" => self.heartbeat = Heartbeat::Event,
            "off" => self.heartbeat = Heartbeat::Off,
            _ => {
                let seconds = number("heartbeat", value, SILENCE_SECONDS, "seconds, event or off")?;
                self.silence = Some(Duration::from_secs(seconds));
            }
        }
        Ok(())
    }

    pub(super) fn set_control(&mut self, value: &str) -> Result<(), BadRequest> {
        self.control = match value {
            "on" => Control::Event,
            "comment" => Control::Comment,
            "off" => Control::Off,
            _ => return Err(BadRequest::value("control", value, "on, comment or off")),
        };
        Ok(())
    }

    pub(super) fn set_close(&mut self, value: &str) -> Result<(), BadRequest> {
        self.aborts = match value {
            "end" => false,
            "abort" => true,
            _ => return Err(BadRequest::value("close", value, "end or abort")),
        };
        Ok(())
    }

    /// Checks that the parts go together.
    pub(super) fn checked(self) -> Result<Self, BadRequest> {
        if self.heartbeat == Heartbeat::Event && self.control != Control::Event {
            let allowed = "seconds or off beside control=off or control=comment, which leave out control events";
            return Err(BadRequest::value("heartbeat", "event", allowed));
        }
        Ok(self)
    }

    /// Returns true if a refused client is told by a status: its stream could not tell it to come back.
    pub(crate) fn takes_statuses(self) -> bool {
        !matches!(self.control, Control::Event | Control::Mute)
    }
}

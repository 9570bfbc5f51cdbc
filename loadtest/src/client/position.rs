//! The place of one event in its topic, as the driver reads it from an SSE id or a receipt.
//!
//! Deliberately not the `event-log` type: the driver judges the gateway from outside, so it reads
//! the wire with its own eyes.

use std::fmt;
use std::str::FromStr;

/// `<ms>-<n>`: milliseconds since 1970 and the event's number in its topic, which starts at 1 and
/// rises by one from event to event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Milliseconds since 1970, never less than the predecessor's.
    pub ms: u64,
    /// The event's number in its topic.
    pub n: u64,
}

/// The text was no `<ms>-<n>`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no position of the form <ms>-<n>")]
pub struct NoPosition(String);

impl FromStr for Position {
    type Err = NoPosition;

    fn from_str(text: &str) -> Result<Self, NoPosition> {
        let parse = || {
            let (ms, n) = text.split_once('-')?;
            Some(Position { ms: ms.parse().ok()?, n: n.parse().ok()? })
        };
        parse().ok_or_else(|| NoPosition(text.to_owned()))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.n)
    }
}

#[cfg(test)]
mod tests {
    use super::Position;

    #[test]
    fn position_survives_the_round_trip() {
        let position: Position = "1700000000000-42".parse().expect("a position");
        assert_eq!(position.n, 42);
        assert_eq!(position.to_string(), "1700000000000-42");
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "-", "1", "1-", "-1", "1-2-3", "a-b"] {
            assert!(text.parse::<Position>().is_err(), "{text:?}");
        }
    }
}

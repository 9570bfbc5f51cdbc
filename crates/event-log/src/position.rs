//! Positions in a topic's log.

use std::fmt;
use std::str::FromStr;

/// The position of an event, written `<ms>-<n>`.
///
/// `n` numbers the events of a topic from 1 without holes, so the distance of two positions is
/// arithmetic. `ms` is the log's clock at the append, in milliseconds since 1970; it never decreases
/// in a topic, and it tells apart two generations of a topic that used the same `n`.
/// The order is that of Redis Streams: by `ms`, then by `n`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position {
    /// Milliseconds since 1970 by the log's clock.
    pub ms: u64,
    /// The number of the event in its topic, from 1.
    pub n: u64,
}

/// A text that is not a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a position is written <ms>-<n>, two decimal numbers below 2^64")]
pub struct BadPosition;

impl Position {
    /// Before the first event of a topic that has never had one.
    pub const START: Self = Self { ms: 0, n: 0 };

    /// The position `<ms>-<n>`.
    #[must_use]
    pub const fn new(ms: u64, n: u64) -> Self {
        Self { ms, n }
    }

    /// A position from which the event at `self` is the next one.
    #[must_use]
    pub const fn before(self) -> Self {
        Self { ms: self.ms, n: self.n.saturating_sub(1) }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.n)
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Position {
    type Err = BadPosition;

    fn from_str(text: &str) -> Result<Self, BadPosition> {
        let (ms, n) = text.split_once('-').ok_or(BadPosition)?;
        Ok(Self { ms: decimal(ms)?, n: decimal(n)? })
    }
}

/// Digits only: `u64::from_str` would also take a leading `+`.
fn decimal(digits: &str) -> Result<u64, BadPosition> {
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(BadPosition);
    }
    digits.parse().map_err(|_| BadPosition)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_reads_back_as_it_was_written() {
        for p in [
            Position::START,
            Position::new(1_700_000_000_000, 42),
            Position::new(u64::MAX, u64::MAX),
        ] {
            assert_eq!(p.to_string().parse(), Ok(p));
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "-",
            "1",
            "1-",
            "-1",
            "+1-2",
            "1-+2",
            "1-2-3",
            " 1-2",
            "1-2 ",
            "a-b",
            "18446744073709551616-1",
        ] {
            assert_eq!(text.parse::<Position>(), Err(BadPosition), "{text:?}");
        }
    }
}

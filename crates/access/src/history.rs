//! The part of a topic's history that a subscriber may read.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// The events of the past that a subscriber may read. Events that come after it has subscribed are always its.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HistoryExtent {
    /// All that the log has.
    #[default]
    All,
    /// None: a subscription begins at the tail, and a cursor resumes from events that came after the token
    /// was issued.
    None,
    /// Those that are no older than this.
    Within(Duration),
}

/// A text that is no extent of history.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("history is {0:?}; it must be all, none, or a time with a unit, as 30m")]
pub struct BadHistory(String);

impl fmt::Display for HistoryExtent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::None => f.write_str("none"),
            Self::Within(time) => fmt::Display::fmt(&humantime::format_duration(*time), f),
        }
    }
}

impl FromStr for HistoryExtent {
    type Err = BadHistory;

    fn from_str(text: &str) -> Result<Self, BadHistory> {
        match text {
            "all" => Ok(Self::All),
            "none" => Ok(Self::None),
            _ => {
                let time = humantime::parse_duration(text);
                time.map(Self::Within).map_err(|_| BadHistory(text.to_owned()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn history_is_a_word_or_a_time() {
        assert_eq!("all".parse(), Ok(HistoryExtent::All));
        assert_eq!("none".parse(), Ok(HistoryExtent::None));
        assert_eq!("30m".parse(), Ok(HistoryExtent::Within(Duration::from_mins(30))));
        for history in [
            HistoryExtent::All,
            HistoryExtent::None,
            HistoryExtent::Within(Duration::from_secs(90)),
        ] {
            assert_eq!(history.to_string().parse(), Ok(history));
        }
        for bad in ["", "30", "some", "-1h"] {
            assert_eq!(bad.parse::<HistoryExtent>(), Err(BadHistory(bad.to_owned())));
        }
    }
}

//! The part of a topic's history that a subscriber may read.

use std::time::Duration;

/// The events of the past that a subscriber may read. Events that come after it has subscribed are always its.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum History {
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

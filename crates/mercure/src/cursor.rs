//! The place after which a subscriber wants its updates.

use crate::id::Id;

/// The cursor of a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cursor {
    /// Everything that is retained.
    Earliest,
    /// Everything after the update with this id.
    After(Id),
    /// A text that no update has as its id. The answer says that nothing precedes its first event.
    Unknown,
}

impl Cursor {
    /// Reads a cursor. No text is refused: a client that comes back with one would never stop coming.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text {
            Id::EARLIEST => Self::Earliest,
            other => Id::new(other).map_or(Self::Unknown, Self::After),
        }
    }
}

//! Planted bugs, which the simulation must find. The product could plausibly contain each of them.

/// A deliberate bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    /// A node takes a silent feed as proof that nothing happened, and never audits for lost messages.
    TrustsTheFeed,
    /// All frames of a write carry the id of the last frame, so an id is ahead of the delivered events.
    IdsAhead,
    /// The resume table treats a position that the store has lost as a valid one.
    RewoundIsExact,
    /// The feed takes an event with the next number for the next event, even of another history.
    ComparesNumbers,
    /// A server that takes over uses its own clock, even if the clock of its predecessor was ahead.
    NoFence,
    /// A gap also counts the first event that can still be read.
    CountsOneTooMany,
}

impl Bug {
    pub(crate) const ALL: [Self; 6] = [
        Self::TrustsTheFeed,
        Self::IdsAhead,
        Self::RewoundIsExact,
        Self::ComparesNumbers,
        Self::NoFence,
        Self::CountsOneTooMany,
    ];
}

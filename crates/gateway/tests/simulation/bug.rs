//! Mistakes that are planted to see that they are found. Each is one that the product could have.

/// What is wrong on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    /// A feed's silence is taken for proof that nothing happened: what it lost is never looked for.
    TrustsTheFeed,
    /// All frames of a write carry the id of the last: it is ahead of what was delivered.
    IdsAhead,
    /// The resume table takes a position that the store has lost for one like any other.
    RewoundIsExact,
    /// The feed takes the next number for the next event, though it be of another past.
    ComparesNumbers,
    /// A server that takes over goes on by its own clock, as if no other had been ahead of it.
    NoFence,
    /// A gap counts the event that can be read again.
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

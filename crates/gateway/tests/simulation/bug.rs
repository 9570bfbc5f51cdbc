//! Planted bugs, which the simulation must find. The product could plausibly contain each of them.

use super::deployment::{Deployment, Reads, Regime};
use super::weather::Weather;

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
    /// A replica that is behind decides that something is missing.
    ReplicaDecides,
    /// A primary's word that a position is lost is taken without asking if it still is the primary.
    AsksNoSentinel,
    /// A reader that is ahead of its source gets the primary's events, which the source may never have.
    ReadsAheadOfTheSource,
    /// A message is taken for its event, although the server that it came from cannot read that yet.
    BelievesMessages,
    /// An event is delivered when the source has it, and not when every replica that may be promoted has it.
    DeliversAtTheFirst,
    /// A page is not cut before the first event that another replica lacks.
    CutsNoPage,
    /// A gap leads to a position that another replica lacks.
    SkipsToTheUncommitted,
    /// A later position of another replica counts as proof that it has an event. It may belong to another history.
    TakesOrderForProof,
    /// A node goes on with an old report of the replicas that there are, although its source hears of the primary.
    KeepsOldReports,
    /// A node that has just started believes the first report of the replicas that there are, and asks no sentinel.
    BelievesTheFirstReport,
    /// The first report is believed if the sentinels name the primary, also by one that leads a fail-over.
    IgnoresTheFailOver,
    /// A replica that does not answer is never left.
    NeverLeaves,
    /// Nobody waits for a replica once it is the primary, although the source still follows the old one.
    ForgetsThePromoted,
    /// A node leaves a replica that was promoted, and believes the old primary.
    LeavesTheStrayed,
    /// The feed of a space does not say which topic an entry has.
    LosesTheTopic,
    /// An entry that is read from the log of a space has the topic of the entry before it.
    MixesTopics,
    /// A node has a tail for each reader of a space, and feeds only the first: no event wakes the other readers.
    FeedsOneTail,
    /// A reader that selects is told the head of the log as its cursor, although the node may not have all events up to it.
    PassesTooFar,
    /// A gap of a selection has the number of all events that are gone as the number of those that the reader misses.
    CountsSelected,
    /// The upper bound of a gap of a selection is too low.
    BoundsTooLow,
}

impl Bug {
    pub(crate) const ALL: [Self; 26] = [
        Self::TrustsTheFeed,
        Self::IdsAhead,
        Self::RewoundIsExact,
        Self::ComparesNumbers,
        Self::NoFence,
        Self::CountsOneTooMany,
        Self::ReplicaDecides,
        Self::AsksNoSentinel,
        Self::ReadsAheadOfTheSource,
        Self::BelievesMessages,
        Self::DeliversAtTheFirst,
        Self::CutsNoPage,
        Self::SkipsToTheUncommitted,
        Self::TakesOrderForProof,
        Self::KeepsOldReports,
        Self::BelievesTheFirstReport,
        Self::IgnoresTheFailOver,
        Self::NeverLeaves,
        Self::ForgetsThePromoted,
        Self::LeavesTheStrayed,
        Self::LosesTheTopic,
        Self::MixesTopics,
        Self::FeedsOneTail,
        Self::PassesTooFar,
        Self::CountsSelected,
        Self::BoundsTooLow,
    ];

    /// Returns true if the bug can show only where topics share a log.
    pub(crate) const fn needs_a_space(self) -> bool {
        use Bug::{
            BoundsTooLow, CountsSelected, FeedsOneTail, LosesTheTopic, MixesTopics, PassesTooFar,
        };
        matches!(
            self,
            LosesTheTopic
                | MixesTopics
                | FeedsOneTail
                | PassesTooFar
                | CountsSelected
                | BoundsTooLow
        )
    }

    /// Returns true if the bug can well show in schedules of a kind. Only these are played to find it.
    pub(crate) fn concerns(self, kind: &Deployment, weather: &Weather) -> bool {
        let fails_over = kind.regime == Regime::FailOver;
        let with_replicas = kind.replicas > 0 && kind.reads == Reads::Replicas;
        match self {
            Self::TrustsTheFeed | Self::IdsAhead | Self::CountsOneTooMany => true,
            // A message is its event.
            Self::LosesTheTopic => kind.reads == Reads::Primary,
            _ if self.needs_a_space() => true,
            Self::RewoundIsExact | Self::NoFence => fails_over,
            Self::ComparesNumbers => kind.regime == Regime::Wipe && kind.reads == Reads::Primary,
            Self::ReplicaDecides | Self::NeverLeaves => with_replicas,
            Self::AsksNoSentinel => fails_over && kind.replicas > 0 && !with_replicas,
            Self::BelievesMessages => with_replicas && fails_over && kind.has_bus,
            Self::ReadsAheadOfTheSource => {
                // A source that nobody waits for is behind.
                let lags = kind.replicas > 1 && kind.promotable < 50 && weather.lag_ms > 2000;
                with_replicas && fails_over && lags
            }
            // A promotion has to lose something.
            _ => with_replicas && fails_over && weather.lag_ms > 500,
        }
    }
}

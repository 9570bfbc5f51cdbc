//! The kind of a schedule: its servers, the ones that nodes read from, and the faults that affect the numbering.

use super::dice::{chance, pick};

#[derive(Debug, Clone, Copy)]
pub(crate) struct Deployment {
    pub(crate) regime: Regime,
    /// Replicas at the beginning.
    pub(crate) replicas: usize,
    /// The first replica may be promoted, and of the others as many percent.
    pub(crate) promotable: u32,
    pub(crate) reads: Reads,
    /// Messages travel over a bus, as in a cluster, and not with the data.
    pub(crate) has_bus: bool,
    /// Some topics share a log.
    pub(crate) has_space: bool,
}

/// The servers that nodes read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reads {
    Primary,
    /// Replicas, and an event is delivered when each replica that may be promoted has it.
    Replicas,
    /// Either, by node.
    Mixed,
}

/// The kind of fault that affects the numbering of topics. A schedule has one kind only: a position can
/// reveal a fail-over or a wipe, or survive a clock that steps back, but not several of these at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Regime {
    /// No such fault.
    Steady,
    /// Servers that lack the newest entries take over. Their clocks are wrong by less than the fence.
    FailOver,
    /// The store is wiped.
    Wipe,
    /// The clock steps back and forth by up to an hour.
    Clock,
}

impl Deployment {
    pub(crate) fn draw(has_space: bool) -> Self {
        use Reads::{Mixed, Primary, Replicas};
        use Regime::{Clock, FailOver, Steady, Wipe};
        let replicas = *pick(&[0, 1, 2, 2, 3]);
        let reads = *pick(&[Primary, Replicas, Replicas, Replicas, Replicas, Mixed]);
        let reads = if replicas == 0 { Primary } else { reads };
        let has_bus = replicas > 0 && chance(40);
        let promotes = replicas > 0 && chance(60);
        let regime = if promotes { FailOver } else { *pick(&[Steady, FailOver, Wipe, Clock]) };
        let promotable = *pick(&[20, 60, 100]);
        Self { regime, replicas, promotable, reads, has_bus, has_space }
    }
}

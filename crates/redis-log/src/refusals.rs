//! Refusals: commands that Redis does not let this node's user run.

use std::sync::Arc;

use crate::address::Address;
use crate::error::Failure;
use crate::pace::OnceAMinute;
use crate::stats::Stats;

/// Counts refusals, and warns of them. Every command may be refused, and one line tells it.
#[derive(Debug)]
pub(crate) struct Refusals {
    stats: Arc<Stats>,
    warned: OnceAMinute,
}

impl Refusals {
    pub(crate) fn new(stats: &Arc<Stats>) -> Self {
        Self { stats: Arc::clone(stats), warned: OnceAMinute::default() }
    }

    /// Looks at a failure that a server reported.
    pub(crate) fn note(&self, server: &Address, failure: &Failure) {
        if !failure.is_refusal() {
            return;
        }
        self.stats.refused();
        if self.warned.is_due() {
            tracing::warn!(%server, %failure, "redis refuses a command: the user lacks a right, or the password is wrong");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn refusals_are_counted_and_warned_of() {
        let stats = Arc::<Stats>::default();
        let refusals = Refusals::new(&stats);
        let asked = Address::new("asked", 1);
        refusals.note(&asked, &Failure::Closed);
        assert_eq!(stats.refusals(), 0);
        let refused = Failure::said("NOPERM this user has no permissions");
        refusals.note(&asked, &refused);
        refusals.note(&asked, &refused);
        assert_eq!(stats.refusals(), 2);
        assert!(!refusals.warned.is_due());
    }
}

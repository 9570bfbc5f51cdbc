//! Refusals: commands that Redis does not let this node's user run.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::address::Address;
use crate::error::Failure;
use crate::stats::Stats;

/// Least time between two warnings. Every command may be refused, and one line tells it.
const WARN_EVERY: Duration = Duration::from_mins(1);

/// Counts refusals, and warns of them.
#[derive(Debug)]
pub(crate) struct Refusals {
    stats: Arc<Stats>,
    warned: Mutex<Option<Instant>>,
}

impl Refusals {
    pub(crate) fn new(stats: &Arc<Stats>) -> Self {
        Self { stats: Arc::clone(stats), warned: Mutex::default() }
    }

    /// Looks at a failure that a server reported.
    pub(crate) fn note(&self, server: &Address, failure: &Failure) {
        if !failure.is_refusal() {
            return;
        }
        self.stats.refused();
        if self.is_due() {
            tracing::warn!(%server, %failure, "redis refuses a command: the user lacks a right, or the password is wrong");
        }
    }

    fn is_due(&self) -> bool {
        let now = Instant::now();
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        let due = warned.is_none_or(|last| now.duration_since(last) >= WARN_EVERY);
        if due {
            *warned = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn refusals_are_counted_and_warned_of_once_a_minute() {
        let stats = Arc::<Stats>::default();
        let refusals = Refusals::new(&stats);
        let asked = Address::new("asked", 1);
        refusals.note(&asked, &Failure::Closed);
        assert!(stats.refusals() == 0 && refusals.warned.lock().unwrap().is_none());
        let refused = Failure::said("NOPERM this user has no permissions");
        refusals.note(&asked, &refused);
        refusals.note(&asked, &refused);
        assert_eq!(stats.refusals(), 2);
        assert!(!refusals.is_due());
        tokio::time::advance(WARN_EVERY).await;
        assert!(refusals.is_due());
    }
}

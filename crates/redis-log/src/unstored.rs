//! Events that Redis did not store, as an operator hears of them.

use std::sync::Arc;

use event_log::AppendError;

use crate::pace::OnceAMinute;
use crate::stats::{Op, Stats};

/// Counts events that were not stored through a fault of the log, and warns of each kind.
#[derive(Debug)]
pub(crate) struct Unstored {
    stats: Arc<Stats>,
    full: OnceAMinute,
    unavailable: OnceAMinute,
}

impl Unstored {
    pub(crate) fn new(stats: &Arc<Stats>) -> Self {
        let stats = Arc::clone(stats);
        Self { stats, full: OnceAMinute::default(), unavailable: OnceAMinute::default() }
    }

    /// Looks at the failure of an append. Other errors are the publisher's.
    pub(crate) fn note(&self, error: &AppendError) {
        let warned = match error {
            AppendError::Full(_) => {
                self.stats.found_full();
                &self.full
            }
            AppendError::Unavailable(_) => &self.unavailable,
            AppendError::Ended { .. }
            | AppendError::InSpace { .. }
            | AppendError::KeyReused { .. }
            | AppendError::Moved { .. }
            | AppendError::NewTopic { .. } => return,
        };
        self.stats.failed(Op::Append);
        if warned.is_due() {
            tracing::warn!(%error, "events are not stored");
        }
    }
}

#[cfg(test)]
mod tests {
    use event_log::Topic;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_kind_is_counted_and_warned_of() {
        let stats = Arc::<Stats>::default();
        let unstored = Unstored::new(&stats);
        unstored.note(&AppendError::NewTopic { topic: Topic::new("t").unwrap() });
        assert_eq!((stats.errors(Op::Append), stats.full()), (0, 0));
        for _ in 0..2 {
            unstored.note(&AppendError::Full("OOM".to_owned()));
        }
        assert!(!unstored.full.is_due() && unstored.unavailable.is_due());
        unstored.note(&AppendError::Unavailable("no answer".to_owned()));
        assert_eq!((stats.errors(Op::Append), stats.full()), (3, 2));
    }
}

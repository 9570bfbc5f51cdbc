//! Formats of the log that a node has met. A node that meets a later one than it knows is to be replaced.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::Failure;
use crate::head::FORMAT;
use crate::pace::OnceAMinute;

/// The latest format that a node has met.
#[derive(Debug, Default)]
pub(crate) struct Formats {
    latest: AtomicU64,
    warned: OnceAMinute,
}

impl Formats {
    /// Looks at the failure of an operation on a topic.
    pub(crate) fn note(&self, failure: &Failure) {
        let Failure::Newer(format) = failure else { return };
        self.latest.fetch_max(*format, Ordering::Relaxed);
        if self.warned.is_due() {
            tracing::error!(%failure, "this node must be replaced by a later version");
        }
    }

    /// Refuses every operation after the first meeting with a later format.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        match self.latest.load(Ordering::Relaxed) {
            latest if latest > FORMAT => Err(Failure::Newer(latest)),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_node_that_met_a_later_format_stays_refused() {
        let formats = Formats::default();
        formats.note(&Failure::Closed);
        formats.check().unwrap();
        formats.note(&Failure::Newer(3));
        formats.note(&Failure::Newer(2));
        let refused = formats.check().unwrap_err().to_string();
        assert!(refused.contains("format 3"), "{refused}");
    }
}

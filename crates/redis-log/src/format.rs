//! The format in which topics are stored, so that two versions of a node can tell if they understand each other.
//!
//! This version writes format 1, whose heads bear no mark. The head of a topic in a later format begins with
//! `v2 `, `v3 ` and so on. A version that does not know that format reads nothing of the topic, stores nothing
//! in it, and is not ready any more: it is to be replaced.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::Failure;
use crate::pace::OnceAMinute;

/// The format that this version writes, and the latest that it reads.
pub(crate) const FORMAT: u64 = 1;

/// The format of the topic with this head.
pub(crate) fn of_head(head: &str) -> u64 {
    let mark = head.split(' ').next().and_then(|word| word.strip_prefix('v'));
    mark.and_then(|number| number.parse().ok()).unwrap_or(1)
}

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

    #[test]
    fn a_head_tells_its_format() {
        for (head, format) in [("20-7 5 12-4 0123abcd o", 1), ("v2 x", 2), ("v17", 17)] {
            assert_eq!(of_head(head), format, "{head}");
        }
        for garbage in ["", "v", "vx y", "version"] {
            assert_eq!(of_head(garbage), 1, "{garbage}");
        }
    }

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

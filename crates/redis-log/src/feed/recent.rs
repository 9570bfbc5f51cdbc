//! The topics that have had a message since the feed was last silent.
//!
//! In a cluster the messages of a primary come to its replica over the bus, and the last ones are lost with the primary,
//! although the replica has their events. No later message shows it: until the fail-over there is none. But all messages
//! of that primary stop. So when a feed falls silent, the heads of these topics are compared.

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::Instant;

/// Time without a message that counts as silence.
pub(super) const SILENCE: Duration = Duration::from_millis(100);
/// Most topics that are compared after a silence. The audit finds what was lost of others.
const RECENT_MAX: usize = 1024;

/// The topics.
#[derive(Debug, Default)]
pub(super) struct Recent {
    names: HashSet<Box<str>>,
    /// The time of the last message.
    last: Option<Instant>,
}

impl Recent {
    /// Notes a message.
    pub(super) fn note(&mut self, name: &str, now: Instant) {
        self.last = Some(now);
        if self.names.len() < RECENT_MAX && !self.names.contains(name) {
            self.names.insert(name.into());
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Takes the topics if the feed is silent.
    pub(super) fn take_if_silent(&mut self, now: Instant) -> HashSet<Box<str>> {
        match self.last {
            Some(last) if now - last >= SILENCE => std::mem::take(&mut self.names),
            _ => HashSet::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn topics_are_taken_once_after_a_silence() {
        let mut recent = Recent::default();
        let now = Instant::now();
        assert!(recent.is_empty() && recent.take_if_silent(now).is_empty());
        for name in ["a", "b", "a"] {
            recent.note(name, now);
        }
        assert!(recent.take_if_silent(now + SILENCE / 2).is_empty());
        let mut taken: Vec<_> = recent.take_if_silent(now + SILENCE).into_iter().collect();
        taken.sort_unstable();
        assert_eq!(taken, ["a", "b"].map(Box::from));
        assert!(recent.is_empty() && recent.take_if_silent(now + 2 * SILENCE).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn few_topics_are_remembered() {
        let mut recent = Recent::default();
        (0..10_000).for_each(|i| recent.note(&format!("device/{i}"), Instant::now()));
        assert_eq!(recent.names.len(), RECENT_MAX);
    }
}

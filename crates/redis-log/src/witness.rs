//! Witnesses: the last positions that were acknowledged to this node. Their numbers must not be given
//! out again.
//!
//! A server that takes over may lack the end of a topic, and nothing in it shows the loss. The nodes
//! that got the acknowledgements know. Only acknowledged events count: an event that was seen and never
//! acknowledged may come again under its idempotency key, and would be counted as missing.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use event_log::{Position, Topic};
use tokio::sync::Notify;
use tokio::time::Instant;

/// Largest number of topics whose last position is remembered.
const TOPICS_MAX: usize = 65_536;
/// Least time that a position is remembered, unless there are too many. Much longer than the lag of a
/// replica and a fail-over.
const LIFE: Duration = Duration::from_secs(60);

/// The last position that was acknowledged in each topic, of recent topics.
#[derive(Debug, Default)]
pub(crate) struct Witnesses {
    seen: Mutex<Seen>,
    doubts: Notify,
}

/// Two halves. The older half is dropped as a whole.
#[derive(Debug, Default)]
struct Seen {
    young: HashMap<Topic, Position>,
    old: HashMap<Topic, Position>,
    turned: Option<Instant>,
}

impl Witnesses {
    /// The last position that was acknowledged in a topic.
    pub(crate) fn of(&self, topic: &Topic) -> Option<Position> {
        let seen = self.seen();
        seen.young.get(topic).or_else(|| seen.old.get(topic)).copied()
    }

    /// Remembers acknowledged positions.
    pub(crate) fn saw<'a>(&self, stored: impl IntoIterator<Item = (&'a Topic, Position)>) {
        let now = Instant::now();
        let mut seen = self.seen();
        if now.duration_since(*seen.turned.get_or_insert(now)) >= LIFE {
            seen.turn(now);
        }
        for (topic, position) in stored {
            if let Some(last) = seen.young.get_mut(topic) {
                *last = position.max(*last);
                continue;
            }
            if seen.young.len() >= TOPICS_MAX / 2 {
                seen.turn(now);
            }
            let last = seen.old.remove(topic).unwrap_or_default();
            seen.young.insert(topic.clone(), position.max(last));
        }
    }

    /// Reports that the log may have lost events.
    pub(crate) fn doubt(&self) {
        self.doubts.notify_one();
    }

    /// Waits for a doubt that was not taken yet.
    pub(crate) async fn doubted(&self) {
        self.doubts.notified().await;
    }

    /// All topics of which a position is remembered.
    pub(crate) fn topics(&self) -> Vec<Topic> {
        let seen = self.seen();
        seen.young.keys().chain(seen.old.keys()).cloned().collect()
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn turn(&mut self, now: Instant) {
        self.old = std::mem::take(&mut self.young);
        self.turned = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(i: usize) -> Topic {
        Topic::new(&format!("t{i}")).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn the_greatest_position_is_remembered_for_a_while_and_for_a_bounded_number_of_topics() {
        let witnesses = Witnesses::default();
        let at = |n| Position::new(n, n);
        witnesses.saw([(&topic(0), at(5)), (&topic(0), at(4))]);
        assert_eq!(witnesses.of(&topic(0)), Some(at(5)));
        tokio::time::advance(LIFE).await;
        witnesses.saw([(&topic(1), at(1))]);
        assert_eq!(witnesses.of(&topic(0)), Some(at(5)));
        witnesses.saw([(&topic(0), at(3))]);
        assert_eq!(witnesses.of(&topic(0)), Some(at(5)));
        tokio::time::advance(LIFE * 2).await;
        witnesses.saw([(&topic(2), at(1))]);
        tokio::time::advance(LIFE).await;
        witnesses.saw([(&topic(2), at(2))]);
        assert_eq!(witnesses.of(&topic(0)), None);
        for i in 0..TOPICS_MAX * 2 {
            witnesses.saw([(&topic(i), at(1))]);
        }
        assert!(witnesses.topics().len() <= TOPICS_MAX);
    }
}

//! Witnesses: the last positions that were acknowledged to this node. Their numbers must not be given
//! out again.
//!
//! A server that takes over may lack the end of a topic, and nothing in it shows the loss. The nodes
//! that got the acknowledgements know. Only acknowledged events count: an event that was seen and never
//! acknowledged may come again under its idempotency key, and would be counted as missing.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use event_log::{LogName, Position};
use tokio::sync::Notify;
use tokio::time::Instant;

/// Largest number of topics whose last position is remembered.
const TOPICS_MAX: usize = 65_536;
/// Largest number of remembered topics of which only the first event is known. Anybody who may publish can
/// begin topics without end, and they must not push out the topics that are in use.
const BEGUN_MAX: usize = TOPICS_MAX / 4;
/// Least time that a position is remembered, unless there are too many. Much longer than the lag of a
/// replica and a fail-over.
const LIFE: Duration = Duration::from_secs(60);

/// The last position that was acknowledged in each topic, of recent topics.
#[derive(Debug)]
pub(crate) struct Witnesses {
    seen: Mutex<Seen>,
    doubts: Notify,
}

#[derive(Debug)]
struct Seen {
    /// Topics of which only the first event is known.
    begun: Remembered,
    /// Topics that have got a later event.
    used: Remembered,
}

/// Two halves. The older half is dropped as a whole.
#[derive(Debug)]
struct Remembered {
    young: HashMap<LogName, Position>,
    old: HashMap<LogName, Position>,
    turned: Option<Instant>,
    max: usize,
}

impl Default for Witnesses {
    fn default() -> Self {
        let seen = Seen {
            begun: Remembered::new(BEGUN_MAX),
            used: Remembered::new(TOPICS_MAX - BEGUN_MAX),
        };
        Self { seen: Mutex::new(seen), doubts: Notify::new() }
    }
}

impl Witnesses {
    /// The last position that was acknowledged in a topic.
    pub(crate) fn of(&self, topic: &LogName) -> Option<Position> {
        let seen = self.seen();
        seen.used.get(topic).or_else(|| seen.begun.get(topic))
    }

    /// Remembers acknowledged positions.
    pub(crate) fn saw<'a>(&self, stored: impl IntoIterator<Item = (&'a LogName, Position)>) {
        let now = Instant::now();
        let mut seen = self.seen();
        let Seen { begun, used } = &mut *seen;
        begun.age(now);
        used.age(now);
        for (topic, position) in stored {
            if used.raise(topic, position) {
                continue;
            }
            if position.n > 1 || used.get(topic).is_some() {
                begun.remove(topic);
                used.add(topic, position, now);
            } else if !begun.raise(topic, position) {
                begun.add(topic, position, now);
            }
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
    pub(crate) fn topics(&self) -> Vec<LogName> {
        let seen = self.seen();
        seen.used.topics().chain(seen.begun.topics()).cloned().collect()
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Remembered {
    fn new(max: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), turned: None, max }
    }

    fn get(&self, topic: &LogName) -> Option<Position> {
        self.young.get(topic).or_else(|| self.old.get(topic)).copied()
    }

    /// Raises the position of a topic in the young half. Returns false if the topic is not there.
    fn raise(&mut self, topic: &LogName, position: Position) -> bool {
        let last = self.young.get_mut(topic);
        last.map(|last| *last = position.max(*last)).is_some()
    }

    /// Adds a topic that is not in the young half.
    fn add(&mut self, topic: &LogName, position: Position, now: Instant) {
        if self.young.len() >= self.max / 2 {
            self.turn(now);
        }
        let last = self.old.remove(topic).unwrap_or_default();
        self.young.insert(topic.clone(), position.max(last));
    }

    fn remove(&mut self, topic: &LogName) {
        if self.young.remove(topic).is_none() {
            self.old.remove(topic);
        }
    }

    fn topics(&self) -> impl Iterator<Item = &LogName> {
        self.young.keys().chain(self.old.keys())
    }

    fn age(&mut self, now: Instant) {
        if now.duration_since(*self.turned.get_or_insert(now)) >= LIFE {
            self.turn(now);
        }
    }

    fn turn(&mut self, now: Instant) {
        self.old = std::mem::take(&mut self.young);
        self.turned = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(i: usize) -> LogName {
        LogName::parse(&format!("t{i}")).unwrap()
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

    #[tokio::test(start_paused = true)]
    async fn topics_that_only_begin_push_out_no_topic_that_is_in_use() {
        let witnesses = Witnesses::default();
        let used: Vec<_> =
            (0..1000).map(|i| LogName::parse(&format!("used{i}")).unwrap()).collect();
        for t in &used {
            witnesses.saw([(t, Position::new(1, 1)), (t, Position::new(2, 2))]);
        }
        for i in 0..2 * TOPICS_MAX {
            witnesses.saw([(&topic(i), Position::new(3, 1))]);
        }
        for t in &used {
            assert_eq!(witnesses.of(t), Some(Position::new(2, 2)), "{t}");
        }
        assert!(witnesses.topics().len() <= TOPICS_MAX);
        // A topic that began again is known by its greatest position, whichever came last.
        witnesses.saw([(&used[0], Position::new(1, 1))]);
        assert_eq!(witnesses.of(&used[0]), Some(Position::new(2, 2)));
        assert_eq!(witnesses.topics().iter().filter(|t| **t == used[0]).count(), 1);
    }
}

//! What was acknowledged to this node: numbers that must not be given out again.
//!
//! A server that takes over may lack the end of a topic, and nothing in it shows that there was more.
//! Those who got the acknowledgements know. Only what was acknowledged counts: an event that was seen
//! and never acknowledged may come again under its idempotency key, and would be counted as missing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use event_log::{Position, Topic};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::node::{Backoff, Node};

/// Topics whose last position is remembered.
const TOPICS_MAX: usize = 65_536;
/// How long one is remembered at least, unless there are too many: much longer than a replica lags
/// and a fail-over takes.
const LIFE: Duration = Duration::from_secs(60);
/// The least time between two comparisons of all.
const PAUSE: Duration = Duration::from_secs(1);

/// The last position acknowledged of each topic, the recent ones.
#[derive(Debug, Default)]
pub(crate) struct Witnesses {
    seen: Mutex<Seen>,
    doubts: Notify,
}

/// Two halves, of which the older is dropped whole.
#[derive(Debug, Default)]
struct Seen {
    young: HashMap<Topic, Position>,
    old: HashMap<Topic, Position>,
    turned: Option<Instant>,
}

impl Witnesses {
    /// The last position that was acknowledged of a topic.
    pub(crate) fn of(&self, topic: &Topic) -> Option<Position> {
        let seen = self.seen();
        seen.young.get(topic).or_else(|| seen.old.get(topic)).copied()
    }

    /// These were acknowledged.
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

    /// The log may have lost something.
    pub(crate) fn doubt(&self) {
        self.doubts.notify_one();
    }

    fn topics(&self) -> Vec<Topic> {
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

/// Compares all that was acknowledged with the log whenever that may have lost something, until the
/// log closes: a topic in which nothing follows would never show it.
pub(crate) async fn run(node: Arc<Node>) {
    loop {
        node.store.witnesses().doubts.notified().await;
        let mut backoff = Backoff::new();
        loop {
            let topics = node.store.witnesses().topics();
            let topics: Vec<_> = topics.iter().collect();
            let heads = node.store.raised_heads(&topics).await;
            if heads.iter().all(Result::is_ok) {
                break;
            }
            sleep(backoff.next()).await;
        }
        sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(i: usize) -> Topic {
        Topic::new(&format!("t{i}")).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn the_greatest_is_remembered_for_a_while_and_not_of_too_many() {
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

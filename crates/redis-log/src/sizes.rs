//! The sizes of events: what this node has learnt about topics by reading them.
//!
//! Redis counts the events that it sends, not their bytes. A topic whose events differ in size would
//! make it send far more than a page holds. So a topic that was seen to do so is read by a script,
//! which ends a page at its bytes; the others are read by the plain command, which is cheaper.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use event_log::Topic;

/// Topics whose sizes are remembered. One that was forgotten is learnt anew by one small read.
const TOPICS_MAX: usize = 32_768;
/// The times of what a page holds that Redis may send for it.
const SENT_MAX: usize = 2;
/// Events of a page that show a topic's sizes.
const SAMPLE: usize = 32;

/// The sizes of a topic's events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EventSizes {
    /// A page of events was seen to weigh about what was expected.
    Even,
    /// Redis once sent more than [`SENT_MAX`] times what the page could hold.
    Uneven,
}

/// The sizes of recently read topics.
#[derive(Debug, Default)]
pub(crate) struct KnownSizes(Mutex<Halves>);

/// The older half is dropped as a whole.
#[derive(Debug, Default)]
struct Halves {
    young: HashMap<Topic, EventSizes>,
    old: HashMap<Topic, EventSizes>,
}

impl KnownSizes {
    /// The sizes of a topic's events, if they are known.
    pub(crate) fn of(&self, topic: &Topic) -> Option<EventSizes> {
        let halves = self.halves();
        halves.young.get(topic).or_else(|| halves.old.get(topic)).copied()
    }

    /// Learns from a page: Redis has sent `sent` events of this weight, of which `taken` fit.
    pub(crate) fn learn(&self, topic: &Topic, events: usize, sent: usize, taken: usize) {
        if sent > taken.saturating_mul(SENT_MAX) {
            self.halves().set(topic, EventSizes::Uneven);
        } else if events >= SAMPLE && self.of(topic).is_none() {
            self.halves().set(topic, EventSizes::Even);
        }
    }

    fn halves(&self) -> MutexGuard<'_, Halves> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Halves {
    fn set(&mut self, topic: &Topic, sizes: EventSizes) {
        if self.young.len() >= TOPICS_MAX / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(topic.clone(), sizes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_that_was_uneven_once_stays_so() {
        let (sizes, t) = (KnownSizes::default(), Topic::new("t").unwrap());
        sizes.learn(&t, SAMPLE - 1, 100, 100);
        assert_eq!(sizes.of(&t), None, "too few events tell nothing");
        sizes.learn(&t, SAMPLE, 200, 100);
        assert_eq!(sizes.of(&t), Some(EventSizes::Even));
        sizes.learn(&t, 1, 201, 100);
        assert_eq!(sizes.of(&t), Some(EventSizes::Uneven));
        sizes.learn(&t, SAMPLE, 100, 100);
        assert_eq!(sizes.of(&t), Some(EventSizes::Uneven));
    }

    #[test]
    fn the_remembered_topics_are_bounded() {
        let sizes = KnownSizes::default();
        for i in 0..2 * TOPICS_MAX {
            sizes.learn(&Topic::new(&format!("t{i}")).unwrap(), SAMPLE, 1, 1);
        }
        let halves = sizes.halves();
        assert!(halves.young.len() + halves.old.len() <= TOPICS_MAX);
    }
}

//! The sizes of events: what this node has learnt about topics by reading them.
//!
//! Redis counts the events that it sends, not their bytes. A topic whose events differ in size would
//! make it send far more than a page holds. So a topic is read by a script, which ends a page at its
//! bytes, until its events are known to be alike. Then it is read by the plain command, which costs
//! Redis a fifth of the time, until a page shows that they are not.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use event_log::LogName;

/// Topics whose sizes are remembered. One that was forgotten is learnt anew by its next read.
const TOPICS_MAX: usize = 32_768;
/// The times of what a page holds that Redis may send or look at for it.
const EXCESS_MAX: usize = 2;
/// Events of a page that show a topic's sizes.
const SAMPLE: usize = 32;

/// The sizes of a topic's events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EventSizes {
    /// A page of events was seen to weigh about what was expected.
    Even,
    /// Redis once sent or looked at more than [`EXCESS_MAX`] times what the page could hold.
    Uneven,
}

/// The facts of a page that tell the sizes of its topic.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LearntPage {
    /// Events that Redis has looked at.
    pub(crate) looked_at: usize,
    /// Events that the reader got.
    pub(crate) taken: usize,
    /// Weight of the events that Redis has sent, in bytes.
    pub(crate) sent: usize,
    /// Weight of those that the reader got.
    pub(crate) kept: usize,
}

/// The sizes of recently read topics.
#[derive(Debug, Default)]
pub(crate) struct KnownSizes(Mutex<Halves>);

/// The older half is dropped as a whole.
#[derive(Debug, Default)]
struct Halves {
    young: HashMap<LogName, EventSizes>,
    old: HashMap<LogName, EventSizes>,
}

impl KnownSizes {
    /// The sizes of a topic's events, if they are known.
    pub(crate) fn of(&self, topic: &LogName) -> Option<EventSizes> {
        let halves = self.halves();
        halves.young.get(topic).or_else(|| halves.old.get(topic)).copied()
    }

    /// Learns from a page.
    pub(crate) fn learn(&self, topic: &LogName, page: LearntPage) {
        let LearntPage { looked_at, taken, sent, kept } = page;
        if sent > kept.saturating_mul(EXCESS_MAX) || looked_at > taken.saturating_mul(EXCESS_MAX) {
            self.halves().set(topic, EventSizes::Uneven);
        } else if taken >= SAMPLE && self.of(topic).is_none() {
            self.halves().set(topic, EventSizes::Even);
        }
    }

    fn halves(&self) -> MutexGuard<'_, Halves> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Halves {
    fn set(&mut self, topic: &LogName, sizes: EventSizes) {
        if self.young.len() >= TOPICS_MAX / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(topic.clone(), sizes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(looked_at: usize, taken: usize, sent: usize, kept: usize) -> LearntPage {
        LearntPage { looked_at, taken, sent, kept }
    }

    #[test]
    fn a_topic_that_was_uneven_once_stays_so() {
        let (sizes, t) = (KnownSizes::default(), LogName::parse("t").unwrap());
        sizes.learn(&t, page(SAMPLE - 1, SAMPLE - 1, 100, 100));
        assert_eq!(sizes.of(&t), None, "too few events tell nothing");
        sizes.learn(&t, page(SAMPLE, SAMPLE, 200, 100));
        assert_eq!(sizes.of(&t), Some(EventSizes::Even));
        sizes.learn(&t, page(3, 1, 201, 100));
        assert_eq!(sizes.of(&t), Some(EventSizes::Uneven));
        sizes.learn(&t, page(SAMPLE, SAMPLE, 100, 100));
        assert_eq!(sizes.of(&t), Some(EventSizes::Uneven));
    }

    #[test]
    fn a_page_of_which_the_script_dropped_most_is_uneven() {
        let (sizes, t) = (KnownSizes::default(), LogName::parse("t").unwrap());
        sizes.learn(&t, page(128, 1, 100, 100));
        assert_eq!(sizes.of(&t), Some(EventSizes::Uneven));
    }

    #[test]
    fn the_remembered_topics_are_bounded() {
        let sizes = KnownSizes::default();
        for i in 0..2 * TOPICS_MAX {
            sizes.learn(&LogName::parse(&format!("t{i}")).unwrap(), page(SAMPLE, SAMPLE, 1, 1));
        }
        let halves = sizes.halves();
        assert!(halves.young.len() + halves.old.len() <= TOPICS_MAX);
    }
}

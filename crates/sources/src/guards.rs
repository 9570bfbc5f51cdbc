//! The bookmarks of a source in its topics, as far as a copier knows them.

use std::collections::HashMap;

use event_log::{Bookmark, Topic};

use crate::place::Place;

/// The last known bookmark of each topic.
#[derive(Debug, Default)]
pub(crate) struct Guards(HashMap<Topic, Guard>);

/// A bookmark, and the way in which it became known.
#[derive(Debug, Clone, Default)]
pub(crate) struct Guard {
    pub(crate) place: Option<Place>,
    /// True if the log has acknowledged it to this copier. A log that has an older one then has lost it.
    pub(crate) is_acknowledged: bool,
}

/// Most topics that are remembered. One that is forgotten costs an append that is refused once.
const TOPICS_MAX: usize = 100_000;

impl Guard {
    pub(crate) fn bookmark(&self) -> Option<Bookmark> {
        self.place.as_ref().map(Place::bookmark)
    }
}

impl Guards {
    pub(crate) fn of(&self, topic: &Topic) -> Guard {
        self.0.get(topic).cloned().unwrap_or_default()
    }

    /// The place of a topic's bookmark.
    pub(crate) fn place(&self, topic: &Topic) -> Option<&Place> {
        self.0.get(topic).and_then(|guard| guard.place.as_ref())
    }

    pub(crate) fn set(&mut self, topic: &Topic, guard: Guard) {
        if self.0.len() >= TOPICS_MAX && !self.0.contains_key(topic) {
            self.0.clear();
        }
        self.0.insert(topic.clone(), guard);
    }
}

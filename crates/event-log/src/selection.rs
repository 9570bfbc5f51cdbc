//! The part of a log that a reader wants.

use std::fmt;
use std::sync::Arc;

use crate::{Event, Pattern, Topic};

/// Topics and patterns of topics of one space, at least one; both sorted, each once. An event is selected if one of
/// them matches its topic. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Selection(Arc<Selectors>);

#[derive(PartialEq, Eq, Hash)]
struct Selectors {
    topics: Box<[Topic]>,
    patterns: Box<[Pattern]>,
}

impl Selection {
    /// A selection of these topics and patterns.
    pub(crate) fn new(mut topics: Vec<Topic>, mut patterns: Vec<Pattern>) -> Self {
        topics.sort();
        topics.dedup();
        patterns.sort();
        patterns.dedup();
        Self(Arc::new(Selectors { topics: topics.into(), patterns: patterns.into() }))
    }

    /// The topics, sorted.
    #[must_use]
    pub fn topics(&self) -> &[Topic] {
        &self.0.topics
    }

    /// The patterns, sorted.
    #[must_use]
    pub fn patterns(&self) -> &[Pattern] {
        &self.0.patterns
    }

    /// Returns true if one of an event's topics is selected.
    #[must_use]
    pub fn selects(&self, event: &Event) -> bool {
        event.topics().any(|topic| self.wants(topic))
    }

    /// Returns true if events of a topic are selected.
    #[must_use]
    pub fn wants(&self, topic: &Topic) -> bool {
        self.0.topics.binary_search(topic).is_ok()
            || self.0.patterns.iter().any(|p| p.matches(topic))
    }

    /// The texts of the topics, and then of the patterns.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        let patterns = self.0.patterns.iter().map(Pattern::as_str);
        self.0.topics.iter().map(|topic| topic.as_str()).chain(patterns)
    }
}

impl fmt::Debug for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.texts()).finish()
    }
}

//! The strands of a tail, found by the topics of an event.
//!
//! An event looks up each of its topics among the exact ones, and walks the patterns once by its segments. So it costs what its
//! readers cost, however many others the log has.

use std::collections::HashMap;
use std::sync::Arc;

use smallvec::SmallVec;

use super::strand::Strand;
use crate::pattern::{ONE, REST};
use crate::{Event, Pattern, Position, Selection, Topic};

/// The strands that have readers.
#[derive(Debug, Default)]
pub(super) struct Strands {
    /// Each with the number of its readers.
    of: HashMap<Selection, (Arc<Strand>, usize)>,
    topics: HashMap<Topic, List>,
    patterns: Node,
}

/// Most topics have one strand.
type List = SmallVec<[Arc<Strand>; 1]>;

/// The patterns that have these segments in common.
#[derive(Debug, Default)]
struct Node {
    named: HashMap<Box<str>, Node>,
    any: Option<Box<Node>>,
    /// The patterns that go on with `**`.
    rest: List,
    /// The patterns that end here.
    here: List,
}

impl Strands {
    /// The strand of a selection, with one more reader.
    pub(super) fn join(&mut self, selection: &Selection, head: Position) -> Arc<Strand> {
        if let Some((strand, readers)) = self.of.get_mut(selection) {
            *readers += 1;
            return Arc::clone(strand);
        }
        let strand = Arc::new(Strand::new(selection.clone(), head));
        self.of.insert(selection.clone(), (Arc::clone(&strand), 1));
        for topic in selection.topics() {
            self.topics.entry(topic.clone()).or_default().push(Arc::clone(&strand));
        }
        for pattern in selection.patterns() {
            self.patterns.list(pattern).push(Arc::clone(&strand));
        }
        strand
    }

    /// One reader of a strand has left. A strand without readers goes.
    pub(super) fn leave(&mut self, strand: &Arc<Strand>) {
        let Some((_, readers)) = self.of.get_mut(&strand.selection) else { return };
        *readers -= 1;
        if *readers > 0 {
            return;
        }
        self.of.remove(&strand.selection);
        for topic in strand.selection.topics() {
            if let Some(list) = self.topics.get_mut(topic) {
                list.retain(|other| !Arc::ptr_eq(other, strand));
                if list.is_empty() {
                    self.topics.remove(topic);
                }
            }
        }
        for pattern in strand.selection.patterns() {
            let segments: Vec<_> = pattern.segments().collect();
            self.patterns.remove(&segments, strand);
        }
    }

    /// Calls `take` with each strand that selects the event: more than once if several of their topics or patterns do.
    pub(super) fn matching(&self, event: &Event, mut take: impl FnMut(&Arc<Strand>)) {
        for topic in event.topics() {
            if let Some(list) = self.topics.get(topic) {
                list.iter().for_each(&mut take);
            }
            if !self.patterns.is_empty() {
                let segments: SmallVec<[&str; 8]> = topic.as_str().split('/').collect();
                self.patterns.matching(&segments, &mut take);
            }
        }
    }

    /// All strands.
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Strand>> {
        self.of.values().map(|(strand, _)| strand)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.of.is_empty()
    }

    /// The readers of all strands.
    pub(super) fn readers(&self) -> usize {
        self.of.values().map(|(_, readers)| readers).sum()
    }
}

impl Node {
    /// The list that a pattern belongs to.
    fn list(&mut self, pattern: &Pattern) -> &mut List {
        let mut node = self;
        for segment in pattern.segments() {
            node = match segment {
                REST => return &mut node.rest,
                ONE => node.any.get_or_insert_default(),
                name => node.named.entry(name.into()).or_default(),
            };
        }
        &mut node.here
    }

    fn remove(&mut self, segments: &[&str], strand: &Arc<Strand>) {
        let is_other = |other: &mut Arc<Strand>| !Arc::ptr_eq(other, strand);
        match segments {
            [] => self.here.retain(is_other),
            [REST, ..] => self.rest.retain(is_other),
            [ONE, rest @ ..] => {
                if let Some(node) = &mut self.any {
                    node.remove(rest, strand);
                }
                self.any.take_if(|node| node.is_empty());
            }
            [name, rest @ ..] => {
                if let Some(node) = self.named.get_mut(*name) {
                    node.remove(rest, strand);
                    if node.is_empty() {
                        self.named.remove(*name);
                    }
                }
            }
        }
    }

    /// The depth is that of the patterns, whose length is bounded.
    fn matching(&self, segments: &[&str], take: &mut impl FnMut(&Arc<Strand>)) {
        let [first, rest @ ..] = segments else {
            self.here.iter().for_each(take);
            return;
        };
        self.rest.iter().for_each(&mut *take);
        if let Some(node) = &self.any {
            node.matching(rest, take);
        }
        if let Some(node) = self.named.get(*first) {
            node.matching(rest, take);
        }
    }

    fn is_empty(&self) -> bool {
        self.named.is_empty() && self.any.is_none() && self.rest.is_empty() && self.here.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::NewEvent;

    fn selection(topics: &[String], patterns: &[String]) -> Selection {
        let topics = topics.iter().map(|text| Topic::new(text).unwrap()).collect();
        let patterns = patterns.iter().filter_map(|text| Pattern::new(text).ok()).collect();
        Selection::new(topics, patterns)
    }

    proptest! {
        #[test]
        fn an_event_finds_the_strands_that_want_it_and_no_others(
            selections in prop::collection::vec(
                (prop::collection::vec("s/[ab](/[ab]){0,2}", 0..3),
                 prop::collection::vec("s(/([ab]|\\*)){1,3}(/\\*\\*)?", 0..3)), 1..8),
            stays in prop::collection::vec(any::<bool>(), 8),
            topic in "s/[ab](/[ab]){0,2}",
        ) {
            let mut strands = Strands::default();
            let all: Vec<_> = selections.iter().map(|(t, p)| selection(t, p)).collect();
            let joined: Vec<_> = all.iter().map(|one| strands.join(one, Position::START)).collect();
            for (strand, stays) in joined.iter().zip(&stays) {
                if !stays {
                    strands.leave(strand);
                }
            }
            let topic = Topic::new(&topic).unwrap();
            let event = Event::new(topic.clone(), Position::new(1, 1), NewEvent::default());
            let mut found = BTreeSet::new();
            strands.matching(&event, |strand| {
                found.insert(format!("{:?}", strand.selection));
            });
            let kept = all.iter().zip(&stays).filter(|(one, stays)| **stays && one.wants(&topic));
            let wanted: BTreeSet<_> = kept.map(|(one, _)| format!("{one:?}")).collect();
            prop_assert_eq!(found, wanted);
            for (strand, stays) in joined.iter().zip(&stays) {
                if *stays {
                    strands.leave(strand);
                }
            }
            prop_assert!(strands.is_empty() && strands.topics.is_empty() && strands.patterns.is_empty());
        }
    }
}

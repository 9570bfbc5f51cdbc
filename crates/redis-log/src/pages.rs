//! Pages: the events that a read asks Redis for, and those of them that the reader gets.

use std::sync::Arc;

use event_log::{Event, Limit, LogName, Position};

use crate::sizes::{EventSizes, KnownSizes, LearntPage};
use crate::store::{Fit, PAGE, ReadPlan};
use crate::topics::Topics;

/// Plans pages by what is known of the sizes of events.
#[derive(Debug)]
pub(crate) struct Pages {
    topics: Arc<Topics>,
    sizes: KnownSizes,
}

impl Pages {
    pub(crate) fn new(topics: &Arc<Topics>) -> Self {
        Self { topics: Arc::clone(topics), sizes: KnownSizes::default() }
    }

    /// The events that a read asks for: as many as fit the limit, by what is known of their sizes.
    pub(crate) fn plan(&self, topic: &LogName, limit: Limit) -> ReadPlan {
        let most = limit.events.clamp(1, PAGE);
        let fit = |first| Some(Fit { weight: limit.bytes, first });
        let sizes = self.sizes.of(topic);
        if sizes == Some(EventSizes::Uneven) {
            return ReadPlan { count: most, fit: fit(1) };
        }
        let tail = self.topics.get(topic.as_str()).and_then(|watched| watched.tail());
        let (events, weight) = tail.map_or((0, 0), |tail| {
            tail.inspect(|events| {
                events.fold((0, 0), |(count, sum), event| (count + 1, sum + event.weight()))
            })
        });
        // Like the newest events, until the topic is known to differ.
        let likely = match weight.checked_div(events) {
            Some(mean) => most.min((limit.bytes / mean.max(1)).max(1)),
            None => most,
        };
        match sizes {
            Some(_) => ReadPlan { count: likely, fit: None },
            None => ReadPlan { count: most, fit: fit(likely) },
        }
    }

    /// Cuts a page to the limit, and learns from it.
    pub(crate) fn cut(
        &self,
        topic: &LogName,
        plan: ReadPlan,
        events: &mut Vec<Event>,
        limit: Limit,
    ) {
        let weight = |events: &[Event]| events.iter().map(Event::weight).sum();
        let (count, sent) = (events.len(), weight(events));
        events.truncate(limit.fits(events));
        let looked_at = match plan.fit {
            // The script has dropped what did not fit, unless there was no more.
            Some(Fit { first, .. }) if self.has_more(topic, events) => first,
            _ => count,
        };
        self.sizes.learn(
            topic,
            LearntPage { looked_at, taken: events.len(), sent, kept: weight(events) },
        );
    }

    /// Returns true if the tail of a topic has passed the last of some events.
    fn has_more(&self, topic: &LogName, events: &[Event]) -> bool {
        let tail = self.topics.get(topic.as_str()).and_then(|watched| watched.tail());
        let last = events.last().map_or(Position::START, Event::position);
        tail.is_some_and(|tail| tail.head().n > last.n)
    }
}

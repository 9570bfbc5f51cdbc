//! The intake of a stream: gives each event that was not copied yet its place.

use std::sync::{Arc, Mutex, PoisonError};

use event_log::{EventType, Mark, NewEvent, Topic};

use crate::place::Place;
use crate::print::{Print, Prints};
use crate::source::Item;
use crate::trail::{Again, Resume, Seen, Trail};

/// Turns the events of one connection into items.
#[derive(Debug)]
pub(crate) struct Intake {
    topic: Topic,
    event_bytes_max: usize,
    trail: Trail,
    /// Events may come again.
    again: Option<Again>,
    /// The last event has come again, and none after it.
    is_level: bool,
    memory: Memory,
}

/// An event as a stream has it.
#[derive(Debug, Default)]
pub(crate) struct Received<'a> {
    /// Its id, or the one that it has inherited.
    pub(crate) id: &'a str,
    /// The id is its own.
    pub(crate) is_own: bool,
    /// The type; empty if it has none.
    pub(crate) kind: &'a str,
    /// The data, or their beginning.
    pub(crate) data: &'a str,
    /// The size of the data in bytes, if only their beginning was kept.
    pub(crate) cut: Option<usize>,
    /// The mark of its entry.
    pub(crate) mark: Mark,
    /// The reason why it cannot be an event.
    pub(crate) fault: Option<String>,
}

/// The memory of all connections of one source, beside the text of places. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Memory(Arc<Mutex<Remembered>>);

#[derive(Debug, Default)]
struct Remembered {
    /// The number of all events that were taken.
    taken: u64,
    /// The prints of the last of them.
    prints: Prints,
    /// The number of events after which a connection was closed in order.
    level: Option<u64>,
}

/// Most prints that are remembered, of 6 bytes.
const PRINTS_MAX: u64 = 4096;

impl Memory {
    fn change<T>(&self, change: impl FnOnce(&mut Remembered) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns true if a connection was closed in order after the last event had come again: the stream may be at its end.
    pub(crate) fn is_level(&self, trail: &Trail) -> bool {
        self.change(|memory| memory.level == Some(trail.copied()))
    }

    /// The way to go on after a trail. What was taken and not stored is forgotten, because it comes again as new.
    pub(crate) fn resume(&self, trail: &Trail) -> Option<Resume> {
        self.change(|memory| {
            let mut resume = trail.resume()?;
            let unstored = memory.taken.checked_sub(trail.copied());
            let kept = unstored.and_then(|more| memory.prints.len().checked_sub(more));
            let kept = usize::try_from(kept.unwrap_or(0)).unwrap_or(0);
            let earlier: Prints = memory.prints.iter().take(kept).collect();
            (memory.taken, memory.prints) = (trail.copied(), resume.again.extend(&earlier));
            Some(resume)
        })
    }

    fn take(&self, trail: &Trail, print: Print) {
        self.change(|memory| {
            memory.taken = trail.copied();
            memory.prints.add(print, PRINTS_MAX);
        });
    }
}

impl Intake {
    pub(crate) const fn new(
        topic: Topic,
        event_bytes_max: usize,
        trail: Trail,
        again: Option<Again>,
        memory: Memory,
    ) -> Self {
        Self { topic, event_bytes_max, trail, again, is_level: false, memory }
    }

    pub(crate) const fn trail(&mut self) -> &mut Trail {
        &mut self.trail
    }

    /// Takes the connection for opened. `after` is the place of the opening, and `is_continued` says that an id was sent.
    pub(crate) fn begin(&mut self, after: Option<&Place>, is_continued: bool) -> Option<Item> {
        if after.is_none() {
            // From here on a break is told.
            return Some(self.pass(""));
        }
        let reason = "the stream broke off and has no id from which it can go on";
        (!is_continued && !self.trail.has_told()).then(|| self.gap(None, reason.to_owned()))
    }

    /// Adds the items of an event: none if it was copied already.
    pub(crate) fn take(&mut self, event: Received<'_>, items: &mut Vec<Item>) {
        let own = if event.is_own { "own" } else { "" };
        let print = Print::of(&[event.id, own, event.kind, event.data]);
        match self.again.as_mut().map(|again| again.see(print)) {
            Some(Seen::Before) => return,
            Some(Seen::Last) => {
                (self.again, self.is_level) = (None, true);
                return;
            }
            Some(Seen::New { is_unproven: true }) => {
                let reason = "the server does not send the last event again";
                items.push(self.gap(None, reason.to_owned()));
            }
            Some(Seen::New { is_unproven: false }) | None => {}
        }
        (self.again, self.is_level) = (None, false);
        let id = self.trail.check_id(event.id);
        match (&id, event.is_own) {
            (Ok(()), is_own) => self.trail.copy(event.id, is_own, print),
            (Err(_), _) => {
                let id = self.trail.id().to_owned();
                self.trail.copy(&id, false, print);
            }
        }
        self.memory.take(&self.trail, print);
        let place = self.trail.place();
        let kind = match event.kind {
            "" | "message" => Ok(None),
            kind => EventType::new(kind).map(Some),
        };
        let too_large = event.cut.map(|bytes| {
            format!("an event has {bytes} bytes; event-bytes-max is {}", self.event_bytes_max)
        });
        let bad_id = id.err().filter(|_| event.is_own);
        let fault = event.fault.or(too_large).or(bad_id);
        items.push(match (kind, fault) {
            (Ok(kind), None) => {
                let event = NewEvent {
                    kind,
                    data: event.data.into(),
                    mark: event.mark,
                    ..NewEvent::default()
                };
                Item::Event { topic: self.topic.clone(), event, place }
            }
            (Err(error), None) => {
                let excerpt = event.data.to_owned();
                Item::Bad { excerpt, reason: error.to_string(), place }
            }
            (_, Some(reason)) => Item::Bad { excerpt: event.data.to_owned(), reason, place },
        });
    }

    /// The item of a gap.
    pub(crate) fn gap(&mut self, missed: Option<u64>, reason: String) -> Item {
        self.trail.miss();
        Item::Gap { missed, reason, place: self.trail.place() }
    }

    /// The item of an id without an event, which is empty if there is none.
    pub(crate) fn pass(&mut self, id: &str) -> Item {
        if id.is_empty() || self.trail.check_id(id).is_err() {
            self.trail.step();
        } else {
            self.trail.pass(id);
        }
        Item::Passed(self.trail.place())
    }

    /// Takes the connection for closed in order.
    pub(crate) fn close(&self) {
        if self.is_level {
            let copied = self.trail.copied();
            self.memory.change(|memory| memory.level = Some(copied));
        }
    }

    /// Takes the stream for ended, and returns the end of the topic.
    pub(crate) fn end(&mut self) -> Item {
        self.trail.end();
        let event = NewEvent { mark: Mark::End, ..NewEvent::default() };
        Item::Event { topic: self.topic.clone(), event, place: self.trail.place() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn intake(memory: &Memory, after: Option<&Place>) -> Intake {
        let trail = Trail::up_to(after);
        let again = memory.resume(&trail).map(|resume| resume.again);
        Intake::new(Topic::new("t").unwrap(), 100, trail, again, memory.clone())
    }

    fn take(intake: &mut Intake, id: &str) -> Option<Place> {
        let mut items = Vec::new();
        intake.take(Received { id, is_own: true, data: id, ..Received::default() }, &mut items);
        assert!(items.len() < 2, "{items:?}");
        items.pop().map(|item| item.place().clone())
    }

    #[test]
    fn events_that_were_taken_and_not_stored_are_new_when_they_come_again() {
        let memory = Memory::default();
        let mut first = intake(&memory, None);
        let places = ["a", "b", "c", "d"].map(|id| take(&mut first, id));
        let mut second = intake(&memory, places[1].as_ref());
        assert_eq!(take(&mut second, "b"), None);
        assert_eq!(take(&mut second, "c"), places[2]);
        assert_eq!(take(&mut second, "d"), places[3]);
    }

    /// A stream whose ids are missing and repeated. Events without an id of their own look alike.
    fn stream() -> impl Strategy<Value = Vec<(usize, bool, usize)>> {
        let event = (0..4_u8, any::<bool>());
        prop::collection::vec(event, 1..60).prop_map(|events| {
            let mut id = 1;
            let event = |(n, (step, is_own)): (usize, (u8, bool))| {
                id += usize::from(step == 0 && n > 0);
                // The first event of an id has it.
                let is_own = is_own || step == 0 || n == 0;
                (id, is_own, if is_own { n } else { 0 })
            };
            events.into_iter().enumerate().map(event).collect()
        })
    }

    proptest! {
        #[test]
        fn whatever_breaks_each_event_is_copied_once(
            events in stream(),
            behind_all in any::<bool>(),
            back in 0..3_usize,
            faults in prop::collection::vec((0..12_usize, 0..12_usize, any::<bool>()), 0..40),
        ) {
            let mut memory = Memory::default();
            let (mut copied, mut place): (Vec<(usize, usize)>, Option<Place>) = (Vec::new(), None);
            let last = [(usize::MAX, usize::MAX, false); 2];
            // Two ids come first: after one alone nothing is proven.
            let second = (0..events.len()).find(|&n| events[n].0 > 1).map_or(usize::MAX, |n| n + 1);
            let first = [(second, second, false)];
            for (sent, stored, restarts) in first.into_iter().chain(faults).chain(last) {
                if restarts {
                    memory = Memory::default();
                }
                let trail = Trail::up_to(place.as_ref());
                let resume = memory.resume(&trail);
                let asked: Option<usize> = resume.as_ref().map(|resume| resume.id.parse().unwrap());
                // The server goes on behind the first event that has this id, or behind the last one that brings it.
                let mut with_id = (0..events.len()).filter(|&n| Some(events[n].0) == asked && events[n].1);
                let from = if behind_all { with_id.next_back() } else { with_id.next() };
                let from = from.map_or(0, |n| n + 1).saturating_sub(back);
                let again = resume.map(|resume| resume.again);
                let mut intake = Intake::new(Topic::new("t").unwrap(), 9, trail, again, memory.clone());
                let mut items = Vec::new();
                for (id, is_own, data) in events.iter().skip(from).take(sent) {
                    let (id, data) = (id.to_string(), data.to_string());
                    let received = Received { id: &id, is_own: *is_own, data: &data, ..Received::default() };
                    intake.take(received, &mut items);
                }
                for item in items.into_iter().take(stored) {
                    let Item::Event { event, place: after, .. } = item else {
                        panic!("{item:?}");
                    };
                    prop_assert!(place.as_ref().is_none_or(|place| place.order() < after.order()));
                    copied.push((events[copied.len()].0, event.data.parse().unwrap()));
                    place = Some(after);
                }
            }
            let wanted: Vec<_> = events.iter().map(|(id, _, data)| (*id, *data)).collect();
            prop_assert_eq!(copied, wanted);
        }
    }

    #[test]
    fn a_long_history_that_comes_again_is_known_within_a_process() {
        let memory = Memory::default();
        let mut first = intake(&memory, None);
        let ids: Vec<_> = (0..1000).map(|n| n.to_string()).collect();
        let last = ids.iter().map(|id| take(&mut first, id)).last().unwrap();
        let mut second = intake(&memory, last.as_ref());
        assert!(ids.iter().all(|id| take(&mut second, id).is_none()));
        assert!(take(&mut second, "new").is_some());
    }
}

//! The live end of a topic: its recent events, and the wake-up of readers that wait for the next.
//!
//! A [`Tail`] belongs to one log on one node, and all readers of the topic there share it. It is a
//! window, not a queue: readers copy from it, and nothing waits for them. One invariant carries
//! everything: **the window is contiguous** from the position before its first event up to its head.
//! [`Log::read`](crate::Log::read) answers for a position that the window does not contain.
//!
//! A reader of a space that selects events has a [strand](strand) of the tail instead of the window.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use smallvec::SmallVec;

use crate::wake::Readers;
use crate::{Event, Events, Limit, Position, Selection, Wake};

mod selected;
mod strand;
mod strands;

pub(crate) use selected::{Selected, SelectedRead};
use strand::Strand;
use strands::Strands;

/// Recent events of a topic, and its wake-up.
#[derive(Debug)]
pub struct Tail {
    window: RwLock<Window>,
    readers: Arc<Readers>,
}

#[derive(Debug)]
struct Window {
    /// The position before `events[0]`; the head if there are none.
    before: Position,
    events: VecDeque<Event>,
    /// Sum of the weights of `events`.
    bytes: usize,
    capacity: Limit,
    ended: bool,
    /// The number of resets.
    resets: u64,
    /// The strands of readers that select; `None` without such readers.
    strands: Option<Box<Strands>>,
}

/// Strands that a few events wake, without an allocation.
type Woken = SmallVec<[Arc<Strand>; 4]>;

/// The result of a read from a tail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recent {
    /// Events follow, and were copied up to the head.
    ToHead,
    /// Events follow, and were copied as far as the limit goes.
    ToLimit,
    /// Nothing follows yet.
    AtHead,
    /// The window does not contain the position: read the log.
    Elsewhere,
}

impl Tail {
    /// Makes the tail of a topic whose head is `head`, with an empty window of at most `capacity`.
    #[must_use]
    pub fn new(head: Position, ended: bool, capacity: Limit) -> Self {
        let window = Window {
            before: head,
            events: VecDeque::new(),
            bytes: 0,
            capacity,
            ended,
            resets: 0,
            strands: None,
        };
        Self { window: RwLock::new(window), readers: Arc::default() }
    }

    /// Returns the last position that this node knows.
    #[must_use]
    pub fn head(&self) -> Position {
        self.window().head()
    }

    /// Returns whether the event at the head ended the topic.
    #[must_use]
    pub fn ended(&self) -> bool {
        self.window().ended
    }

    /// Returns whether `position` is the head and the topic ended there, both at one moment.
    pub(crate) fn ended_at(&self, position: Position) -> bool {
        let window = self.window();
        window.ended && window.head() == position
    }

    /// Returns the position of the oldest event in the window.
    #[must_use]
    pub fn oldest(&self) -> Option<Position> {
        self.window().events.front().map(Event::position)
    }

    /// Returns the number of events in the window.
    #[must_use]
    pub fn len(&self) -> usize {
        self.window().events.len()
    }

    /// Returns whether the window holds no event.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Makes the wake-up of one reader. A reader that marks it unchanged, reads, and then waits misses
    /// nothing in between.
    #[must_use]
    pub fn wake(&self) -> Wake {
        self.readers.join()
    }

    /// Returns the number of readers that the log has on this node: of wake-ups and selections that are out.
    #[must_use]
    pub fn readers(&self) -> usize {
        let selecting = self.window().strands.as_ref().map_or(0, |strands| strands.readers());
        self.readers.count() + selecting
    }

    /// Takes hold of the strand of a selection. Events from now on are on it.
    pub(crate) fn select(self: &Arc<Self>, selection: &Selection) -> Selected {
        let mut window = self.window_mut();
        let head = window.head();
        let strand = window.strands.get_or_insert_default().join(selection, head);
        drop(window);
        Selected::new(Arc::clone(self), strand)
    }

    fn leave(&self, strand: &Arc<Strand>) {
        let mut window = self.window_mut();
        if let Some(strands) = &mut window.strands {
            strands.leave(strand);
        }
        let empty = window.strands.take_if(|strands| strands.is_empty());
        drop(window);
        drop(empty);
    }

    /// Copies the events after `after` into `events`, at most `limit`.
    pub fn read(&self, after: Position, limit: Limit, events: &mut Events) -> Recent {
        let window = self.window();
        if after == window.head() {
            return Recent::AtHead;
        }
        let Some(start) = window.index_after(after) else {
            return Recent::Elsewhere;
        };
        let mut bytes = 0;
        for (count, event) in window.events.range(start..).enumerate() {
            bytes += event.weight();
            if count > 0 && (count >= limit.events || bytes > limit.bytes) {
                return Recent::ToLimit;
            }
            events.push(event.clone());
        }
        Recent::ToHead
    }

    /// Appends events, each the successor of the one before, and wakes the readers once.
    ///
    /// # Panics
    /// If an event is not the head's successor: a tail never regresses and never skips.
    pub fn extend(&self, events: impl IntoIterator<Item = Event>) {
        let mut window = self.window_mut();
        let mut woken = Woken::new();
        for event in events {
            window.push(event, &mut woken);
        }
        drop(window);
        self.readers.wake();
        woken.iter().for_each(|strand| strand.readers.wake());
    }

    /// Forgets the window and goes on from `head`, for a log whose numbering was found broken. Wakes
    /// the readers: their positions are not in the window, so they read the log and learn of the gap.
    pub fn reset(&self, head: Position, ended: bool) {
        let mut window = self.window_mut();
        window.events.clear();
        window.bytes = 0;
        window.before = head;
        window.ended = ended;
        window.resets += 1;
        let strands = window.strands.iter().flat_map(|strands| strands.all());
        let woken: Vec<_> = strands.inspect(|strand| strand.reset(head)).cloned().collect();
        drop(window);
        self.readers.wake();
        woken.iter().for_each(|strand| strand.readers.wake());
    }

    /// Drops events from the front while `stale` returns true.
    pub fn trim_while(&self, mut stale: impl FnMut(&Event) -> bool) {
        let mut window = self.window_mut();
        while window.events.front().is_some_and(&mut stale) {
            window.pop();
        }
    }

    /// Drops an event that was erased, with all before it, so that no reader gets it from here.
    pub fn forget(&self, erased: Position) {
        self.trim_while(|event| event.position() <= erased);
        if let Some(strands) = &self.window().strands {
            strands.all().for_each(|strand| strand.forget(erased));
        }
    }

    /// Calls `f` with the events of the window, oldest first.
    pub fn inspect<T>(
        &self,
        f: impl FnOnce(&mut dyn DoubleEndedIterator<Item = &Event>) -> T,
    ) -> T {
        f(&mut self.window().events.iter())
    }

    fn window(&self) -> RwLockReadGuard<'_, Window> {
        // A panic under the lock is a broken invariant. It concerns only the readers of this topic.
        self.window.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn window_mut(&self) -> RwLockWriteGuard<'_, Window> {
        self.window.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Window {
    fn head(&self) -> Position {
        self.events.back().map_or(self.before, Event::position)
    }

    /// Returns the index of the event after `after`, if the window contains `after`. The same number in
    /// another generation has other milliseconds, so the window does not contain it.
    fn index_after(&self, after: Position) -> Option<usize> {
        if after == self.before {
            return Some(0);
        }
        let distance = usize::try_from(after.n.checked_sub(self.before.n)?).ok()?;
        let event = self.events.get(distance.checked_sub(1)?)?;
        (event.position() == after).then_some(distance)
    }

    fn push(&mut self, event: Event, woken: &mut Woken) {
        let head = self.head();
        assert!(
            event.position().n == head.n + 1 && event.position().ms >= head.ms,
            "a tail at {head} was given {event:?}"
        );
        self.ended = event.mark().ends();
        if let Some(strands) = &self.strands {
            strands.matching(&event, |strand| {
                strand.push(&event);
                if !woken.iter().any(|other| Arc::ptr_eq(other, strand)) {
                    woken.push(Arc::clone(strand));
                }
            });
        }
        self.bytes += event.weight();
        self.events.push_back(event);
        while self.events.len() > self.capacity.events
            || (self.bytes > self.capacity.bytes && self.events.len() > 1)
        {
            self.pop();
        }
    }

    fn pop(&mut self) {
        if let Some(event) = self.events.pop_front() {
            self.bytes -= event.weight();
            self.before = event.position();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{NewEvent, Topic};

    const CAPACITY: Limit = Limit { events: 4, bytes: usize::MAX };
    const ALL: Limit = Limit { events: 100, bytes: usize::MAX };

    fn event(n: u64) -> Event {
        Event::new(Topic::new("t").unwrap(), Position::new(1000 + n, n), NewEvent::default())
    }

    fn tail_of(n: u64) -> Tail {
        let tail = Tail::new(Position::START, false, CAPACITY);
        tail.extend((1..=n).map(event));
        tail
    }

    fn read(tail: &Tail, after: Position) -> (Recent, Vec<u64>) {
        let mut events = Events::new();
        let recent = tail.read(after, ALL, &mut events);
        (recent, events.iter().map(|e| e.position().n).collect())
    }

    #[test]
    fn every_position_in_the_window_is_served_from_it() {
        let tail = tail_of(6);
        assert_eq!(read(&tail, Position::new(1002, 2)), (Recent::ToHead, vec![3, 4, 5, 6]));
        assert_eq!(read(&tail, Position::new(1005, 5)), (Recent::ToHead, vec![6]));
        assert_eq!(read(&tail, Position::new(1006, 6)), (Recent::AtHead, vec![]));
    }

    #[test]
    fn a_position_before_after_or_beside_the_window_is_elsewhere() {
        let tail = tail_of(6);
        for (ms, n) in [(1001, 1), (0, 0), (1007, 7), (999, 4), (u64::MAX, u64::MAX)] {
            assert_eq!(read(&tail, Position::new(ms, n)).0, Recent::Elsewhere, "{ms}-{n}");
        }
    }

    #[test]
    fn a_read_tells_whether_it_has_reached_the_head() {
        let tail = tail_of(4);
        for (most, recent) in [(0, Recent::ToLimit), (3, Recent::ToLimit), (4, Recent::ToHead)] {
            let (limit, mut events) = (Limit { events: most, ..ALL }, Events::new());
            assert_eq!(tail.read(Position::START, limit, &mut events), recent, "{most}");
            assert_eq!(events.len(), most.max(1));
        }
    }

    #[test]
    fn bytes_bound_the_window_and_a_read_but_one_event_always_fits() {
        let tail = Tail::new(Position::START, false, Limit { events: 100, bytes: 1 });
        tail.extend((1..=3).map(event));
        assert_eq!(tail.len(), 1);
        let mut events = Events::new();
        assert_eq!(
            tail.read(Position::new(1002, 2), Limit { events: 9, bytes: 0 }, &mut events),
            Recent::ToHead
        );
        assert_eq!(events.len(), 1);
    }

    #[test]
    #[should_panic(expected = "was given")]
    fn a_hole_is_never_accepted() {
        tail_of(2).extend([event(4)]);
    }
}

//! The simulated store behind all nodes. It follows the rules of `redis-log`'s script: rising positions,
//! numbers without holes, and a fence after each fail-over. A schedule can make its clock jump, make it
//! unreachable, and make it lose entries.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use event_log::{
    Append, AppendError, Bounds, Event, Generation, Mark, Page, Position, Receipt, Seek, Sought,
    Topic, classify,
};
use tokio::time::Instant;

use super::bug::Bug;
use super::history::{Entry, Head, History};

#[derive(Debug)]
pub(crate) struct Store(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    topics: BTreeMap<Topic, History>,
    keys: BTreeMap<(Topic, String), Position>,
    /// Identifies the server. A promotion or a restart changes it.
    primary: u64,
    clock_ms: i64,
    /// Error of this server's clock, in milliseconds.
    skew_ms: i64,
    began: Instant,
    away_until: Instant,
    keep: u64,
    fence_ms: u64,
}

/// The newest events of a topic.
#[derive(Debug)]
pub(crate) struct Window {
    pub(crate) before: Position,
    pub(crate) ended: bool,
    pub(crate) events: Vec<Event>,
}

const FENCE_MS: u64 = 10_000;

impl Store {
    /// Creates a store that keeps `keep` events of each topic.
    pub(crate) fn new(keep: u64, bug: Option<Bug>) -> Self {
        let now = Instant::now();
        Self(Mutex::new(Inner {
            topics: BTreeMap::new(),
            keys: BTreeMap::new(),
            primary: 1,
            skew_ms: 0,
            clock_ms: 1_700_000_000_000,
            began: now,
            away_until: now,
            keep,
            fence_ms: if bug == Some(Bug::NoFence) { 0 } else { FENCE_MS },
        }))
    }

    pub(crate) fn append(&self, append: Append) -> Result<(Receipt, Option<Event>), AppendError> {
        self.inner().append(append)
    }

    pub(crate) fn read(&self, topic: &Topic, after: Position, count: usize) -> Page {
        self.of(topic, |history| {
            let numbers = history.head().map(|head| head.numbers);
            let oldest = history.readable().next().map(Event::position);
            let mut next = history.readable().filter(|event| event.position() > after).peekable();
            let gap = classify(after, numbers, oldest, next.peek().map(|e| e.position()));
            let count = if gap.is_some() { 0 } else { count };
            Page { gap, events: next.take(count).cloned().collect() }
        })
    }

    /// Returns the events after a number and does not check the position. Only a planted bug reads so.
    pub(crate) fn read_by_number(&self, topic: &Topic, n: u64, count: usize) -> Vec<Event> {
        self.of(topic, |history| {
            history.readable().skip_while(|e| e.position().n <= n).take(count).cloned().collect()
        })
    }

    pub(crate) fn window(&self, topic: &Topic, count: usize) -> Window {
        self.of(topic, |history| {
            let mut events: Vec<_> = history.readable().rev().take(count).cloned().collect();
            events.reverse();
            let head = history.head().map_or(Position::START, |head| head.numbers.head);
            let before = events.first().map_or(head, |first| first.position().before());
            Window { before, ended: history.is_ended(), events }
        })
    }

    pub(crate) fn seek(&self, topic: &Topic, seek: Seek) -> Sought {
        self.of(topic, |history| {
            let head = history.head().map_or(Position::START, |head| head.numbers.head);
            let mut events = history.readable().map(Event::position);
            let first = match seek {
                Seek::Earliest => events.next(),
                Seek::Last(0) => None,
                Seek::Last(count) => events.rev().take(usize::try_from(count).unwrap()).last(),
                Seek::Since(ms) => events.find(|position| position.ms >= ms),
            };
            Sought { position: first.map_or(head, Position::before), gap: None }
        })
    }

    pub(crate) fn bounds(&self, topic: &Topic) -> Option<Bounds> {
        self.of(topic, |history| {
            Some(Bounds {
                head: history.head()?.numbers.head,
                oldest: history.readable().next().map(Event::position),
                length: history.readable().count() as u64,
                ended: history.is_ended(),
            })
        })
    }

    /// Returns the last assigned position.
    pub(crate) fn head(&self, topic: &Topic) -> Position {
        self.of(topic, |history| history.head().map_or(Position::START, |head| head.numbers.head))
    }

    pub(crate) fn of<T>(&self, topic: &Topic, look: impl FnOnce(&History) -> T) -> T {
        look(self.inner().topics.entry(topic.clone()).or_insert_with(History::new))
    }

    pub(crate) fn is_away(&self) -> bool {
        self.inner().away_until > Instant::now()
    }

    pub(crate) fn goes_away(&self, time: Duration) {
        self.inner().away_until = Instant::now() + time;
    }

    pub(crate) fn trim(&self, topic: &Topic, keep: u64) {
        let mut inner = self.inner();
        if let Some(history) = inner.topics.get_mut(topic) {
            history.trim(keep);
        }
    }

    /// Makes the clock of the server jump.
    pub(crate) fn jump(&self, ms: i64) {
        self.inner().clock_ms += ms;
    }

    /// Loses all entries. The server stays the same.
    pub(crate) fn flush(&self) {
        let mut inner = self.inner();
        inner.topics.values_mut().for_each(|history| history.lose_after(0));
        inner.keys.clear();
    }

    /// Another server takes over without the entries of the last `tail`. Its clock is `skew_ms` from the true
    /// time, but not farther behind than its fence reaches beyond the lost entries. Returns the number of
    /// lost entries.
    pub(crate) fn fail_over(&self, tail: Duration, skew_ms: i64) -> u64 {
        let mut inner = self.inner();
        let moment = Instant::now() - tail;
        let (mut lost, mut beyond_ms) = (0, 0);
        for history in inner.topics.values_mut() {
            lost += history.lose_since(moment);
            // A topic without entries has no head that records the other server, and so no fence.
            let fence_ms = if history.head().is_some() { FENCE_MS } else { 0 };
            let newest_ms = history.newest().map_or(0, |position| position.ms + 1);
            beyond_ms = beyond_ms.max(newest_ms.saturating_sub(fence_ms));
        }
        let Inner { topics, keys, .. } = &mut *inner;
        keys.retain(|(topic, _), position| {
            let history = &topics[topic];
            history.place(*position).is_some_and(|place| history.lost_in(place).is_none())
        });
        inner.primary += 1;
        inner.skew_ms = 0;
        inner.skew_ms = skew_ms.max(beyond_ms.cast_signed() - inner.now_ms().cast_signed());
        lost
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }
}

impl Inner {
    fn append(&mut self, append: Append) -> Result<(Receipt, Option<Event>), AppendError> {
        let Append { topic, event, key, may_begin } = append;
        let now_ms = self.now_ms();
        let key = key.map(|key| (topic.clone(), key.as_str().to_owned()));
        if let Some(position) = key.as_ref().and_then(|key| self.keys.get(key)) {
            return Ok((Receipt { position: *position, duplicate: true }, None));
        }
        let known = self.topics.get(&topic).is_some_and(|history| history.head().is_some());
        if !may_begin && !known {
            return Err(AppendError::NewTopic { topic });
        }
        let history = self.topics.entry(topic.clone()).or_insert_with(History::new);
        let head = history.head();
        if let Some(head) = head.filter(|_| history.is_ended()) {
            let last = head.numbers.head;
            return match event.mark {
                Mark::End => Ok((Receipt { position: last, duplicate: true }, None)),
                Mark::Open | Mark::Last => Err(AppendError::Ended { topic, last }),
            };
        }
        let (ms, first) = match head {
            None => (now_ms, None),
            Some(Head { numbers, primary }) if primary == self.primary => {
                (now_ms.max(numbers.head.ms), Some(numbers.first))
            }
            Some(Head { numbers, .. }) => ((now_ms + self.fence_ms).max(numbers.head.ms + 1), None),
        };
        let position = Position::new(ms, history.last() + 1);
        let numbers = Generation { head: position, first: first.unwrap_or(position) };
        let head = Head { numbers, primary: self.primary };
        let event = Event::new(topic, position, event);
        history.push(Entry { event: event.clone(), at: Instant::now(), head });
        history.trim(self.keep);
        if let Some(key) = key {
            self.keys.insert(key, position);
        }
        Ok((Receipt { position, duplicate: false }, Some(event)))
    }

    fn now_ms(&self) -> u64 {
        let elapsed = i64::try_from(self.began.elapsed().as_millis()).unwrap();
        u64::try_from(self.clock_ms + self.skew_ms + elapsed).unwrap()
    }
}

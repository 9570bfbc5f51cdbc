//! The embedded log: all events in this process, for one node and for tests.
//!
//! A log is a [`Tail`] whose window is the whole history. No event outlives the process.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use tokio::time::Instant;

use crate::{
    Append, AppendError, Bookmark, Bounds, Event, Events, Fingerprint, Gap, Generation, Key, Limit,
    Log, LogName, Mark, Page, Position, ReadError, Reason, Receipt, Recent, Seek, Sought, Spaces,
    Tail, Topic, classify,
};

/// The time for which a log keeps events, numbers and keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Events kept in the log of a topic.
    pub events: usize,
    /// Events kept in the log of a space.
    pub space_events: usize,
    /// The age at which an event is dropped.
    pub age: Duration,
    /// The time after its last event at which a topic's numbering is forgotten.
    pub topic: Duration,
    /// The time for which an idempotency key is remembered.
    pub key: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            events: 1000,
            space_events: 100_000,
            age: Duration::from_hours(24),
            topic: Duration::from_hours(7 * 24),
            key: Duration::from_mins(2),
        }
    }
}

/// A [`Log`] in memory.
#[derive(Debug)]
pub struct MemoryLog {
    retention: Retention,
    spaces: Spaces,
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    logs: HashMap<LogName, Stored>,
    keys: HashMap<(Topic, Key), (Position, Option<Fingerprint>)>,
    /// The keys in the order of their expiry.
    expiries: VecDeque<(u64, (Topic, Key))>,
    /// Appends and subscriptions until the next sweep for unused topics.
    until_sweep: usize,
    /// Wiped events had positions before this time. New positions must not repeat them.
    floor: u64,
}

#[derive(Debug)]
struct Stored {
    /// The first position given out; `None` before the first event.
    first: Option<Position>,
    /// Events of the topic that were deleted had positions before this time.
    floor: u64,
    /// The positions of events with labels, in their order. They go with the events.
    labels: HashMap<Key, Position>,
    labelled: VecDeque<(Position, Key)>,
    /// The bookmark of each source in each topic, and the position of the event that brought it.
    bookmarks: HashMap<(Topic, Key), (Position, Bookmark)>,
    tail: Arc<Tail>,
}

/// Wall-clock milliseconds that follow tokio's clock, so that tests can pause the clock.
#[derive(Debug)]
struct Clock {
    start_ms: u64,
    start: Instant,
}

/// Most bytes kept of a log: without this bound, a thousand of the largest events would take half a
/// gigabyte. The oldest events beyond the bound are trimmed, and readers are told of the gap.
const LOG_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Most keys remembered at a time: 2 minutes at 8,000 keyed events a second, about 200 MB.
const KEYS_MAX: usize = 1_000_000;
/// Appends and subscriptions between two sweeps for unused topics, which share the cost of a sweep.
const SWEEP_EVERY: usize = 4096;

impl MemoryLog {
    /// An empty log without spaces.
    #[must_use]
    pub fn new(retention: Retention) -> Self {
        Self::with_spaces(retention, Spaces::NONE)
    }

    /// An empty log.
    #[must_use]
    pub fn with_spaces(retention: Retention, spaces: Spaces) -> Self {
        Self { retention, spaces, clock: Clock::new(), state: Mutex::default() }
    }

    /// Drops all but the newest `keep` events of a log, as ageing does.
    pub fn trim(&self, log: &LogName, keep: usize) {
        if let Some(stored) = self.state().logs.get(log) {
            let mut excess = stored.tail.len().saturating_sub(keep);
            stored.tail.trim_while(|_| {
                let drop = excess > 0;
                excess = excess.saturating_sub(1);
                drop
            });
        }
    }

    /// Forgets everything, like a store that was wiped.
    pub fn flush(&self) {
        let mut state = self.state();
        state.keys.clear();
        state.expiries.clear();
        let State { logs, floor, .. } = &mut *state;
        for stored in logs.values_mut().filter(|stored| stored.first.is_some()) {
            *floor = stored.tail.head().ms.saturating_add(1).max(*floor);
            stored.wipe();
            stored.bookmarks.clear();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls `look` with a log's tail after dropping aged events; `None` if nobody has written to the log. The lock
    /// keeps appends out, so `look` sees a consistent state.
    fn look<T>(&self, log: &LogName, look: impl FnOnce(Generation, &Tail) -> T) -> Option<T> {
        let mut state = self.state();
        let stored = state.logs.get_mut(log)?;
        stored.age(self.clock.now(), &self.retention);
        let generation = Generation { head: stored.tail.head(), first: stored.first? };
        Some(look(generation, &stored.tail))
    }
}

#[async_trait]
impl Log for MemoryLog {
    fn spaces(&self) -> &Spaces {
        &self.spaces
    }

    async fn append(&self, batch: Vec<Append>) -> Vec<Result<Receipt, AppendError>> {
        let now = self.clock.now();
        let mut state = self.state();
        state.forget(now, &self.retention, batch.len());
        let mut append = |append: Append| {
            let log = self.spaces.log_of(&append.topic);
            state.append(&log, append, now, &self.retention)
        };
        batch.into_iter().map(&mut append).collect()
    }

    async fn read(&self, log: &LogName, after: Position, limit: Limit) -> Result<Page, ReadError> {
        let page = self.look(log, |generation, tail| page(generation, tail, after, limit));
        Ok(page
            .unwrap_or_else(|| Page { gap: classify(after, None, None, None), events: Vec::new() }))
    }

    async fn seek(&self, log: &LogName, seek: Seek) -> Result<Sought, ReadError> {
        let sought = self.look(log, |Generation { head, .. }, tail| {
            let oldest = tail.oldest();
            let first = tail.inspect(|events| match seek {
                Seek::Earliest => oldest,
                Seek::Last(0) => None,
                Seek::Last(count) => {
                    let skip = usize::try_from(count - 1).unwrap_or(usize::MAX);
                    events.rev().nth(skip).map(Event::position).or(oldest)
                }
                Seek::Since(ms) => events.map(Event::position).find(|p| p.ms >= ms),
            });
            let position = first.map_or(head, Position::before);
            Sought { position, gap: Gap::since(seek, oldest, head, position) }
        });
        Ok(sought.unwrap_or(Sought { position: Position::START, gap: None }))
    }

    async fn bounds(&self, log: &LogName) -> Result<Option<Bounds>, ReadError> {
        Ok(self.look(log, |Generation { head, .. }, tail| Bounds {
            head,
            oldest: tail.oldest(),
            length: tail.len() as u64,
            ended: tail.ended(),
            broken: tail.inspect(|events| {
                events.next_back().is_some_and(|last| matches!(last.mark(), Mark::Broken(_)))
            }),
        }))
    }

    async fn tail(&self, log: &LogName) -> Result<Arc<Tail>, ReadError> {
        let mut state = self.state();
        // A subscription adds an entry too, under any name that a client sends.
        state.forget(self.clock.now(), &self.retention, 1);
        Ok(Arc::clone(&state.stored(log, &self.retention).tail))
    }

    async fn bookmark(&self, topic: &Topic, source: &Key) -> Result<Option<Bookmark>, ReadError> {
        let now = self.clock.now();
        let mut state = self.state();
        let log = self.spaces.log_of(topic);
        let Some(stored) = state.logs.get_mut(&log) else { return Ok(None) };
        stored.age(now, &self.retention);
        let name = (topic.clone(), source.clone());
        Ok(stored.bookmarks.get(&name).map(|(_, bookmark)| bookmark.clone()))
    }

    async fn find(&self, log: &LogName, label: &Key) -> Result<Option<Position>, ReadError> {
        let now = self.clock.now();
        let mut state = self.state();
        let Some(stored) = state.logs.get_mut(log) else { return Ok(None) };
        stored.age(now, &self.retention);
        Ok(stored.labels.get(label).copied())
    }

    /// The feed is the lock: an append that holds it has told all readers when it lets go.
    async fn echo(&self, _log: &LogName) -> Result<Duration, ReadError> {
        let start = Instant::now();
        drop(self.state());
        Ok(start.elapsed())
    }
}

/// The page after `after` in a tail that is the whole log.
fn page(generation: Generation, tail: &Tail, after: Position, limit: Limit) -> Page {
    let mut recent = Events::new();
    if tail.read(after, limit, &mut recent) != Recent::Elsewhere {
        return Page { gap: None, events: recent.into_vec() };
    }
    let (oldest, next) = tail.inspect(|events| {
        let mut positions = events.map(Event::position).peekable();
        (positions.peek().copied(), positions.find(|p| *p > after))
    });
    let gap = classify(after, Some(generation), oldest, next);
    let mut events = Vec::new();
    if gap.is_none() {
        let most = limit.events.max(1);
        tail.inspect(|all| {
            events.extend(all.skip_while(|e| e.position() <= after).take(most).cloned());
        });
        events.truncate(limit.fits(&events));
    }
    Page { gap, events }
}

impl State {
    fn stored(&mut self, log: &LogName, retention: &Retention) -> &mut Stored {
        let events = if log.is_space() { retention.space_events } else { retention.events };
        self.logs.entry(log.clone()).or_insert_with(|| Stored {
            first: None,
            floor: 0,
            labels: HashMap::new(),
            labelled: VecDeque::new(),
            bookmarks: HashMap::new(),
            tail: Arc::new(Tail::new(
                Position::START,
                false,
                Limit { events, bytes: LOG_BYTES_MAX },
            )),
        })
    }

    /// Returns true if a log has an event or still has its numbering.
    fn knows(&mut self, log: &LogName, now: u64, retention: &Retention) -> bool {
        self.logs.get_mut(log).is_some_and(|stored| {
            stored.age(now, retention);
            stored.first.is_some()
        })
    }

    fn append(
        &mut self,
        log: &LogName,
        append: Append,
        now: u64,
        retention: &Retention,
    ) -> Result<Receipt, AppendError> {
        let append = append.checked_in(log)?;
        let Append { topic, event, key, fingerprint, follows, advance, label, may_begin } = append;
        let key = key.map(|key| (topic.clone(), key));
        // A key from before the topic was deleted means nothing to the topic that has its name now.
        let floor = self.logs.get(log).map_or(0, |stored| stored.floor);
        let earlier = key.as_ref().and_then(|key| self.keys.get(key));
        if let Some((position, first)) = earlier.filter(|(position, _)| position.ms >= floor) {
            return match (first, fingerprint) {
                (Some(first), Some(fingerprint)) if *first != fingerprint => {
                    Err(AppendError::KeyReused { topic, first: *position })
                }
                _ => Ok(Receipt { position: *position, duplicate: true }),
            };
        }
        if key.is_some() && self.keys.len() >= KEYS_MAX {
            return Err(AppendError::Full(format!("{KEYS_MAX} idempotency keys are alive")));
        }
        let floor = self.floor.max(floor);
        if !may_begin && !self.knows(log, now, retention) {
            return Err(AppendError::NewTopic { topic });
        }
        let stored = self.stored(log, retention);
        // A topic whose retention has passed begins again: neither its numbers nor its end go on.
        stored.age(now, retention);
        let head = stored.tail.head();
        let bookmark = advance.as_ref().map(|advance| (topic.clone(), advance.source.clone()));
        if let (Some(advance), Some(name)) = (&advance, &bookmark) {
            let found = stored.bookmarks.get(name);
            if let Some((position, _)) = found.filter(|(_, found)| *found == advance.to) {
                return Ok(Receipt { position: *position, duplicate: true });
            }
            let found = found.map(|(_, found)| found);
            if found != advance.from.as_ref() {
                return Err(AppendError::Moved { topic, found: found.cloned() });
            }
        }
        if event.mark == Mark::Deleted {
            let duplicate = stored.first.is_none();
            if !duplicate {
                stored.wipe();
                stored.floor = head.ms.saturating_add(1).max(floor);
            }
            return Ok(Receipt { position: head, duplicate });
        }
        if event.mark == Mark::Reopened && !stored.tail.ended() {
            return Ok(Receipt { position: head, duplicate: true });
        }
        if stored.tail.ended() && event.mark != Mark::Reopened {
            // A second end changes nothing, and succeeds.
            return match event.mark {
                Mark::End => Ok(Receipt { position: head, duplicate: true }),
                _ => Err(AppendError::Ended { topic, last: head }),
            };
        }
        if follows.is_some_and(|position| position != head) {
            return Ok(Receipt { position: head, duplicate: true });
        }
        let position = Position::new(now.max(head.ms).max(floor), head.n + 1);
        stored.first.get_or_insert(position);
        stored.tail.extend([Event::new(topic, position, event)]);
        if let (Some(advance), Some(name)) = (advance, bookmark) {
            stored.bookmarks.insert(name, (position, advance.to));
        }
        if let Some(label) = label {
            stored.label(label, position);
        }
        stored.age(now, retention);
        if let Some(key) = key {
            let expiry = now.saturating_add(millis(retention.key));
            self.expiries.push_back((expiry, key.clone()));
            self.keys.insert(key, (position, fingerprint));
        }
        Ok(Receipt { position, duplicate: false })
    }

    /// Drops expired keys and, every [`SWEEP_EVERY`] appends, topics without readers and history.
    fn forget(&mut self, now: u64, retention: &Retention, appends: usize) {
        while self.expiries.front().is_some_and(|(expiry, _)| *expiry <= now) {
            if let Some((_, key)) = self.expiries.pop_front() {
                self.keys.remove(&key);
            }
        }
        if let Some(left) = self.until_sweep.checked_sub(appends) {
            self.until_sweep = left;
            return;
        }
        self.until_sweep = SWEEP_EVERY;
        self.logs.retain(|_, stored| {
            stored.age(now, retention);
            let is_deleted = stored.floor > now.saturating_sub(millis(retention.key));
            stored.first.is_some()
                || is_deleted
                || !stored.bookmarks.is_empty()
                || Arc::strong_count(&stored.tail) > 1
        });
    }
}

impl Stored {
    /// Drops events that are too old, and the numbering after the topic's retention.
    fn age(&mut self, now: u64, retention: &Retention) {
        let oldest = now.saturating_sub(millis(retention.age));
        self.tail.trim_while(|event| event.position().ms < oldest);
        self.forget_labels();
        let idle = now.saturating_sub(self.tail.head().ms);
        if self.first.is_some() && idle > millis(retention.topic) {
            self.wipe();
        }
        let oldest = now.saturating_sub(millis(retention.topic));
        self.bookmarks.retain(|_, (position, _)| position.ms >= oldest);
    }

    /// Names an event, unless another one has the name.
    fn label(&mut self, label: Key, position: Position) {
        if let Entry::Vacant(vacant) = self.labels.entry(label) {
            self.labelled.push_back((position, vacant.key().clone()));
            vacant.insert(position);
        }
    }

    /// Forgets the labels of events that are gone.
    fn forget_labels(&mut self) {
        let oldest = self.tail.oldest();
        while self.labelled.front().is_some_and(|(at, _)| oldest.is_none_or(|oldest| *at < oldest))
        {
            if let Some((_, label)) = self.labelled.pop_front() {
                self.labels.remove(&label);
            }
        }
    }

    /// Forgets the events and the numbering.
    fn wipe(&mut self) {
        self.first = None;
        self.labels.clear();
        self.labelled.clear();
        self.tail.reset(Position::START, false);
    }
}

impl Gap {
    /// The gap for a reader that begins at a time of which events may have been dropped.
    #[must_use]
    pub fn since(
        seek: Seek,
        oldest: Option<Position>,
        head: Position,
        resume: Position,
    ) -> Option<Self> {
        let Seek::Since(ms) = seek else { return None };
        let maybe_gone = match oldest {
            // The event before the oldest may have had the same millisecond.
            Some(oldest) => oldest.n > 1 && oldest.ms >= ms,
            None => head.ms >= ms,
        };
        maybe_gone.then_some(Self {
            reason: Reason::Trimmed,
            missed: None,
            missed_at_most: None,
            requested: None,
            oldest,
            newest: head,
            resume,
        })
    }
}

impl Clock {
    fn new() -> Self {
        let since_epoch =
            SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { start_ms: millis(since_epoch), start: Instant::now() }
    }

    fn now(&self) -> u64 {
        self.start_ms + millis(self.start.elapsed())
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

//! A node that does everything that the contract of a [`Log`] permits, at the worst moment.
//!
//! The store is a [`MemoryLog`]. Each node has tails of its own, and the feed from the store to the tails
//! delays, loses and resets. A node promises only that its audit finds a lost event sooner or later. Each
//! prank provokes a mistake of a cursor or of a log:
//!
//! | prank | catches |
//! |---|---|
//! | an append between an empty read and the wait | a wake-up marked as seen after the read |
//! | an append before the read | a read that is taken for the tail's |
//! | late feed | a tail believed rather than the store |
//! | lost feed, repaired by the audit | a wait for one more event to notice the last |
//! | tails that begin behind, or are reset | a position compared by number, a window taken for a log |
//! | reads that fail for a while | a step that is taken before it is read |
//! | trims and wipes at any time | a gap that is computed from an older look |

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use event_log::conformance::dice::Dice;
use event_log::conformance::history::{History, Truth};
use event_log::{
    Append, AppendError, Bookmark, Bounds, Event, Key, Limit, Log, LogName, Mark, MemoryLog,
    NewEvent, Page, Position, ReadError, Receipt, Seek, Sought, Spaces, Tail, Topic,
};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

use super::bug::Bug;

/// The interval at which a node compares its tails with the store.
pub(crate) const AUDIT: Duration = Duration::from_secs(5);

const WINDOW: Limit = Limit { events: 4, bytes: usize::MAX };

/// The store, which all nodes share.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) log: MemoryLog,
    pub(crate) truth: Truth,
    pub(crate) bug: Option<Bug>,
    /// Set when nothing more is published.
    pub(crate) is_over: Mutex<bool>,
    /// The published events in order. Each node goes on from its own index.
    published: Mutex<Vec<Event>>,
}

#[derive(Debug)]
pub(crate) struct Node {
    store: Arc<Store>,
    state: Mutex<State>,
    /// One turn for each read, like a pool of connections. A read that is neither polled nor dropped keeps
    /// the other reads of the node waiting.
    turns: Semaphore,
}

#[derive(Debug)]
struct State {
    dice: Dice,
    tails: BTreeMap<LogName, Arc<Tail>>,
    /// The number of published events that the feed has taken.
    fed: usize,
    /// Events on their way to the tails.
    late: Vec<(Instant, Event)>,
    /// The store does not answer before this time.
    away_until: Instant,
    next_audit: Instant,
    /// Events that the node may still publish without telling its readers.
    surprises: u32,
    /// Resets that are left. Endless resets would wake a reader that has missed a wake-up, and hide the bug.
    resets: u32,
}

impl Store {
    pub(crate) fn new(log: MemoryLog, bug: Option<Bug>) -> Self {
        Self {
            log,
            truth: Truth::default(),
            bug,
            is_over: Mutex::default(),
            published: Mutex::default(),
        }
    }

    /// Publishes, if the topic takes it.
    pub(crate) async fn publish(&self, topic: &Topic, event: NewEvent) {
        match self.truth.publish(&self.log, topic, event.clone(), None).await {
            Ok(Receipt { position, duplicate: false }) => {
                let event = Event::new(topic.clone(), position, event);
                lock(&self.published).push(event);
            }
            Ok(Receipt { .. }) | Err(AppendError::Ended { .. }) => {}
            Err(error) => panic!("the store refused: {error}"),
        }
    }

    pub(crate) fn trim(&self, log: &LogName, keep: usize) {
        self.log.trim(log, keep);
        self.truth.of(log, |history| history.trim(keep));
    }

    pub(crate) fn flush(&self) {
        self.log.flush();
        self.truth.each(History::forget);
    }

    fn bounds(&self, log: &LogName) -> Option<Bounds> {
        self.truth.of(log, |history| history.bounds())
    }

    /// Returns true if `event` is the entry after `head`, and not only the number after it.
    fn follows(&self, head: Position, event: &Event) -> bool {
        if self.bug == Some(Bug::ComparesNumbers) {
            return event.position().n == head.n + 1 && event.position().ms >= head.ms;
        }
        event.position().n == head.n + 1
            && self.truth.of(&self.log.spaces().log_of(event.topic()), |history| {
                history.are_neighbours(head, event.position())
            })
    }
}

impl Node {
    pub(crate) fn new(store: Arc<Store>, seed: u64) -> Self {
        let now = Instant::now();
        let state = State {
            dice: Dice::new(seed),
            tails: BTreeMap::new(),
            fed: 0,
            late: Vec::new(),
            away_until: now,
            next_audit: now + AUDIT,
            surprises: 20,
            resets: 5,
        };
        Self { store, state: Mutex::new(state), turns: Semaphore::new(1) }
    }

    /// Feeds the tails, and resets and audits them at random.
    pub(crate) fn tick(&self) {
        let mut state = lock(&self.state);
        let now = Instant::now();
        let State { dice, late, fed, .. } = &mut *state;
        let published = lock(&self.store.published);
        for event in &published[*fed..] {
            match dice.below(10) {
                0..4 => late.push((now, event.clone())),
                4..7 => late.push((now + Duration::from_millis(dice.below(3000)), event.clone())),
                _ => {} // Lost.
            }
        }
        *fed = published.len();
        drop(published);
        let (due, later) = late.drain(..).partition(|(due, _)| *due <= now);
        *late = later;
        for (_, event) in due {
            self.deliver(&mut state, event);
        }
        if self.store.bug == Some(Bug::NeverAudits) {
            return;
        }
        self.reset_one(&mut state);
        if now >= state.next_audit {
            state.next_audit = now + AUDIT;
            self.audit(&state);
        }
    }

    fn deliver(&self, state: &mut State, event: Event) {
        let log = self.store.log.spaces().log_of(event.topic());
        let Some(tail) = state.tails.get(&log) else { return };
        let head = tail.head();
        if self.store.follows(head, &event) {
            tail.extend([event]);
        } else if event.position() > head && state.dice.chance(50) {
            // A hole in the feed. Some logs repair it at once, others wait for the audit.
            self.repair(&log, tail);
        }
    }

    /// Resets a tail to the head of its topic, or to an earlier head.
    fn reset_one(&self, state: &mut State) {
        if state.tails.is_empty() || state.resets == 0 || !state.dice.chance(10) {
            return;
        }
        state.resets -= 1;
        let tails: Vec<_> = state.tails.iter().collect();
        let (log, tail) = state.dice.clone().pick(&tails).to_owned();
        let (tail, log) = (Arc::clone(tail), log.clone());
        match self.store.bounds(&log) {
            Some(bounds) if state.dice.chance(60) => self.reset(&tail, bounds.head, bounds.ended),
            Some(_) => tail.reset(self.earlier(&log, &mut state.dice), false),
            None => tail.reset(Position::START, false),
        }
    }

    /// A position at which the log stood before its present head.
    fn earlier(&self, log: &LogName, dice: &mut Dice) -> Position {
        self.store.truth.of(log, |history| {
            let open = history.readable().iter().filter(|entry| entry.event.mark == Mark::Open);
            let mut heads: Vec<_> = open.map(|entry| entry.position).collect();
            heads.push(Position::START);
            *dice.pick(&heads)
        })
    }

    fn audit(&self, state: &State) {
        for (log, tail) in &state.tails {
            self.repair(log, tail);
        }
    }

    fn repair(&self, log: &LogName, tail: &Tail) {
        let (head, ended) = match self.store.bounds(log) {
            Some(bounds) => (bounds.head, bounds.ended),
            None => (Position::START, false),
        };
        if tail.head() != head || tail.ended() != ended {
            self.reset(tail, head, ended);
        }
    }

    fn reset(&self, tail: &Tail, head: Position, ended: bool) {
        tail.reset(head, ended && self.store.bug != Some(Bug::ForgetsTheEnd));
    }

    fn roll<T>(&self, roll: impl FnOnce(&mut Dice) -> T) -> T {
        roll(&mut lock(&self.state).dice)
    }

    /// Waits for the way to the store, which may be away.
    async fn travel(&self) -> Result<(), ReadError> {
        let delay = self.roll(|dice| if dice.chance(30) { dice.below(300) } else { 0 });
        if delay > 0 {
            sleep(Duration::from_millis(delay)).await;
        }
        let mut state = lock(&self.state);
        let now = Instant::now();
        // Only a store that answers goes away. Otherwise readers that ask again would keep it away.
        if state.away_until <= now && state.dice.chance(3) {
            state.away_until = now + Duration::from_millis(state.dice.below(4000));
        }
        match state.away_until > now {
            true => Err(ReadError::Unavailable("away".to_owned())),
            false => Ok(()),
        }
    }

    /// Publishes an event to the store without telling the reader's node.
    async fn surprise(&self, log: &LogName, percent: u64) {
        let strikes = {
            let mut state = lock(&self.state);
            let strikes = state.surprises > 0 && state.dice.chance(percent);
            state.surprises -= u32::from(strikes);
            strikes
        };
        if strikes {
            let event = NewEvent { data: "surprise".into(), ..NewEvent::default() };
            // In a space any topic may be the surprise.
            let topic = log.topic().unwrap_or_else(|| self.roll(surprising));
            self.store.publish(&topic, event).await;
        }
    }
}

fn surprising(dice: &mut Dice) -> Topic {
    let name: &&str = dice.pick(&super::schedule::IN_SPACE);
    Topic::new(name).expect("a name")
}

#[async_trait]
impl Log for Node {
    fn spaces(&self) -> &Spaces {
        self.store.log.spaces()
    }

    async fn append(&self, batch: Vec<Append>) -> Vec<Result<Receipt, AppendError>> {
        self.store.log.append(batch).await
    }

    async fn read(&self, log: &LogName, after: Position, limit: Limit) -> Result<Page, ReadError> {
        let _turn = self.turns.acquire().await.expect("nobody closes it");
        self.travel().await?;
        self.surprise(log, 20).await;
        if self.roll(|dice| dice.chance(2)) {
            self.store.trim(log, 3);
        }
        let page = self.store.log.read(log, after, limit).await?;
        let page = match self.store.bug {
            Some(bug) => bug.distort(page),
            None => page,
        };
        let nothing = page.gap.is_none() && page.events.is_empty();
        self.surprise(log, if nothing { 50 } else { 5 }).await;
        // The answer is old when it arrives.
        self.travel().await?;
        Ok(page)
    }

    async fn seek(&self, log: &LogName, seek: Seek) -> Result<Sought, ReadError> {
        self.travel().await?;
        self.store.log.seek(log, seek).await
    }

    async fn bounds(&self, log: &LogName) -> Result<Option<Bounds>, ReadError> {
        self.travel().await?;
        self.store.log.bounds(log).await
    }

    async fn bookmark(&self, topic: &Topic, source: &Key) -> Result<Option<Bookmark>, ReadError> {
        self.travel().await?;
        self.store.log.bookmark(topic, source).await
    }

    async fn find(&self, log: &LogName, label: &Key) -> Result<Option<Position>, ReadError> {
        self.travel().await?;
        self.store.log.find(log, label).await
    }

    async fn tail(&self, log: &LogName) -> Result<Arc<Tail>, ReadError> {
        self.travel().await?;
        let mut state = lock(&self.state);
        if let Some(tail) = state.tails.get(log) {
            return Ok(Arc::clone(tail));
        }
        let behind = state.dice.chance(30);
        let (head, ended) = match self.store.bounds(log) {
            Some(_) if behind => (self.earlier(log, &mut state.dice), false),
            Some(bounds) => (bounds.head, bounds.ended),
            None => (Position::START, false),
        };
        let tail = Arc::new(Tail::new(head, ended, WINDOW));
        state.tails.insert(log.clone(), Arc::clone(&tail));
        Ok(tail)
    }

    async fn echo(&self, log: &LogName) -> Result<Duration, ReadError> {
        self.travel().await?;
        self.store.log.echo(log).await
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

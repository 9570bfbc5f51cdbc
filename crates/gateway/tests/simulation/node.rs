//! One node's view of the store: tails that follow an unreliable feed, repairs and an audit.
//!
//! The node follows the rules of `redis-log`. The direct successor extends a tail; a newer event makes
//! the node read the topic from the store; events that arrive during a read are held. A message carries
//! its predecessor's position, which `redis-log` derives from the order of a connection.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use event_log::{
    Append, AppendError, Bounds, Event, Limit, Log, Page, Position, ReadError, Reason, Receipt,
    Seek, Sought, Tail, Topic,
};
use tokio::time::{Instant, sleep};

use super::bug::Bug;
use super::dice::{chance, millis};
use super::ensemble::Group;
use super::store::Window;
use super::world::World;

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) group: Group,
    world: Arc<World>,
    window: usize,
    page: usize,
    state: Mutex<State>,
    opening: tokio::sync::Mutex<()>,
    /// Permits for reads, like a pool of connections: a read that a gateway neither polls nor drops
    /// delays the reads of its other clients.
    turns: tokio::sync::Semaphore,
}

#[derive(Debug)]
struct State {
    watched: BTreeMap<Topic, Watched>,
    connected: bool,
    /// Counts the connections of the feed. Messages of earlier connections are dropped.
    line: u32,
}

#[derive(Debug)]
struct Watched {
    /// `None` until the topic has been opened.
    tail: Option<Arc<Tail>>,
    phase: Phase,
    repairing: bool,
}

#[derive(Debug)]
enum Phase {
    /// A read is due. It will return every event that arrives before it begins.
    Due,
    /// A read is under way.
    Reading { held: Vec<Event>, again: bool },
    /// The tail follows the feed.
    Following,
}

const AUDIT: Duration = Duration::from_secs(5);
const RETRY: Duration = Duration::from_millis(500);
/// Concurrent reads of a node. Fewer than its clients, so that a read that hangs delays others.
const TURNS: usize = 2;

impl Node {
    /// Starts a node with windows of `window` events and pages of `page` events.
    pub(crate) fn start(world: &Arc<World>, group: Group, window: usize, page: usize) -> Arc<Self> {
        let state = State { watched: BTreeMap::new(), connected: true, line: 0 };
        let node = Arc::new(Self {
            group,
            world: Arc::clone(world),
            window,
            page,
            state: Mutex::new(state),
            opening: tokio::sync::Mutex::default(),
            turns: tokio::sync::Semaphore::new(TURNS),
        });
        world.join(Arc::clone(&node));
        if world.bug != Some(Bug::TrustsTheFeed) {
            world.stage.spawn(group, Arc::clone(&node).audit());
        }
        node
    }

    /// Sends an event of the store to this node. The weather may lose, delay or duplicate it.
    pub(crate) fn send(self: &Arc<Self>, event: &Event) {
        let weather = self.world.weather();
        let state = self.state();
        if !state.connected || !state.watched.contains_key(event.topic()) || chance(weather.lost) {
            return;
        }
        let copies = if chance(weather.doubled) { 2 } else { 1 };
        for _ in 0..copies {
            let (node, event, line) = (Arc::clone(self), event.clone(), state.line);
            let late = millis(0..weather.late_ms);
            self.world.stage.spawn(self.group, async move {
                sleep(late).await;
                node.take(line, event);
            });
        }
    }

    /// Breaks the connection of the feed. The node reconnects later.
    pub(crate) fn lose_feed(self: &Arc<Self>) {
        let mut state = self.state();
        (state.connected, state.line) = (false, state.line + 1);
        for watched in state.watched.values_mut() {
            watched.suspect();
        }
        let node = Arc::clone(self);
        self.world.stage.spawn(self.group, async move {
            sleep(millis(1..4000)).await;
            node.state().connected = true;
            let topics: Vec<_> = node.state().watched.keys().cloned().collect();
            for topic in topics {
                node.with(&topic, Watched::suspect);
                node.repair(&topic);
            }
        });
    }

    fn take(self: &Arc<Self>, line: u32, event: Event) {
        let mut state = self.state();
        if state.line != line {
            return;
        }
        let topic = event.topic().clone();
        let Some(watched) = state.watched.get_mut(&topic) else { return };
        match &mut watched.phase {
            Phase::Due => {}
            Phase::Reading { held, .. } => held.push(event),
            Phase::Following => {
                if self.judge(watched, event) {
                    drop(state);
                    self.repair(&topic);
                }
            }
        }
    }

    /// Appends an event that follows the tail. Returns true if events between are missing, so that the
    /// topic must be read.
    fn judge(&self, watched: &mut Watched, event: Event) -> bool {
        let Some(tail) = &watched.tail else { return false };
        if self.follows(tail.head(), &event) {
            tail.extend([event]);
        } else if event.position() > tail.head() {
            watched.phase = Phase::Due;
            return true;
        }
        false
    }

    fn follows(&self, head: Position, event: &Event) -> bool {
        let position = event.position();
        if self.world.bug == Some(Bug::ComparesNumbers) {
            return position.n == head.n + 1 && position.ms >= head.ms;
        }
        self.world.store.of(event.topic(), |history| history.are_neighbours(head, position))
    }

    /// Reads a topic until its tail follows the feed again. Does nothing if a repair is already running.
    fn repair(self: &Arc<Self>, topic: &Topic) {
        let mut state = self.state();
        let Some(watched) = state.watched.get_mut(topic) else { return };
        if watched.tail.is_none() || watched.repairing || matches!(watched.phase, Phase::Following)
        {
            return;
        }
        watched.repairing = true;
        let (node, topic) = (Arc::clone(self), topic.clone());
        self.world.stage.spawn(self.group, async move {
            while node.try_repair(&topic).await {}
            node.with(&topic, |watched| watched.repairing = false);
        });
    }

    /// Returns true if the repair must be tried again.
    async fn try_repair(&self, topic: &Topic) -> bool {
        if !self.state().connected {
            // The reconnection repairs all topics.
            return false;
        }
        self.with(topic, Watched::begin);
        match self.look(topic).await {
            Ok(window) => !self.with(topic, |watched| self.settle(watched, window)),
            Err(_) => {
                self.with(topic, |watched| watched.phase = Phase::Due);
                sleep(RETRY).await;
                true
            }
        }
    }

    /// Extends a tail by the events read, then by the events held. Returns true if the repair is complete.
    fn settle(&self, watched: &mut Watched, window: Window) -> bool {
        if let Some(tail) = &watched.tail {
            bring(tail, window);
        }
        let phase = std::mem::replace(&mut watched.phase, Phase::Following);
        let Phase::Reading { held, again: false } = phase else {
            watched.phase = Phase::Due;
            return false;
        };
        held.into_iter().all(|event| !self.judge(watched, event))
    }

    async fn audit(self: Arc<Self>) {
        loop {
            sleep(AUDIT).await;
            let before: Vec<_> = {
                let state = self.state();
                let tails = state.watched.iter().filter_map(|(t, w)| Some((t, w.tail.as_ref()?)));
                tails.map(|(topic, tail)| (topic.clone(), tail.head())).collect()
            };
            if !self.world.travel().await {
                continue;
            }
            let heads: Vec<_> = before.iter().map(|(t, _)| self.world.store.head(t)).collect();
            if !self.world.travel().await {
                continue;
            }
            for ((topic, before), head) in before.into_iter().zip(heads) {
                let apart = self.with(&topic, |watched| {
                    let ours = watched.tail.as_ref().map(|tail| tail.head());
                    let apart = ours == Some(before) && before != head;
                    if apart {
                        watched.suspect();
                    }
                    apart
                });
                if apart {
                    self.repair(&topic);
                }
            }
        }
    }

    async fn look(&self, topic: &Topic) -> Result<Window, ReadError> {
        self.travel().await?;
        let window = self.world.store.window(topic, self.window);
        self.travel().await?;
        Ok(window)
    }

    async fn travel(&self) -> Result<(), ReadError> {
        match self.world.travel().await {
            true => Ok(()),
            false => Err(ReadError::Unavailable("away".to_owned())),
        }
    }

    /// Applies the node's planted bug to a page.
    fn distort(&self, topic: &Topic, after: Position, mut page: Page) -> Page {
        let Some(gap) = &mut page.gap else { return page };
        match self.world.bug {
            Some(Bug::CountsOneTooMany) => gap.missed = gap.missed.map(|missed| missed + 1),
            Some(Bug::RewoundIsExact) if gap.reason == Reason::Rewound => {
                let events = self.world.store.read_by_number(topic, after.n, self.page);
                return Page { gap: None, events };
            }
            _ => {}
        }
        page
    }

    fn with<T: Default>(&self, topic: &Topic, change: impl FnOnce(&mut Watched) -> T) -> T {
        self.state().watched.get_mut(topic).map(change).unwrap_or_default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl Watched {
    fn begin(&mut self) {
        self.phase = Phase::Reading { held: Vec::new(), again: false };
    }

    /// Notes that the feed may have lost an event.
    fn suspect(&mut self) {
        match &mut self.phase {
            Phase::Reading { again, .. } => *again = true,
            Phase::Due | Phase::Following => self.phase = Phase::Due,
        }
    }
}

/// Extends a tail by a window if the two connect, and otherwise resets the tail to the window.
fn bring(tail: &Tail, window: Window) {
    let Window { before, ended, events } = window;
    let ours = tail.head();
    let known = events.iter().position(|event| event.position() == ours).map(|i| i + 1);
    let from = if ours == before { Some(0) } else { known };
    let Some(from) = from else {
        tail.reset(before, ended && events.is_empty());
        if !events.is_empty() {
            tail.extend(events);
        }
        return;
    };
    if from < events.len() {
        tail.extend(events.into_iter().skip(from));
    }
}

#[async_trait]
impl Log for Node {
    async fn append(&self, batch: Vec<Append>) -> Vec<Result<Receipt, AppendError>> {
        let mut receipts = Vec::new();
        for append in batch {
            receipts.push(self.world.publish(append).await);
        }
        receipts
    }

    async fn read(&self, topic: &Topic, after: Position, limit: Limit) -> Result<Page, ReadError> {
        let _turn = self.turns.acquire().await.expect("the semaphore is never closed");
        self.travel().await?;
        let page = self.world.store.read(topic, after, limit.events.clamp(1, self.page));
        let page = self.distort(topic, after, page);
        self.travel().await?;
        Ok(page)
    }

    async fn seek(&self, topic: &Topic, seek: Seek) -> Result<Sought, ReadError> {
        self.travel().await?;
        let sought = self.world.store.seek(topic, seek);
        self.travel().await?;
        Ok(sought)
    }

    async fn bounds(&self, topic: &Topic) -> Result<Option<Bounds>, ReadError> {
        self.travel().await?;
        Ok(self.world.store.bounds(topic))
    }

    async fn tail(&self, topic: &Topic) -> Result<Arc<Tail>, ReadError> {
        let _opener = self.opening.lock().await;
        if let Some(tail) = self.state().watched.get(topic).and_then(|w| w.tail.clone()) {
            return Ok(tail);
        }
        // Subscribed before the read, so that no event is lost between the two.
        let watched = Watched { tail: None, phase: Phase::Due, repairing: false };
        self.state().watched.insert(topic.clone(), watched);
        self.with(topic, Watched::begin);
        let window = self.look(topic).await?;
        let ended = window.ended && window.events.is_empty();
        let capacity = Limit { events: self.window, bytes: usize::MAX };
        let tail = Arc::new(Tail::new(window.before, ended, capacity));
        self.with(topic, |watched| {
            watched.tail = Some(Arc::clone(&tail));
            // The audit or the next reconnection reads any rest.
            self.settle(watched, window);
        });
        Ok(tail)
    }

    async fn echo(&self, _topic: &Topic) -> Result<Duration, ReadError> {
        let start = Instant::now();
        self.travel().await?;
        self.travel().await?;
        Ok(start.elapsed())
    }
}

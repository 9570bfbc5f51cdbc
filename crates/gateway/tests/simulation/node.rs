//! One node's view of the store: tails that follow unreliable feeds, repairs and an audit.
//!
//! The node follows the rules of `redis-log`. The direct successor extends a tail; a newer event makes
//! the node read the topic from the store; events that arrive during a read are held. A message carries
//! its predecessor's position, which `redis-log` derives from the order of a connection.
//!
//! A node that reads from a replica delivers an event when every replica that may be promoted has it, and lets the
//! primary decide what there is not.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use event_log::{
    Append, AppendError, Bookmark, Bounds, Event, Key, Limit, Log, LogName, NewEvent, Page,
    Position, ReadError, Reason, Receipt, Seek, Sought, Spaces, Tail, Topic,
};
use tokio::time::{Instant, sleep};

use super::bug::Bug;
use super::deployment::Reads;
use super::dice::chance;
use super::ensemble::Group;
use super::history::Holding;
use super::store::Window;
use super::world::World;
use feed::Feed;
use sources::{LAG_MAX, Sources};
use watched::{Phase, Watched};

mod feed;
mod reads;
mod sources;
mod watched;

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
    watched: BTreeMap<LogName, Watched>,
    sources: Sources,
    feed: Feed,
    /// The primary does not tell this node of its replicas until then.
    blind_until: Instant,
}

const AUDIT: Duration = Duration::from_secs(5);
const RETRY: Duration = Duration::from_millis(500);
/// Pause between two reads for an event that a message has promised.
const PROMISE_PAUSE: Duration = Duration::from_millis(100);
/// Concurrent reads of a node. Fewer than its clients, so that a read that hangs delays others.
const TURNS: usize = 2;

impl Node {
    /// Starts a node with windows of `window` events and pages of `page` events.
    pub(crate) fn start(world: &Arc<World>, group: Group, window: usize, page: usize) -> Arc<Self> {
        let reads_replicas = match world.deployment.reads {
            Reads::Primary => false,
            Reads::Replicas => true,
            Reads::Mixed => chance(50),
        };
        let sources = Sources::new(reads_replicas, world.store.named(), world.bug);
        let feed = Feed::new(sources.source());
        let state = State { watched: BTreeMap::new(), sources, feed, blind_until: Instant::now() };
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
        if world.deployment.replicas > 0 {
            world.stage.spawn(group, Arc::clone(&node).follow_servers(reads_replicas));
        }
        node
    }

    fn repair_all(self: &Arc<Self>) {
        let logs: Vec<_> = self.state().watched.keys().cloned().collect();
        for log in logs {
            self.with(&log, Watched::suspect);
            self.repair(&log);
        }
    }

    /// The log that an event belongs to.
    fn log_of(&self, event: &Event) -> LogName {
        self.world.spaces.log_of(event.topic())
    }

    /// Extends a tail by the messages that have come. Returns true if the log must be read.
    fn advance(&self, state: &mut State, log: &LogName) -> bool {
        let watched = state.watched.get_mut(log);
        watched.is_some_and(|watched| watched.advance(|head, event| self.follows(head, event)))
    }

    fn follows(&self, head: Position, event: &Event) -> bool {
        let position = event.position();
        if self.world.bug == Some(Bug::ComparesNumbers) {
            return position.n == head.n + 1 && position.ms >= head.ms;
        }
        self.world.store.of(&self.log_of(event), |history| history.are_neighbours(head, position))
    }

    /// Reads a log until its tail follows the feed again. Does nothing if a repair is already running.
    fn repair(self: &Arc<Self>, log: &LogName) {
        let mut state = self.state();
        let Some(watched) = state.watched.get_mut(log) else { return };
        if watched.tail.is_none() || watched.repairing || watched.phase == Phase::Following {
            return;
        }
        watched.repairing = true;
        let (node, log) = (Arc::clone(self), log.clone());
        self.world.stage.spawn(self.group, async move {
            let begin = Instant::now();
            while node.try_repair(&log).await {
                if begin.elapsed() > LAG_MAX {
                    node.with(&log, Watched::give_up);
                }
            }
            node.with(&log, |watched| watched.repairing = false);
        });
    }

    /// Returns true if the repair must be tried again.
    async fn try_repair(&self, log: &LogName) -> bool {
        if !self.state().feed.connected {
            // The reconnection repairs all logs.
            return false;
        }
        self.with(log, Watched::begin);
        match self.look(log).await {
            Ok(window) => {
                let (again, is_owed) = self.settle(log, window);
                if again && is_owed {
                    sleep(PROMISE_PAUSE).await;
                }
                again
            }
            Err(_) => {
                self.with(log, |watched| watched.phase = Phase::Due);
                sleep(RETRY).await;
                true
            }
        }
    }

    /// Takes the window that was read. Returns whether the log must be read again, and whether that is because an event
    /// was promised.
    fn settle(&self, log: &LogName, window: Window) -> (bool, bool) {
        let mut state = self.state();
        let Some(watched) = state.watched.get_mut(log) else { return (false, false) };
        let (whole, is_owed) = (watched.settle(window), watched.is_owed());
        (!whole || self.advance(&mut state, log), is_owed)
    }

    async fn audit(self: Arc<Self>) {
        loop {
            sleep(AUDIT).await;
            let (source, before): (_, Vec<_>) = {
                let state = self.state();
                let opened = state.watched.iter().filter(|(_, watched)| watched.tail.is_some());
                let before = opened.map(|(log, watched)| (log.clone(), watched.head()));
                (state.sources.source(), before.collect())
            };
            let Some(source) = source else { continue };
            if self.travel(source).await.is_err() {
                continue;
            }
            let store = &self.world.store;
            let heads =
                before.iter().map(|(log, _)| store.head_at(log, store.holding(source, log)));
            let heads: Vec<_> = heads.collect();
            if self.travel(source).await.is_err() {
                continue;
            }
            for ((log, before), head) in before.into_iter().zip(heads) {
                let apart = self.with(&log, |watched| {
                    let apart = watched.head() == before && before != head;
                    if apart {
                        watched.suspect();
                    }
                    apart
                });
                if apart {
                    self.repair(&log);
                }
            }
        }
    }

    /// Applies the node's planted bug to a page.
    fn distort(&self, log: &LogName, of: Holding, after: Position, mut page: Page) -> Page {
        if self.world.bug == Some(Bug::MixesTopics) {
            let topics: Vec<_> = page.events.iter().map(|event| event.topic().clone()).collect();
            let others = page.events.iter_mut().skip(1).zip(topics);
            others.for_each(|(event, topic)| *event = of_topic(event, topic));
        }
        let Some(gap) = &mut page.gap else { return page };
        match self.world.bug {
            Some(Bug::CountsOneTooMany) => gap.missed = gap.missed.map(|missed| missed + 1),
            Some(Bug::RewoundIsExact) if gap.reason == Reason::Rewound => {
                let events = self.world.store.read_by_number(log, of, after.n, self.page);
                return Page { gap: None, events };
            }
            _ => {}
        }
        page
    }

    fn with<T: Default>(&self, log: &LogName, change: impl FnOnce(&mut Watched) -> T) -> T {
        self.state().watched.get_mut(log).map(change).unwrap_or_default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

/// The event under another topic, for a planted bug.
fn of_topic(event: &Event, topic: Topic) -> Event {
    let (kind, data) = (event.kind().cloned(), event.data().into());
    Event::new(topic, event.position(), NewEvent { kind, data, ..NewEvent::default() })
}

#[async_trait]
impl Log for Node {
    fn spaces(&self) -> &Spaces {
        &self.world.spaces
    }

    async fn append(&self, batch: Vec<Append>) -> Vec<Result<Receipt, AppendError>> {
        let mut receipts = Vec::new();
        for append in batch {
            receipts.push(self.world.publish(append).await);
        }
        receipts
    }

    async fn read(&self, log: &LogName, after: Position, limit: Limit) -> Result<Page, ReadError> {
        let _turn = self.turns.acquire().await.expect("the semaphore is never closed");
        let owner = self.state().sources.owner();
        let decides =
            self.world.bug == Some(Bug::ReplicaDecides) || self.servers()? == (owner, Vec::new());
        let holding = self.holding(log, self.world.bug != Some(Bug::CutsNoPage)).await?;
        let count = limit.events.clamp(1, self.page);
        let mut page = self.world.store.read(log, holding, after, count);
        if page.gap.is_some() && !decides {
            page = self.read_at(owner, log, after).await?;
        }
        self.confirm_primary(owner, &page).await?;
        Ok(self.distort(log, holding, after, page))
    }

    async fn seek(&self, log: &LogName, seek: Seek) -> Result<Sought, ReadError> {
        let holding = self.holding(log, true).await?;
        Ok(self.world.store.seek(log, holding, seek))
    }

    async fn bounds(&self, log: &LogName) -> Result<Option<Bounds>, ReadError> {
        let holding = self.holding(log, true).await?;
        Ok(self.world.store.bounds(log, holding))
    }

    async fn bookmark(&self, topic: &Topic, source: &Key) -> Result<Option<Bookmark>, ReadError> {
        unreachable!("no gateway copies: {topic} {source:?}")
    }

    async fn find(&self, log: &LogName, label: &Key) -> Result<Option<Position>, ReadError> {
        unreachable!("no gateway here looks for labels: {log} {label:?}")
    }

    async fn tail(&self, log: &LogName) -> Result<Arc<Tail>, ReadError> {
        let _opener = self.opening.lock().await;
        let capacity = Limit { events: self.window, bytes: usize::MAX };
        if let Some(tail) = self.state().watched.get(log).and_then(|w| w.tail.clone()) {
            return Ok(match self.world.bug {
                Some(Bug::FeedsOneTail) => Arc::new(Tail::new(tail.head(), false, capacity)),
                _ => tail,
            });
        }
        // Subscribed before the read, so that no event is lost between the two.
        self.state().watched.insert(log.clone(), Watched::new());
        self.with(log, Watched::begin);
        let window = self.look(log).await?;
        let ended = window.ended && window.events.is_empty();
        let tail = Arc::new(Tail::new(window.before, ended, capacity));
        self.with(log, |watched| {
            watched.tail = Some(Arc::clone(&tail));
            // The audit or the next reconnection reads any rest.
            watched.settle(window);
        });
        Ok(tail)
    }

    async fn echo(&self, _log: &LogName) -> Result<Duration, ReadError> {
        let (start, owner) = (Instant::now(), self.state().sources.owner());
        self.travel(owner).await?;
        let (source, _) = self.servers()?;
        self.travel(source).await?;
        Ok(start.elapsed())
    }
}

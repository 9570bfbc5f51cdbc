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
    Append, AppendError, Bounds, Event, Limit, Log, Page, Position, ReadError, Reason, Receipt,
    Seek, Sought, Tail, Topic,
};
use tokio::time::{Instant, sleep};

use super::bug::Bug;
use super::deployment::Reads;
use super::dice::{chance, millis};
use super::ensemble::Group;
use super::history::Holding;
use super::server::Id;
use super::store::Window;
use super::world::World;
use sources::{LAG_MAX, Sources};
use watched::{Phase, Watched};

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
    watched: BTreeMap<Topic, Watched>,
    sources: Sources,
    feeds: BTreeMap<Id, Feed>,
    /// The primary does not tell this node of its replicas until then.
    blind_until: Instant,
}

/// The feed from one server.
#[derive(Debug, Default)]
struct Feed {
    connected: bool,
    /// Counts the connections of the feed. Messages of earlier connections are dropped.
    line: u32,
    /// Pings without an answer.
    missed: u32,
}

const AUDIT: Duration = Duration::from_secs(5);
const RETRY: Duration = Duration::from_millis(500);
/// Least time between two looks at the servers.
const POLL: Duration = Duration::from_secs(1);
/// Pings without an answer that end a feed.
const MISSED_MAX: u32 = 2;
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
        let feeds = sources.feeds().into_iter().map(|server| (server, Feed::connected(0)));
        let feeds = feeds.collect();
        let state = State { watched: BTreeMap::new(), sources, feeds, blind_until: Instant::now() };
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

    /// Sends a server's message to this node. The weather may lose, delay or duplicate it.
    pub(crate) fn send(self: &Arc<Self>, from: Id, event: &Event) {
        let weather = self.world.weather();
        let state = self.state();
        let Some(feed) = state.feeds.get(&from).filter(|feed| feed.connected) else { return };
        if !state.watched.contains_key(event.topic()) || chance(weather.lost) {
            return;
        }
        let copies = if chance(weather.doubled) { 2 } else { 1 };
        for _ in 0..copies {
            let (node, event, line) = (Arc::clone(self), event.clone(), feed.line);
            let late = millis(0..weather.late_ms);
            self.world.stage.spawn(self.group, async move {
                sleep(late).await;
                node.take(from, line, event);
            });
        }
    }

    /// Hides the reports of the primary from this node for a while.
    pub(crate) fn goes_blind(&self, time: Duration) {
        self.state().blind_until = Instant::now() + time;
    }

    /// Breaks the connections of all feeds. The node reconnects later.
    pub(crate) fn lose_feeds(self: &Arc<Self>) {
        let servers: Vec<_> = self.state().feeds.keys().copied().collect();
        servers.into_iter().for_each(|server| self.lose_feed(server));
    }

    fn lose_feed(self: &Arc<Self>, server: Id) {
        let mut state = self.state();
        let Some(feed) = state.feeds.get_mut(&server) else { return };
        *feed = Feed { connected: false, line: feed.line + 1, missed: 0 };
        let line = feed.line;
        state.watched.values_mut().for_each(Watched::suspect);
        let node = Arc::clone(self);
        self.world.stage.spawn(self.group, async move {
            loop {
                sleep(millis(1..4000)).await;
                let answers = node.world.store.with(server, |server| server.answers());
                let mut state = node.state();
                match state.feeds.get_mut(&server).filter(|feed| feed.line == line) {
                    Some(feed) if answers => feed.connected = true,
                    Some(_) => {
                        state.sources.doubt(server);
                        continue;
                    }
                    None => return,
                }
                drop(state);
                return node.repair_all();
            }
        });
    }

    fn repair_all(self: &Arc<Self>) {
        let topics: Vec<_> = self.state().watched.keys().cloned().collect();
        for topic in topics {
            self.with(&topic, Watched::suspect);
            self.repair(&topic);
        }
    }

    fn take(self: &Arc<Self>, from: Id, line: u32, event: Event) {
        let mut state = self.state();
        if state.feeds.get(&from).is_none_or(|feed| feed.line != line) {
            return;
        }
        let topic = event.topic().clone();
        let overtakes = self.world.deployment.has_bus && state.sources.may_overtake(from);
        let Some(watched) = state.watched.get_mut(&topic) else { return };
        let reads = match overtakes {
            true => watched.promise(event.position()),
            false => {
                watched.take(from, event);
                self.advance(&mut state, &topic)
            }
        };
        drop(state);
        if reads {
            self.repair(&topic);
        }
    }

    /// Extends a tail by the messages that have come. Returns true if the topic must be read.
    fn advance(&self, state: &mut State, topic: &Topic) -> bool {
        let Some(source) = state.sources.source() else { return false };
        let servers: Vec<_> = [source].into_iter().chain(state.sources.awaited()).collect();
        let by_order = self.world.bug == Some(Bug::TakesOrderForProof);
        let watched = state.watched.get_mut(topic);
        watched.is_some_and(|watched| {
            watched.advance(&servers, by_order, |head, event| self.follows(head, event))
        })
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
        if watched.tail.is_none() || watched.repairing || watched.phase == Phase::Following {
            return;
        }
        watched.repairing = true;
        let (node, topic) = (Arc::clone(self), topic.clone());
        self.world.stage.spawn(self.group, async move {
            let begin = Instant::now();
            while node.try_repair(&topic).await {
                if begin.elapsed() > LAG_MAX {
                    node.with(&topic, Watched::give_up);
                }
            }
            node.with(&topic, |watched| watched.repairing = false);
        });
    }

    /// Returns true if the repair must be tried again.
    async fn try_repair(&self, topic: &Topic) -> bool {
        if !self.has_feed() {
            // The reconnection repairs all topics.
            return false;
        }
        self.with(topic, Watched::begin);
        match self.look(topic).await {
            Ok(window) => {
                let (again, is_owed) = self.settle(topic, window);
                if again && is_owed {
                    sleep(PROMISE_PAUSE).await;
                }
                again
            }
            Err(_) => {
                self.with(topic, |watched| watched.phase = Phase::Due);
                sleep(RETRY).await;
                true
            }
        }
    }

    /// Takes the window that was read. Returns whether the topic must be read again, and whether that is because an event
    /// was promised.
    fn settle(&self, topic: &Topic, window: Window) -> (bool, bool) {
        let mut state = self.state();
        let Some(watched) = state.watched.get_mut(topic) else { return (false, false) };
        let (whole, is_owed) = (watched.settle(window), watched.is_owed());
        (!whole || self.advance(&mut state, topic), is_owed)
    }

    /// Returns true if the feed from the source is connected.
    fn has_feed(&self) -> bool {
        let state = self.state();
        // A node without a source soon has one, and then repairs all topics.
        let source = state.sources.feeds().first().copied();
        source.and_then(|source| state.feeds.get(&source)).is_some_and(|feed| feed.connected)
    }

    async fn audit(self: Arc<Self>) {
        loop {
            sleep(AUDIT).await;
            let (source, before): (_, Vec<_>) = {
                let state = self.state();
                let opened = state.watched.iter().filter(|(_, watched)| watched.tail.is_some());
                let before = opened.map(|(topic, watched)| (topic.clone(), watched.head()));
                (state.sources.source(), before.collect())
            };
            let Some(source) = source else { continue };
            if self.travel(source).await.is_err() {
                continue;
            }
            let store = &self.world.store;
            let heads = before.iter().map(|(t, _)| store.head_at(t, store.holding(source, t)));
            let heads: Vec<_> = heads.collect();
            if self.travel(source).await.is_err() {
                continue;
            }
            for ((topic, before), head) in before.into_iter().zip(heads) {
                let apart = self.with(&topic, |watched| {
                    let apart = watched.head() == before && before != head;
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

    /// Chooses the servers again and again, and keeps the feeds from them.
    async fn follow_servers(self: Arc<Self>, reads_replicas: bool) {
        loop {
            self.ask_servers(reads_replicas).await;
            self.keep_feeds();
            let topics: Vec<_> = self.state().watched.keys().cloned().collect();
            for topic in topics {
                // Fewer servers may have to have the messages that wait.
                let reads = self.advance(&mut self.state(), &topic);
                if reads {
                    self.repair(&topic);
                }
            }
            sleep(POLL + millis(0..1000)).await;
        }
    }

    /// Begins the feeds that are missing, ends the others, and loses those that are silent.
    fn keep_feeds(self: &Arc<Self>) {
        let mut state = self.state();
        let wanted = state.sources.feeds();
        let mut changed = state.feeds.keys().any(|server| !wanted.contains(server));
        state.feeds.retain(|server, _| wanted.contains(server));
        let mut silent = Vec::new();
        for server in wanted {
            let feed = state.feeds.entry(server).or_insert_with(|| {
                changed = true;
                Feed::connected(fastrand::u32(..))
            });
            let answers = self.world.store.with(server, |server| server.answers());
            feed.missed = if answers { 0 } else { feed.missed + 1 };
            if feed.connected && feed.missed >= MISSED_MAX {
                silent.push(server);
            }
        }
        silent.iter().for_each(|server| state.sources.doubt(*server));
        drop(state);
        silent.into_iter().for_each(|server| self.lose_feed(server));
        if changed {
            self.repair_all();
        }
    }

    async fn ask_servers(&self, reads_replicas: bool) {
        let store = &self.world.store;
        // Before the report: an old primary says nothing of the replica that has taken its place.
        let owner = self.world.ask_sentinels().await;
        self.state().sources.learn(owner);
        if !reads_replicas {
            return;
        }
        let asked = Instant::now();
        let is_blind = self.state().blind_until > asked;
        let report = match !is_blind && self.world.travel(owner).await {
            true => store.report(owner),
            false => None,
        };
        let report = if self.world.travel(owner).await { report } else { None };
        let missing = self.state().sources.take(report, asked);
        for server in missing {
            if self.world.travel(server).await {
                let role = store.with(server, |server| server.role);
                self.state().sources.hear(server, role);
            }
        }
        let mut state = self.state();
        let before = state.sources.source();
        state.sources.choose();
        let now = state.sources.source();
        drop(state);
        if before != now {
            self.world.note(format_args!("node {:?} reads from {now:?}", self.group));
            self.world.count("changes of a source", 1);
        }
    }

    async fn look(&self, topic: &Topic) -> Result<Window, ReadError> {
        let holding = self.holding(topic, true).await?;
        Ok(self.world.store.window(topic, holding, self.window))
    }

    /// Asks the source what it holds of a topic, and cuts that at the first event that another server lacks which has to
    /// have it.
    async fn holding(&self, topic: &Topic, cut: bool) -> Result<Holding, ReadError> {
        let (source, awaited) = self.servers()?;
        self.travel(source).await?;
        let store = &self.world.store;
        let mut holding = store.holding(source, topic);
        for other in awaited.into_iter().filter(|_| cut) {
            self.travel(other).await?;
            let place = store.holding(other, topic).place;
            holding = store.of(topic, |history| history.cut(holding, place));
        }
        self.travel(source).await?;
        Ok(holding)
    }

    /// Returns the source and the servers that must have an event too.
    fn servers(&self) -> Result<(Id, Vec<Id>), ReadError> {
        let state = self.state();
        let source = state.sources.source();
        let source = source.ok_or_else(|| ReadError::Unavailable("no source".to_owned()))?;
        Ok((source, state.sources.awaited()))
    }

    /// Lets the primary decide if there is a gap after a position. A reader that is only ahead of its source waits.
    async fn read_at(&self, owner: Id, topic: &Topic, after: Position) -> Result<Page, ReadError> {
        let store = &self.world.store;
        self.travel(owner).await?;
        let page = store.read(topic, store.holding(owner, topic), after, self.page);
        self.travel(owner).await?;
        let Some(gap) = &page.gap else {
            let waits = self.world.bug != Some(Bug::ReadsAheadOfTheSource);
            return Ok(if waits { Page { gap: None, events: Vec::new() } } else { page });
        };
        let (source, awaited) = self.servers()?;
        for server in [source].into_iter().chain(awaited) {
            self.travel(server).await?;
            let holding = store.holding(server, topic);
            let holds = store.of(topic, |history| history.holds(holding, gap.resume));
            if !holds && self.world.bug != Some(Bug::SkipsToTheUncommitted) {
                return Err(ReadError::Unavailable(
                    "a replica lacks the end of the gap".to_owned(),
                ));
            }
        }
        Ok(page)
    }

    /// Makes sure that nobody has replaced the primary that calls a position lost. A replaced one does not know the events
    /// of its successor.
    async fn confirm_primary(&self, owner: Id, page: &Page) -> Result<(), ReadError> {
        let is_lost = page.gap.as_ref().is_some_and(|gap| gap.reason != Reason::Trimmed);
        if !is_lost || self.world.bug == Some(Bug::AsksNoSentinel) {
            return Ok(());
        }
        match self.world.ask_sentinels().await == owner {
            true => Ok(()),
            false => Err(ReadError::Unavailable("the primary was replaced".to_owned())),
        }
    }

    async fn travel(&self, server: Id) -> Result<(), ReadError> {
        if self.world.travel(server).await {
            return Ok(());
        }
        self.state().sources.doubt(server);
        Err(ReadError::Unavailable("away".to_owned()))
    }

    /// Applies the node's planted bug to a page.
    fn distort(&self, topic: &Topic, of: Holding, after: Position, mut page: Page) -> Page {
        let Some(gap) = &mut page.gap else { return page };
        match self.world.bug {
            Some(Bug::CountsOneTooMany) => gap.missed = gap.missed.map(|missed| missed + 1),
            Some(Bug::RewoundIsExact) if gap.reason == Reason::Rewound => {
                let events = self.world.store.read_by_number(topic, of, after.n, self.page);
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

impl Feed {
    fn connected(line: u32) -> Self {
        Self { connected: true, line, missed: 0 }
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
        let owner = self.state().sources.owner();
        let decides =
            self.world.bug == Some(Bug::ReplicaDecides) || self.servers()? == (owner, Vec::new());
        let holding = self.holding(topic, self.world.bug != Some(Bug::CutsNoPage)).await?;
        let count = limit.events.clamp(1, self.page);
        let mut page = self.world.store.read(topic, holding, after, count);
        if page.gap.is_some() && !decides {
            page = self.read_at(owner, topic, after).await?;
        }
        self.confirm_primary(owner, &page).await?;
        Ok(self.distort(topic, holding, after, page))
    }

    async fn seek(&self, topic: &Topic, seek: Seek) -> Result<Sought, ReadError> {
        let holding = self.holding(topic, true).await?;
        Ok(self.world.store.seek(topic, holding, seek))
    }

    async fn bounds(&self, topic: &Topic) -> Result<Option<Bounds>, ReadError> {
        let holding = self.holding(topic, true).await?;
        Ok(self.world.store.bounds(topic, holding))
    }

    async fn tail(&self, topic: &Topic) -> Result<Arc<Tail>, ReadError> {
        let _opener = self.opening.lock().await;
        if let Some(tail) = self.state().watched.get(topic).and_then(|w| w.tail.clone()) {
            return Ok(tail);
        }
        // Subscribed before the read, so that no event is lost between the two.
        self.state().watched.insert(topic.clone(), Watched::new());
        self.with(topic, Watched::begin);
        let window = self.look(topic).await?;
        let ended = window.ended && window.events.is_empty();
        let capacity = Limit { events: self.window, bytes: usize::MAX };
        let tail = Arc::new(Tail::new(window.before, ended, capacity));
        self.with(topic, |watched| {
            watched.tail = Some(Arc::clone(&tail));
            // The audit or the next reconnection reads any rest.
            watched.settle(window);
        });
        Ok(tail)
    }

    async fn echo(&self, _topic: &Topic) -> Result<Duration, ReadError> {
        let (start, owner) = (Instant::now(), self.state().sources.owner());
        self.travel(owner).await?;
        let (source, _) = self.servers()?;
        self.travel(source).await?;
        Ok(start.elapsed())
    }
}

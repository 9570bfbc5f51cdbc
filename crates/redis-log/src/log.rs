//! The log itself: puts its parts together, and answers the calls of `event_log::Log`.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use event_log::{
    Append, AppendError, Bookmark, Bounds, Key, Limit, Log, LogName, Page, Position, ReadError,
    Receipt, Seek, Sought, Spaces, Tail, Topic,
};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_util::sync::DropGuard;

use crate::access::Access;
use crate::audit::{self, Audit};
use crate::config::Config;
use crate::credentials::Credentials;
use crate::echo::Echoes;
use crate::error::Failure;
use crate::eviction;
use crate::feed::{self, Feed};
use crate::feeds::Feeds;
use crate::flight::Flights;
use crate::keys;
use crate::leases::RedisLeases;
use crate::life::Life;
use crate::pace::every;
use crate::pages::Pages;
use crate::presence::RedisPresence;
use crate::repair::Repairs;
use crate::stats::{Op, Stats};
use crate::store::{Store, spaces};
use crate::topics::{Lookup, Topics};
use crate::topology::{self, Topology, sources};
use crate::unstored::Unstored;
use crate::watched::{Verdict, Watched};
use crate::witness::Witnesses;

mod connect;
mod inventory;

/// A [`Log`] on Redis. When it is dropped, its tasks end.
#[derive(Debug)]
pub struct RedisLog {
    config: Config,
    credentials: watch::Sender<Credentials>,
    access: Access,
    topology: Arc<Topology>,
    store: Arc<Store>,
    topics: Arc<Topics>,
    feeds: Arc<Feeds>,
    repairs: Arc<Repairs>,
    echoes: Arc<Echoes>,
    flights: Flights,
    pages: Pages,
    stats: Arc<Stats>,
    unstored: Unstored,
    life: Life,
    _close: DropGuard,
}

/// Sweeps of the registry within the idle time of a topic.
const SWEEPS: u32 = 6;

impl RedisLog {
    /// Opens the log without a check. The log tries to reach its servers until it can.
    ///
    /// All tasks and connections of the log belong to the tokio runtime of the caller, which must live
    /// as long as the log. Later calls may come from any runtime.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn new(config: Config) -> Arc<Self> {
        let life = Life::begin();
        let stats = Arc::<Stats>::default();
        let topology = Topology::new(&config);
        let witnesses = Arc::<Witnesses>::default();
        let (credentials, access) = config.access();
        let store =
            Arc::new(Store::new(&config, access.clone(), &topology, &witnesses, &stats, &life));
        let topics = Arc::<Topics>::default();
        let feeds = Arc::new(Feeds::new(&topology, &stats));
        let repairs = Arc::new(Repairs::new(&store, &feeds, &stats, &life));
        let log = Arc::new(Self {
            _close: life.close_on_drop(),
            config,
            credentials,
            access,
            topology,
            store,
            pages: Pages::new(&topics),
            topics,
            feeds,
            repairs,
            echoes: Arc::default(),
            flights: Flights::default(),
            unstored: Unstored::new(&stats),
            stats,
            life,
        });
        log.start(witnesses);
        log
    }

    /// Starts the tasks. None of them holds the log, whose drop ends them.
    fn start(&self, witnesses: Arc<Witnesses>) {
        let Self { config, access, topology, store, topics, feeds, .. } = self;
        let Self { repairs, echoes, stats, life, .. } = self;
        life.spawn(topology::run(Arc::clone(topology), config.clone(), access.clone()));
        if !topology.reads_primaries() {
            let (topology, stats) = (Arc::clone(topology), Arc::clone(stats));
            let (read_from, poll) = (config.read_from.clone(), config.poll);
            life.spawn(sources::run(topology, read_from, access.clone(), poll, stats));
        }
        life.spawn({
            let store = Arc::clone(store);
            async move { store.follow_topology().await }
        });
        life.spawn({
            let store = Arc::clone(store);
            async move { store.follow_credentials().await }
        });
        let feed = Feed {
            keys: store.keys().clone(),
            access: access.clone(),
            topology: Arc::clone(topology),
            topics: Arc::clone(topics),
            feeds: Arc::clone(feeds),
            repairs: Arc::clone(repairs),
            echoes: Arc::clone(echoes),
            witnesses: Arc::clone(&witnesses),
            stats: Arc::clone(stats),
            ping: config.ping,
        };
        life.spawn(feed::run(Arc::new(feed), life.clone()));
        let audit = Audit {
            topology: Arc::clone(topology),
            store: Arc::clone(store),
            topics: Arc::clone(topics),
            repairs: Arc::clone(repairs),
            stats: Arc::clone(stats),
            life: life.clone(),
        };
        life.spawn(audit::run(Arc::new(audit), config.audit));
        life.spawn(spaces::watch(Arc::clone(store)));
        life.spawn(audit::run_witnesses(witnesses, Arc::clone(store)));
        life.spawn(eviction::watch(Arc::clone(topology), Arc::clone(store), Arc::clone(stats)));
        let (topics, feeds, stats) = (Arc::clone(topics), Arc::clone(feeds), Arc::clone(stats));
        life.spawn(sweep(topics, feeds, stats, config.idle));
    }

    /// The counts of this log.
    #[must_use]
    pub fn stats(&self) -> Arc<Stats> {
        Arc::clone(&self.stats)
    }

    /// The counts of subjects on all nodes, in the same store. Each call is for another node.
    #[must_use]
    pub fn leases(&self) -> Arc<RedisLeases> {
        Arc::new(RedisLeases::new(&self.store, &self.life))
    }

    /// The members of topics on all nodes, in the same store. A node that does not report for as long as `grace`
    /// has no members. Each call is for another node.
    #[must_use]
    pub fn presence(&self, grace: Duration) -> Arc<RedisPresence> {
        Arc::new(RedisPresence::new(&self.store, &self.life, grace))
    }

    /// Ends all tasks of the log and waits for their end. Tails stay as they are.
    pub async fn shutdown(&self) {
        self.life.close().await;
    }

    fn counted<T>(&self, op: Op, result: Result<T, Failure>) -> Result<T, ReadError> {
        result.map_err(|failure| {
            self.stats.failed(op);
            failure.into()
        })
    }

    /// Appends what a topic in a space can have.
    async fn append_checked(&self, batch: Vec<Append>) -> Vec<Result<Receipt, AppendError>> {
        let (mut fit, mut refused) = (Vec::with_capacity(batch.len()), Vec::new());
        for (index, append) in batch.into_iter().enumerate() {
            let log = self.config.spaces.log_of(&append.topic);
            match append.checked_in(&log) {
                Ok(append) => fit.push(append),
                Err(error) => refused.push((index, error)),
            }
        }
        let mut results = self.store.append(&fit.into()).await;
        // In their order, so each finds its place.
        refused.into_iter().for_each(|(index, error)| results.insert(index, Err(error)));
        results
    }

    /// Opens the tail: first the subscription, then the read, so that no event falls between them.
    async fn open(&self, watched: &Arc<Watched>) -> Result<(), Failure> {
        let _opener = watched.opening.lock().await;
        if watched.tail().is_some() {
            return Ok(());
        }
        // The registry holds the topic. The hint makes the feed look at it.
        if self.life.is_closing() {
            return Err(Failure::Closed);
        }
        self.feeds.hint(&watched.topic).await;
        watched.confirmed().await;
        watched.begin();
        let store = &self.store;
        let window = store.read(&watched.topic, store.window(&watched.topic)).await?;
        if watched.opened(window) == Verdict::Read {
            self.repairs.start(Arc::clone(watched));
        }
        Ok(())
    }
}

#[async_trait]
impl Log for RedisLog {
    fn spaces(&self) -> &Spaces {
        &self.config.spaces
    }

    async fn append(&self, batch: Vec<Append>) -> Vec<Result<Receipt, AppendError>> {
        let results = match (self.store.check_spaces().await, self.config.spaces.is_empty()) {
            (Err(failure), _) => vec![Err(failure.into()); batch.len()],
            (Ok(()), true) => self.store.append(&batch.into()).await,
            (Ok(()), false) => self.append_checked(batch).await,
        };
        let failures = results.iter().filter_map(|result| result.as_ref().err());
        failures.for_each(|error| self.unstored.note(error));
        results
    }

    async fn read(
        &self,
        topic: &LogName,
        after: Position,
        limit: Limit,
    ) -> Result<Page, ReadError> {
        let plan = self.pages.plan(topic, limit);
        loop {
            let (first, flight) = self.flights.join((topic.clone(), after, plan), || {
                let (store, stats) = (Arc::clone(&self.store), Arc::clone(&self.stats));
                let topic = topic.clone();
                self.life.at_home(async move {
                    let behind = store.confirmed_behind(&topic, after, plan).await?;
                    stats.read(behind.events.len());
                    Ok(behind.into_page())
                })
            });
            let mut page = self.counted(Op::Read, flight.await)?;
            // A read that began before this call may have missed the event that woke the caller. If
            // it brought anything, the caller comes back for the rest.
            if first || page.gap.is_some() || !page.events.is_empty() {
                self.pages.cut(topic, plan, &mut page.events, limit);
                return Ok(page);
            }
        }
    }

    async fn seek(&self, topic: &LogName, seek: Seek) -> Result<Sought, ReadError> {
        let store = &self.store;
        self.counted(Op::Seek, store.read(topic, store.seek(topic, seek)).await)
    }

    async fn bounds(&self, topic: &LogName) -> Result<Option<Bounds>, ReadError> {
        let store = &self.store;
        self.counted(Op::Bounds, store.check_format())?;
        self.counted(Op::Bounds, store.check_spaces().await)?;
        self.counted(Op::Bounds, store.read(topic, store.bounds(topic)).await)
    }

    async fn bookmark(&self, topic: &Topic, source: &Key) -> Result<Option<Bookmark>, ReadError> {
        let store = &self.store;
        self.counted(Op::Bookmark, store.check_format())?;
        self.counted(Op::Bookmark, store.check_spaces().await)?;
        let log = self.config.spaces.log_of(topic);
        self.counted(Op::Bookmark, store.read(&log, store.bookmark(topic, source)).await)
    }

    async fn find(&self, log: &LogName, label: &Key) -> Result<Option<Position>, ReadError> {
        self.counted(Op::Bookmark, self.store.check_spaces().await)?;
        self.counted(Op::Bookmark, self.store.read(log, self.store.find(log, label)).await)
    }

    async fn tail(&self, topic: &LogName) -> Result<Arc<Tail>, ReadError> {
        let limit = self.config.timeout;
        let opened = timeout(limit, async {
            self.store.check_spaces().await?;
            loop {
                match self.topics.look_up(topic) {
                    Lookup::Open(tail) => return Ok(tail),
                    Lookup::Closed(watched) => self.open(&watched).await?,
                }
            }
        });
        let opened = opened.await.unwrap_or_else(|_| {
            // Without a primary the missing primary is the better reason.
            let source = self.topology.source(keys::partition(topic));
            Err(source.err().unwrap_or(Failure::Late(limit)))
        });
        self.counted(Op::Tail, opened)
    }

    async fn echo(&self, topic: &LogName) -> Result<Duration, ReadError> {
        self.counted(Op::Feed, self.store.check_format())?;
        let _watched = self.tail(topic).await?;
        let (start, limit) = (Instant::now(), self.config.timeout);
        let echoed = timeout(limit, async {
            let mut echo = self.echoes.begin()?;
            self.store.send_echo(topic, &echo.marker()).await?;
            echo.arrived().await
        });
        let echoed = echoed.await.unwrap_or(Err(Failure::Late(limit)));
        self.counted(Op::Feed, echoed.map(|()| start.elapsed()))
    }
}

/// Releases the topics that nobody uses any more, until the log closes.
async fn sweep(topics: Arc<Topics>, feeds: Arc<Feeds>, stats: Arc<Stats>, idle: Duration) {
    let mut tick = every(idle / SWEEPS);
    loop {
        tick.tick().await;
        for topic in topics.sweep(idle) {
            feeds.hint(&topic).await;
        }
        stats.watches(topics.len());
    }
}

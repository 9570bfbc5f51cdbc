//! The log itself: what the rest of Tailwater calls.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use event_log::{
    Append, AppendError, Bounds, Limit, Log, Page, Position, ReadError, Receipt, Seek, Sought,
    Tail, Topic,
};
use tokio::time::timeout;
use tokio_util::sync::DropGuard;

use crate::address::Address;
use crate::config::Config;
use crate::error::{ConnectError, Failure};
use crate::flight::Flights;
use crate::keys;
use crate::node::{Node, every};
use crate::repair::repair;
use crate::stats::{Op, Stats};
use crate::store::PAGE;
use crate::topics::Lookup;
use crate::watched::{Verdict, Watched};
use crate::{audit, feed, topology, witness};

/// A [`Log`] on Redis. Dropped, it ends its tasks.
#[derive(Debug)]
pub struct RedisLog {
    node: Arc<Node>,
    flights: Flights,
    _close: DropGuard,
}

/// How many times within its idle time a topic is looked at.
const SWEEPS: u32 = 6;

impl RedisLog {
    /// Opens the log on a server that is there and is of use.
    ///
    /// # Errors
    /// The server cannot be reached, refuses us, lacks what is needed, or cannot give the durability
    /// that is asked for now.
    pub async fn connect(config: Config) -> Result<Arc<Self>, ConnectError> {
        let url = config.url.clone();
        let log = Self::new(config);
        let primaries = log.primaries().await.map_err(|failure| ConnectError::Unreachable {
            url: url.clone(),
            reason: failure.to_string(),
        })?;
        for primary in &primaries {
            log.check(primary).await?;
        }
        tracing::info!(%url, ?primaries, "log opened");
        Ok(log)
    }

    /// The primaries, as soon as they are known.
    async fn primaries(&self) -> Result<BTreeSet<Address>, Failure> {
        let Config { connect_timeout, timeout: answer, .. } = self.node.config;
        let mut map = self.node.topology.subscribe();
        let known = map.wait_for(|map| !map.primaries().is_empty());
        match timeout(connect_timeout + answer, known).await {
            Ok(known) => Ok(known.map_err(|_| Failure::Closed)?.primaries()),
            Err(_) => Err(match self.node.topology.owner(0) {
                Err(failure) => failure,
                Ok(_) => Failure::Late(connect_timeout + answer),
            }),
        }
    }

    /// Looks whether a primary is what the log needs.
    async fn check(&self, primary: &Address) -> Result<(), ConnectError> {
        let Node { store, config, topology, .. } = &*self.node;
        let (url, durability) = (config.url.clone(), config.durability);
        let server = store.server(primary).await.map_err(|failure| ConnectError::Unreachable {
            url: url.clone(),
            reason: failure.to_string(),
        })?;
        if !server.is_new_enough() {
            return Err(ConnectError::TooOld { url, version: server.version });
        }
        if server.mode != topology.kind().mode() {
            return Err(ConnectError::Mode { url, mode: server.mode });
        }
        store.prove(primary).await.map_err(|failure| ConnectError::Durability {
            url: url.clone(),
            durability,
            reason: match failure {
                Failure::Replicas { got, .. } => format!("{primary} has {got} replicas in step"),
                other => format!("{primary}: {other}"),
            },
        })?;
        match store.eviction(primary).await {
            Some(policy) if policy != "noeviction" => {
                tracing::warn!(%primary, policy, "redis may evict events: set maxmemory-policy noeviction");
            }
            _ => {}
        }
        Ok(())
    }

    /// Opens the log whether or not the server is there; it is sought until it is. To be called
    /// within a tokio runtime.
    #[must_use]
    pub fn new(config: Config) -> Arc<Self> {
        let node = Node::new(config);
        node.spawn(topology::run(Arc::clone(&node.topology), node.config.clone()));
        node.spawn({
            let node = Arc::clone(&node);
            async move { node.store.follow_topology().await }
        });
        node.spawn(feed::run(Arc::clone(&node)));
        node.spawn(audit::run(Arc::clone(&node)));
        node.spawn(witness::run(Arc::clone(&node)));
        node.spawn(sweep(Arc::clone(&node)));
        let close = node.life.closing.clone().drop_guard();
        Arc::new(Self { node, flights: Flights::default(), _close: close })
    }

    /// What the log counts about itself.
    #[must_use]
    pub fn stats(&self) -> Arc<Stats> {
        Arc::clone(&self.node.stats)
    }

    /// Ends all tasks of the log and waits for their end. Tails stay as they are.
    pub async fn shutdown(&self) {
        self.node.life.closing.cancel();
        self.node.life.tasks.close();
        self.node.life.tasks.wait().await;
    }

    fn counted<T>(&self, op: Op, result: Result<T, Failure>) -> Result<T, ReadError> {
        result.map_err(|failure| {
            self.node.stats.failed(op);
            failure.into()
        })
    }

    /// Opens the tail: first the subscription, then the read, so that nothing falls between.
    async fn open(&self, watched: &Arc<Watched>) -> Result<(), Failure> {
        let _opener = watched.opening.lock().await;
        if watched.tail().is_some() {
            return Ok(());
        }
        // The registry holds the topic already; the hint only makes the feed look.
        if self.node.life.closing.is_cancelled() {
            return Err(Failure::Closed);
        }
        self.node.hint(&watched.topic).await;
        watched.confirmed().await;
        watched.begin();
        let store = &self.node.store;
        let window = store.read(&watched.topic, store.window(&watched.topic)).await?;
        if watched.opened(window) == Verdict::Read {
            self.node.spawn(repair(Arc::clone(&self.node), Arc::clone(watched)));
        }
        Ok(())
    }

    /// How many events a read is to bring: no more than fit the limit, going by their size so far.
    fn count(&self, topic: &Topic, limit: Limit) -> usize {
        let count = limit.events.clamp(1, PAGE);
        let Some(tail) = self.node.topics.get(topic.as_str()).and_then(|watched| watched.tail())
        else {
            return count;
        };
        let (events, weight) = tail.inspect(|events| {
            events.fold((0, 0), |(count, sum), event| (count + 1, sum + event.weight()))
        });
        match weight.checked_div(events) {
            Some(mean) => count.min(limit.bytes / mean.max(1) + 1),
            None => count,
        }
    }
}

#[async_trait]
impl Log for RedisLog {
    async fn append(&self, batch: Vec<Append>) -> Vec<Result<Receipt, AppendError>> {
        let results = self.node.store.append(&batch.into()).await;
        for result in &results {
            if let Err(AppendError::Full(_) | AppendError::Unavailable(_)) = result {
                self.node.stats.failed(Op::Append);
            }
        }
        results
    }

    async fn read(&self, topic: &Topic, after: Position, limit: Limit) -> Result<Page, ReadError> {
        let count = self.count(topic, limit);
        loop {
            let (first, flight) = self.flights.join((topic.clone(), after, count), || {
                let (node, topic) = (Arc::clone(&self.node), topic.clone());
                async move {
                    let read = node.store.behind(&topic, after, count);
                    let behind = node.store.read(&topic, read).await?;
                    node.stats.read(behind.page.events.len());
                    Ok(behind.page)
                }
            });
            let mut page = self.counted(Op::Read, flight.await)?;
            // A read that began before this one was asked for may have been too early to see what
            // the caller was woken for; if it saw anything, the caller will be back for the rest.
            if first || page.gap.is_some() || !page.events.is_empty() {
                page.events.truncate(limit.fits(&page.events));
                return Ok(page);
            }
        }
    }

    async fn seek(&self, topic: &Topic, seek: Seek) -> Result<Sought, ReadError> {
        let store = &self.node.store;
        self.counted(Op::Seek, store.read(topic, store.seek(topic, seek)).await)
    }

    async fn bounds(&self, topic: &Topic) -> Result<Option<Bounds>, ReadError> {
        let store = &self.node.store;
        self.counted(Op::Bounds, store.read(topic, store.bounds(topic)).await)
    }

    async fn tail(&self, topic: &Topic) -> Result<Arc<Tail>, ReadError> {
        let limit = self.node.config.timeout;
        let opened = timeout(limit, async {
            loop {
                match self.node.topics.look_up(topic) {
                    Lookup::Open(tail) => return Ok(tail),
                    Lookup::Closed(watched) => self.open(&watched).await?,
                }
            }
        });
        let opened = opened.await.unwrap_or_else(|_| {
            // Without a primary there was nobody to wait for, which says more.
            let owner = self.node.topology.owner(keys::partition(topic));
            Err(owner.err().unwrap_or(Failure::Late(limit)))
        });
        self.counted(Op::Tail, opened)
    }
}

/// Lets go of topics that nobody uses any more, until the log closes.
async fn sweep(node: Arc<Node>) {
    let mut tick = every(node.config.idle / SWEEPS);
    loop {
        tick.tick().await;
        for topic in node.topics.sweep(node.config.idle) {
            node.hint(&topic).await;
        }
        node.stats.watches(node.topics.len());
    }
}

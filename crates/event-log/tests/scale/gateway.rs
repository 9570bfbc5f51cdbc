//! A gateway: a [`Log`] whose tails follow a feed, as `redis-log` does it, and which counts its reads.
//!
//! The first reader of a topic subscribes and reads the topic's window. Later readers are served from there.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use event_log::{
    Append, AppendError, Bookmark, Bounds, Event, Key, Limit, Log, LogName, Page, Position,
    ReadError, Receipt, Seek, Sought, Tail, Topic,
};
use tokio::sync::watch;
use tokio::time::sleep;

use super::servers::{Id, Servers};

#[derive(Debug)]
pub(crate) struct Gateway {
    /// The server that it listens to and reads from.
    pub(crate) source: Id,
    /// The servers that it asks at each read how much of a topic they have.
    others: Vec<Id>,
    /// A message is a hint, and the gateway reads its event.
    reads_events: bool,
    /// True once it has died.
    pub(crate) dead: watch::Sender<bool>,
    tails: Mutex<HashMap<LogName, Arc<Opening>>>,
}

/// Readers that come together open a tail together.
type Opening = tokio::sync::OnceCell<Arc<Tail>>;

/// A gateway as its readers see it.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) servers: Arc<Servers>,
}

/// Events of a page and of a tail's window, as in `redis-log`.
const PAGE: usize = 128;
/// Time that a read takes.
const READ: Duration = Duration::from_millis(1);

impl Gateway {
    pub(crate) fn new(source: Id, others: Vec<Id>, reads_events: bool) -> Arc<Self> {
        let (dead, _) = watch::channel(false);
        Arc::new(Self { source, others, reads_events, dead, tails: Mutex::default() })
    }

    /// Counts a read of the source, with its questions to the other servers.
    fn reads(&self, servers: &Servers) {
        servers.reads(self.source);
        self.others.iter().for_each(|server| servers.reads(*server));
    }

    /// Takes a message of a topic that it watches.
    pub(crate) fn take(&self, event: &Event, servers: &Servers) {
        if self.reads_events {
            self.reads(servers);
        }
        let opening = self.tails.lock().unwrap().get(&**event.topic()).cloned();
        let tail = opening.and_then(|opening| opening.get().cloned());
        // A tail that is being opened reads the event.
        if let Some(tail) = tail {
            tail.extend([event.clone()]);
        }
    }
}

impl Door {
    /// Reads the newest events from the source, and asks the other servers how much of that they have.
    async fn window(&self, name: &LogName) -> Result<Tail, ReadError> {
        self.gateway.reads(&self.servers);
        sleep(READ).await;
        // From here on nothing waits, so that no event comes between.
        let log = &self.servers.log;
        let before = log.seek(name, Seek::Last(PAGE as u64)).await?.position;
        let limit = Limit { events: PAGE, bytes: usize::MAX };
        let tail = Tail::new(before, false, limit);
        let page = log.read(name, before, limit).await?;
        assert!(page.gap.is_none(), "nothing is trimmed");
        if !page.events.is_empty() {
            tail.extend(page.events);
        }
        Ok(tail)
    }
}

#[async_trait]
impl Log for Door {
    async fn append(&self, batch: Vec<Append>) -> Vec<Result<Receipt, AppendError>> {
        self.servers.log.append(batch).await
    }

    async fn read(&self, log: &LogName, after: Position, limit: Limit) -> Result<Page, ReadError> {
        self.gateway.reads(&self.servers);
        sleep(READ).await;
        self.servers.log.read(log, after, limit).await
    }

    async fn seek(&self, log: &LogName, seek: Seek) -> Result<Sought, ReadError> {
        self.servers.log.seek(log, seek).await
    }

    async fn bounds(&self, log: &LogName) -> Result<Option<Bounds>, ReadError> {
        self.servers.log.bounds(log).await
    }

    async fn bookmark(&self, topic: &Topic, source: &Key) -> Result<Option<Bookmark>, ReadError> {
        self.servers.log.bookmark(topic, source).await
    }

    async fn find(&self, log: &LogName, label: &Key) -> Result<Option<Position>, ReadError> {
        self.servers.log.find(log, label).await
    }

    async fn tail(&self, log: &LogName) -> Result<Arc<Tail>, ReadError> {
        let opening = {
            let mut tails = self.gateway.tails.lock().unwrap();
            tails.get(log).cloned().unwrap_or_else(|| {
                self.servers.subscribe(log, &self.gateway);
                let opening = Arc::new(Opening::new());
                tails.insert(log.clone(), Arc::clone(&opening));
                opening
            })
        };
        let opened = opening.get_or_try_init(|| async { self.window(log).await.map(Arc::new) });
        opened.await.cloned()
    }

    async fn echo(&self, log: &LogName) -> Result<Duration, ReadError> {
        self.servers.log.echo(log).await
    }
}

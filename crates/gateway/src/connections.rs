//! The subscriptions that are open on this gateway: how many, and how they fare.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use event_log::{Log, ReadError, Tail, Topic};
use metrics::IntGauge;
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::client::Client;

/// All open subscriptions.
#[derive(Debug)]
pub(crate) struct Connections {
    open: Mutex<HashMap<u64, Arc<Connection>>>,
    max: usize,
    gauge: IntGauge,
    count: watch::Sender<usize>,
}

/// One subscription, as the rest of the gateway sees it.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) id: u64,
    pub(crate) client: Client,
    topics: Box<[Topic]>,
    opened: Instant,
    /// The tails of its topics. A reader that has stalled cannot report how far it lags, so a report
    /// looks here.
    tails: OnceLock<Box<[Arc<Tail>]>>,
    /// The number of events of its topics that its cursor has passed, since their first.
    passed: AtomicU64,
    /// Events delivered.
    pub(crate) events: Tally,
    /// Bytes delivered.
    pub(crate) bytes: Tally,
    /// Its task, to be woken when it is to be handed away or its socket has stirred.
    pub(crate) task: Task,
    /// True if its socket may have something to read. The flag lies beside the counters that a delivery
    /// touches; the socket itself is in other memory.
    stirred: AtomicBool,
}

/// The task that serves a connection. It can be woken as often as one likes: it need not name itself
/// again.
#[derive(Debug, Default)]
pub(crate) struct Task(Mutex<Option<Waker>>);

/// A counter that anybody may read and only its reader's task adds to: so adding waits for no other
/// core, nor for memory that is far.
#[derive(Debug, Default)]
pub(crate) struct Tally(AtomicU64);

/// A place among the open subscriptions, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Admission {
    connections: Arc<Connections>,
    pub(crate) connection: Arc<Connection>,
}

/// A subscription as an operator sees it.
#[derive(Debug, Clone, Serialize)]
pub struct ConnectionReport {
    /// A number that is this connection's for the life of the gateway.
    pub id: u64,
    /// Its topics.
    pub topics: Vec<String>,
    /// Seconds since it was opened.
    pub age_seconds: u64,
    /// Events that it is behind the tail.
    pub lag: u64,
    /// Events delivered to it.
    pub events: u64,
    /// Bytes delivered to it.
    pub bytes: u64,
}

/// A reader is slow that is this many events behind the tail.
const SLOW_LAG: u64 = 100;

impl Connections {
    pub(crate) fn new(max: usize, gauge: IntGauge) -> Arc<Self> {
        Arc::new(Self { open: Mutex::default(), max, gauge, count: watch::channel(0).0 })
    }

    /// Takes a subscription in; `None` if there are as many as there may be.
    pub(crate) fn admit(self: &Arc<Self>, topics: &[Topic], client: Client) -> Option<Admission> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let mut open = self.open();
        if open.len() >= self.max {
            return None;
        }
        let connection = Arc::new(Connection {
            id: NEXT.fetch_add(1, Relaxed),
            client,
            topics: topics.into(),
            opened: Instant::now(),
            tails: OnceLock::new(),
            passed: AtomicU64::new(0),
            events: Tally::default(),
            bytes: Tally::default(),
            task: Task::default(),
            stirred: AtomicBool::new(true),
        });
        open.insert(connection.id, Arc::clone(&connection));
        self.counted(&open);
        Some(Admission { connections: Arc::clone(self), connection })
    }

    /// The `count` that are the farthest behind.
    pub(crate) fn laggards(&self, count: usize) -> Vec<ConnectionReport> {
        let mut all: Vec<_> = self.open().values().cloned().collect();
        all.sort_by_cached_key(|c| (std::cmp::Reverse(c.lag()), c.id));
        all.iter().take(count).map(|connection| connection.report()).collect()
    }

    /// The number of slow ones.
    pub(crate) fn slow(&self) -> usize {
        self.open().values().filter(|c| c.lag() >= SLOW_LAG).count()
    }

    /// The number of topics that have a subscription.
    pub(crate) fn topics(&self) -> usize {
        self.open().values().flat_map(|c| c.topics.iter()).collect::<HashSet<_>>().len()
    }

    /// The number of open ones.
    pub(crate) fn len(&self) -> usize {
        self.open().len()
    }

    /// Wakes all, so that they look at what this gateway is doing.
    pub(crate) fn wake(&self) {
        self.open().values().for_each(|connection| connection.task.wake());
    }

    /// Waits until none is open.
    pub(crate) async fn all_closed(&self) {
        // The sender is `self`, so waiting cannot fail.
        let mut count = self.count.subscribe();
        let _zero = count.wait_for(|count| *count == 0).await;
    }

    fn open(&self) -> MutexGuard<'_, HashMap<u64, Arc<Connection>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counted(&self, open: &HashMap<u64, Arc<Connection>>) {
        self.gauge.set(i64::try_from(open.len()).unwrap_or(i64::MAX));
        self.count.send_replace(open.len());
    }
}

impl Connection {
    pub(crate) fn age(&self) -> std::time::Duration {
        self.opened.elapsed()
    }

    /// Notes how many events its cursor has passed.
    pub(crate) fn stands(&self, passed: u64) {
        self.passed.store(passed, Relaxed);
    }

    /// Calls `poll` if the socket has stirred since it was last pending, with a waker that notes when
    /// it does again and wakes the task. A caller that waits must have named its task.
    pub(crate) fn poll_stirred<T>(
        self: &Arc<Self>,
        poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        if !self.stirred.load(Acquire) {
            return Poll::Pending;
        }
        // Before the look, so that what comes behind it is looked at again.
        self.stirred.store(false, Release);
        let ready = poll(&mut Context::from_waker(&Waker::from(Arc::clone(self))));
        if ready.is_ready() {
            self.stirred.store(true, Release);
        }
        ready
    }

    /// The number of events that its topics have and its cursor has not passed.
    fn lag(&self) -> u64 {
        self.heads().saturating_sub(self.passed.load(Relaxed))
    }

    fn heads(&self) -> u64 {
        self.tails.get().into_iter().flatten().map(|tail| tail.head().n).sum()
    }

    fn report(&self) -> ConnectionReport {
        ConnectionReport {
            id: self.id,
            topics: self.topics.iter().map(ToString::to_string).collect(),
            age_seconds: self.age().as_secs(),
            lag: self.lag(),
            events: self.events.get(),
            bytes: self.bytes.get(),
        }
    }
}

impl Task {
    /// Names the task.
    pub(crate) fn name(&self, waker: &Waker) {
        let last = self.waker().replace(waker.clone());
        // Outside the lock: it may be the last of its task.
        drop(last);
    }

    fn wake(&self) {
        if let Some(waker) = &*self.waker() {
            waker.wake_by_ref();
        }
    }

    fn waker(&self) -> MutexGuard<'_, Option<Waker>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The waker of its socket.
impl Wake for Connection {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.stirred.store(true, Release);
        self.task.wake();
    }
}

impl Tally {
    pub(crate) fn add(&self, count: usize) {
        self.0.store(self.get() + count as u64, Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl Admission {
    /// Looks at the ends of the topics' logs from now on.
    pub(crate) async fn watch(&self, log: &dyn Log) -> Result<(), ReadError> {
        let mut tails = Vec::with_capacity(self.connection.topics.len());
        for topic in &self.connection.topics {
            tails.push(log.tail(topic).await?);
        }
        self.connection.tails.get_or_init(|| tails.into());
        Ok(())
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut open = self.connections.open();
        open.remove(&self.connection.id);
        self.connections.counted(&open);
    }
}

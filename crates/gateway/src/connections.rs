//! The open subscriptions of this gateway: their number, lag and traffic.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use access::{Principal, Revocations};
use event_log::{Log, Part, ReadError, Tail};
use limits::{Client, Full, Held, Quota, Rules, SubjectId, SubjectPlace, SubjectStreams, Terms};
use metrics::{IntGauge, Registry};
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::replay::Payer;
use crate::whereabouts::Whereabouts;

/// All open subscriptions.
#[derive(Debug)]
pub(crate) struct Connections {
    open: Mutex<HashMap<u64, Arc<Connection>>>,
    places: Arc<Quota>,
    /// The streams of each subject.
    streams: Arc<SubjectStreams>,
    gauge: IntGauge,
    count: watch::Sender<usize>,
    /// The time from which the ages of subscriptions are counted.
    start: Instant,
}

/// One open subscription.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) id: u64,
    pub(crate) whereabouts: Whereabouts,
    /// The party that reads.
    pub(crate) principal: Principal,
    place: Held,
    /// Held as long as the subscription is open. Boxed because most hold nothing.
    extras: Option<Box<Extras>>,
    parts: Box<[FollowedPart]>,
    /// Microseconds from the gateway's start until the subscription opened.
    opened: u64,
    /// Sum of the cursor's positions, in events since the start of each log of which it reads everything.
    passed: AtomicU64,
    /// Events delivered.
    pub(crate) events: Tally,
    /// Bytes delivered.
    pub(crate) bytes: Tally,
    /// The task of the subscription. A drain and activity on the socket wake it.
    pub(crate) task: Task,
    /// Set when the socket may be readable. The flag is next to the counters that each delivery
    /// updates, so a delivery need not load the cache lines of the socket.
    stirred: AtomicBool,
    /// Set when the party's right was revoked.
    revoked: AtomicBool,
}

// With the counts of its `Arc` it fills 192 bytes, which is a size of jemalloc's; the next one is 224.
const _: () = assert!(size_of::<Connection>() <= 176);

/// The things that few subscriptions hold, besides their place.
#[derive(Debug, Default)]
pub(crate) struct Extras {
    /// Memory for its topics and its filter.
    pub(crate) memory: Option<Held>,
    /// The bytes of replays a second that its credentials set.
    pub(crate) replay_bytes: Option<u64>,
}

impl Extras {
    fn is_some(&self) -> bool {
        self.memory.is_some() || self.replay_bytes.is_some()
    }
}

/// A part of a subscription.
#[derive(Debug)]
struct FollowedPart {
    part: Part,
    /// The tail of its log, unless it selects: the position of such a reader says nothing of its lag. The lag is computed from the tails on request, because the task of a stalled reader does
    /// not run and cannot report it.
    tail: OnceLock<Arc<Tail>>,
}

/// The task that serves a connection. The task registers its waker once; every later wake uses it.
#[derive(Debug, Default)]
pub(crate) struct Task(Mutex<Option<Waker>>);

/// A counter with a single writer, the task of its subscription, and any number of readers. A single
/// writer needs no atomic addition, which would wait for other cores.
#[derive(Debug, Default)]
pub(crate) struct Tally(AtomicU64);

/// A slot among the open subscriptions. Dropping it frees the slot.
#[derive(Debug)]
pub(crate) struct Admission {
    connections: Arc<Connections>,
    pub(crate) connection: Arc<Connection>,
}

/// A subscription as an operator sees it.
#[derive(Debug, Clone, Serialize)]
pub struct ConnectionReport {
    /// Identifies the connection for the life of the gateway.
    pub id: u64,
    /// The party that reads, if it brought credentials.
    pub subject: Option<String>,
    /// The subscribed topics and patterns.
    pub topics: Vec<String>,
    /// Seconds since the connection opened.
    pub age_seconds: u64,
    /// Events between the connection's cursor and the tail, in logs of which it reads everything.
    pub lag: u64,
    /// Events delivered to the connection.
    pub events: u64,
    /// Bytes delivered to the connection.
    pub bytes: u64,
}

/// A reader that is this many events behind the tail is slow.
const SLOW_LAG: u64 = 100;

impl Connections {
    pub(crate) fn new(
        max: usize,
        (rules, streams): (&Rules, Arc<SubjectStreams>),
        registry: &Registry,
        gauge: IntGauge,
    ) -> Arc<Self> {
        let terms = Terms::new("subscriptions", "subscriptions", max as u64, rules.share);
        let terms = Terms { flag: "--max-connections, --address-share", ..terms };
        let places = Quota::new(terms, registry);
        let count = watch::channel(0).0;
        let start = Instant::now();
        Arc::new(Self { open: Mutex::default(), places, streams, gauge, count, start })
    }

    /// Adds a subscription of a client, with the things that it holds as long as it is open.
    ///
    /// # Errors
    /// The node or the client's address has its maximum number open.
    pub(crate) fn admit(
        self: &Arc<Self>,
        parts: &[Part],
        (client, whereabouts, principal): (Client, Whereabouts, Principal),
        (stream, extras): (Option<SubjectPlace>, Extras),
    ) -> Result<Admission, Full> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let place = self.places.take(client, 1)?;
        // The admission gives it back, by the subject of its party.
        if let Some(stream) = stream {
            stream.keep();
        }
        let mut open = self.open();
        let connection = Arc::new(Connection {
            id: NEXT.fetch_add(1, Relaxed),
            whereabouts,
            principal,
            place,
            extras: extras.is_some().then(|| Box::new(extras)),
            parts: parts.iter().map(FollowedPart::new).collect(),
            opened: micros(self.start.elapsed()),
            passed: AtomicU64::new(0),
            events: Tally::default(),
            bytes: Tally::default(),
            task: Task::default(),
            stirred: AtomicBool::new(true),
            revoked: AtomicBool::new(false),
        });
        open.insert(connection.id, Arc::clone(&connection));
        self.counted(&open);
        Ok(Admission { connections: Arc::clone(self), connection })
    }

    /// Returns the `count` connections with the greatest lag.
    pub(crate) fn laggards(&self, count: usize) -> Vec<ConnectionReport> {
        let mut all: Vec<_> = self.open().values().cloned().collect();
        all.sort_by_cached_key(|c| (std::cmp::Reverse(c.lag()), c.id));
        let report = |c: &Arc<Connection>| c.report(self.age(c));
        all.iter().take(count).map(report).collect()
    }

    /// Returns the number of slow subscriptions.
    pub(crate) fn slow(&self) -> usize {
        self.open().values().filter(|c| c.lag() >= SLOW_LAG).count()
    }

    /// Returns the number of topics and patterns with at least one subscription.
    pub(crate) fn topics(&self) -> usize {
        let open = self.open();
        let parts = open.values().flat_map(|c| c.parts.iter());
        parts.flat_map(|followed| followed.part.texts()).collect::<HashSet<_>>().len()
    }

    /// Returns the number of open subscriptions.
    pub(crate) fn len(&self) -> usize {
        self.open().len()
    }

    /// Marks the subscriptions of parties whose right was revoked, and wakes their tasks. Returns their ids.
    pub(crate) fn revoke(&self, revocations: &Revocations) -> Vec<u64> {
        let all: Vec<_> = self.open().values().cloned().collect();
        let concerned = all.iter().filter(|connection| revocations.concern(&connection.principal));
        let revoked = concerned.map(|connection| {
            connection.revoked.store(true, Release);
            connection.task.wake();
            connection.id
        });
        revoked.collect()
    }

    /// Wakes all tasks, so that they check the gateway's phase.
    pub(crate) fn wake(&self) {
        self.open().values().for_each(|connection| connection.task.wake());
    }

    /// Waits until no subscription is open.
    pub(crate) async fn all_closed(&self) {
        // The sender is `self`, so waiting cannot fail.
        let mut count = self.count.subscribe();
        let _zero = count.wait_for(|count| *count == 0).await;
    }

    fn age(&self, connection: &Connection) -> Duration {
        Duration::from_micros(micros(self.start.elapsed()).saturating_sub(connection.opened))
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
    /// The party that the subscription is counted for.
    pub(crate) const fn client(&self) -> Client {
        self.place.client()
    }

    /// The party that pays for its replay.
    pub(crate) fn payer(&self) -> Payer {
        let subject = self.principal.subject_hash().map(SubjectId::new);
        let claimed = self.extras.as_ref().and_then(|extras| extras.replay_bytes);
        Payer { client: self.client(), subject, claimed }
    }

    /// Returns true if the party's right was revoked.
    pub(crate) fn is_revoked(&self) -> bool {
        self.revoked.load(Acquire)
    }

    /// Stores the sum of the cursor's positions.
    pub(crate) fn stands(&self, passed: u64) {
        self.passed.store(passed, Relaxed);
    }

    /// Calls `poll` if the socket was active since the last `Pending`. The waker that `poll` gets marks
    /// the socket as active and wakes the task, so the caller must have registered its task before.
    pub(crate) fn poll_stirred<T>(
        self: &Arc<Self>,
        poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        if !self.stirred.load(Acquire) {
            return Poll::Pending;
        }
        // Cleared before the poll, so that activity during the poll causes another one.
        self.stirred.store(false, Release);
        let ready = poll(&mut Context::from_waker(&Waker::from(Arc::clone(self))));
        if ready.is_ready() {
            self.stirred.store(true, Release);
        }
        ready
    }

    /// Returns the number of events between the cursor and the tails of the topics.
    fn lag(&self) -> u64 {
        self.heads().saturating_sub(self.passed.load(Relaxed))
    }

    fn heads(&self) -> u64 {
        let tails = self.parts.iter().filter_map(|followed| followed.tail.get());
        tails.map(|tail| tail.head().n).sum()
    }

    /// The topics and patterns of the subscription.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().flat_map(|followed| followed.part.texts())
    }

    fn report(&self, age: Duration) -> ConnectionReport {
        ConnectionReport {
            id: self.id,
            subject: self.principal.subject().map(ToOwned::to_owned),
            topics: self.texts().map(ToOwned::to_owned).collect(),
            age_seconds: age.as_secs(),
            lag: self.lag(),
            events: self.events.get(),
            bytes: self.bytes.get(),
        }
    }
}

impl FollowedPart {
    fn new(part: &Part) -> Self {
        Self { part: part.clone(), tail: OnceLock::new() }
    }
}

impl Task {
    /// Registers the waker of the task.
    pub(crate) fn name(&self, waker: &Waker) {
        let last = self.waker().replace(waker.clone());
        // Dropped outside the lock, because dropping the last waker of a task frees the task.
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

/// The waker that the connection's socket gets.
impl Wake for Connection {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.stirred.store(true, Release);
        self.task.wake();
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
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
    /// Opens the tails from which the lag is computed.
    pub(crate) async fn watch(&self, log: &dyn Log) -> Result<(), ReadError> {
        let whole = |followed: &&FollowedPart| followed.part.selection.is_none();
        for followed in self.connection.parts.iter().filter(whole) {
            let tail = log.tail(&followed.part.log).await?;
            followed.tail.get_or_init(|| tail);
        }
        Ok(())
    }

    /// Returns the time since the subscription opened.
    pub(crate) fn age(&self) -> Duration {
        self.connections.age(&self.connection)
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut open = self.connections.open();
        open.remove(&self.connection.id);
        self.connections.counted(&open);
        drop(open);
        if let Some(subject) = self.connection.principal.subject_hash().map(SubjectId::new) {
            self.connections.streams.give_back(subject, count_of(self.connection.texts()));
        }
    }
}

/// The number of topics and patterns, as a subject's bound counts them.
pub(crate) fn count_of<'a>(texts: impl Iterator<Item = &'a str>) -> u32 {
    u32::try_from(texts.count()).unwrap_or(u32::MAX)
}

//! What the tasks of one [`RedisLog`](crate::RedisLog) share.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use event_log::Topic;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::stats::Stats;
use crate::store::Store;
use crate::topics::Topics;

/// Hints to the feed that wait. Who has one more waits for the feed, which takes them in bulk.
pub(crate) const HINTS: usize = 1024;
/// Repairs that read at a time, beside the readers: an outage leaves one due for each busy topic.
const REPAIRS: usize = 4;

/// The shared state.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) config: Config,
    pub(crate) store: Store,
    pub(crate) topics: Topics,
    pub(crate) stats: Arc<Stats>,
    /// Topics whose place in the registry has changed, for the feed to look at.
    pub(crate) hints: mpsc::Sender<Topic>,
    /// Whether the feed is connected and has joined all channels.
    pub(crate) connected: watch::Sender<bool>,
    pub(crate) repairs: Semaphore,
    pub(crate) closing: CancellationToken,
    pub(crate) tasks: TaskTracker,
}

impl Node {
    pub(crate) fn new(config: Config) -> (Arc<Self>, mpsc::Receiver<Topic>) {
        let (hints, receiver) = mpsc::channel(HINTS);
        let node = Self {
            store: Store::new(&config),
            config,
            topics: Topics::default(),
            stats: Arc::default(),
            hints,
            connected: watch::channel(false).0,
            repairs: Semaphore::new(REPAIRS),
            closing: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        (Arc::new(node), receiver)
    }

    pub(crate) fn set_connected(&self, connected: bool) {
        self.stats.set_connected(connected);
        self.connected.send_replace(connected);
    }

    /// Starts a task that ends with the log, at whichever of its awaits it is then.
    pub(crate) fn spawn(self: &Arc<Self>, task: impl Future<Output = ()> + Send + 'static) {
        let closing = self.closing.clone();
        self.tasks.spawn(async move {
            closing.run_until_cancelled_owned(task).await;
        });
    }
}

/// A growing pause between tries, drawn anew each time so that many nodes do not try in step.
#[derive(Debug)]
pub(crate) struct Backoff {
    pause: Duration,
}

impl Backoff {
    const MIN: Duration = Duration::from_millis(50);
    const MAX: Duration = Duration::from_secs(2);

    pub(crate) const fn new() -> Self {
        Self { pause: Self::MIN }
    }

    /// The next pause.
    pub(crate) fn next(&mut self) -> Duration {
        let pause = self.pause;
        self.pause = (pause * 2).min(Self::MAX);
        pause / 2 + jitter(pause / 2)
    }
}

/// A clock tick; a period of nothing, which tokio refuses, is as good as the shortest.
pub(crate) fn every(period: Duration) -> Interval {
    let mut ticks = interval(period.max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// A random duration below `max`.
pub(crate) fn jitter(max: Duration) -> Duration {
    // The keys of each `RandomState` are fresh, which is all the randomness that this needs.
    let random = RandomState::new().build_hasher().finish() >> 32;
    max.mul_f64(random as f64 / f64::from(u32::MAX))
}

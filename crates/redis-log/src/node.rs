//! What the tasks of one [`RedisLog`](crate::RedisLog) share.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::access::Access;
use crate::config::Config;
use crate::feed::Feeds;
use crate::stats::Stats;
use crate::store::Store;
use crate::topics::Topics;
use crate::topology::Topology;

/// Hints to a feed that wait. Who has one more waits for the feed, which takes them in bulk.
pub(crate) const HINTS: usize = 1024;
/// Repairs that read at a time, beside the readers: an outage leaves one due for each busy topic.
const REPAIRS: usize = 4;

/// The shared state.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) config: Config,
    pub(crate) access: Access,
    pub(crate) topology: Arc<Topology>,
    pub(crate) store: Store,
    pub(crate) topics: Topics,
    pub(crate) feeds: Feeds,
    pub(crate) stats: Arc<Stats>,
    pub(crate) repairs: Semaphore,
    pub(crate) life: Life,
}

/// The end of the log, and the tasks that it waits for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Life {
    pub(crate) closing: CancellationToken,
    pub(crate) tasks: TaskTracker,
}

impl Node {
    pub(crate) fn new(config: Config) -> Arc<Self> {
        let (topology, stats) = (Topology::new(&config), Arc::<Stats>::default());
        let life = Life::default();
        Arc::new(Self {
            access: config.access(),
            store: Store::new(&config, &topology, Arc::clone(&stats), life.clone()),
            config,
            topology,
            topics: Topics::default(),
            feeds: Feeds::default(),
            stats,
            repairs: Semaphore::new(REPAIRS),
            life,
        })
    }

    /// Starts a task that ends with the log, at whichever of its awaits it is then.
    pub(crate) fn spawn(
        self: &Arc<Self>,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> JoinHandle<()> {
        let closing = self.life.closing.clone();
        self.life.tasks.spawn(async move {
            closing.run_until_cancelled_owned(task).await;
        })
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

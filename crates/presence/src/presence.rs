//! Presence on one node: its members, its reports, its watchers.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use event_log::Topic;
use metrics::{IntCounter, IntGauge, Registry};
use tokio::sync::Semaphore;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::MemberId;
use crate::local::Local;
use crate::room::{Rooms, Watcher};
use crate::store::{Away, Counts, Report, Store, View};

/// The members of topics. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Presence(Arc<Node>);

#[derive(Debug)]
struct Node {
    local: Mutex<Local>,
    rooms: Rooms,
    store: Arc<dyn Store>,
    /// Counts of several topics are the only question that looks at many.
    counting: Semaphore,
    metrics: Metrics,
}

/// A stream's part in the presence of its topics, which ends when this is dropped.
#[derive(Debug)]
pub struct Membership {
    node: Arc<Node>,
    topics: Box<[Topic]>,
    id: MemberId,
}

#[derive(Debug)]
struct Metrics {
    members: IntGauge,
    watched: IntGauge,
    updates: IntCounter,
    failures: IntCounter,
    uncounted: IntCounter,
}

/// The time between two reports: joins and leaves come together once in it.
pub const REPORT_EVERY: Duration = Duration::from_secs(1);
/// The longest that a report takes, so that two attempts fit into the time of a lease.
const REPORT_MAX: Duration = Duration::from_secs(2);
/// Counts of several topics at a time.
const COUNTING_MAX: usize = 2;
/// Updates in one report, about 1 MB for the store.
const UPDATES_MAX: usize = 4096;
/// Reports in one round: all members of a node, once more.
const ROUNDS_MAX: usize = 64;

impl Presence {
    /// Presence on a node whose members are in `store`. A member without a stream leaves after `grace`.
    ///
    /// # Panics
    /// The registry has these metrics.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, grace: Duration, registry: &Registry) -> Self {
        let metrics = Metrics::new(registry);
        let (local, rooms) = (Mutex::new(Local::new(grace)), Rooms::default());
        let counting = Semaphore::new(COUNTING_MAX);
        Self(Arc::new(Node { local, rooms, store, counting, metrics }))
    }

    /// The grace of nodes whose clients come back after a pause between `retry` and twice `retry`: the longest
    /// pause, and the reports of two nodes.
    #[must_use]
    pub const fn grace(retry: Duration) -> Duration {
        let (longest, reports) = (retry.saturating_mul(2), REPORT_EVERY.saturating_mul(2));
        longest.saturating_add(reports)
    }

    /// Adds a stream of a member to the presence of topics. `info` describes the member in one line.
    #[must_use]
    pub fn join(
        &self,
        topics: impl IntoIterator<Item = Topic>,
        id: MemberId,
        info: &Arc<str>,
    ) -> Membership {
        let mut local = self.0.local();
        let joins = |topic: &Topic| {
            let has_room = local.join(topic, id, info);
            if !has_room {
                self.0.metrics.uncounted.inc();
            }
            has_room
        };
        let topics = topics.into_iter().filter(joins).collect();
        Membership { node: Arc::clone(&self.0), topics, id }
    }

    /// Begins to watch topics. Waits a moment for the present members.
    pub async fn watch(&self, topics: &[Topic]) -> Watcher {
        self.0.rooms.watch(topics, &*self.0.store).await
    }

    /// The members of a topic, as they were a second ago at most.
    ///
    /// # Errors
    /// The store cannot be reached.
    pub async fn view(&self, topic: &Topic) -> Result<Arc<View>, Away> {
        self.0.rooms.view(topic, &*self.0.store).await
    }

    /// The members of topics whose names begin with `prefix`.
    ///
    /// # Errors
    /// The store cannot be reached.
    pub async fn counts(
        &self,
        prefix: &str,
        is_wanted: &(dyn for<'t> Fn(&'t Topic) -> bool + Sync),
    ) -> Result<Counts, Away> {
        let late = |_| Away(format!("no answer within {REPORT_MAX:?}"));
        let counted = async {
            let turn = self.0.counting.acquire().await;
            let _turn = turn.map_err(|closed| Away(closed.to_string()))?;
            self.0.store.counts(prefix, is_wanted).await
        };
        timeout(REPORT_MAX, counted).await.map_err(late)?
    }

    /// Reports once a second. Never ends.
    pub async fn run(&self) {
        // Two reports at once: a watcher that begins later finds all changes from before it.
        self.report().await;
        let mut ticks = interval(REPORT_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.report().await;
        }
    }

    /// Reports those who came and left, and gives the news of all nodes to the watchers.
    pub async fn report(&self) {
        let Node { rooms, store, metrics, .. } = &*self.0;
        let watched = rooms.len();
        let mut news = Report::default();
        for _ in 0..ROUNDS_MAX {
            let updates = self.0.local().updates(UPDATES_MAX);
            let is_full = updates.len() == UPDATES_MAX;
            let late = |_| Away(format!("no answer within {REPORT_MAX:?}"));
            let asked = timeout(REPORT_MAX, store.report(&updates, watched > 0)).await;
            let report = match asked.map_err(late).and_then(|answer| answer) {
                Ok(report) => report,
                Err(away) => {
                    metrics.failures.inc();
                    tracing::debug!(%away, "presence was not reported");
                    self.0.local().take_back(updates);
                    break;
                }
            };
            metrics.updates.inc_by(updates.len() as u64);
            if report.lost {
                tracing::warn!("the members of this node were lost, and are told again");
                self.0.local().tell_all();
            }
            let is_again = report.lost || report.more || is_full;
            news.then(report);
            if !is_again {
                break;
            }
        }
        rooms.take(news);
        metrics.members.set(gauge(self.0.local().len()));
        metrics.watched.set(gauge(watched));
        rooms.refresh(&**store).await;
    }
}

impl Node {
    fn local(&self) -> MutexGuard<'_, Local> {
        self.local.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let mut local = self.node.local();
        self.topics.iter().for_each(|topic| local.leave(topic, self.id));
    }
}

impl Metrics {
    fn new(registry: &Registry) -> Self {
        Self {
            members: registry.gauge(
                "presence_members",
                "Members of topics that have a stream on this node, or had one within the grace.",
            ),
            watched: registry.gauge(
                "presence_watched_topics",
                "Topics whose joins and leaves are watched here.",
            ),
            updates: registry.counter(
                "presence_updates_total",
                "Members reported that came to this node or left it.",
            ),
            failures: registry.counter(
                "presence_report_failures_total",
                "Reports that the store did not answer.",
            ),
            uncounted: registry.counter(
                "presence_uncounted_total",
                "Streams without a part in presence, because the node has too many members.",
            ),
        }
    }
}

fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;

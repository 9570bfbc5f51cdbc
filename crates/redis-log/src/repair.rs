//! Repair: brings a tail to the head of its log after something was missed.

use std::sync::Arc;
use std::time::Duration;

use event_log::Position;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

use crate::error::Failure;
use crate::feeds::Feeds;
use crate::life::Life;
use crate::pace::Backoff;
use crate::stats::{Op, Stats};
use crate::store::{Behind, PAGE, ReadPlan, Store};
use crate::topology::replicas::LAG_MAX;
use crate::watched::{Found, Verdict, Watched};

/// Repairs that read at the same time, beside the readers. After an outage each busy topic needs one.
const READS_MAX: usize = 4;

/// Longest pause after a read that failed: the longest that readers of a topic wait when its source answers again. Few
/// repairs read at the same time, so short pauses cost a server little.
const PAUSE_MAX: Duration = Duration::from_millis(200);
/// Longest wait for an event that a message has promised. A source that is farther behind is left, and a successor is
/// not waited for, both within a poll of the primary.
const PROMISE_MAX: Duration = LAG_MAX.saturating_mul(2);
/// Pauses between two reads for it, shortest and longest. What comes meanwhile waits for the next read.
const PROMISE_PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(20));

/// Starts the repairs, and bounds their reads.
#[derive(Debug)]
pub(crate) struct Repairs {
    store: Arc<Store>,
    feeds: Arc<Feeds>,
    stats: Arc<Stats>,
    reads: Semaphore,
    life: Life,
}

impl Repairs {
    pub(crate) fn new(
        store: &Arc<Store>,
        feeds: &Arc<Feeds>,
        stats: &Arc<Stats>,
        life: &Life,
    ) -> Self {
        Self {
            store: Arc::clone(store),
            feeds: Arc::clone(feeds),
            stats: Arc::clone(stats),
            reads: Semaphore::new(READS_MAX),
            life: life.clone(),
        }
    }

    /// Starts the repair of a topic. The caller must have been told [`Verdict::Read`].
    pub(crate) fn start(self: &Arc<Self>, watched: Arc<Watched>) {
        let repairs = Arc::clone(self);
        self.life.spawn(async move { repairs.repair(&watched).await });
    }

    /// Reads a topic until its tail follows the feed again. It goes on for as long as Redis is away.
    async fn repair(&self, watched: &Watched) {
        let mut backoff = Backoff::at_most(PAUSE_MAX);
        let mut waiting: Option<(Instant, Backoff)> = None;
        loop {
            // A repair needs the feed: when the feed reconnects, it suspects every topic anew.
            if !self.feeds.up(&watched.topic).await {
                return;
            }
            let Ok(turn) = self.reads.acquire().await else { return };
            let head = watched.begin();
            self.stats.repaired();
            let found = self.find(watched, head).await;
            drop(turn);
            match found.map(|found| watched.read(found)) {
                Ok(Verdict::Fine) => return,
                Ok(Verdict::Read) if watched.head() == head => {
                    // A message has come before its event, here or on a successor.
                    let (min, max) = PROMISE_PAUSES;
                    let (since, pauses) =
                        waiting.get_or_insert_with(|| (Instant::now(), Backoff::between(min, max)));
                    if since.elapsed() > PROMISE_MAX {
                        watched.give_up();
                    }
                    sleep(pauses.next()).await;
                }
                Ok(Verdict::Read) => waiting = None,
                Err(failure) => {
                    watched.failed();
                    self.stats.failed(Op::Repair);
                    tracing::debug!(topic = %watched.topic, %failure, "repair failed");
                    sleep(backoff.next()).await;
                }
            }
        }
    }

    async fn find(&self, watched: &Watched, tail: Position) -> Result<Found, Failure> {
        let plan = ReadPlan { count: PAGE, fit: None };
        let Behind { head, is_cut, gap, events, .. } =
            self.store.behind(&watched.topic, tail, plan).await?;
        if let Some(gap) = gap {
            tracing::debug!(
                topic = %watched.topic, %tail, head = %gap.newest, reason = gap.reason.as_str(),
                "the log does not continue the tail"
            );
        } else if is_cut || head <= events.last().map_or(tail, |event| event.position()) {
            tracing::debug!(topic = %watched.topic, events = events.len(), "repaired");
            let promised = if is_cut { head } else { Position::START };
            return Ok(Found::Next { events, promised });
        }
        Ok(Found::Elsewhere(self.store.window(&watched.topic).await?))
    }
}

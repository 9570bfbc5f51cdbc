//! The audit: compares what this node knows of its topics with the heads in the log.
//!
//! It finds tails that lack the last message of their topic, whose loss shows nowhere else, and heads
//! that lack events which were acknowledged here.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::address::Address;
use crate::keys;
use crate::life::Life;
use crate::pace::{Backoff, every, jitter};
use crate::repair::Repairs;
use crate::stats::{Op, Stats};
use crate::store::{HeadRead, Side, Store};
use crate::topics::Topics;
use crate::topology::Topology;
use crate::watched::{Compared, Verdict, Watched};
use crate::witness::Witnesses;

/// Longest time that a message is on its way. The audit counts a later one as lost.
const ON_ITS_WAY: Duration = Duration::from_millis(200);
/// Nodes that lost the same server reconnect at the same time: their first reads spread over this.
const SPREAD: Duration = Duration::from_millis(50);
/// Longest pause after a comparison that failed: the longest that readers wait when their source answers again.
const PAUSE_MAX: Duration = Duration::from_millis(200);
/// Least time between two comparisons of all witnesses.
const PAUSE: Duration = Duration::from_secs(1);

/// The parts of the log that the audit uses.
#[derive(Debug)]
pub(crate) struct Audit {
    pub(crate) topology: Arc<Topology>,
    pub(crate) store: Arc<Store>,
    pub(crate) topics: Arc<Topics>,
    pub(crate) repairs: Arc<Repairs>,
    pub(crate) stats: Arc<Stats>,
    pub(crate) life: Life,
}

/// Audits all topics at an interval, and suspected ones at once, until the log closes.
pub(crate) async fn run(audit: Arc<Audit>, period: Duration) {
    let mut tick = every(period);
    tick.tick().await;
    loop {
        // Both arms are cancel-safe: a tick and a notification stay until they are taken. The tick
        // stands first, so that many suspects do not delay the audit.
        tokio::select! {
            biased;
            _ = tick.tick() => audit.all().await,
            () = audit.topics.suspected() => {
                sleep(jitter(SPREAD)).await;
                for (_, suspects) in audit.by_source(audit.topics.take_suspects()) {
                    // A task for each source: one that is away must not delay the others.
                    let shared = Arc::clone(&audit);
                    audit.life.spawn(async move { shared.compare(suspects).await });
                }
            }
        }
    }
}

/// Compares all witnesses with the log after each doubt, until the log closes. A topic without new
/// events would never show its loss.
pub(crate) async fn run_witnesses(witnesses: Arc<Witnesses>, store: Arc<Store>) {
    loop {
        witnesses.doubted().await;
        let mut backoff = Backoff::new();
        loop {
            let topics = witnesses.topics();
            let topics: Vec<_> = topics.iter().collect();
            let (heads, full) = store.raised_heads(&topics).await;
            if full == 0 && heads.iter().all(Result::is_ok) {
                break;
            }
            sleep(backoff.next()).await;
        }
        sleep(PAUSE).await;
    }
}

impl Audit {
    /// Compares every tail with the head of its log, while the feed goes on.
    async fn all(&self) {
        let topics = self.topics.all();
        let earlier: Vec<_> = topics.iter().map(|watched| watched.head()).collect();
        let (mut behind, mut lost) = (Vec::new(), 0);
        let mut failed = None;
        for ((watched, head), earlier) in self.heads(topics).await.into_iter().zip(earlier) {
            match head.map(|head| (watched.compare(earlier, head), head)) {
                Ok((Compared::Same, _)) => {}
                Ok((Compared::Behind, head)) => behind.push((watched, earlier, head)),
                Ok((Compared::Apart, _)) => lost += self.repair(watched),
                Err(failure) => failed = Some(failure),
            }
        }
        if !behind.is_empty() {
            sleep(ON_ITS_WAY).await;
        }
        for (watched, earlier, head) in behind {
            if watched.compare(earlier, head) != Compared::Same {
                lost += self.repair(watched);
            }
        }
        if lost > 0 {
            tracing::info!(topics = lost, "the audit found tails that differ from their logs");
        }
        if let Some(failure) = failed {
            self.stats.failed(Op::Audit);
            tracing::warn!(%failure, "audit failed");
        }
    }

    /// Repairs a tail. Returns 1, or 0 if its repair is under way.
    fn repair(&self, watched: Arc<Watched>) -> u64 {
        if watched.suspect() == Verdict::Fine {
            return 0;
        }
        self.stats.audit_found();
        self.repairs.start(watched);
        1
    }

    /// Compares tails whose subscription was broken. They hold back what the feed brings meanwhile.
    async fn compare(&self, mut suspects: Vec<Arc<Watched>>) {
        let mut backoff = Backoff::at_most(PAUSE_MAX);
        let (mut topics, mut repairs) = (0, 0);
        while !suspects.is_empty() {
            for watched in &suspects {
                watched.begin();
            }
            let mut failed = None;
            for (watched, head) in self.heads(std::mem::take(&mut suspects)).await {
                match head {
                    Ok(head) => {
                        topics += 1;
                        if watched.compared(head) == Verdict::Read {
                            repairs += 1;
                            self.repairs.start(watched);
                        }
                    }
                    Err(failure) => {
                        watched.failed();
                        suspects.push(watched);
                        failed = Some(failure);
                    }
                }
            }
            if let Some(failure) = failed {
                self.stats.failed(Op::Audit);
                tracing::debug!(%failure, "comparing heads failed");
                sleep(backoff.next()).await;
            }
        }
        tracing::info!(topics, repairs, "compared the heads of joined topics");
    }

    fn by_source(&self, all: Vec<Arc<Watched>>) -> HashMap<Option<Address>, Vec<Arc<Watched>>> {
        let map = self.topology.map();
        let mut groups: HashMap<_, Vec<_>> = HashMap::new();
        for watched in all {
            let source = map.source(keys::partition(&watched.topic)).cloned();
            groups.entry(source).or_default().push(watched);
        }
        groups
    }

    async fn heads(&self, watched: Vec<Arc<Watched>>) -> Vec<(Arc<Watched>, HeadRead)> {
        let topics: Vec<_> = watched.iter().map(|watched| &watched.topic).collect();
        // Raised heads: a tail that has the events which the log has lost is then up to date. A head that is raised on a
        // primary soon comes to its replicas.
        let heads = match self.topology.reads_primaries() {
            true => self.store.raised_heads(&topics).await.0,
            false => self.store.heads(Side::Source, &topics).await,
        };
        watched.into_iter().zip(heads).collect()
    }
}

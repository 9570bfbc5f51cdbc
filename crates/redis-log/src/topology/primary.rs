//! A primary as the one that knows its replicas: its reports, and how far they can be believed.
//!
//! A report counts only if the primary still is one. So the first report, and one after a pause, waits for the word of the
//! sentinels, or of the cluster: a primary that was frozen and replaced meanwhile lacks the replica that was promoted, and
//! names all others. Later the node knows the replicas, and asks the ones that are missing.
//!
//! A report ages. While the source hears its primary and this node does not, replicas may come of which this node knows
//! nothing. If the source does not hear the primary either, nothing is new, and the last report stays true.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use tokio::time::Instant;

use super::FAILOVER_MAX;
use super::replicas::{LAG_MAX, ReplicationReport, Reports};
use super::sentinel::within;
use super::successors::Successors;
use crate::access::Access;
use crate::address::Address;
use crate::server::info;

/// Time without a report after which the source is asked whether it hears the primary, and the next report needs a word.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// A primary and its replicas.
pub(super) struct Primary {
    connection: Option<MultiplexedConnection>,
    pub(super) reports: Reports,
    pub(super) successors: Successors,
    /// The replicas that can be read from, and since when; `None` if the primary gives no report that counts.
    pub(super) fit: Option<HashMap<Address, Instant>>,
    /// When it gave the last one, or at first, when the node last knew the replicas of the primary before it.
    heard: Instant,
    /// True until the first one.
    is_new: bool,
    /// The source that was left because it heard this primary while this node did not, and the successors of it.
    left: Option<(Address, BTreeSet<Address>)>,
}

impl Primary {
    /// A primary that has not reported yet. The node knew its replicas at this time, by the primary before it.
    pub(super) fn after(heard: Instant) -> Self {
        Self {
            connection: None,
            reports: Reports::default(),
            successors: Successors::default(),
            fit: None,
            heard,
            is_new: true,
            left: None,
        }
    }

    /// Asks for a report.
    pub(super) async fn ask(&mut self, access: &Access, address: &Address) {
        let limit = access.connect_timeout;
        let connection = &mut self.connection;
        let asked = within(limit, async {
            let connection = match connection {
                Some(connection) => connection,
                none => none.insert(access.connection(address).await?),
            };
            info(connection, "replication").await
        });
        let report = asked.await.inspect_err(|_| self.connection = None);
        let report = report.ok().and_then(|info| ReplicationReport::parse(address, &info));
        self.fit = report.map(|report| self.reports.take(&report, Instant::now()).clone());
        if self.fit.is_some() {
            self.successors.ask(access, self.reports.awaited()).await;
        }
    }

    /// Returns true if there is a report, asked for at this time, that counts only if the primary is confirmed now.
    pub(super) fn needs_word(&self, asked: Instant) -> bool {
        self.fit.is_some() && (self.is_new || asked.duration_since(self.heard) >= SILENCE_MAX)
    }

    /// Takes the report, or drops it.
    pub(super) fn settle(&mut self, asked: Instant, is_confirmed: bool) {
        if self.needs_word(asked) && !is_confirmed {
            self.fit = None;
        }
        if self.fit.is_some() {
            (self.heard, self.is_new, self.left) = (asked, false, None);
        }
    }

    /// Returns true if the last report may not tell any more which replicas there are.
    pub(super) fn is_old(&self) -> bool {
        self.fit.is_none() && self.heard.elapsed() >= SILENCE_MAX
    }

    /// A source says how long ago it heard this primary; none if it has no link. The source is left if that was at a time at
    /// which the primary would have answered this node, were it not for the network between them. Returns true if it is
    /// left now.
    pub(super) fn overheard(
        &mut self,
        source: &Address,
        successors: &BTreeSet<Address>,
        silence: Option<Duration>,
    ) -> bool {
        let is_later = |silence| silence + LAG_MAX < self.heard.elapsed();
        let leaves = self.left.is_none() && self.is_old() && silence.is_some_and(is_later);
        if leaves {
            self.left = Some((source.clone(), successors.clone()));
        }
        leaves
    }

    /// The source while no report counts: the present one, because nobody knows better. None if that was left, but readers
    /// do not wait for a report for ever.
    pub(super) fn source_without_report(
        &self,
        present: Option<&Address>,
        now: Instant,
    ) -> Option<Address> {
        match &self.left {
            None => present.cloned(),
            Some((left, _)) => (now - self.heard >= FAILOVER_MAX).then(|| left.clone()),
        }
    }

    /// The successors that a source had when it was left.
    pub(super) fn successors_of_left(&self, source: &Address) -> Option<&BTreeSet<Address>> {
        self.left.as_ref().filter(|(left, _)| left == source).map(|(_, successors)| successors)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_report_counts_if_the_primary_is_confirmed_and_each_later_one() {
        let mut primary = Primary::after(Instant::now());
        assert!(!primary.needs_word(Instant::now()), "it does not answer");
        let report = || Some(HashMap::from([(Address::new("a", 1), Instant::now())]));
        primary.fit = report();
        assert!(primary.needs_word(Instant::now()));
        primary.settle(Instant::now(), false);
        assert!(primary.fit.is_none());
        primary.fit = report();
        primary.settle(Instant::now(), true);
        assert!(primary.fit.is_some() && !primary.needs_word(Instant::now()));
        primary.settle(Instant::now(), false);
        assert!(primary.fit.is_some());
        advance(SILENCE_MAX).await;
        assert!(primary.needs_word(Instant::now()), "nothing is known of the time between");
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_that_hears_a_silent_primary_is_left_for_a_bounded_time() {
        let (source, others) = (Address::new("a", 1), BTreeSet::from([Address::new("b", 1)]));
        let mut primary = Primary::after(Instant::now());
        let hears = |primary: &mut Primary, silence: Option<u64>| {
            primary.overheard(&source, &others, silence.map(seconds))
        };
        advance(seconds(4)).await;
        assert!(!primary.is_old() && !hears(&mut primary, Some(0)));
        advance(seconds(2)).await;
        assert!(primary.is_old());
        assert!(!hears(&mut primary, None) && !hears(&mut primary, Some(3)), "nobody hears it");
        let now = |primary: &Primary| primary.source_without_report(Some(&source), Instant::now());
        assert_eq!(now(&primary), Some(source.clone()));
        assert!(hears(&mut primary, Some(2)));
        assert!(!hears(&mut primary, Some(0)), "it is left already");
        assert_eq!(now(&primary), None);
        advance(FAILOVER_MAX - seconds(6)).await;
        assert_eq!(now(&primary), Some(source.clone()));
        assert_eq!(primary.successors_of_left(&source), Some(&others));
        // The next report ends it, if the primary is confirmed.
        primary.fit = Some(HashMap::new());
        assert!(primary.needs_word(Instant::now()));
        primary.settle(Instant::now(), true);
        assert_eq!(primary.successors_of_left(&source), None);
    }
}

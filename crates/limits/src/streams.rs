//! The streams of each subject, on all nodes together, and the topics that they watch on this one.
//!
//! A node admits a small part of a subject's bound by itself, and reports its counts once a second. Beyond
//! that part it asks before it admits. All nodes' parts together are an eighth of the bound, so a subject
//! never has more than nine eighths of it. A bound so low that a node has no part is asked for every time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use metrics::Registry;
use tokio::time::{Instant, timeout};

use crate::subject::{SubjectMap, SubjectSet};
use crate::{Full, Leases, Standing, SubjectCount, SubjectId, SubjectLimit, SubjectTerms};

/// The streams of each subject.
#[derive(Debug)]
pub struct SubjectStreams {
    streams: SubjectLimit,
    topics: SubjectLimit,
    counts: Mutex<Counts>,
    /// The counts of other nodes; `None` if there is no other node.
    leases: Option<Arc<dyn Leases>>,
}

#[derive(Debug, Default)]
struct Counts {
    /// A subject that is not here has no stream. Small, because every subject of a reader is here.
    subjects: SubjectMap<Has>,
    /// True if there may be other nodes.
    reports: bool,
    /// The subjects whose counts are to be reported.
    changed: SubjectSet,
    /// The subjects that were refused since the last report: another question would get the same answer.
    refused: SubjectSet,
    /// The nodes of the cluster; 0 before the first report.
    nodes: u32,
    version: u64,
    /// The time until which no question is asked, because the last one had no answer.
    away_until: Option<Instant>,
}

/// The streams of a subject on this node, and the topics that they watch. A topic that two streams watch counts
/// twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Has {
    streams: u32,
    topics: u32,
}

/// A stream that a subject wants.
#[derive(Debug, Clone, Copy, Default)]
pub struct WantedStream {
    /// The topics that it watches.
    pub topics: u32,
    /// The bound of streams that the subject's credentials set.
    pub streams_max: Option<u32>,
    /// The bound of topics that they set.
    pub topics_max: Option<u32>,
}

/// The place of a subject's stream. Dropping it gives it back, unless it is kept.
#[derive(Debug)]
pub struct SubjectPlace {
    /// `None` once the place is kept.
    streams: Option<Arc<SubjectStreams>>,
    subject: SubjectId,
    topics: u32,
}

const STREAMS: SubjectTerms = SubjectTerms {
    name: "subject_streams",
    things: "streams",
    flag: "--subject-streams",
    claim: "the claim quotas.streams",
};
const TOPICS: SubjectTerms = SubjectTerms {
    name: "subject_topics",
    things: "topics watched",
    flag: "--subject-topics",
    claim: "the claim quotas.topics",
};
/// The part of a bound that all nodes together admit without a question: an eighth.
const SHARES: u32 = 8;
/// The time between two reports: a fraction of the time of a lease, which they renew.
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// The longest that a report takes, so that two attempts fit into the time of a lease.
const REPORT_MAX: Duration = Duration::from_secs(2);
/// The longest that a client waits for the answer of other nodes. It is then admitted.
const ASK_MAX: Duration = Duration::from_millis(500);
/// The pause after a question without an answer, so that clients do not all wait.
const AWAY: Duration = Duration::from_secs(1);
/// Counts in one report, about 200 KB for Redis.
const REPORT_COUNTS_MAX: usize = 4096;
/// Refused subjects that are remembered for a second, about 1 MB. One beyond is asked for each time.
const REFUSED_MAX: usize = 65_536;

impl SubjectStreams {
    /// Counts the streams of subjects, at most `streams` each, together with the nodes behind `leases`, and on this
    /// node the topics that they watch, at most `topics`.
    ///
    /// # Panics
    /// The registry has these metrics.
    #[must_use]
    pub fn new(
        (streams, topics): (u32, u32),
        leases: Option<Arc<dyn Leases>>,
        registry: &Registry,
    ) -> Arc<Self> {
        let counts = Counts { reports: leases.is_some(), ..Counts::default() };
        Arc::new(Self {
            streams: SubjectLimit::new(STREAMS, u64::from(streams), registry),
            topics: SubjectLimit::new(TOPICS, u64::from(topics), registry),
            counts: Mutex::new(counts),
            leases,
        })
    }

    /// Admits a stream of a subject; its credentials may set lower bounds.
    ///
    /// # Errors
    /// The subject has as many streams, or watches as many topics, as it may.
    pub async fn admit(
        self: &Arc<Self>,
        subject: SubjectId,
        wanted: WantedStream,
    ) -> Result<SubjectPlace, Full> {
        let claimed = wanted.streams_max.map(u64::from);
        let max = u32::try_from(self.streams.max(claimed)).unwrap_or(u32::MAX);
        let (place, asked) = self.reserve(subject, wanted, max)?;
        let (Some(leases), Some(count)) = (&self.leases, asked) else { return Ok(place) };
        // Boxed, because a node decides about most streams by itself.
        match Box::pin(timeout(ASK_MAX, leases.ask(count, max))).await {
            Ok(Ok(true)) => Ok(place),
            Ok(Ok(false)) => {
                drop(place);
                let mut counts = self.counts();
                if counts.refused.len() < REFUSED_MAX {
                    counts.refused.insert(subject);
                }
                Err(self.streams.refuse(claimed))
            }
            // The client does not suffer from a store that is away: its streams here are bounded still.
            Ok(Err(_)) | Err(_) => {
                self.counts().away_until = Some(Instant::now() + AWAY);
                Ok(place)
            }
        }
    }

    /// Gives a place back that was kept, with as many topics as it had.
    pub fn give_back(&self, subject: SubjectId, topics: u32) {
        let mut counts = self.counts();
        let Has { streams, topics: all } = counts.of(subject);
        let left = Has { streams: streams.saturating_sub(1), topics: all.saturating_sub(topics) };
        counts.put(subject, left);
        counts.refused.remove(&subject);
    }

    /// Takes a place on this node, and returns the count to ask for if this node may not decide.
    fn reserve(
        self: &Arc<Self>,
        subject: SubjectId,
        wanted: WantedStream,
        max: u32,
    ) -> Result<(SubjectPlace, Option<SubjectCount>), Full> {
        let mut counts = self.counts();
        let held = counts.of(subject);
        let claimed = wanted.topics_max.map(u64::from);
        let topics = held.topics.saturating_add(wanted.topics);
        if u64::from(topics) > self.topics.max(claimed) {
            return Err(self.topics.refuse(claimed));
        }
        if held.streams >= max || counts.refused.contains(&subject) {
            return Err(self.streams.refuse(wanted.streams_max.map(u64::from)));
        }
        counts.put(subject, Has { streams: held.streams + 1, topics });
        let share = max / SHARES / counts.nodes.max(1);
        let knows = counts.nodes > 0 && held.streams < share;
        let is_away = counts.away_until.is_some_and(|until| Instant::now() < until);
        let asks = self.leases.is_some() && !knows && !is_away;
        let count = asks.then(|| counts.count(subject));
        let streams = Some(Arc::clone(self));
        Ok((SubjectPlace { streams, subject, topics: wanted.topics }, count))
    }

    /// Reports the counts of this node once a second. Never ends.
    pub async fn run(&self) {
        let mut ticks = tokio::time::interval(REPORT_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.report().await;
        }
    }

    /// Reports the counts that have changed, and renews the leases of this node.
    pub async fn report(&self) {
        let Some(leases) = &self.leases else { return };
        self.counts().refused.clear();
        loop {
            let batch = self.counts().batch();
            let reported = timeout(REPORT_MAX, leases.report(&batch)).await;
            let mut counts = self.counts();
            let Ok(Ok(Standing { nodes, lost })) = reported else {
                counts.changed.extend(batch.iter().map(|count| count.subject));
                return;
            };
            counts.nodes = nodes.max(1);
            if lost {
                let all: Vec<_> = counts.subjects.keys().copied().collect();
                counts.changed.extend(all);
            }
            if batch.len() < REPORT_COUNTS_MAX {
                return;
            }
        }
    }

    /// Streams of a subject on this node.
    #[must_use]
    pub fn held(&self, subject: SubjectId) -> u32 {
        self.counts().of(subject).streams
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn of(&self, subject: SubjectId) -> Has {
        self.subjects.get(&subject).copied().unwrap_or_default()
    }

    fn put(&mut self, subject: SubjectId, held: Has) {
        match held.streams {
            0 => self.subjects.remove(&subject),
            _ => self.subjects.insert(subject, held),
        };
        if self.reports {
            self.changed.insert(subject);
        }
    }

    fn count(&mut self, subject: SubjectId) -> SubjectCount {
        self.version += 1;
        SubjectCount { subject, count: self.of(subject).streams, version: self.version }
    }

    fn batch(&mut self) -> Vec<SubjectCount> {
        let subjects: Vec<_> = self.changed.iter().take(REPORT_COUNTS_MAX).copied().collect();
        subjects
            .into_iter()
            .map(|subject| {
                self.changed.remove(&subject);
                self.count(subject)
            })
            .collect()
    }
}

impl SubjectPlace {
    /// Keeps the place taken until somebody [gives it back](SubjectStreams::give_back), so that nobody has to keep
    /// this value.
    pub fn keep(mut self) {
        self.streams = None;
    }
}

impl Drop for SubjectPlace {
    fn drop(&mut self) {
        if let Some(streams) = &self.streams {
            streams.give_back(self.subject, self.topics);
        }
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;
    use crate::{LeasesAway, Part};

    const ANN: SubjectId = SubjectId::new(7);

    /// Another node that holds a number of places, and counts the questions.
    #[derive(Debug, Default)]
    struct Other {
        held: u32,
        nodes: u32,
        is_away: bool,
        questions: Mutex<Vec<SubjectCount>>,
        reports: Mutex<Vec<SubjectCount>>,
    }

    #[async_trait]
    impl Leases for Other {
        async fn report(&self, counts: &[SubjectCount]) -> Result<Standing, LeasesAway> {
            if self.is_away {
                return Err(LeasesAway("away".to_owned()));
            }
            self.reports.lock().unwrap().extend(counts);
            Ok(Standing { nodes: self.nodes, lost: false })
        }

        async fn ask(&self, count: SubjectCount, max: u32) -> Result<bool, LeasesAway> {
            if self.is_away {
                tokio::time::sleep(Duration::from_hours(1)).await;
            }
            self.questions.lock().unwrap().push(count);
            Ok(count.count + self.held <= max)
        }
    }

    fn with(other: Other) -> (Arc<SubjectStreams>, Arc<Other>) {
        let other = Arc::new(other);
        let leases: Arc<dyn Leases> = Arc::clone(&other) as _;
        (SubjectStreams::new((48, 1000), Some(leases), &Registry::new()), other)
    }

    const fn at_most(streams_max: Option<u32>) -> WantedStream {
        WantedStream { topics: 1, streams_max, topics_max: None }
    }

    const fn topics(topics: u32, topics_max: Option<u32>) -> WantedStream {
        WantedStream { topics, streams_max: None, topics_max }
    }

    async fn fill(streams: &Arc<SubjectStreams>, claimed: Option<u32>) -> Vec<SubjectPlace> {
        let mut held = Vec::new();
        while let Ok(stream) = streams.admit(ANN, at_most(claimed)).await {
            held.push(stream);
        }
        held
    }

    #[tokio::test(start_paused = true)]
    async fn a_share_is_admitted_without_a_question_and_the_rest_is_asked_for() {
        let (streams, other) = with(Other { held: 40, nodes: 2, ..Other::default() });
        streams.report().await;
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(streams.admit(ANN, at_most(None)).await.unwrap());
        }
        assert!(other.questions.lock().unwrap().is_empty());
        held.extend(fill(&streams, None).await);
        assert_eq!(held.len(), 8);
        let asked = other.questions.lock().unwrap().len();
        // The answer is remembered until the next report.
        assert!(streams.admit(ANN, at_most(None)).await.is_err());
        assert_eq!(other.questions.lock().unwrap().len(), asked);
        held.clear();
        streams.report().await;
        assert_eq!(other.reports.lock().unwrap().last().unwrap().count, 0);
        assert_eq!(streams.held(ANN), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn credentials_lower_the_bound_and_never_raise_it() {
        let streams = SubjectStreams::new((4, 1000), None, &Registry::new());
        let held = fill(&streams, Some(2)).await;
        assert_eq!(held.len(), 2);
        let full = streams.admit(ANN, at_most(Some(2))).await.unwrap_err();
        assert_eq!(full.part, Part::Subject);
        assert!(full.to_string().contains("the limit is 2 (the claim quotas.streams)"), "{full}");
        let more = fill(&streams, Some(100)).await;
        assert_eq!(more.len(), 2);
        let full = streams.admit(ANN, at_most(Some(100))).await.unwrap_err().to_string();
        assert!(full.contains("the limit is 4 (--subject-streams)"), "{full}");
        assert!(streams.admit(SubjectId::new(8), at_most(None)).await.is_ok());
        assert!(streams.admit(SubjectId::new(8), at_most(Some(0))).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn without_an_answer_the_count_of_the_node_decides_and_clients_do_not_all_wait() {
        let (streams, _) = with(Other { is_away: true, ..Other::default() });
        streams.report().await;
        let begun = Instant::now();
        let held = fill(&streams, None).await;
        assert_eq!(held.len(), 48);
        assert!(begun.elapsed() <= ASK_MAX * 2, "{:?}", begun.elapsed());
        assert_eq!(streams.counts().changed.len(), 1, "it is reported later");
    }
    #[tokio::test]
    async fn a_subject_watches_so_many_topics_over_all_its_streams() {
        let streams = SubjectStreams::new((100, 10), None, &Registry::new());
        let bob = SubjectId::new(8);
        let first = streams.admit(ANN, topics(6, None)).await.unwrap();
        let full = streams.admit(ANN, topics(5, None)).await.unwrap_err().to_string();
        assert_eq!(
            full,
            "too many topics watched for one subject; the limit is 10 (--subject-topics)"
        );
        let _second = streams.admit(ANN, topics(4, None)).await.unwrap();
        let _other = streams.admit(bob, topics(10, None)).await.unwrap();
        drop(first);
        let full = streams.admit(ANN, topics(5, Some(8))).await.unwrap_err().to_string();
        assert!(full.contains("the limit is 8 (the claim quotas.topics)"), "{full}");
        assert!(streams.admit(ANN, topics(5, Some(100))).await.is_ok());
    }

    #[tokio::test]
    async fn nothing_is_kept_of_a_subject_that_has_no_stream() {
        let streams = SubjectStreams::new((10, 10), None, &Registry::new());
        drop(streams.admit(ANN, topics(3, None)).await.unwrap());
        assert!(streams.admit(ANN, topics(1, Some(0))).await.is_err(), "zero allows none");
        assert!(streams.counts().subjects.is_empty());
        streams.admit(ANN, topics(3, None)).await.unwrap().keep();
        assert_eq!(streams.held(ANN), 1);
        streams.give_back(ANN, 3);
        assert!(streams.counts().subjects.is_empty());
    }
}

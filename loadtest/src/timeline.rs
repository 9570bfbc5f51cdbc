//! What happened when: counters that everybody counts up, samples of them, and marks.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// How often the counters are looked at.
pub const SAMPLE_EVERY: Duration = Duration::from_millis(500);

/// Counters of a run, for all tasks.
#[derive(Debug, Default)]
pub struct Tally {
    /// Events that reached a client.
    pub delivered: AtomicU64,
    /// Events that were acknowledged.
    pub published: AtomicU64,
    /// Streams that were opened after a lost one.
    pub reconnects: AtomicU64,
    /// Streams that were lost.
    pub lost: AtomicU64,
}

/// One look at the counters.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Sample {
    /// Seconds since the beginning of the timeline.
    pub at: f64,
    /// Deliveries a second since the sample before.
    pub deliveries: f64,
    /// Acknowledged events a second.
    pub published: f64,
    /// Reconnects a second.
    pub reconnects: f64,
    /// Clients that had a stream and have none now.
    pub without: u64,
}

/// Something that was done to the system.
#[derive(Clone, Debug, Serialize)]
pub struct Mark {
    /// Seconds since the beginning of the timeline.
    pub at: f64,
    /// What, in a few words.
    pub label: String,
    /// How a plot shows it.
    pub kind: MarkKind,
}

/// How bad it was meant to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MarkKind {
    /// Something was broken by force.
    Fault,
    /// Something was done as an operator would.
    Operation,
}

/// Samples and marks of one run.
#[derive(Debug)]
pub struct Timeline {
    begin: Instant,
    /// In order of time.
    pub samples: Vec<Sample>,
    /// In order of time.
    pub marks: Vec<Mark>,
}

impl Timeline {
    /// A timeline that begins now.
    pub fn begin() -> Self {
        Timeline { begin: Instant::now(), samples: Vec::new(), marks: Vec::new() }
    }

    /// When it began.
    pub fn began(&self) -> Instant {
        self.begin
    }

    /// Seconds since it began.
    pub fn seconds(&self) -> f64 {
        self.begin.elapsed().as_secs_f64()
    }

    /// Marks this moment.
    pub fn mark(&mut self, kind: MarkKind, label: impl Into<String>) {
        self.marks.push(Mark { at: self.seconds(), label: label.into(), kind });
    }
}

/// Hands a sample to `take` every [`SAMPLE_EVERY`], until the future is dropped.
pub async fn sample(tally: &Tally, begin: Instant, take: impl Fn(Sample)) {
    let mut ticks = interval(SAMPLE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    let read = || [&tally.delivered, &tally.published, &tally.reconnects].map(|c| c.load(Relaxed));
    let (mut before, mut then) = (read(), Instant::now());
    loop {
        ticks.tick().await;
        let (counts, now) = (read(), Instant::now());
        let elapsed = (now - then).as_secs_f64();
        let rate = |index: usize| (counts[index] - before[index]) as f64 / elapsed;
        take(Sample {
            at: (now - begin).as_secs_f64(),
            deliveries: rate(0),
            published: rate(1),
            reconnects: rate(2),
            without: tally.lost.load(Relaxed).saturating_sub(counts[2]),
        });
        (before, then) = (counts, now);
    }
}

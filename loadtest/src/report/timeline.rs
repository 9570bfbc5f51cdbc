//! The timeline of a run: counters that all tasks share, samples of them, and marks.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// The pause between two samples.
pub const SAMPLE_EVERY: Duration = Duration::from_millis(500);

/// Samples that are kept; an hour of them. Beyond that neighbours are joined, so a run of days
/// keeps its shape.
const SAMPLES_MAX: usize = 7200;

/// Counters of a run, for all tasks.
#[derive(Debug, Default)]
pub struct RunCounters {
    /// Events that reached a client.
    pub delivered: AtomicU64,
    /// Events that were acknowledged.
    pub published: AtomicU64,
    /// Touched when a stream opens or is lost, not for each event.
    streams: Mutex<Streams>,
}

#[derive(Debug, Default)]
struct Streams {
    /// Clients that have had a stream.
    clients: u64,
    /// Streams that were opened after a lost one.
    reconnects: u64,
    /// Clients that had a stream and have none now, and since when.
    away: BTreeMap<usize, Instant>,
    /// The longest time without a connection that ended since the last sample.
    longest: Duration,
}

impl RunCounters {
    /// A client opened a stream; not its first one if it was `without` one.
    pub fn opened(&self, client: usize, without: Option<Duration>) {
        let mut streams = self.streams();
        streams.away.remove(&client);
        match without {
            None => streams.clients += 1,
            Some(without) => {
                streams.reconnects += 1;
                streams.longest = streams.longest.max(without);
            }
        }
    }

    /// A client lost its stream.
    pub fn lost(&self, client: usize) {
        self.streams().away.insert(client, Instant::now());
    }

    /// The number of clients that have lost their stream and are not back.
    pub fn away(&self) -> usize {
        self.streams().away.len()
    }

    /// Streams that were opened after a lost one.
    pub fn reconnects(&self) -> u64 {
        self.streams().reconnects
    }

    fn streams(&self) -> MutexGuard<'_, Streams> {
        self.streams.lock().expect("nobody panics with the streams in hand")
    }
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
    /// Clients that have a stream.
    pub connected: u64,
    /// Clients that had a stream and have none now.
    pub without: u64,
    /// The longest time, in seconds, that a client has been without one, or had been when it came
    /// back since the sample before.
    pub interruption: f64,
}

impl Sample {
    /// One sample in the place of two.
    fn joined(self, next: Sample) -> Sample {
        let mean = |a: f64, b: f64| f64::midpoint(a, b);
        Sample {
            at: next.at,
            deliveries: mean(self.deliveries, next.deliveries),
            published: mean(self.published, next.published),
            reconnects: mean(self.reconnects, next.reconnects),
            connected: self.connected.min(next.connected),
            without: self.without.max(next.without),
            interruption: self.interruption.max(next.interruption),
        }
    }
}

/// Something that was done to the system.
#[derive(Clone, Debug, Serialize)]
pub struct Mark {
    /// Seconds since the beginning of the timeline.
    pub at: f64,
    /// The act, in a few words.
    pub label: String,
    /// The kind, which chooses the look in a plot.
    pub kind: MarkKind,
}

/// The intended severity of an act.
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

    /// Adds a sample.
    pub fn add(&mut self, sample: Sample) {
        if self.samples.len() >= SAMPLES_MAX {
            let pairs = self.samples.chunks(2);
            self.samples =
                pairs.filter_map(|pair| pair.iter().copied().reduce(Sample::joined)).collect();
        }
        self.samples.push(sample);
    }
}

/// Hands a sample to `take` every [`SAMPLE_EVERY`], until the future is dropped.
pub async fn sample(tally: &RunCounters, begin: Instant, take: impl Fn(Sample)) {
    let mut ticks = interval(SAMPLE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    let counts = |streams: &Streams| {
        let [delivered, published] = [&tally.delivered, &tally.published].map(|c| c.load(Relaxed));
        [delivered, published, streams.reconnects]
    };
    let (mut before, mut then) = (counts(&tally.streams()), Instant::now());
    loop {
        ticks.tick().await;
        let now = Instant::now();
        let mut streams = tally.streams();
        let after = counts(&streams);
        let away = streams.away.values().map(|lost| now - *lost).max();
        let interruption = std::mem::take(&mut streams.longest).max(away.unwrap_or_default());
        let (clients, without) = (streams.clients, streams.away.len() as u64);
        drop(streams);
        let elapsed = (now - then).as_secs_f64();
        let rate = |index: usize| (after[index] - before[index]) as f64 / elapsed;
        take(Sample {
            at: (now - begin).as_secs_f64(),
            deliveries: rate(0),
            published: rate(1),
            reconnects: rate(2),
            connected: clients.saturating_sub(without),
            without,
            interruption: interruption.as_secs_f64(),
        });
        (before, then) = (after, now);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{Instant, sleep, timeout};

    use super::{RunCounters, SAMPLES_MAX, Sample, Timeline, sample};

    #[tokio::test(start_paused = true)]
    async fn interruption_is_seen_while_it_lasts_and_when_it_ends() {
        let (tally, timeline) = (RunCounters::default(), std::sync::Mutex::new(Timeline::begin()));
        tally.opened(0, None);
        tally.opened(1, None);
        let life = async {
            sleep(Duration::from_millis(400)).await;
            tally.lost(1);
            sleep(Duration::from_millis(1000)).await;
            tally.opened(1, Some(Duration::from_millis(1000)));
            sleep(Duration::from_secs(60)).await;
        };
        let sampling = sample(&tally, Instant::now(), |s| timeline.lock().unwrap().add(s));
        let both = async { tokio::join!(life, sampling) };
        timeout(Duration::from_millis(2100), both).await.expect_err("samples never end");
        let samples = timeline.into_inner().unwrap().samples;
        let seen = |value: fn(&Sample) -> f64| samples.iter().map(value).collect::<Vec<_>>();
        assert_eq!(seen(|s| s.connected as f64), [1.0, 1.0, 2.0, 2.0]);
        assert_eq!(seen(|s| s.interruption), [0.1, 0.6, 1.0, 0.0]);
        assert_eq!(seen(|s| s.reconnects), [0.0, 0.0, 2.0, 0.0]);
    }

    #[test]
    fn long_run_keeps_its_worst_moment() {
        let calm = Sample {
            at: 0.0,
            deliveries: 4.0,
            published: 2.0,
            reconnects: 0.0,
            connected: 9,
            without: 0,
            interruption: 0.0,
        };
        let mut timeline = Timeline::begin();
        for index in 0..3 * SAMPLES_MAX {
            let interruption = if index == 7 { 3.5 } else { 0.0 };
            timeline.add(Sample { at: index as f64, interruption, ..calm });
        }
        assert!(timeline.samples.len() <= SAMPLES_MAX);
        let worst = timeline.samples.iter().map(|s| s.interruption).fold(0.0, f64::max);
        assert_eq!((worst, timeline.samples[0].deliveries), (3.5, 4.0));
    }
}

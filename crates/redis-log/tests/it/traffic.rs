//! Publishers and subscribers that continue during a fault, and a judgement of their results.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use event_log::{Append, AppendError, Key, Mark, NewEvent, Position, Reason, Step, Topic};
use redis_log::{Config, RedisLog};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::support::{DEADLINE, Reader, eventually, open, topic, try_append};

/// Time between two events of a topic.
const PACE: Duration = Duration::from_millis(2);
/// Events of a topic that show progress.
const SOME: u64 = 50;

/// Topics, each with a publisher at one node and a subscriber at another.
pub(crate) struct Traffic {
    stop: CancellationToken,
    writers: Vec<JoinHandle<Written>>,
    readers: Vec<JoinHandle<Received>>,
    fresh: Config,
    /// Events acknowledged so far, by topic.
    progress: Vec<Arc<AtomicU64>>,
}

/// The results of a publisher.
struct Written {
    topic: Topic,
    acknowledged: HashMap<Position, String>,
    count: u64,
    longest: Duration,
    refused: u64,
}

/// The events and gaps that a subscriber received.
#[derive(Default)]
struct Received {
    events: Vec<(Position, String)>,
    gaps: Vec<Reason>,
}

/// The judgement of a run.
#[derive(Debug)]
pub(crate) struct Judgement {
    pub(crate) acknowledged: usize,
    pub(crate) refused: u64,
    pub(crate) gaps: Vec<Reason>,
    /// Longest time between two acknowledgements of a topic.
    pub(crate) longest: Duration,
}

impl Traffic {
    pub(crate) async fn start(config: Config, topics: usize) -> Self {
        let fresh = Config { durability: redis_log::Durability::Memory, ..config.clone() };
        let (writing, reading) = (open(config).await, open(fresh.clone()).await);
        let stop = CancellationToken::new();
        let (mut writers, mut readers, mut progress) = (Vec::new(), Vec::new(), Vec::new());
        for i in 0..topics {
            let t = topic(&format!("traffic/{i}"));
            let reader = Reader::latest(&reading, &t).await;
            readers.push(tokio::spawn(read(reader, Arc::clone(&reading))));
            let count = Arc::<AtomicU64>::default();
            progress.push(Arc::clone(&count));
            writers.push(tokio::spawn(write(Arc::clone(&writing), t, stop.clone(), count)));
        }
        let this = Self { stop, writers, readers, fresh, progress };
        this.goes_on().await;
        this
    }

    /// Waits until some more events of each topic were acknowledged.
    pub(crate) async fn goes_on(&self) {
        let counts = || self.progress.iter().map(|count| count.load(Ordering::Relaxed));
        let enough: Vec<_> = counts().map(|count| count + SOME).collect();
        let all = || counts().zip(&enough).all(|(count, enough)| count >= *enough);
        eventually("publishing goes on", all).await;
    }

    /// Ends the topics, waits for all tasks, and judges: every acknowledged event is in the log and was
    /// delivered, once, at its position.
    pub(crate) async fn judge(self) -> Judgement {
        self.stop.cancel();
        let log = open(self.fresh).await;
        let mut outcome =
            Judgement { acknowledged: 0, refused: 0, gaps: Vec::new(), longest: Duration::ZERO };
        for (writer, reader) in self.writers.into_iter().zip(self.readers) {
            let (written, read) = (writer.await.unwrap(), reader.await.unwrap());
            let stored = Reader::resume(&log, &written.topic, "0-0").await;
            let stored = self::read(stored, Arc::clone(&log)).await;
            assert_eq!(stored.gaps, [], "the whole history is there");
            let numbers = stored.events.iter().map(|(_, data)| data.parse::<u64>().unwrap());
            assert!(numbers.eq(1..=written.count), "each event is stored once and in order");
            let stored: HashMap<_, _> = stored.events.into_iter().collect();
            let mut delivered: HashMap<Position, String> = HashMap::new();
            for (position, data) in &read.events {
                let before = delivered.insert(*position, data.clone());
                assert_eq!(before, None, "{position} came twice");
            }
            for (position, data) in &written.acknowledged {
                assert_eq!(stored.get(position), Some(data), "{position} was acknowledged");
                assert_eq!(delivered.get(position), Some(data), "{position} was acknowledged");
            }
            if read.gaps.is_empty() {
                assert_eq!(
                    delivered, stored,
                    "without a gap exactly the stored events are delivered"
                );
            }
            outcome.acknowledged += written.acknowledged.len();
            outcome.refused += written.refused;
            outcome.gaps.extend(read.gaps);
            outcome.longest = outcome.longest.max(written.longest);
        }
        eprintln!("{outcome:?}");
        outcome
    }
}

/// Publishes numbered events until the stop, each until it is acknowledged, as an ingest does.
async fn write(
    log: Arc<RedisLog>,
    topic: Topic,
    stop: CancellationToken,
    progress: Arc<AtomicU64>,
) -> Written {
    let mut written = Written {
        topic,
        acknowledged: HashMap::new(),
        count: 0,
        longest: Duration::ZERO,
        refused: 0,
    };
    loop {
        written.count += 1;
        let last = stop.is_cancelled();
        let data = written.count.to_string();
        let start = Instant::now();
        let event = NewEvent {
            data: data.clone().into(),
            mark: if last { Mark::Last } else { Mark::Open },
            ..NewEvent::default()
        };
        let key = Some(Key::new(&data).unwrap());
        let append = Append { key, ..Append::new(written.topic.clone(), event) };
        let receipt = loop {
            match try_append(&log, append.clone()).await {
                Ok(receipt) => break receipt,
                Err(AppendError::Unavailable(reason)) => {
                    written.refused += 1;
                    assert!(start.elapsed() < DEADLINE, "event {data} is refused: {reason}");
                    sleep(Duration::from_millis(20)).await;
                }
                Err(error) => panic!("{error}"),
            }
        };
        written.longest = written.longest.max(start.elapsed());
        assert_eq!(written.acknowledged.insert(receipt.position, data), None, "{receipt:?}");
        progress.fetch_add(1, Ordering::Relaxed);
        if last {
            return written;
        }
        sleep(PACE).await;
    }
}

/// Reads to the end of a topic. It holds the log, because a reader does not keep the log open.
async fn read(mut reader: Reader, _log: Arc<RedisLog>) -> Received {
    let mut read = Received::default();
    loop {
        match reader.step().await {
            Step::Events { events, .. } => {
                let events = events.iter().map(|e| (e.position(), e.data().to_owned()));
                read.events.extend(events);
            }
            Step::Gap { gap, .. } => read.gaps.push(gap.reason),
            Step::Finished => return read,
            _ => {}
        }
    }
}

/// A configuration with a history that no reader can fall out of, and retries longer than a fault.
pub(crate) fn lasting(config: Config) -> Config {
    let retention = event_log::Retention { events: 1_000_000, ..Default::default() };
    Config { retention, retry: Duration::from_secs(3), ..config }
}

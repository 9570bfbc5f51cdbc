//! The honest clients: subscribers that check every event, and a publisher.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use crate::client::http;
use crate::client::sse::Connection;

/// The clients of one trial.
#[derive(Debug)]
pub(super) struct Honest {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
    subscribers: usize,
}

#[derive(Debug)]
struct Shared {
    start: Instant,
    stop: AtomicBool,
    /// Events that were acknowledged.
    published: AtomicU64,
    /// Publishes without an acknowledgement, and streams that ended.
    refused: AtomicU64,
    delivered: AtomicU64,
    /// Events that came twice, out of order, or not at all.
    wrong: AtomicU64,
    times: Mutex<Times>,
}

/// Latencies in milliseconds since the last look.
#[derive(Debug, Default)]
pub(super) struct Times {
    delivery: Vec<f64>,
    publish: Vec<f64>,
}

/// The account of the honest clients.
#[derive(Clone, Copy, Debug)]
pub(super) struct Account {
    pub(super) published: u64,
    pub(super) refused: u64,
    pub(super) lost: u64,
    pub(super) wrong: u64,
}

const TOPIC: &str = "honest";
/// Publishes a second.
const RATE: u32 = 100;
/// The longest wait for the last event.
const SETTLE_MAX: Duration = Duration::from_secs(10);

impl Honest {
    /// Opens the streams, and begins to publish.
    pub(super) async fn start(target: SocketAddr, subscribers: usize) -> Result<Self> {
        let shared = Arc::new(Shared {
            start: Instant::now(),
            stop: AtomicBool::new(false),
            published: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            wrong: AtomicU64::new(0),
            times: Mutex::default(),
        });
        let mut tasks = JoinSet::new();
        for _ in 0..subscribers {
            let mut stream =
                Connection::open(target, &format!("/v1/events?topic={TOPIC}"), &[]).await?;
            let ready = stream.next_event().await;
            ensure!(ready.is_some_and(|event| event.event_type() == "tailwater.ready"));
            let shared = Arc::clone(&shared);
            tasks.spawn(async move { shared.read(stream).await });
        }
        let publisher = Arc::clone(&shared);
        tasks.spawn(async move { publisher.publish(target).await });
        Ok(Self { shared, tasks, subscribers })
    }

    /// Takes the latencies since the last call.
    pub(super) fn times(&self) -> Times {
        std::mem::take(&mut *self.shared.times())
    }

    /// Stops publishing, waits for the last event, and counts.
    pub(super) async fn stop(mut self) -> Account {
        self.shared.stop.store(true, Relaxed);
        let shared = Arc::clone(&self.shared);
        let due = || shared.published.load(Relaxed) * self.subscribers as u64;
        let settled = async {
            loop {
                sleep(Duration::from_millis(100)).await;
                if shared.delivered.load(Relaxed) >= due() {
                    return;
                }
            }
        };
        let _late = timeout(SETTLE_MAX, settled).await;
        self.tasks.shutdown().await;
        Account {
            published: shared.published.load(Relaxed),
            refused: shared.refused.load(Relaxed),
            lost: due().saturating_sub(shared.delivered.load(Relaxed)),
            wrong: shared.wrong.load(Relaxed),
        }
    }
}

impl Shared {
    async fn publish(&self, target: SocketAddr) {
        let mut http = http::Client::new(target).timeout(Duration::from_secs(5));
        let mut ticks = interval(Duration::from_secs(1) / RATE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut number = 0_u64;
        while !self.stop.load(Relaxed) {
            ticks.tick().await;
            let begin = Instant::now();
            let micros = (begin - self.start).as_micros();
            let path = format!("/v1/events?topic={TOPIC}");
            let answer = http.post(&path, &[], format!("{number} {micros}")).await;
            if answer.is_ok_and(|answer| answer.status == 200) {
                number += 1;
                self.published.fetch_add(1, Relaxed);
                self.times().publish.push(millis(begin.elapsed()));
            } else {
                self.refused.fetch_add(1, Relaxed);
            }
        }
    }

    async fn read(&self, mut stream: Connection) {
        let mut next = 0_u64;
        while let Some(event) = stream.next_event().await {
            let mut words = event.data.split(' ').filter_map(|word| word.parse::<u64>().ok());
            let (Some(number), Some(micros)) = (words.next(), words.next()) else { continue };
            if number == next {
                self.delivered.fetch_add(1, Relaxed);
            } else {
                self.wrong.fetch_add(1, Relaxed);
            }
            next = number + 1;
            let sent = self.start + Duration::from_micros(micros);
            self.times().delivery.push(millis(sent.elapsed()));
        }
        if !self.stop.load(Relaxed) {
            self.refused.fetch_add(1, Relaxed);
        }
    }

    fn times(&self) -> std::sync::MutexGuard<'_, Times> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Times {
    /// The 99th percentiles of delivery and publish.
    pub(super) fn p99(self) -> [f64; 2] {
        [self.delivery, self.publish].map(p99)
    }
}

/// The 99th percentile; infinity without a value.
pub(super) fn p99(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    let index = (times.len() * 99 / 100).min(times.len().saturating_sub(1));
    times.get(index).copied().unwrap_or(f64::INFINITY)
}

pub(super) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

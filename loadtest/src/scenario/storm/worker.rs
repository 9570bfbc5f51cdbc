//! A part of the storm's subscribers, in a process of its own. Orders come by standard input:
//!
//! - `connect MILLIS ADDR,ADDR…`: open streams, spread over that time, each at a random address;
//! - `drop`: close them all and keep the cursors;
//! - `state SEQ`: answer with the counts of connected clients and of those with payload `SEQ`, in JSON.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::client::control::Control;
use crate::client::payload::Payload;
use crate::client::sse::{Event, EventSource, OnRefusal, Signal};
use crate::random::Random;

/// The arguments of the process.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    #[arg(long)]
    clients: usize,
    #[arg(long)]
    topics: usize,
    #[arg(long)]
    seed: u64,
}

/// The state of a worker's clients.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct CrowdAnswer {
    /// Clients with a stream.
    pub connected: usize,
    /// Clients that have the payload asked for.
    pub current: usize,
    /// Milliseconds from the last `connect` until clients had their latest payload: half of them,
    /// 99 of 100, the last one.
    pub millis: [u64; 3],
    /// Payloads received.
    pub delivered: u64,
    /// Payloads that were skipped.
    pub lost: u64,
    /// Payloads that came again.
    pub duplicated: u64,
    /// Gaps told.
    pub gaps: u64,
    /// Streams that the gateways opened.
    pub opened: u64,
    /// Streams that ended without an order.
    pub dropped: u64,
    /// Clients sent away by `tailwater.reconnect`.
    pub sent_away: u64,
    /// Attempts without an answer, and answers fatal to a browser.
    pub failed: u64,
}

#[derive(Default)]
struct Counters {
    delivered: AtomicU64,
    lost: AtomicU64,
    duplicated: AtomicU64,
    gaps: AtomicU64,
    opened: AtomicU64,
    dropped: AtomicU64,
    sent_away: AtomicU64,
    failed: AtomicU64,
}

/// The progress of one client.
#[derive(Clone, Copy, Debug, Default)]
struct CrowdProgress {
    connected: bool,
    seq: u32,
    /// When it got that payload.
    at: Option<Instant>,
}

#[derive(Clone, Debug)]
enum Order {
    Drop,
    Connect { since: Instant, spread: Duration, addrs: Arc<[SocketAddr]> },
}

struct CrowdShared {
    orders: watch::Receiver<Order>,
    counters: Counters,
    progress: Mutex<Vec<CrowdProgress>>,
}

/// Follows orders until standard input ends.
///
/// # Errors
/// When an order makes no sense.
pub async fn run(options: &Options) -> Result<Vec<String>> {
    let (orders, received) = watch::channel(Order::Drop);
    let progress = Mutex::new(vec![CrowdProgress::default(); options.clients]);
    let shared =
        Arc::new(CrowdShared { orders: received, counters: Counters::default(), progress });
    let mut random = Random::new(options.seed);
    for client in 0..options.clients {
        let chance = random.draw();
        tokio::spawn(listen(Arc::clone(&shared), client, client % options.topics, chance));
    }
    let mut since = Instant::now();
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["drop"] => drop(orders.send_replace(Order::Drop)),
            ["connect", millis, addrs] => {
                since = Instant::now();
                let spread = Duration::from_millis(millis.parse()?);
                let addrs = addrs.split(',').map(str::parse).collect::<Result<_, _>>()?;
                orders.send_replace(Order::Connect { since, spread, addrs });
            }
            ["state", seq] => {
                let answer = shared.answer(since, seq.parse()?);
                println!(
                    "{}",
                    serde_json::to_string(&answer).context("an answer that JSON cannot express")?
                );
            }
            _ => bail!("an unknown order: {line:?}"),
        }
    }
    Ok(Vec::new())
}

impl CrowdShared {
    fn answer(&self, since: Instant, seq: u32) -> CrowdAnswer {
        let progress = self.progress.lock().expect("nobody panics with it in hand").clone();
        let current = progress.iter().filter(|client| client.seq >= seq);
        let times = current
            .clone()
            .map(|c| c.at.map_or(Duration::ZERO, |at| at.saturating_duration_since(since)));
        let mut times: Vec<u64> =
            times.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)).collect();
        times.sort_unstable();
        let quantile = |share: usize| {
            times.get((times.len() * share / 100).min(times.len().saturating_sub(1)))
        };
        let counters = &self.counters;
        CrowdAnswer {
            connected: progress.iter().filter(|client| client.connected).count(),
            current: current.count(),
            millis: [50, 99, 100].map(|share| quantile(share).copied().unwrap_or(0)),
            delivered: counters.delivered.load(Relaxed),
            lost: counters.lost.load(Relaxed),
            duplicated: counters.duplicated.load(Relaxed),
            gaps: counters.gaps.load(Relaxed),
            opened: counters.opened.load(Relaxed),
            dropped: counters.dropped.load(Relaxed),
            sent_away: counters.sent_away.load(Relaxed),
            failed: counters.failed.load(Relaxed),
        }
    }

    fn update(&self, client: usize, change: impl FnOnce(&mut CrowdProgress)) {
        change(&mut self.progress.lock().expect("nobody panics with it in hand")[client]);
    }
}

/// One client, for ever.
async fn listen(shared: Arc<CrowdShared>, index: usize, topic: usize, chance: u64) {
    let topic = super::topic(topic);
    let mut orders = shared.orders.clone();
    let mut client: Option<EventSource> = None;
    loop {
        let order = orders.borrow_and_update().clone();
        let (since, spread, addrs) = match order {
            Order::Connect { since, spread, addrs } => (since, spread, addrs),
            Order::Drop => {
                if let Some(client) = &mut client {
                    client.drop_connection();
                }
                shared.update(index, |progress| progress.connected = false);
                if orders.changed().await.is_err() {
                    return;
                }
                continue;
            }
        };
        let share = (chance % 10_000) as f64 / 10_000.0;
        sleep((since + spread.mul_f64(share)).saturating_duration_since(Instant::now())).await;
        let mut turn = usize::try_from(chance >> 32).unwrap_or(0);
        let fresh = || {
            let path = format!("/v1/events?topic={topic}");
            EventSource::new(addrs[turn % addrs.len()], path).on_refusal(OnRefusal::Retry)
        };
        let client = client.get_or_insert_with(fresh);
        client.set_addr(addrs[turn % addrs.len()]);
        while !orders.has_changed().unwrap_or(true) {
            tokio::select! {
                _ = orders.changed() => {
                    orders.mark_changed();
                    break;
                }
                signal = client.next() => {
                    if !shared.signal(index, &topic, signal) {
                        turn += 1;
                        client.set_addr(addrs[turn % addrs.len()]);
                    }
                }
            }
        }
    }
}

impl CrowdShared {
    /// Counts a signal. Returns false if the client must leave its gateway.
    fn signal(&self, client: usize, topic: &str, signal: Signal) -> bool {
        let counters = &self.counters;
        match signal {
            Signal::Event(event) => self.event(client, topic, &event),
            Signal::Open { .. } => {
                counters.opened.fetch_add(1, Relaxed);
            }
            Signal::Lost => {
                counters.dropped.fetch_add(1, Relaxed);
                self.update(client, |progress| progress.connected = false);
                return false;
            }
            Signal::Failed | Signal::Refused { .. } | Signal::Stopped => {
                counters.failed.fetch_add(1, Relaxed);
                return false;
            }
        }
        true
    }

    fn event(&self, client: usize, topic: &str, event: &Event) {
        let counters = &self.counters;
        match Control::read(event) {
            Ok(Some(Control::Ready(_))) => {
                self.update(client, |progress| progress.connected = true);
            }
            Ok(Some(Control::Gap(_))) => drop(counters.gaps.fetch_add(1, Relaxed)),
            Ok(Some(Control::Other(..))) | Err(_) => drop(counters.failed.fetch_add(1, Relaxed)),
            Ok(Some(_)) => drop(counters.sent_away.fetch_add(1, Relaxed)),
            Ok(None) => {
                let payload = Payload::decode(&event.data).filter(|p| p.topic == topic);
                let seq = payload.map_or(0, |payload| payload.seq);
                counters.delivered.fetch_add(1, Relaxed);
                self.update(client, |progress| {
                    if seq <= progress.seq {
                        counters.duplicated.fetch_add(1, Relaxed);
                        return;
                    }
                    if progress.seq > 0 {
                        counters.lost.fetch_add(u64::from(seq - progress.seq - 1), Relaxed);
                    }
                    *progress = CrowdProgress { connected: true, seq, at: Some(Instant::now()) };
                });
            }
        }
    }
}

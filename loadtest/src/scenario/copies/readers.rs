//! The subscribers of the copies, and what can be read at the end.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::client::control::Control;
use crate::client::payload::Payload;
use crate::client::sse::{Event, EventSource};

/// The events that one subscriber has got.
#[derive(Debug, Default, Clone)]
pub(super) struct Got {
    /// Events by their number in the source, with the times that each came.
    pub(super) events: BTreeMap<u32, u32>,
    pub(super) out_of_order: u64,
    /// Gaps and breaks that it was told of.
    pub(super) told: u64,
    /// Events with other bytes than were written.
    pub(super) damaged: u64,
    last: u32,
}

impl Got {
    fn take(&mut self, event: &Event, topic: &str) {
        if event.is_control() {
            let is_loss = match Control::read(event) {
                Ok(Some(Control::Gap(_))) => true,
                Ok(_) => false,
                Err(_) => event.event_type() == "tailwater.broken",
            };
            self.told += u64::from(is_loss);
            return;
        }
        let Some(payload) = Payload::decode(&event.data).filter(|p| p.topic == topic) else {
            self.damaged += 1;
            return;
        };
        *self.events.entry(payload.seq).or_default() += 1;
        self.out_of_order += u64::from(payload.seq <= self.last);
        self.last = self.last.max(payload.seq);
    }

    /// The events of 1 to `count` that never came.
    pub(super) fn lost(&self, count: u32) -> u64 {
        (1..=count).filter(|seq| !self.events.contains_key(seq)).count() as u64
    }

    /// The times that an event came again.
    pub(super) fn doubled(&self) -> u64 {
        self.events.values().map(|times| u64::from(times - 1)).sum()
    }
}

/// Subscribers, each of one topic.
#[derive(Debug)]
pub(super) struct Subscribers {
    tasks: JoinSet<()>,
    got: Vec<(usize, Arc<Mutex<Got>>)>,
}

impl Subscribers {
    /// Subscribes to each topic so many times, from its beginning.
    pub(super) fn open(server: SocketAddr, topics: &[String], each: usize) -> Self {
        let (mut tasks, mut got) = (JoinSet::new(), Vec::new());
        for (index, topic) in topics.iter().enumerate() {
            for _ in 0..each {
                let mine = Arc::new(Mutex::new(Got::default()));
                got.push((index, Arc::clone(&mine)));
                let topic = topic.clone();
                tasks.spawn(async move {
                    let mut client = source(server, &topic).silence_max(Duration::from_secs(40));
                    while let Some(event) = client.next_event().await {
                        let mut got = mine.lock().unwrap_or_else(PoisonError::into_inner);
                        got.take(&event, &topic);
                    }
                });
            }
        }
        Self { tasks, got }
    }

    /// The events that came, over all subscribers.
    pub(super) fn count(&self) -> u64 {
        self.got.iter().map(|(_, got)| lock(got).events.len() as u64).sum()
    }

    /// Waits until each subscriber has so many events of its topic, or the time is up.
    pub(super) async fn settle(&self, counts: &[u32], deadline: Duration) {
        let until = Instant::now() + deadline;
        let is_behind = |(topic, got): &(usize, Arc<Mutex<Got>>)| {
            lock(got).events.len() < counts[*topic] as usize
        };
        while self.got.iter().any(is_behind) && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Closes all streams, and returns what each subscriber has got, with the index of its topic.
    pub(super) async fn close(mut self) -> Vec<(usize, Got)> {
        self.tasks.shutdown().await;
        self.got.iter().map(|(topic, got)| (*topic, lock(got).clone())).collect()
    }
}

fn lock(got: &Mutex<Got>) -> std::sync::MutexGuard<'_, Got> {
    got.lock().unwrap_or_else(PoisonError::into_inner)
}

fn source(server: SocketAddr, topic: &str) -> EventSource {
    EventSource::new(server, format!("/v1/events?topic={topic}&from=earliest"))
}

/// Reads a topic from its beginning until it has so many events, or none comes for `silence`.
pub(super) async fn read_all(
    server: SocketAddr,
    topic: &str,
    count: u32,
    silence: Duration,
) -> Got {
    let (mut got, mut client) = (Got::default(), source(server, topic));
    let mut after = false;
    loop {
        // An event that came twice stands after the last one, too.
        let wait = if after { Duration::from_millis(300) } else { silence };
        match timeout(wait, client.next_event()).await {
            Ok(Some(event)) => got.take(&event, topic),
            Ok(None) | Err(_) => return got,
        }
        after = got.events.len() >= count as usize;
    }
}

//! The readers of one topic, over any transport.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::transport::{WireClient, WireConnection};
use crate::cost::driver::{Reader, Tally};

const POLL: Duration = Duration::from_millis(10);

/// Open streams. Dropping it closes them.
pub(super) struct WireCrowd {
    _connections: Vec<WireConnection>,
    readers: JoinSet<Result<()>>,
    tally: Arc<Mutex<Tally>>,
}

impl WireCrowd {
    /// Opens `count` streams, so many a connection, which expect event `next` first.
    pub(super) async fn open(
        client: &WireClient,
        count: usize,
        streams: usize,
        next: u64,
        epoch: Instant,
    ) -> Result<Self> {
        let tally = Arc::new(Mutex::new(Tally::new(epoch)));
        let (mut connections, mut readers) = (Vec::new(), JoinSet::new());
        while readers.len() < count {
            let mut connection = client.connect().await?;
            for _ in 0..streams.min(count - readers.len()) {
                let body = connection.subscribe().await?;
                readers.spawn(read(body, Reader::of_bodies(next), Arc::clone(&tally)));
            }
            connections.push(connection);
        }
        Ok(Self { _connections: connections, readers, tally })
    }

    /// The payload of an event with this number that is published now.
    pub(super) fn payload(&self, number: u64, size: usize) -> String {
        self.with(|tally| tally.payload(number, size))
    }

    /// Waits for so many deliveries of all readers together, or until the time is up. Returns the
    /// deliveries.
    pub(super) async fn settle(&mut self, deliveries: u64, patience: Duration) -> Result<Tally> {
        let until = Instant::now() + patience;
        while self.with(|tally| tally.delivered + tally.lost) < deliveries && Instant::now() < until
        {
            sleep(POLL).await;
        }
        // No stream may have ended.
        if let Some(ended) = self.readers.try_join_next() {
            ended??;
        }
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = Tally::new(tally.epoch());
        let mut seen = std::mem::replace(&mut *tally, fresh);
        // Events that never came and left no hole are lost as well.
        seen.lost = deliveries.saturating_sub(seen.delivered);
        Ok(seen)
    }

    fn with<T>(&self, look: impl FnOnce(&Tally) -> T) -> T {
        look(&self.tally.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn read(mut body: Incoming, mut reader: Reader, tally: Arc<Mutex<Tally>>) -> Result<()> {
    while let Some(frame) = body.frame().await {
        if let Ok(piece) = frame?.into_data() {
            let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
            reader.read(&piece, &mut tally)?;
        }
    }
    bail!("the server ended a stream")
}

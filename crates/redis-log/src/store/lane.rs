//! The lane: gathers the appends to a primary, and sends them in batches.
//!
//! The appends that arrive while a batch is on its way form the next batch. A single append is sent at
//! once. So under load an append costs less: a batch shares the server's wake-up, the round trip, the
//! fixed part of each run of the script, and the proof of durability.
//!
//! The appends of a caller stay together and in order, and the caller gets their answers. If a caller
//! is dropped before its turn, its appends are not sent; if later, the other callers do not notice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use event_log::Append;
use redis::RedisError;
use tokio::sync::{mpsc, oneshot};
use tokio::task::yield_now;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::writer::Writer;
use crate::error::Failure;
use crate::publish::ScriptAnswer;
use crate::stats::Stats;

/// Callers in the queue. A further caller waits for room, within its patience.
const QUEUE_MAX: usize = 4096;
/// Largest parcel in events, and events at which a batch is full. With the last parcel a batch can
/// have almost twice as many.
pub(super) const BATCH_MAX: usize = 256;
/// Bytes at which a batch is full.
const BATCH_BYTES_MAX: usize = 1024 * 1024;

/// The lane to one primary, as callers see it.
#[derive(Debug)]
pub(super) struct Lane {
    queue: mpsc::Sender<Parcel>,
    distrusted: Arc<AtomicBool>,
    closing: CancellationToken,
    patience: Duration,
}

type Answers = Vec<Result<ScriptAnswer, Failure>>;

/// The appends of one caller.
#[derive(Debug)]
struct Parcel {
    appends: Arc<[Append]>,
    /// The indices of those that go to this primary.
    some: Vec<usize>,
    /// True if their slot is still moving to the primary.
    asking: bool,
    answers: oneshot::Sender<Answers>,
}

impl Lane {
    /// A lane and its task, which ends when the lane is closed or dropped.
    pub(super) fn new(
        writer: Writer,
        closing: CancellationToken,
        patience: Duration,
        stats: Arc<Stats>,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (queue, parcels) = mpsc::channel(QUEUE_MAX);
        let distrusted = Arc::<AtomicBool>::default();
        let task = Task {
            parcels,
            writer,
            distrusted: Arc::clone(&distrusted),
            closing: closing.clone(),
            stats,
        };
        (Self { queue, distrusted, closing, patience }, task.run())
    }

    /// Appends some events in their order, at most [`BATCH_MAX`]; one answer for each.
    pub(super) async fn append(
        &self,
        appends: &Arc<[Append]>,
        some: Vec<usize>,
        asking: bool,
    ) -> Answers {
        let count = some.len();
        let (answers, answered) = oneshot::channel();
        let parcel = Parcel { appends: Arc::clone(appends), some, asking, answers };
        match timeout(self.patience, self.queue.send(parcel)).await {
            Ok(Ok(())) => answered.await.unwrap_or_else(|_| vec![Err(interrupted()); count]),
            Ok(Err(_)) => vec![Err(Failure::Closed); count],
            Err(_) => vec![Err(Failure::Crowded(self.patience)); count],
        }
    }

    /// The server may have changed: the next batch reconnects.
    pub(super) fn distrust(&self) {
        self.distrusted.store(true, Ordering::Relaxed);
    }

    /// Sends no further batch.
    pub(super) fn close(&self) {
        self.closing.cancel();
    }
}

/// The task of a lane, which takes the parcels out of the queue.
struct Task {
    parcels: mpsc::Receiver<Parcel>,
    writer: Writer,
    distrusted: Arc<AtomicBool>,
    closing: CancellationToken,
    stats: Arc<Stats>,
}

impl Task {
    async fn run(mut self) {
        while let Some(Some(first)) = self.closing.run_until_cancelled(self.parcels.recv()).await {
            // Other tasks that can run now may append too. If there are none, yielding costs nothing.
            yield_now().await;
            let batch = self.gather(first);
            if batch.is_empty() {
                continue;
            }
            if self.distrusted.swap(false, Ordering::Relaxed) {
                self.writer.distrust();
            }
            match self.writer.ready().await {
                Ok(()) if !self.closing.is_cancelled() => self.send(batch).await,
                Ok(()) => refuse(batch, &Failure::Closed),
                Err(failure) => {
                    refuse(batch, &failure);
                    // The parcels that arrived meanwhile would only wait for the same failure.
                    while let Ok(parcel) = self.parcels.try_recv() {
                        refuse([parcel], &failure);
                    }
                }
            }
        }
        self.parcels.close();
        while let Some(parcel) = self.parcels.recv().await {
            refuse([parcel], &Failure::Closed);
        }
    }

    /// Takes the first parcel and those behind it, until the batch is full. Parcels of callers that
    /// were dropped are left out.
    fn gather(&mut self, first: Parcel) -> Vec<Parcel> {
        let (mut events, mut bytes) = (0, 0);
        let mut batch = Vec::new();
        let mut next = Some(first);
        while let Some(parcel) = next {
            if !parcel.answers.is_closed() {
                events += parcel.some.len();
                bytes += parcel.bytes();
                batch.push(parcel);
            }
            if events >= BATCH_MAX || bytes >= BATCH_BYTES_MAX {
                break;
            }
            next = self.parcels.try_recv().ok();
        }
        batch
    }

    async fn send(&mut self, batch: Vec<Parcel>) {
        let appends: Vec<_> = batch
            .iter()
            .flat_map(|parcel| parcel.some.iter().map(|i| (&parcel.appends[*i], parcel.asking)))
            .collect();
        self.stats.sent(appends.len());
        let mut answers = self.writer.append(&appends).await.into_iter();
        for parcel in batch {
            let own = answers.by_ref().take(parcel.some.len()).collect();
            // The caller may have been dropped.
            let _taken = parcel.answers.send(own).is_ok();
        }
    }
}

impl Parcel {
    fn bytes(&self) -> usize {
        self.some.iter().map(|i| self.appends[*i].event.data.len()).sum()
    }
}

/// Answers some parcels that nothing was sent.
fn refuse(batch: impl IntoIterator<Item = Parcel>, failure: &Failure) {
    for parcel in batch {
        let answers = vec![Err(failure.clone()); parcel.some.len()];
        let _taken = parcel.answers.send(answers).is_ok();
    }
}

/// The task ended in the middle of a batch, which may be stored or not.
fn interrupted() -> Failure {
    let error = std::io::Error::other("the append was interrupted");
    Failure::Redis(RedisError::from(error))
}

#[cfg(test)]
mod tests;

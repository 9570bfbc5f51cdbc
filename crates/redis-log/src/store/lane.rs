//! The one way of appends to a primary: gathered, and sent as one.
//!
//! While a batch is on its way, those who come next wait together and are the batch that follows. Who
//! comes alone is sent at once. So the more there is to do, the less each costs: of the server, the
//! wake-up, the round trip, and what the script does but once a run; and what proves the durability.
//!
//! Each caller's appends stay together and in order, and get answers of their own. A caller that goes
//! away before its turn takes its appends with it; one that goes away later leaves the others alone.

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
use crate::publish::Answer;
use crate::stats::Stats;

/// Callers that wait. Who comes then waits for room, for a while.
const QUEUE_MAX: usize = 4096;
/// Events of a caller that are sent as one, and events by which a batch is full. With what the last
/// caller brings a batch has not quite twice as many.
pub(super) const BATCH_MAX: usize = 256;
/// Bytes by which it is full.
const BATCH_BYTES_MAX: usize = 1024 * 1024;

/// The way to one primary.
#[derive(Debug)]
pub(super) struct Lane {
    queue: mpsc::Sender<Parcel>,
    distrusted: Arc<AtomicBool>,
    closing: CancellationToken,
    patience: Duration,
}

type Answers = Vec<Result<Answer, Failure>>;

/// What one caller wants appended.
#[derive(Debug)]
struct Parcel {
    appends: Arc<[Append]>,
    /// Which of them.
    some: Vec<usize>,
    /// Whether their slot is still on its way to the primary.
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
        let end = End {
            parcels,
            writer,
            distrusted: Arc::clone(&distrusted),
            closing: closing.clone(),
            stats,
        };
        (Self { queue, distrusted, closing, patience }, end.run())
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
            Ok(Ok(())) => answered.await.unwrap_or_else(|_| vec![Err(broken_off()); count]),
            Ok(Err(_)) => vec![Err(Failure::Closed); count],
            Err(_) => vec![Err(Failure::Crowded(self.patience)); count],
        }
    }

    /// What is behind it is not what it was.
    pub(super) fn distrust(&self) {
        self.distrusted.store(true, Ordering::Relaxed);
    }

    /// Sends nothing more.
    pub(super) fn close(&self) {
        self.closing.cancel();
    }
}

/// The end at which the parcels come out.
struct End {
    parcels: mpsc::Receiver<Parcel>,
    writer: Writer,
    distrusted: Arc<AtomicBool>,
    closing: CancellationToken,
    stats: Arc<Stats>,
}

impl End {
    async fn run(mut self) {
        while let Some(Some(first)) = self.closing.run_until_cancelled(self.parcels.recv()).await {
            // Others that can run now may have something to append as well. It costs no time if there
            // are none.
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
                    // Whoever came meanwhile would only wait for the same.
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

    /// The first one and all who wait behind it, until the batch is full. Nobody waits any more for
    /// what those have brought who are gone.
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
            // Who has gone away does not want to know.
            let _taken = parcel.answers.send(own).is_ok();
        }
    }
}

impl Parcel {
    fn bytes(&self) -> usize {
        self.some.iter().map(|i| self.appends[*i].event.data.len()).sum()
    }
}

/// Tells some that nothing was sent.
fn refuse(batch: impl IntoIterator<Item = Parcel>, failure: &Failure) {
    for parcel in batch {
        let answers = vec![Err(failure.clone()); parcel.some.len()];
        let _taken = parcel.answers.send(answers).is_ok();
    }
}

/// The task ended in the middle of a batch: whether it was stored is not known.
fn broken_off() -> Failure {
    let error = std::io::Error::other("the append was broken off");
    Failure::Redis(RedisError::from(error))
}

#[cfg(test)]
mod tests;

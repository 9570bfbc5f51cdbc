//! An open stream of changes: a task that reads it, and answers the server while the copier is busy.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::task::AbortOnDropHandle;

use crate::place::Place;
use crate::postgres::changes::Changes;
use crate::postgres::connection::{PostgresClient, Purpose, is_stopping};
use crate::postgres::lsn::Lsn;
use crate::postgres::server::Server;
use crate::postgres::slot::{Names, Slot};
use crate::postgres::wal::Wal;
use crate::source::{Failure, Item, Lag, Reading};

/// An open stream of changes.
#[derive(Debug)]
pub(crate) struct PostgresReading {
    items: mpsc::Receiver<Result<Vec<Item>, Failure>>,
    /// The place up to which everything is stored.
    stored: Place,
    /// The place before which the slot may forget everything.
    forgettable: watch::Sender<Lsn>,
    slot: watch::Receiver<Slot>,
    _task: AbortOnDropHandle<()>,
}

/// Batches that wait for the copier. With the one that is being filled and the one that is being stored, four are in memory.
const BATCHES: usize = 2;
/// Time between two signs of life. A server cuts a reader that is silent for `wal_sender_timeout`, of which the least sensible
/// value is some seconds.
const ALIVE_EVERY: Duration = Duration::from_millis(500);
/// Time between two looks at the slot and the publication. A server that is stopping waits until its readers have confirmed
/// everything or are gone, however long the log of Tailwater is away, so a look must not be long in coming.
const LOOK_EVERY: Duration = Duration::from_secs(10);

impl PostgresReading {
    /// Starts the task.
    pub(crate) fn new(
        wal: Wal,
        changes: Changes,
        start: Place,
        slot: Slot,
        (server, names): (Arc<Server>, Arc<Names>),
    ) -> Self {
        let (send, items) = mpsc::channel(BATCHES);
        let (forgettable, forget) = watch::channel(Lsn(start.major));
        let (tell, seen) = watch::channel(slot);
        let task = tokio::spawn(async move {
            let failure = tokio::select! {
                Err(failure) = read(wal, changes, &send, forget) => failure,
                failure = look(&server, &names, &tell) => failure,
            };
            // The connection is closed by now, also if the copier is long in coming. Without a copier nobody is interested.
            let _told = send.send(Err(failure)).await;
        });
        let task = AbortOnDropHandle::new(task);
        Self { items, stored: start, forgettable, slot: seen, _task: task }
    }
}

/// Reads until the stream fails.
async fn read(
    mut wal: Wal,
    mut changes: Changes,
    items: &mpsc::Sender<Result<Vec<Item>, Failure>>,
    forget: watch::Receiver<Lsn>,
) -> Result<std::convert::Infallible, Failure> {
    let mut alive = interval(ALIVE_EVERY);
    alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        while !changes.batch.is_full() {
            let Some(sent) = wal.take()? else { break };
            changes.take(&sent)?;
        }
        // All are cancel-safe: a permit that is not used is given back, and what was read stays in the buffer.
        tokio::select! {
            permit = items.reserve(), if changes.batch.is_due() => match permit {
                Ok(permit) => permit.send(Ok(changes.batch.take())),
                Err(_nobody_reads) => return Err(Failure::Ended),
            },
            filled = wal.fill(), if !changes.batch.is_full() => filled?,
            _ = alive.tick() => {
                let all_before = *forget.borrow();
                wal.confirm(all_before).await?;
            }
        }
    }
}

/// Looks at the slot and the publication again and again, until an operator has to mend something or the server is stopping.
async fn look(server: &Server, names: &Names, tell: &watch::Sender<Slot>) -> Failure {
    loop {
        sleep(LOOK_EVERY).await;
        let looked = async {
            let mut connection = PostgresClient::open(server, Purpose::Sql).await?;
            let slot = names.check(&mut connection).await?;
            names.tables(&mut connection).await?;
            Ok(slot)
        };
        let name = &names.slot;
        match looked.await {
            Ok(slot) => {
                let Slot { confirmed, retained, unconfirmed } = slot;
                tracing::debug!(slot = name, %confirmed, retained, unconfirmed, "the slot of a source");
                tell.send_replace(slot);
            }
            Err(failure) if matches!(failure, Failure::Refused(_)) || is_stopping(&failure) => {
                return failure;
            }
            Err(failure) => tracing::debug!(slot = name, %failure, "the slot cannot be looked at"),
        }
    }
}

#[async_trait]
impl Reading for PostgresReading {
    async fn next(&mut self) -> Result<Vec<Item>, Failure> {
        let over = || Err(Failure::Away("the stream is over".to_owned()));
        self.items.recv().await.unwrap_or_else(over)
    }

    async fn stored(&mut self, up_to: &Place) -> Result<(), Failure> {
        self.stored.clone_from(up_to);
        Ok(())
    }

    fn checkpointed(&mut self, place: &Place) {
        // A checkpoint of before this opening may be ahead of what is being copied again.
        if place.era == self.stored.era && place.order() <= self.stored.order() {
            self.forgettable.send_replace(Lsn(place.major));
        }
    }

    fn lag(&self) -> Lag {
        Lag { events: None, bytes: Some(self.slot.borrow().retained) }
    }
}

//! An open stream of changes: a task that reads it, and answers the server while the copier is busy.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::task::AbortOnDropHandle;

use crate::place::Place;
use crate::postgres::changes::Changes;
use crate::postgres::connection::{Connection, Purpose};
use crate::postgres::lsn::Lsn;
use crate::postgres::server::Server;
use crate::postgres::slot::{Names, Slot};
use crate::postgres::wal::{Sent, Wal};
use crate::source::{Failure, Item, Lag, Reading};

/// An open stream of changes.
#[derive(Debug)]
pub(crate) struct Stream {
    items: mpsc::Receiver<Result<Vec<Item>, Failure>>,
    /// The place up to which everything is stored.
    stored: Place,
    /// The place before which the slot may forget everything.
    forgettable: watch::Sender<Lsn>,
    slot: watch::Receiver<Slot>,
    _tasks: [AbortOnDropHandle<()>; 2],
}

/// Batches that wait for the copier. With the one that is being filled and the one that is being stored, four are in memory.
const BATCHES: usize = 2;
/// Time between two signs of life. A server cuts a reader that is silent for `wal_sender_timeout`, of which the least sensible
/// value is some seconds.
const ALIVE_EVERY: Duration = Duration::from_millis(500);
/// Time between two looks at the slot and the publication.
const LOOK_EVERY: Duration = Duration::from_secs(30);

impl Stream {
    /// Starts the tasks.
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
        let reader = {
            let send = send.clone();
            async move {
                let Err(failure) = read(wal, changes, &send, forget).await;
                // Without a receiver nobody is interested.
                let _told = send.send(Err(failure)).await;
            }
        };
        let watcher = async move {
            let failure = look(&server, &names, &tell).await;
            let _told = send.send(Err(failure)).await;
        };
        let tasks = [tokio::spawn(reader), tokio::spawn(watcher)].map(AbortOnDropHandle::new);
        Self { items, stored: start, forgettable, slot: seen, _tasks: tasks }
    }
}

/// Reads until the stream fails.
async fn read(
    mut wal: Wal,
    mut changes: Changes,
    items: &mpsc::Sender<Result<Vec<Item>, Failure>>,
    mut forget: watch::Receiver<Lsn>,
) -> Result<std::convert::Infallible, Failure> {
    let mut alive = interval(ALIVE_EVERY);
    alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        while !changes.batch.is_full() {
            let Some(sent) = wal.take()? else { break };
            changes.take(&sent)?;
            if matches!(sent, Sent::Alive { wants_answer: true, .. }) {
                let all_before = *forget.borrow_and_update();
                wal.confirm(all_before).await?;
            }
        }
        // All are cancel-safe: a permit that is not used is given back, and what was read stays in the buffer.
        tokio::select! {
            permit = items.reserve(), if changes.batch.is_due() => match permit {
                Ok(permit) => permit.send(Ok(changes.batch.take())),
                Err(_nobody_reads) => return Err(Failure::Ended),
            },
            filled = wal.fill(), if !changes.batch.is_full() => filled?,
            _ = alive.tick() => {
                let all_before = *forget.borrow_and_update();
                wal.confirm(all_before).await?;
            }
        }
    }
}

/// Looks at the slot and the publication again and again, until an operator has to mend something.
async fn look(server: &Server, names: &Names, tell: &watch::Sender<Slot>) -> Failure {
    loop {
        sleep(LOOK_EVERY).await;
        let looked = async {
            let mut connection = Connection::open(server, Purpose::Sql).await?;
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
            Err(failure @ Failure::Refused(_)) => return failure,
            Err(failure) => tracing::debug!(slot = name, %failure, "the slot cannot be looked at"),
        }
    }
}

#[async_trait]
impl Reading for Stream {
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

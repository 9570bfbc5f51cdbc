//! The bounds of a subscriber: its time, its memory, its replay rate.

use bytes::Bytes;
use event_log::Event;
use limits::{ConnectionId, Full, Held};
use tokio::time::sleep;

use super::Subscriber;
use crate::ends::PlannedEnd;
use crate::metrics::Close;
use crate::{held_bytes, replay};

impl Subscriber {
    /// Waits until the stream has to end although bytes wait for its client, and returns the reason.
    pub(crate) async fn overdue(&mut self) -> Close {
        self.alarm.overdue(&self.admission.connection).await
    }

    /// Counts `whole` bytes, of which `rest` waits for the client, until the result is dropped.
    ///
    /// # Errors
    /// The memory budget has no room for them.
    pub(crate) fn hold(&self, rest: &Bytes, whole: usize) -> Result<Held, Full> {
        let client = self.admission.connection.client();
        self.gateway.config.rules.memory.take(client, held_bytes::weight(rest, whole))
    }

    /// Counts bytes that a general server takes, until that drops them. Without room for them the stream
    /// ends.
    ///
    /// # Errors
    /// The memory budget has no room.
    pub(crate) fn count_bytes(&mut self, bytes: Bytes) -> Result<Bytes, Full> {
        let client = self.admission.connection.client();
        held_bytes::count(&self.gateway.config.rules.memory, client, bytes)
            .inspect_err(|_| self.close(Close::Memory))
    }

    /// Plans the end of the stream for the server of its connection.
    pub(crate) fn plan(&self, connection: ConnectionId) -> Option<PlannedEnd> {
        self.gateway.ends.plan(connection, self.admission.connection.id, self.alarm.ends())
    }

    /// Spends the client's replay rate, and pauses if that is used up.
    pub(super) fn pay(&mut self, events: &[Event]) {
        let payer = self.admission.connection.payer();
        let wait = self.gateway.replay.spend(payer, replay::weight(events));
        if !wait.is_zero() {
            self.gateway.metrics.replay_waits.inc();
            self.rare.get_or_insert_default().pause = Some(Box::pin(sleep(wait)));
        }
    }
}

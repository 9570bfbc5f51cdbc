//! Follows the reserved topic of revocations: from its oldest event at the start, and then as they come.
//!
//! The log drops events by age and number. A node that publishes therefore stores a revocation once more before
//! the log drops its newest event.

mod kept;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use access::{Access, REVOCATIONS_TOPIC, Revocation};
use event_log::{
    Append, Cursor, Event, Limit, Log, NewEvent, Origin, Retention, Seek, Step, Topic,
};
use futures_util::future::join;
use gateway::Gateway;
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use kept::Kept;

/// Follows revocations on one node.
#[derive(Debug)]
pub(crate) struct RevocationFeed {
    access: Access,
    log: Arc<dyn Log>,
    gateway: Option<Gateway>,
    /// Set when everything that the log had at the start was read.
    has_read: watch::Sender<bool>,
    kept: Mutex<Kept>,
    /// Told when so many events have come that some revocations may have to be stored again.
    is_due: Notify,
    /// The age at which the log drops events, on a node that publishes.
    age: Option<Duration>,
}

/// The pause before a log that cannot be reached is tried again.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest wait for the log to open, or to store revocations again.
const LOG_MAX: Duration = Duration::from_secs(5);
/// Revocations that one append stores again.
const BATCH_MAX: usize = 64;
/// The longest time between two looks for revocations that have to be stored again.
const LOOK_MAX: Duration = Duration::from_mins(5);
/// The shortest.
const LOOK_MIN: Duration = Duration::from_millis(100);
/// Looks while an event ages from half of the log's age to all of it: enough that one that fails is made up
/// for by the next.
const LOOKS: u32 = 16;
/// Appends for which there is time in the age of the log. All revocations fit into a sixth of them.
const APPENDS: u32 = 1000;

impl RevocationFeed {
    /// A feed for a node. `retention` is that of the log. A node that publishes stores those again that hold
    /// longer than the log keeps their events.
    pub(crate) fn new(
        access: &Access,
        log: &Arc<dyn Log>,
        gateway: Option<&Gateway>,
        (retention, publishes): (Retention, bool),
    ) -> Self {
        Self {
            access: access.clone(),
            log: Arc::clone(log),
            gateway: gateway.cloned(),
            has_read: watch::channel(access.is_open()).0,
            kept: Mutex::new(Kept::new(retention)),
            is_due: Notify::new(),
            age: publishes.then_some(retention.age),
        }
    }

    /// Tells if everything that the log had at the start was read.
    pub(crate) fn has_read(&self) -> watch::Receiver<bool> {
        self.has_read.subscribe()
    }

    /// Follows the topic. Never ends.
    pub(crate) async fn run(&self) {
        if self.access.is_open() {
            return std::future::pending().await;
        }
        join(self.read(), self.keep()).await;
    }

    /// Reads the topic. Never ends.
    async fn read(&self) {
        loop {
            let origin = Origin::Seek(Seek::Earliest);
            let opened = Cursor::open(Arc::clone(&self.log), vec![topic()], origin);
            match timeout(LOG_MAX, opened).await {
                Ok(Ok((cursor, _))) => self.follow(cursor).await,
                Ok(Err(error)) => tracing::debug!(%error, "revocations cannot be read"),
                Err(_) => tracing::debug!("the log did not open the revocations in time"),
            }
            sleep(PAUSE).await;
        }
    }

    /// Follows a cursor, which reads on by itself when the log was away.
    async fn follow(&self, mut cursor: Cursor) {
        loop {
            let has_read = *self.has_read.borrow();
            let step = match has_read {
                false => cursor.try_next(Limit::PAGE).await,
                true => Ok(Some(cursor.next(Limit::PAGE).await)),
            };
            match step {
                Ok(Some(Step::Events { events, .. })) => self.take(&events),
                Ok(Some(Step::Gap { .. })) => {
                    self.kept().lost();
                    self.is_due.notify_one();
                }
                Ok(Some(Step::Broken { .. } | Step::Reopened { .. })) => {}
                Ok(Some(Step::End { .. } | Step::Finished)) => return,
                Ok(None) => {
                    self.has_read.send_replace(true);
                }
                Err(error) => {
                    tracing::debug!(%error, "revocations cannot be read");
                    sleep(PAUSE).await;
                }
            }
        }
    }

    fn take(&self, events: &[Event]) {
        let (mut has_new, mut is_due) = (false, false);
        for event in events {
            let Some(revocation) = Revocation::from_json(event.data()) else {
                tracing::warn!(id = %event.position(), "an event of revocations is none");
                continue;
            };
            match self.access.revocations().add(&revocation) {
                Ok(()) => has_new |= self.kept().note(revocation, event.position()),
                Err(error) => tracing::error!(%error, "a revocation is not remembered"),
            }
            is_due |= self.kept().has_moved();
        }
        if is_due {
            self.is_due.notify_one();
        }
        if let (true, Some(gateway)) = (has_new, &self.gateway) {
            gateway.end_revoked();
        }
    }

    /// Stores revocations again before the log drops them. Never ends.
    async fn keep(&self) {
        let every = self.age.unwrap_or(LOOK_MAX) / 2 / LOOKS;
        let every = every.clamp(LOOK_MIN, LOOK_MAX);
        // A newer event of a revocation may stand in the part that was not read.
        let mut has_read = self.has_read.subscribe();
        // The sender is `self`, so waiting cannot fail.
        drop(has_read.wait_for(|has_read| *has_read).await);
        loop {
            // The first node to look stores them, and the others hear of it before they look.
            let jitter = fastrand::f64();
            tokio::select! {
                () = sleep(every.mul_f64(0.75 + jitter / 2.0)) => {}
                () = self.is_due.notified() => sleep(LOOK_MIN.mul_f64(jitter)).await,
            }
            let mut is_full = true;
            while is_full {
                let due = self.kept().due(jitter, BATCH_MAX);
                is_full = due.len() == BATCH_MAX;
                let Some(age) = self.age.filter(|_| !due.is_empty()) else { break };
                is_full &= self.store(due).await;
                sleep(PAUSE.min(age / APPENDS)).await;
            }
        }
    }

    /// Stores revocations again. Several nodes may do so; it changes nothing. Returns false if it has failed.
    async fn store(&self, due: Vec<Revocation>) -> bool {
        let topic = topic();
        let append = |revocation: &Revocation| {
            let event = NewEvent { data: revocation.to_json().into(), ..NewEvent::default() };
            Append::new(topic.clone(), event)
        };
        let batch = due.iter().map(append).collect();
        let Ok(results) = timeout(LOG_MAX, self.log.append(batch)).await else {
            tracing::warn!("the log did not store in time the revocations that hold on");
            return false;
        };
        let mut has_stored = true;
        for (revocation, result) in due.into_iter().zip(results) {
            match result {
                Ok(receipt) => {
                    self.kept().note(revocation, receipt.position);
                }
                Err(error) => {
                    tracing::warn!(%error, "a revocation that holds on was not stored again");
                    has_stored = false;
                }
            }
        }
        has_stored
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn topic() -> Topic {
    Topic::reserved(REVOCATIONS_TOPIC).expect("the name is a topic's")
}

#[cfg(test)]
mod tests;

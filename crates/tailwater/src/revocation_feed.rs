//! Follows the reserved topic of revocations: from its oldest event at the start, and then as they come.

use std::sync::Arc;
use std::time::Duration;

use access::{Access, REVOCATIONS_TOPIC, Revocation};
use event_log::{Append, Cursor, Event, Limit, Log, NewEvent, Origin, Seek, Step, Topic};
use gateway::Gateway;
use tokio::sync::watch;
use tokio::time::{Instant, interval_at, sleep, timeout};

/// Follows revocations on one node.
#[derive(Debug)]
pub(crate) struct RevocationFeed {
    access: Access,
    log: Arc<dyn Log>,
    gateway: Option<Gateway>,
    /// Set when everything that the log had at the start was read.
    has_read: watch::Sender<bool>,
    /// The time after which a revocation that still holds is stored once more, on a node that publishes.
    refresh: Option<Duration>,
}

/// The pause before a log that cannot be reached is tried again.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest wait for the log to open.
const OPEN_MAX: Duration = Duration::from_secs(5);

impl RevocationFeed {
    /// A feed for a node. `history` is the age at which the log drops events; a node that publishes stores
    /// those again that hold longer.
    pub(crate) fn new(
        access: &Access,
        log: &Arc<dyn Log>,
        gateway: Option<&Gateway>,
        history: Option<Duration>,
    ) -> Self {
        Self {
            access: access.clone(),
            log: Arc::clone(log),
            gateway: gateway.cloned(),
            has_read: watch::channel(access.is_open()).0,
            refresh: history.map(|age| age / 2),
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
        let topic = Topic::reserved(REVOCATIONS_TOPIC).expect("the name is a topic's");
        loop {
            let origin = Origin::Seek(Seek::Earliest);
            let opened = Cursor::open(Arc::clone(&self.log), vec![topic.clone()], origin);
            match timeout(OPEN_MAX, opened).await {
                Ok(Ok((cursor, _))) => self.follow(cursor).await,
                Ok(Err(error)) => tracing::debug!(%error, "revocations cannot be read"),
                Err(_) => tracing::debug!("the log did not open the revocations in time"),
            }
            sleep(PAUSE).await;
        }
    }

    /// Follows a cursor, which reads on by itself when the log was away.
    async fn follow(&self, mut cursor: Cursor) {
        let every = self.refresh.unwrap_or(Duration::from_hours(24)).max(Duration::from_secs(1));
        let mut due = interval_at(Instant::now() + every, every);
        loop {
            let step = match *self.has_read.borrow() {
                false => cursor.try_next(Limit::PAGE).await,
                true => tokio::select! {
                    step = cursor.next(Limit::PAGE) => Ok(Some(step)),
                    _ = due.tick() => {
                        self.store_again().await;
                        continue;
                    }
                },
            };
            match step {
                Ok(Some(Step::Events { events, .. })) => self.take(&events),
                Ok(Some(Step::Gap { .. })) => {}
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
        let mut has_new = false;
        for event in events {
            let Some(revocation) = Revocation::from_json(event.data()) else {
                tracing::warn!(id = %event.position(), "an event of revocations is none");
                continue;
            };
            match self.access.revocations().add(&revocation) {
                Ok(()) => has_new = true,
                Err(error) => tracing::error!(%error, "a revocation is not remembered"),
            }
        }
        if let (true, Some(gateway)) = (has_new, &self.gateway) {
            gateway.end_revoked();
        }
    }

    /// Stores those again that hold longer than the log keeps events. Several nodes may do so; it changes
    /// nothing.
    async fn store_again(&self) {
        if self.refresh.is_none() {
            return;
        }
        let topic = Topic::reserved(REVOCATIONS_TOPIC).expect("the name is a topic's");
        let append = |revocation: Revocation| {
            let event = NewEvent { data: revocation.to_json().into(), ..NewEvent::default() };
            Append::new(topic.clone(), event)
        };
        let all: Vec<_> = self.access.revocations().all().into_iter().map(append).collect();
        for batch in all.chunks(64) {
            let results = self.log.append(batch.to_vec()).await;
            if let Some(error) = results.iter().find_map(|result| result.as_ref().err()) {
                tracing::warn!(%error, "revocations that hold on were not stored again");
            }
        }
    }
}

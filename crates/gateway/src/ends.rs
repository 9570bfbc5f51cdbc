//! The planned ends of the streams that a general HTTP server writes.
//!
//! Such a server asks a stream for its next bytes only when the client has taken the last ones. So a
//! stream that takes nothing never says that its time is over, and its connection has to be closed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use limits::ConnectionId;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};

use crate::drain::{OVERDUE_AFTER, Phase};

/// The connections that are watched. A connection has one timer, at the earliest end of its streams.
#[derive(Debug, Default)]
pub(crate) struct Ends(Arc<StreamsByConnection>);

type StreamsByConnection = Mutex<HashMap<ConnectionId, Arc<Streams>>>;

/// The streams of one connection.
#[derive(Debug, Default)]
struct Streams {
    planned: Mutex<Planned>,
    /// Notified when a stream has an earlier end than all before it.
    earlier: Notify,
}

#[derive(Debug, Default)]
struct Planned {
    ends: HashMap<u64, Instant>,
    /// At most as late as the earliest of the ends.
    earliest: Option<Instant>,
}

/// A stream with a planned end. Dropping it takes the plan away.
#[derive(Debug)]
pub(crate) struct PlannedEnd {
    streams: Arc<Streams>,
    stream: u64,
}

/// A connection that is watched.
#[derive(Debug)]
pub(crate) struct Watched {
    connections: Arc<StreamsByConnection>,
    connection: ConnectionId,
    streams: Arc<Streams>,
}

impl Ends {
    /// Plans the end of a stream. `None` if nobody watches its connection.
    pub(crate) fn plan(
        &self,
        connection: ConnectionId,
        stream: u64,
        end: Instant,
    ) -> Option<PlannedEnd> {
        let streams = Arc::clone(lock(&self.0).get(&connection)?);
        let mut planned = streams.planned();
        planned.ends.insert(stream, end);
        let is_earlier = planned.earliest.is_none_or(|earliest| end < earliest);
        if is_earlier {
            planned.earliest = Some(end);
            streams.earlier.notify_one();
        }
        drop(planned);
        Some(PlannedEnd { streams, stream })
    }

    /// Ends streams whose rights were revoked: a moment from now if their clients take the last words, and
    /// with their connections if not.
    pub(crate) fn revoke(&self, revoked: &[u64]) {
        let all: Vec<_> = lock(&self.0).values().cloned().collect();
        for streams in all {
            let mut planned = streams.planned();
            let now = Instant::now();
            let own = revoked.iter().filter(|id| {
                let end = planned.ends.get_mut(id);
                end.is_some_and(|end| std::mem::replace(end, now.min(*end)) > now)
            });
            if own.count() > 0 {
                planned.earliest = Some(now);
                streams.earlier.notify_one();
            }
        }
    }

    /// Returns true if a connection that is watched has a stream.
    pub(crate) fn has_streams(&self, connection: ConnectionId) -> bool {
        let streams = lock(&self.0).get(&connection).cloned();
        streams.is_some_and(|streams| !streams.planned().ends.is_empty())
    }

    /// Watches a connection, before its first request is served.
    pub(crate) fn watch(&self, connection: ConnectionId) -> Watched {
        let streams = Arc::<Streams>::default();
        lock(&self.0).insert(connection, Arc::clone(&streams));
        Watched { connections: Arc::clone(&self.0), connection, streams }
    }
}

impl Watched {
    /// Waits until a stream of the connection is past its end by [`OVERDUE_AFTER`], or is there at the
    /// end of a drain's window.
    pub(crate) async fn overdue(self, phase: &watch::Sender<Phase>) {
        let mut phase = phase.subscribe();
        loop {
            let due = self.streams.due(*phase.borrow_and_update());
            if due.is_some_and(|due| due <= Instant::now()) {
                return;
            }
            let due = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = due => {}
                () = self.streams.earlier.notified() => {}
                // The sender outlives this future.
                _changed = phase.changed() => {}
            }
        }
    }
}

impl Streams {
    /// Returns the time at which a stream is overdue; `None` without streams.
    fn due(&self, phase: Phase) -> Option<Instant> {
        let mut planned = self.planned();
        planned.earliest = planned.ends.values().min().copied();
        let by_age = planned.earliest? + OVERDUE_AFTER;
        match phase {
            Phase::HandingAway { closed, .. } => Some(by_age.min(closed)),
            Phase::Serving | Phase::Leaving => Some(by_age),
        }
    }

    fn planned(&self) -> MutexGuard<'_, Planned> {
        lock(&self.planned)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Watched {
    fn drop(&mut self) {
        lock(&self.connections).remove(&self.connection);
    }
}

impl Drop for PlannedEnd {
    fn drop(&mut self) {
        self.streams.planned().ends.remove(&self.stream);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;
    use std::net::SocketAddr;
    use std::time::Duration;
    use tokio::time::advance;

    fn connection() -> ConnectionId {
        limits::Peer::new(SocketAddr::from(([127, 0, 0, 1], 1))).connection
    }

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[tokio::test(start_paused = true)]
    async fn the_earliest_stream_that_is_still_there_counts() {
        let (ends, id, phase) = (Ends::default(), connection(), watch::Sender::new(Phase::Serving));
        assert!(ends.plan(id, 1, Instant::now()).is_none(), "nobody watches");
        let mut overdue = Box::pin(ends.watch(id).overdue(&phase));
        assert!((&mut overdue).now_or_never().is_none());
        let start = Instant::now();
        let _late = ends.plan(id, 1, start + seconds(90));
        let early = ends.plan(id, 2, start + seconds(30));
        let left = ends.plan(id, 3, start + seconds(10));
        drop(left);
        advance(seconds(11) + OVERDUE_AFTER).await;
        assert!((&mut overdue).now_or_never().is_none(), "a stream that ended is not overdue");
        overdue.await;
        assert_eq!(start.elapsed().as_secs(), (seconds(30) + OVERDUE_AFTER).as_secs());
        drop(early);
        assert!(lock(&ends.0).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn no_stream_outlives_the_window_of_a_drain() {
        let (ends, id, phase) = (Ends::default(), connection(), watch::Sender::new(Phase::Serving));
        let mut overdue = Box::pin(ends.watch(id).overdue(&phase));
        assert!((&mut overdue).now_or_never().is_none());
        let start = Instant::now();
        phase.send_replace(Phase::handing_away(seconds(5)));
        advance(seconds(9)).await;
        assert!((&mut overdue).now_or_never().is_none(), "it has no stream");
        let _stream = ends.plan(id, 1, start + seconds(90));
        overdue.await;
        assert_eq!(start.elapsed(), seconds(9));
    }
}

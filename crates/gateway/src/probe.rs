//! The readiness probe: an event that this gateway publishes must arrive through its own feed.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use event_log::{Append, Cursor, Limit, Log, NewEvent, Origin, Step, Topic};
use tokio::time::{Instant, sleep, timeout};

/// The result of the last successful probe.
#[derive(Debug, Default)]
pub(crate) struct Probe {
    last: Mutex<Option<Success>>,
}

#[derive(Debug, Clone, Copy)]
struct Success {
    at: Instant,
    round_trip: Duration,
}

/// Time between two probes.
const EVERY: Duration = Duration::from_secs(2);
/// Longest time that a probe may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// Age of the last success from which a gateway is no longer ready. Longer than a restart of the log
/// takes, because a gateway without its log still keeps its clients connected.
pub(crate) const STALE: Duration = Duration::from_secs(15);

impl Probe {
    /// Probes until it is dropped. After a failed probe the cursor is opened again.
    pub(crate) async fn run(&self, log: std::sync::Arc<dyn Log>, node: &str) {
        let topic = topic(node);
        loop {
            if let Ok(Ok((mut cursor, _))) = timeout(
                PATIENCE,
                Cursor::open(std::sync::Arc::clone(&log), vec![topic.clone()], Origin::Latest),
            )
            .await
            {
                while let Some(round_trip) = once(&*log, &topic, &mut cursor).await {
                    let success = Success { at: Instant::now(), round_trip };
                    *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(success);
                    sleep(EVERY).await;
                }
            }
            sleep(EVERY / 4).await;
        }
    }

    /// Returns the time since the last success, or `None` if no probe has succeeded.
    pub(crate) fn age(&self) -> Option<Duration> {
        self.last().map(|success| success.at.elapsed())
    }

    /// Returns the duration of the last successful probe.
    pub(crate) fn round_trip(&self) -> Option<Duration> {
        self.last().map(|success| success.round_trip)
    }

    fn last(&self) -> Option<Success> {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Appends one event and waits for it. Returns the time between, or `None` if it did not arrive.
async fn once(log: &dyn Log, topic: &Topic, cursor: &mut Cursor) -> Option<Duration> {
    let start = Instant::now();
    let append = Append::new(topic.clone(), NewEvent::default());
    let arrival = async {
        let receipt = log.append(vec![append]).await.pop()?.ok()?;
        loop {
            if let Step::Events { events, .. } =
                cursor.next(Limit { events: 64, bytes: 65_536 }).await
                && events.iter().any(|event| event.position() == receipt.position)
            {
                return Some(start.elapsed());
            }
        }
    };
    timeout(PATIENCE, arrival).await.ok().flatten()
}

/// Returns the topic of a node's probes, named after the node with the characters that topics allow.
fn topic(node: &str) -> Topic {
    let name: String = node
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '.' || c == '-' { c } else { '_' })
        .take(150)
        .collect();
    Topic::reserved(&format!("probe/{name}")).expect("the name has allowed characters only")
}

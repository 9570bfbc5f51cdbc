//! The readiness probe: a message that this gateway sends must come back through its own feed.
//!
//! The probe stores nothing, so a full log does not make a gateway unready that can still deliver.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use event_log::{Log, Topic};
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
    /// Probes until it is dropped. After a failed probe the tail is opened again.
    pub(crate) async fn run(&self, log: Arc<dyn Log>, node: &str) {
        let topic = topic(node);
        loop {
            // The tail is held, so that the log watches the topic for as long as the probe runs.
            if let Ok(Ok(_tail)) = timeout(PATIENCE, log.tail(&topic)).await {
                while let Ok(Ok(round_trip)) = timeout(PATIENCE, log.echo(&topic)).await {
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

/// Returns the topic of a node's probes, named after the node with the characters that topics allow.
fn topic(node: &str) -> Topic {
    let name: String = node
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '.' || c == '-' { c } else { '_' })
        .take(150)
        .collect();
    Topic::reserved(&format!("probe/{name}")).expect("the name has allowed characters only")
}

//! Patience: bounds how long and how often something is tried again.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::pace::jitter;
use crate::topology::{Map, Topology};

/// The tries of one operation.
#[derive(Debug)]
pub(super) struct Patience {
    until: Instant,
    tries: u32,
    map: watch::Receiver<Arc<Map>>,
}

/// Tries that a change of the map brings forward. After these the maps are wrong: nodes that redirect
/// to each other must not be asked as fast as they answer.
const FORWARD_MAX: u32 = 4;
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_millis(320);

impl Patience {
    /// Must be made before the map is read, so that no change of the map is missed.
    pub(super) fn new(limit: Duration, topology: &Topology) -> Self {
        Self { until: Instant::now() + limit, tries: 0, map: topology.subscribe() }
    }

    /// Waits for the next try. Returns false if there is none.
    pub(super) async fn pause(&mut self) -> bool {
        let pause = PAUSE_MIN * 2_u32.pow(self.tries.min(5));
        self.tries += 1;
        let pause = pause.min(PAUSE_MAX);
        let pause = pause / 2 + jitter(pause / 2);
        if Instant::now() + pause >= self.until {
            return false;
        }
        if self.tries > FORWARD_MAX {
            sleep(pause).await;
            return true;
        }
        // Both arms are cancel-safe: a change stays until it is seen.
        tokio::select! {
            changed = self.map.changed() => {
                if changed.is_err() {
                    sleep(pause).await;
                }
            }
            () = sleep(pause) => {}
        }
        true
    }
}

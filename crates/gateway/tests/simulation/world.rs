//! The state that all actors of a schedule share: the store, the weather and the trace.

use std::fmt::{Arguments, Write as _};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use event_log::{Append, AppendError, Receipt};
use tokio::time::{Instant, sleep};

use super::bug::Bug;
use super::dice::{chance, millis};
use super::ensemble::Stage;
use super::node::Node;
use super::store::Store;

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) stage: Stage,
    pub(crate) store: Store,
    pub(crate) bug: Option<Bug>,
    began: Instant,
    weather: Mutex<Weather>,
    nodes: Mutex<Vec<Arc<Node>>>,
    trace: Mutex<String>,
    violation: Mutex<Option<String>>,
}

/// Fault rates, in percent, and delays of the network.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Weather {
    /// Notifications that are lost.
    pub(crate) lost: u32,
    /// Notifications that come twice.
    pub(crate) doubled: u32,
    /// Longest delay of a notification.
    pub(crate) late_ms: u64,
    /// Connections that break in the middle of a write, among clients with a bad line.
    pub(crate) broken: u32,
    /// Writes after which a slow client stops for a while.
    pub(crate) tired: u32,
    /// Commands that fail.
    pub(crate) failed: u32,
    /// Commands that are slow.
    pub(crate) slow: u32,
    /// Longest delay of a slow command.
    pub(crate) slow_ms: u64,
}

impl Weather {
    pub(crate) fn draw() -> Self {
        Self {
            lost: *super::dice::pick(&[0, 5, 40]),
            doubled: *super::dice::pick(&[0, 10]),
            late_ms: *super::dice::pick(&[2, 50, 3000]),
            broken: 10,
            tired: 30,
            failed: *super::dice::pick(&[0, 2, 20]),
            slow: *super::dice::pick(&[0, 10, 50]),
            slow_ms: *super::dice::pick(&[100, 3000]),
        }
    }
}

impl World {
    pub(crate) fn new(keep: u64, weather: Weather, bug: Option<Bug>) -> Arc<Self> {
        Arc::new(Self {
            stage: Stage::default(),
            store: Store::new(keep, bug),
            bug,
            began: Instant::now(),
            weather: Mutex::new(weather),
            nodes: Mutex::default(),
            trace: Mutex::default(),
            violation: Mutex::default(),
        })
    }

    /// A node has subscribed to the feed.
    pub(crate) fn join(&self, node: Arc<Node>) {
        self.nodes.lock().unwrap().push(node);
    }

    /// A node has stopped.
    pub(crate) fn leave(&self, node: &Arc<Node>) {
        self.nodes.lock().unwrap().retain(|other| !Arc::ptr_eq(other, node));
    }

    pub(crate) fn nodes(&self) -> Vec<Arc<Node>> {
        self.nodes.lock().unwrap().clone()
    }

    pub(crate) fn weather(&self) -> Weather {
        *self.weather.lock().unwrap()
    }

    /// Ends the faults of the store and of the clients' connections. The feed stays unreliable, because
    /// its last losses are the hardest to notice.
    pub(crate) fn clears_up(&self) {
        let mut weather = self.weather.lock().unwrap();
        *weather = Weather { broken: 0, tired: 0, failed: 0, slow: 0, ..*weather };
        self.store.goes_away(Duration::ZERO);
    }

    /// Sends a message to the store or back. Returns true if the message arrives.
    pub(crate) async fn travel(&self) -> bool {
        let weather = self.weather();
        let time = if chance(weather.slow) { millis(0..weather.slow_ms) } else { millis(0..3) };
        sleep(time).await;
        if self.store.is_away() {
            sleep(millis(0..2000)).await;
            return false;
        }
        !chance(weather.failed)
    }

    /// Appends an event and notifies all nodes. The answer may be lost although the event is stored.
    pub(crate) async fn publish(&self, append: Append) -> Result<Receipt, AppendError> {
        let lost = || AppendError::Unavailable("lost on the way".to_owned());
        if !self.travel().await {
            return Err(lost());
        }
        let (receipt, event) = self.store.append(append)?;
        if let Some(event) = event {
            for node in self.nodes() {
                node.send(&event);
            }
        }
        if self.travel().await { Ok(receipt) } else { Err(lost()) }
    }

    pub(crate) fn note(&self, what: Arguments<'_>) {
        let mut trace = self.trace.lock().unwrap();
        let now = self.began.elapsed().as_millis();
        writeln!(trace, "{now:>6} {what}").expect("a string accepts every write");
    }

    /// Records that a client was harmed, which ends the schedule.
    pub(crate) fn violated(&self, what: String) {
        self.note(format_args!("VIOLATION {what}"));
        self.violation.lock().unwrap().get_or_insert(what);
    }

    pub(crate) fn violation(&self) -> Option<String> {
        self.violation.lock().unwrap().clone()
    }

    pub(crate) fn trace(&self) -> String {
        self.trace.lock().unwrap().clone()
    }
}

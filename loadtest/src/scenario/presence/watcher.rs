//! A watcher of a topic, and all that it has heard.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::client::sse::Connection;

/// A client that asks who joins and leaves. Dropping it closes its stream.
pub(super) struct Watcher {
    heard: Arc<Mutex<RoomNews>>,
    task: JoinHandle<()>,
}

/// The news that a watcher has heard.
#[derive(Clone, Debug, Default)]
pub(super) struct RoomNews {
    /// Lists of those who are present, beyond the first.
    pub(super) lists: u64,
    pub(super) joined: Moves,
    pub(super) left: Moves,
    /// Set when the stream has ended.
    pub(super) ended: bool,
}

/// Those who joined, or those who left.
#[derive(Clone, Debug, Default)]
pub(super) struct Moves {
    /// Their number.
    pub(super) count: u64,
    /// The events that told of them.
    pub(super) events: u64,
    /// The number of times that each name came.
    pub(super) names: BTreeMap<String, u64>,
}

const OPEN_MAX: Duration = Duration::from_secs(30);

impl Watcher {
    /// Opens a stream and waits for its list and for the news of its own join.
    pub(super) async fn open(gateway: SocketAddr, topic: &str) -> Result<Self> {
        let name = topic.replace('/', "-");
        let path = format!("/v1/events?topic={topic}&client=w-{name}&presence=1");
        let mut stream = timeout(OPEN_MAX, Connection::open(gateway, &path, &[])).await??;
        for kind in ["tailwater.ready", "tailwater.presence", "tailwater.join"] {
            let event = timeout(OPEN_MAX, stream.next_event()).await?.context("it ended")?;
            ensure!(event.event_type() == kind, "{path}: {event:?} is not {kind}");
        }
        let heard = Arc::<Mutex<RoomNews>>::default();
        let hearing = Arc::clone(&heard);
        let task = tokio::spawn(async move {
            while let Some(event) = stream.next_event().await {
                let told = serde_json::from_str(&event.data).unwrap_or_default();
                hearing
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .hear(event.event_type(), &told);
            }
            hearing.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
        });
        Ok(Self { heard, task })
    }

    /// Takes what it has heard since the last time.
    pub(super) fn take(&self) -> RoomNews {
        std::mem::take(&mut *self.heard.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl RoomNews {
    fn hear(&mut self, kind: &str, told: &Value) {
        match kind {
            "tailwater.presence" => self.lists += 1,
            "tailwater.join" => self.joined.add(&told["joined"], &told["members"]),
            "tailwater.leave" => self.left.add(&told["left"], &told["members"]),
            _ => {}
        }
    }
}

impl Moves {
    fn add(&mut self, count: &Value, members: &Value) {
        self.count += count.as_u64().unwrap_or_default();
        self.events += 1;
        for member in members.as_array().into_iter().flatten() {
            let name = member["client"].as_str().unwrap_or_default();
            *self.names.entry(name.to_owned()).or_default() += 1;
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

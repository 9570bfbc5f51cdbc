//! The state of the feeds: which of them are up, and how to make one look at a topic.
//!
//! Written by the tasks of `feed`, read by everybody who needs a feed.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use event_log::LogName;
use tokio::sync::{mpsc, watch};

use crate::address::Address;
use crate::keys;
use crate::stats::Stats;
use crate::topology::Topology;

/// Hints that wait for a feed, which takes them in bulk. At the bound, a caller with one more waits.
pub(crate) const HINTS: usize = 1024;

/// The feeds of all sources.
#[derive(Debug)]
pub(crate) struct Feeds {
    topology: Arc<Topology>,
    stats: Arc<Stats>,
    /// Topics that came into the registry or left it, for the feed of their source to look at.
    hints: Mutex<HashMap<Address, mpsc::Sender<LogName>>>,
    /// Feeds that are connected and have joined all channels that they began with.
    up: watch::Sender<HashSet<Address>>,
}

impl Feeds {
    pub(crate) fn new(topology: &Arc<Topology>, stats: &Arc<Stats>) -> Self {
        Self {
            topology: Arc::clone(topology),
            stats: Arc::clone(stats),
            hints: Mutex::default(),
            up: watch::channel(HashSet::new()).0,
        }
    }

    /// Adds the feed of a source. Returns the hints for it.
    pub(crate) fn add(&self, source: &Address) -> mpsc::Receiver<LogName> {
        let (hints, receiver) = mpsc::channel(HINTS);
        self.hints().insert(source.clone(), hints);
        receiver
    }

    /// Ends the hints of a source's feed.
    pub(crate) fn remove(&self, source: &Address) {
        self.hints().remove(source);
    }

    /// Makes the feed of a topic's source look at the topic. A feed that does not exist yet looks at
    /// all topics when it begins.
    pub(crate) async fn hint(&self, topic: &LogName) {
        let Ok(source) = self.topology.source(keys::partition(topic)) else { return };
        let hints = self.hints().get(&source).cloned();
        if let Some(hints) = hints {
            // If the feed has ended, its successor looks at all topics.
            let _taken = hints.send(topic.clone()).await.is_ok();
        }
    }

    /// Waits until the feed of a topic's source is up. Returns false if the log closes.
    pub(crate) async fn up(&self, topic: &LogName) -> bool {
        let (mut up, mut map) = (self.up.subscribe(), self.topology.subscribe());
        loop {
            let source = map.borrow_and_update().source(keys::partition(topic)).cloned();
            if source.is_some_and(|source| up.borrow_and_update().contains(&source)) {
                return true;
            }
            // Both arms are cancel-safe: a change stays until it is seen.
            let changed = tokio::select! {
                changed = up.changed() => changed,
                changed = map.changed() => changed,
            };
            if changed.is_err() {
                return false;
            }
        }
    }

    /// Records that the feed of a source is up or down.
    pub(crate) fn set_up(&self, source: &Address, up: bool) {
        self.up.send_if_modified(|all| match up {
            true => all.insert(source.clone()),
            false => all.remove(source),
        });
        self.count();
    }

    /// Compares the feeds that are up with the sources of the map.
    pub(crate) fn count(&self) {
        let sources = self.topology.map().sources();
        let up = self.up.borrow();
        let all = !sources.is_empty() && sources.iter().all(|source| up.contains(source));
        self.stats.set_connected(all);
    }

    fn hints(&self) -> MutexGuard<'_, HashMap<Address, mpsc::Sender<LogName>>> {
        self.hints.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

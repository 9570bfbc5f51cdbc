//! The registry: the topics that this node watches.
//!
//! The feed compares its subscriptions with this map. Nobody tells it to join or to leave a channel, so
//! leaving and coming back cannot overtake each other.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use event_log::{LogName, Tail};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::watched::Watched;

/// The registry.
#[derive(Debug, Default)]
pub(crate) struct Topics {
    watched: Mutex<HashMap<Box<str>, Arc<Watched>>>,
    /// Topics whose subscription was broken, and whose heads must be compared. At most one entry for
    /// each topic, because a topic is not suspected again before it is read.
    suspects: Mutex<Vec<Arc<Watched>>>,
    suspected: Notify,
}

/// A topic in the registry.
#[derive(Debug)]
pub(crate) enum Lookup {
    /// The tail of the topic.
    Open(Arc<Tail>),
    /// The topic has no tail yet: the caller opens it.
    Closed(Arc<Watched>),
}

impl Topics {
    /// Looks a topic up, and adds it if it is not watched.
    ///
    /// A tail leaves the registry only in [`sweep`](Self::sweep), under the same lock, which keeps
    /// every tail that is in use.
    pub(crate) fn look_up(&self, topic: &LogName) -> Lookup {
        let mut map = self.map();
        let Some(watched) = map.get(topic.as_str()) else {
            let watched = Arc::new(Watched::new(topic.clone()));
            map.insert(topic.as_str().into(), Arc::clone(&watched));
            return Lookup::Closed(watched);
        };
        match watched.tail() {
            Some(tail) => Lookup::Open(tail),
            None => Lookup::Closed(Arc::clone(watched)),
        }
    }

    /// The topic of this name, if it is watched.
    pub(crate) fn get(&self, name: &str) -> Option<Arc<Watched>> {
        self.map().get(name).cloned()
    }

    /// All watched topics.
    pub(crate) fn all(&self) -> Vec<Arc<Watched>> {
        self.map().values().cloned().collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.map().len()
    }

    /// Removes the topics that nobody has used for `idle`, and returns them.
    pub(crate) fn sweep(&self, idle: Duration) -> Vec<LogName> {
        let now = Instant::now();
        let mut swept = Vec::new();
        self.map().retain(|_, watched| {
            // Another holder opens, repairs or compares it.
            let keep = Arc::strong_count(watched) > 1 || !watched.is_idle(now, idle);
            if !keep {
                swept.push(watched.topic.clone());
            }
            keep
        });
        swept
    }

    /// Adds a suspected topic, and wakes the audit.
    pub(crate) fn suspect(&self, watched: Arc<Watched>) {
        self.suspects().push(watched);
        self.suspected.notify_one();
    }

    /// Waits until a topic is suspected.
    pub(crate) async fn suspected(&self) {
        self.suspected.notified().await;
    }

    /// Takes the suspected topics.
    pub(crate) fn take_suspects(&self) -> Vec<Arc<Watched>> {
        std::mem::take(&mut *self.suspects())
    }

    fn map(&self) -> MutexGuard<'_, HashMap<Box<str>, Arc<Watched>>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn suspects(&self) -> MutexGuard<'_, Vec<Arc<Watched>>> {
        self.suspects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

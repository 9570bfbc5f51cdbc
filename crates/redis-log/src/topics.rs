//! The topics that this node watches.
//!
//! What is in this map is what the feed is to be subscribed to: the feed compares the two, and nobody
//! tells it to leave a channel, so that leaving and coming back cannot overtake each other.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use event_log::{Tail, Topic};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::watched::Watched;

/// The registry.
#[derive(Debug, Default)]
pub(crate) struct Topics {
    watched: Mutex<HashMap<Box<str>, Arc<Watched>>>,
    /// Those whose subscription was broken, and whose heads are to be compared. No more than topics.
    suspects: Mutex<Vec<Arc<Watched>>>,
    suspected: Notify,
}

/// What the registry has of a topic.
#[derive(Debug)]
pub(crate) enum Lookup {
    /// Its tail.
    Open(Arc<Tail>),
    /// Nothing yet; it is to be opened.
    Closed(Arc<Watched>),
}

impl Topics {
    /// The tail of a topic, or what it is to be opened by.
    ///
    /// A tail leaves the registry only by this lock, under which the sweep looks who uses it: a tail
    /// that somebody has is never swept.
    pub(crate) fn look_up(&self, topic: &Topic) -> Lookup {
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

    /// All of them.
    pub(crate) fn all(&self) -> Vec<Arc<Watched>> {
        self.map().values().cloned().collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.map().len()
    }

    /// Lets go of topics that nobody has used for `idle`, and returns them.
    pub(crate) fn sweep(&self, idle: Duration) -> Vec<Topic> {
        let now = Instant::now();
        let mut swept = Vec::new();
        self.map().retain(|_, watched| {
            // Another holder is opening, repairing or comparing it.
            let keep = Arc::strong_count(watched) > 1 || !watched.is_idle(now, idle);
            if !keep {
                swept.push(watched.topic.clone());
            }
            keep
        });
        swept
    }

    /// Notes a topic for the audit, which is woken.
    pub(crate) fn suspect(&self, watched: Arc<Watched>) {
        self.suspects().push(watched);
        self.suspected.notify_one();
    }

    /// The topics noted since the last call; waits for the first.
    pub(crate) async fn suspected(&self) {
        self.suspected.notified().await;
    }

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

//! The live feed: on each primary a connection of its own, which only ever subscribes.
//!
//! Sharded subscriptions of redis-rs lose channels after a fail-over, and mixed with commands they
//! give them each other's answers (both measured); so this speaks to the socket itself, and knows
//! three commands: SSUBSCRIBE, SUNSUBSCRIBE and PING. What is to be subscribed where is what the
//! registry holds and the map says; see `session`. What was missed while a channel was not joined is
//! not the feed's business but the audit's.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use event_log::Topic;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

use crate::address::Address;
use crate::keys;
use crate::node::{HINTS, Node};

mod channels;
mod session;
mod socket;

/// The feeds there are, and which of them are up.
#[derive(Debug)]
pub(crate) struct Feeds {
    /// Topics whose place in the registry has changed, for the feed of their primary to look at.
    hints: Mutex<HashMap<Address, mpsc::Sender<Topic>>>,
    /// Those that are connected and have joined all channels that they began with.
    up: watch::Sender<HashSet<Address>>,
}

impl Default for Feeds {
    fn default() -> Self {
        Self { hints: Mutex::default(), up: watch::channel(HashSet::new()).0 }
    }
}

impl Feeds {
    /// Makes a feed look at a topic. One that is not there yet will look at all of them.
    pub(crate) async fn hint(&self, primary: &Address, topic: Topic) {
        let hints = self.hints().get(primary).cloned();
        if let Some(hints) = hints {
            // It may have ended meanwhile, and then another will look at all of them.
            let _taken = hints.send(topic).await.is_ok();
        }
    }

    pub(crate) fn up(&self) -> watch::Receiver<HashSet<Address>> {
        self.up.subscribe()
    }

    fn set_up(&self, primary: &Address, up: bool) {
        self.up.send_if_modified(|all| match up {
            true => all.insert(primary.clone()),
            false => all.remove(primary),
        });
    }

    fn hints(&self) -> MutexGuard<'_, HashMap<Address, mpsc::Sender<Topic>>> {
        self.hints.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps a feed from each primary until the log closes.
pub(crate) async fn run(node: Arc<Node>) {
    let mut map = node.topology.subscribe();
    let mut running: HashMap<Address, Running> = HashMap::new();
    loop {
        let primaries = map.borrow_and_update().primaries();
        end_others(&node, &mut running, &primaries).await;
        for primary in primaries {
            running.entry(primary).or_insert_with_key(|primary| {
                let (hints, receiver) = mpsc::channel(HINTS);
                node.feeds.hints().insert(primary.clone(), hints);
                let feed = session::keep(Arc::clone(&node), primary.clone(), receiver);
                Running::start(&node, feed)
            });
        }
        node.note_feeds();
        if map.changed().await.is_err() {
            return;
        }
    }
}

/// Ends the feeds of those that are no primaries any more, before any new one begins: what an old
/// primary says must not be taken for news once the new one has been read.
async fn end_others(
    node: &Node,
    running: &mut HashMap<Address, Running>,
    primaries: &BTreeSet<Address>,
) {
    let gone: Vec<_> = running.keys().filter(|&p| !primaries.contains(p)).cloned().collect();
    for primary in gone {
        node.feeds.hints().remove(&primary);
        if let Some(feed) = running.remove(&primary) {
            feed.end().await;
        }
        node.feeds.set_up(&primary, false);
    }
}

/// A feed's task.
struct Running {
    abort: AbortHandle,
    ended: tokio::task::JoinHandle<()>,
}

impl Running {
    fn start(node: &Arc<Node>, feed: impl Future<Output = ()> + Send + 'static) -> Self {
        let ended = node.spawn(feed);
        Self { abort: ended.abort_handle(), ended }
    }

    async fn end(self) {
        self.abort.abort();
        // Cancelled, which is what was asked for.
        let _cancelled = self.ended.await.is_err();
    }
}

impl Node {
    /// Makes the feed of a topic's primary look at it.
    pub(crate) async fn hint(&self, topic: &Topic) {
        if let Ok(owner) = self.topology.owner(keys::partition(topic)) {
            self.feeds.hint(&owner, topic.clone()).await;
        }
    }

    /// Waits until the feed of a topic's primary is up. False if the log closes.
    pub(crate) async fn feed_is_up(&self, topic: &Topic) -> bool {
        let (mut up, mut map) = (self.feeds.up(), self.topology.subscribe());
        loop {
            let owner = map.borrow_and_update().owner(keys::partition(topic)).cloned();
            if owner.is_some_and(|owner| up.borrow_and_update().contains(&owner)) {
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

    /// Notes whether all feeds that there should be are up.
    fn note_feeds(&self) {
        let primaries = self.topology.map().primaries();
        let up = self.feeds.up.borrow();
        let all = !primaries.is_empty() && primaries.iter().all(|primary| up.contains(primary));
        self.stats.set_connected(all);
    }

    fn feed_up(&self, primary: &Address, up: bool) {
        self.feeds.set_up(primary, up);
        self.note_feeds();
    }
}

//! The live feed: one connection to each primary, which only subscribes.
//!
//! Sharded subscriptions of redis-rs lose channels after a fail-over, and mixed with commands they
//! swap answers (both measured). So the feed speaks to the socket itself, and knows three commands:
//! SSUBSCRIBE, SUNSUBSCRIBE and PING. The registry and the map say which channels to subscribe where;
//! see `session`. The audit, not the feed, finds what was missed while a channel was not joined.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::access::Access;
use crate::address::Address;
use crate::echo::Echoes;
use crate::feeds::Feeds;
use crate::keys::Keys;
use crate::life::Life;
use crate::repair::Repairs;
use crate::stats::Stats;
use crate::topics::Topics;
use crate::topology::Topology;
use crate::witness::Witnesses;

mod channels;
mod session;
pub(crate) mod socket;

/// The parts of the log that a feed uses.
#[derive(Debug)]
pub(crate) struct Feed {
    pub(crate) keys: Keys,
    pub(crate) access: Access,
    pub(crate) topology: Arc<Topology>,
    pub(crate) topics: Arc<Topics>,
    pub(crate) feeds: Arc<Feeds>,
    pub(crate) repairs: Arc<Repairs>,
    pub(crate) echoes: Arc<Echoes>,
    pub(crate) witnesses: Arc<Witnesses>,
    pub(crate) stats: Arc<Stats>,
    pub(crate) ping: Duration,
}

/// Keeps a feed from each primary until the log closes.
pub(crate) async fn run(feed: Arc<Feed>, life: Life) {
    let mut map = feed.topology.subscribe();
    let mut running: HashMap<Address, JoinHandle<()>> = HashMap::new();
    loop {
        let primaries = map.borrow_and_update().primaries();
        end_others(&feed.feeds, &mut running, &primaries).await;
        for primary in primaries {
            running.entry(primary).or_insert_with_key(|primary| {
                let hints = feed.feeds.add(primary);
                life.spawn(session::keep(Arc::clone(&feed), primary.clone(), hints))
            });
        }
        feed.feeds.count();
        if map.changed().await.is_err() {
            return;
        }
    }
}

/// Ends the feeds of servers that are no primaries any more, before any new feed begins: after the
/// new primary was read, a message of the old one must not pass for news.
async fn end_others(
    feeds: &Feeds,
    running: &mut HashMap<Address, JoinHandle<()>>,
    primaries: &BTreeSet<Address>,
) {
    let gone: Vec<_> = running.keys().filter(|&p| !primaries.contains(p)).cloned().collect();
    for primary in gone {
        feeds.remove(&primary);
        if let Some(feed) = running.remove(&primary) {
            feed.abort();
            // The task ends by this cancellation, or it had ended before.
            let _cancelled = feed.await.is_err();
        }
        feeds.set_up(&primary, false);
    }
}

//! The live feed: one connection to each source, which only subscribes.
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

/// Keeps a feed from each source until the log closes.
pub(crate) async fn run(feed: Arc<Feed>, life: Life) {
    let mut map = feed.topology.subscribe();
    let mut running: HashMap<Address, JoinHandle<()>> = HashMap::new();
    loop {
        let sources = map.borrow_and_update().sources();
        end_others(&feed.feeds, &mut running, &sources).await;
        for source in sources {
            running.entry(source).or_insert_with_key(|source| {
                let hints = feed.feeds.add(source);
                life.spawn(session::keep(Arc::clone(&feed), source.clone(), hints))
            });
        }
        feed.feeds.count();
        if map.changed().await.is_err() {
            return;
        }
    }
}

/// Ends the feeds of servers that are no sources any more, before any new feed begins: after the new source was read,
/// a message of the old one must not pass for news.
async fn end_others(
    feeds: &Feeds,
    running: &mut HashMap<Address, JoinHandle<()>>,
    sources: &BTreeSet<Address>,
) {
    let gone: Vec<_> = running.keys().filter(|&s| !sources.contains(s)).cloned().collect();
    for source in gone {
        feeds.remove(&source);
        if let Some(feed) = running.remove(&source) {
            feed.abort();
            // The task ends by this cancellation, or it had ended before.
            let _cancelled = feed.await.is_err();
        }
        feeds.set_up(&source, false);
    }
}

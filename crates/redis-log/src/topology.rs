//! The topology: which primary serves which partition.
//!
//! One task makes the [`Map`]. It asks the sentinels, or the nodes of the cluster, at an interval, and
//! at once on evidence that the map is wrong: a refused connection, a time-out, READONLY, a
//! subscription that Redis ended. Many reports of evidence cost one refresh. MOVED alone changes the
//! map without a refresh, because it names the new primary.
//!
//! Knows no pool, no feed and no key: they follow the map.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::sleep;

use crate::access::Access;
use crate::address::Address;
use crate::config::Config;
use crate::error::Failure;
use crate::keys::PARTITIONS;
use crate::pace::{every, jitter};
use crate::slot;
use crate::url::Kind;

pub(crate) mod cluster;
pub(crate) mod sentinel;

use cluster::ClusterOracle;
use sentinel::SentinelOracle;

/// Least time between two refreshes, at random up to twice as long. It bounds the cost of evidence.
const PAUSE: Duration = Duration::from_millis(50);

/// The primary of each partition, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Map {
    owners: Vec<Option<Address>>,
    /// The reason why a partition has no owner here.
    trouble: Arc<str>,
}

impl Map {
    /// One primary serves every partition.
    pub(crate) fn one(address: Address) -> Self {
        Self { owners: vec![Some(address); PARTITIONS as usize], trouble: "".into() }
    }

    /// No partition has a primary.
    pub(crate) fn none(trouble: impl Into<Arc<str>>) -> Self {
        Self { owners: vec![None; PARTITIONS as usize], trouble: trouble.into() }
    }

    pub(crate) fn owner(&self, partition: u32) -> Option<&Address> {
        self.owners[partition as usize].as_ref()
    }

    pub(crate) fn serves(&self, address: &Address) -> bool {
        self.owners.iter().flatten().any(|owner| owner == address)
    }

    /// All servers that serve a partition.
    pub(crate) fn primaries(&self) -> BTreeSet<Address> {
        self.owners.iter().flatten().cloned().collect()
    }
}

/// The map, and the evidence that wakes its task.
#[derive(Debug)]
pub(crate) struct Topology {
    kind: Kind,
    map: watch::Sender<Arc<Map>>,
    evidence: Notify,
}

impl Topology {
    pub(crate) fn new(config: &Config) -> Arc<Self> {
        let map = match config.url.kind {
            Kind::Standalone => Map::one(config.url.seeds[0].clone()),
            Kind::Sentinel { .. } => Map::none("no sentinel was asked yet"),
            Kind::Cluster => Map::none("no node of the cluster was asked yet"),
        };
        let (map, _) = watch::channel(Arc::new(map));
        Arc::new(Self { kind: config.url.kind.clone(), map, evidence: Notify::new() })
    }

    pub(crate) fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Returns true if the map can never change.
    pub(crate) fn is_fixed(&self) -> bool {
        self.kind == Kind::Standalone
    }

    pub(crate) fn map(&self) -> Arc<Map> {
        Arc::clone(&self.map.borrow())
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Arc<Map>> {
        self.map.subscribe()
    }

    pub(crate) fn owner(&self, partition: u32) -> Result<Address, Failure> {
        let map = self.map.borrow();
        map.owner(partition).cloned().ok_or_else(|| Failure::NoPrimary(Arc::clone(&map.trouble)))
    }

    /// Reports evidence that the map may be wrong.
    pub(crate) fn suspect(&self) {
        self.evidence.notify_one();
    }

    /// Reports that a node of the cluster has named the owner of a slot.
    pub(crate) fn moved(&self, slot: u16, to: &Address) {
        if self.kind != Kind::Cluster {
            return;
        }
        self.map.send_if_modified(|map| {
            let mut changed = false;
            for partition in slot::partitions(slot) {
                if map.owner(partition) != Some(to) {
                    Arc::make_mut(map).owners[partition as usize] = Some(to.clone());
                    changed = true;
                }
            }
            changed
        });
        self.suspect();
    }

    fn learn(&self, map: Map) -> bool {
        self.map.send_if_modified(|known| {
            let changed = **known != map;
            if changed {
                *known = Arc::new(map);
            }
            changed
        })
    }
}

/// The servers that know the primaries.
enum Oracle {
    Sentinels(SentinelOracle),
    Nodes(ClusterOracle),
}

/// Keeps the map true until the log closes.
pub(crate) async fn run(topology: Arc<Topology>, config: Config, access: Access) {
    let mut oracle = match topology.kind() {
        Kind::Standalone => return,
        Kind::Sentinel { master } => {
            Oracle::Sentinels(SentinelOracle::new(master.clone(), &config.url.seeds, access))
        }
        Kind::Cluster => Oracle::Nodes(ClusterOracle::new(config.url.seeds.clone(), access)),
    };
    let mut poll = every(config.poll);
    let mut trouble = String::new();
    loop {
        // Both arms are cancel-safe: a tick and a notification stay until they are taken.
        tokio::select! {
            _ = poll.tick() => {}
            () = topology.evidence.notified() => {}
        }
        let known = topology.map();
        let learnt = match &mut oracle {
            Oracle::Sentinels(sentinels) => sentinels.ask(&known).await,
            Oracle::Nodes(nodes) => nodes.ask(&known).await,
        };
        let failed = match learnt {
            Ok(map) => {
                let failed = map.trouble.to_string();
                let primaries = map.primaries();
                if topology.learn(map) {
                    tracing::info!(url = %config.url, ?primaries, "the primaries have changed");
                }
                failed
            }
            // No server knows better: the map stays, or holds the reason why it is empty.
            Err(failed) => {
                if known.primaries().is_empty() {
                    topology.learn(Map::none(failed.as_str()));
                }
                failed
            }
        };
        if failed != trouble && !failed.is_empty() {
            tracing::warn!(url = %config.url, reason = failed, "cannot find the primaries");
        }
        trouble = failed;
        sleep(PAUSE + jitter(PAUSE)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster() -> Arc<Topology> {
        Topology::new(&Config::new("redis+cluster://a".parse().unwrap()))
    }

    #[tokio::test]
    async fn moved_changes_the_map_at_once_and_wakes_waiting_tasks() {
        let topology = cluster();
        let (a, b) = (Address::new("a", 1), Address::new("b", 2));
        topology.learn(Map::one(a.clone()));
        let mut waiting = topology.subscribe();
        topology.moved(slot::of(7), &a);
        assert!(!waiting.has_changed().unwrap(), "no news");
        topology.moved(slot::of(7), &b);
        waiting.changed().await.unwrap();
        assert_eq!(topology.owner(7).unwrap(), b);
        assert_eq!(topology.owner(8).unwrap(), a);
        assert_eq!(topology.map().primaries(), BTreeSet::from([a, b]));
    }

    #[test]
    fn an_owner_that_is_asked_for_too_early_is_reported_as_unknown() {
        let said = cluster().owner(0).unwrap_err().to_string();
        assert!(said.contains("no node of the cluster was asked yet"), "{said}");
    }
}

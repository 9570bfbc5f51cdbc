//! The scenarios: a row each.

use std::fmt::Write as _;
use std::path::Path;
use std::pin::Pin;

use anyhow::Result;

use super::fault::{cluster, data, network, nodes, readers, sentinel, upkeep};
use crate::lab::{Durability, Lab, Server, Setup, Topology};
use crate::machine::AppendFsync;

/// A fault, from its cause to its end.
type Fault = for<'a> fn(&'a mut Lab) -> Pin<Box<dyn Future<Output = Result<()>> + 'a>>;

/// The promise of a scenario, besides that nothing is lost in silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Promise {
    /// Nothing is lost, and no reader is told of a loss.
    Lossless,
    /// Nothing acknowledged is lost. A reader of an event without a receipt may be
    /// told that it is gone.
    Kept,
    /// The log may lose events, and the readers that miss them are told.
    Told,
    /// The log loses events, and at least one reader is told.
    Announced,
}

/// One scenario.
pub(super) struct ChaosScenario {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) promise: Promise,
    /// Takes less than some 15 s, and is worth it at every commit.
    pub(super) quick: bool,
    pub(super) topology: Topology,
    pub(super) append_fsync: AppendFsync,
    pub(super) durability: Durability,
    pub(super) replicas: usize,
    pub(super) can_part: bool,
    pub(super) has_own_clock: bool,
    pub(super) has_password: bool,
    pub(super) event_bytes: usize,
    pub(super) history_events: usize,
    /// Needs a feature that only Valkey 9 has.
    pub(super) needs_valkey: bool,
    pub(super) fault: Fault,
}

/// The defaults of a scenario.
const USUAL: ChaosScenario = ChaosScenario {
    name: "",
    about: "",
    promise: Promise::Lossless,
    quick: false,
    topology: Topology::Standalone,
    append_fsync: AppendFsync::Everysec,
    durability: Durability::Memory,
    replicas: 0,
    can_part: false,
    has_own_clock: false,
    has_password: false,
    event_bytes: 300,
    history_events: 100_000,
    needs_valkey: false,
    fault: |_| Box::pin(async { Ok(()) }),
};

pub(super) const SCENARIOS: &[ChaosScenario] = &[
    ChaosScenario {
        name: "kill-no-aof",
        about: "kill -9 of a primary without an append-only file: it comes back empty",
        promise: Promise::Announced,
        append_fsync: AppendFsync::Off,
        quick: true,
        fault: |lab| Box::pin(nodes::kill_primary(lab)),
        ..USUAL
    },
    ChaosScenario {
        name: "kill-everysec",
        about: "kill -9 of a primary that syncs its append-only file every second",
        fault: |lab| Box::pin(nodes::kill_primary(lab)),
        ..USUAL
    },
    ChaosScenario {
        name: "kill-always",
        about: "kill -9 of a primary that syncs its append-only file before each answer",
        append_fsync: AppendFsync::Always,
        quick: true,
        fault: |lab| Box::pin(nodes::kill_primary(lab)),
        ..USUAL
    },
    ChaosScenario {
        name: "kill-disk",
        about: "kill -9 of a primary, with disk",
        promise: Promise::Kept,
        append_fsync: AppendFsync::Always,
        durability: Durability::Disk,
        quick: true,
        fault: |lab| Box::pin(nodes::kill_primary(lab)),
        ..USUAL
    },
    ChaosScenario {
        name: "lost-tail",
        about: "a replica that lacks events of clients takes over; a gateway is killed",
        promise: Promise::Announced,
        replicas: 1,
        fault: |lab| Box::pin(nodes::promote_behind(lab)),
        ..USUAL
    },
    ChaosScenario {
        name: "feed-overflow",
        about: "a gateway does not read its feed until Redis cuts it off for the size of its buffer",
        fault: |lab| Box::pin(network::overflow(lab)),
        ..USUAL
    },
    ChaosScenario {
        name: "notifications-lost",
        about: "messages of the feed are lost on the way, five times",
        quick: true,
        fault: |lab| Box::pin(network::lose_notifications(lab)),
        ..USUAL
    },
    ChaosScenario {
        name: "last-notification-lost",
        about: "the very last message of a quiet topic is lost on the way to every gateway",
        quick: true,
        fault: |lab| Box::pin(network::lose_last_notification(lab)),
        ..USUAL
    },
    ChaosScenario {
        name: "feed-killed",
        about: "CLIENT KILL of every gateway's feed, five times",
        quick: true,
        fault: |lab| Box::pin(network::kill_feeds(lab)),
        ..USUAL
    },
    ChaosScenario {
        name: "half-open-up",
        about: "nothing arrives at Redis on the connections that are open, and nothing closes them",
        fault: |lab| Box::pin(network::half_open(lab, &[crate::machine::Way::Up])),
        ..USUAL
    },
    ChaosScenario {
        name: "half-open-down",
        about: "nothing comes from Redis on the connections that are open, and nothing closes them",
        fault: |lab| Box::pin(network::half_open(lab, &[crate::machine::Way::Down])),
        ..USUAL
    },
    ChaosScenario {
        name: "half-open",
        about: "both at once",
        fault: |lab| {
            Box::pin(network::half_open(lab, &[crate::machine::Way::Up, crate::machine::Way::Down]))
        },
        ..USUAL
    },
    ChaosScenario {
        name: "link-down",
        about: "the link between the gateways and Redis is down for 10 s",
        can_part: true,
        fault: |lab| Box::pin(network::link_down(lab)),
        ..USUAL
    },
    ChaosScenario {
        name: "slow-redis",
        about: "Redis answers after 2 s",
        fault: |lab| Box::pin(network::slow(lab)),
        ..USUAL
    },
    ChaosScenario {
        name: "flushall",
        about: "FLUSHALL",
        promise: Promise::Announced,
        quick: true,
        fault: |lab| Box::pin(data::flush_all(lab)),
        ..USUAL
    },
    ChaosScenario {
        name: "del-stream",
        about: "DEL of the streams of half of the topics",
        promise: Promise::Announced,
        quick: true,
        fault: |lab| Box::pin(data::delete_streams(lab)),
        ..USUAL
    },
    ChaosScenario {
        name: "del-head",
        about: "DEL of the head keys of all topics",
        quick: true,
        fault: |lab| Box::pin(data::delete_heads(lab)),
        ..USUAL
    },
    ChaosScenario {
        name: "maxmemory",
        about: "maxmemory is reached",
        quick: true,
        fault: |lab| Box::pin(data::fill_memory(lab)),
        ..USUAL
    },
    ChaosScenario {
        name: "script-flush",
        about: "SCRIPT FLUSH",
        quick: true,
        fault: |lab| Box::pin(data::flush_scripts(lab)),
        ..USUAL
    },
    ChaosScenario {
        name: "clock-back",
        about: "the primary's clock steps back by an hour, and later forward again",
        has_own_clock: true,
        fault: |lab| Box::pin(data::step_clock_back(lab)),
        ..USUAL
    },
    ChaosScenario {
        name: "gateway-frozen",
        about: "a gateway is frozen for 30 s and thawed",
        fault: |lab| Box::pin(nodes::freeze_gateway(lab)),
        ..USUAL
    },
    ChaosScenario {
        name: "gateway-files",
        about: "a gateway is out of file descriptors when another is killed and its clients come",
        fault: |lab| Box::pin(nodes::exhaust_files(lab)),
        ..USUAL
    },
    ChaosScenario {
        name: "ingest-killed",
        about: "kill -9 of the ingest between the append and its answer; clients repeat the key",
        quick: true,
        fault: |lab| Box::pin(nodes::kill_ingest(lab)),
        ..USUAL
    },
    ChaosScenario {
        name: "byte-a-second",
        about: "five subscribers read one byte a second while 12 MB come",
        fault: |lab| Box::pin(readers::byte_a_second(lab)),
        ..USUAL
    },
    ChaosScenario {
        name: "trimmed-under-reader",
        about: "subscribers stand still while their topic is trimmed to 200 events",
        promise: Promise::Announced,
        history_events: 200,
        quick: true,
        fault: |lab| Box::pin(readers::trimmed(lab)),
        ..USUAL
    },
    ChaosScenario {
        name: "new-password",
        about: "the nodes get another password for Redis, and the old one ends",
        has_password: true,
        fault: |lab| Box::pin(upkeep::change_password(lab)),
        ..USUAL
    },
    ChaosScenario {
        name: "restore",
        about: "a backup of some seconds ago takes the place of the data",
        promise: Promise::Announced,
        append_fsync: AppendFsync::Off,
        fault: |lab| Box::pin(upkeep::restore(lab)),
        ..USUAL
    },
    ChaosScenario {
        name: "sentinel-upgrade",
        about: "a primary and its replica are replaced by those of Valkey 9, the replica first",
        topology: Topology::Sentinel,
        promise: Promise::Told,
        fault: |lab| Box::pin(upkeep::upgrade(lab)),
        ..USUAL
    },
    ChaosScenario {
        name: "sentinel-upgrade-replica1",
        about: "the same, with replica:1",
        topology: Topology::Sentinel,
        promise: Promise::Kept,
        durability: Durability::Replica,
        fault: |lab| Box::pin(upkeep::upgrade(lab)),
        ..USUAL
    },
    ChaosScenario {
        name: "sentinel-kill",
        about: "kill -9 of a primary with Sentinels",
        topology: Topology::Sentinel,
        promise: Promise::Told,
        fault: |lab| Box::pin(sentinel::kill(lab)),
        ..USUAL
    },
    ChaosScenario {
        name: "sentinel-failover",
        about: "SENTINEL FAILOVER",
        topology: Topology::Sentinel,
        promise: Promise::Told,
        fault: |lab| Box::pin(sentinel::fail_over(lab)),
        ..USUAL
    },
    ChaosScenario {
        name: "sentinel-freeze",
        about: "a primary is frozen past the fail-over and thawed",
        topology: Topology::Sentinel,
        promise: Promise::Told,
        fault: |lab| Box::pin(sentinel::freeze(lab)),
        ..USUAL
    },
    ChaosScenario {
        name: "partition",
        about: "a partition leaves the ingest with the old primary",
        topology: Topology::Sentinel,
        promise: Promise::Told,
        can_part: true,
        fault: |lab| Box::pin(sentinel::part(lab)),
        ..USUAL
    },
    ChaosScenario {
        name: "cluster-kill",
        about: "kill -9 of a primary of a cluster",
        topology: Topology::Cluster,
        promise: Promise::Told,
        fault: |lab| Box::pin(cluster::kill(lab)),
        ..USUAL
    },
    ChaosScenario {
        name: "cluster-freeze",
        about: "a primary of a cluster is frozen past the fail-over and thawed",
        topology: Topology::Cluster,
        promise: Promise::Told,
        fault: |lab| Box::pin(cluster::freeze(lab)),
        ..USUAL
    },
    ChaosScenario {
        name: "cluster-partition",
        about: "a partition leaves the ingest with one primary of a cluster",
        topology: Topology::Cluster,
        promise: Promise::Told,
        can_part: true,
        fault: |lab| Box::pin(cluster::part(lab)),
        ..USUAL
    },
    ChaosScenario {
        name: "sentinel-kill-replica1",
        about: "kill -9 of a primary with Sentinels, with replica:1",
        topology: Topology::Sentinel,
        promise: Promise::Kept,
        durability: Durability::Replica,
        fault: |lab| Box::pin(sentinel::kill(lab)),
        ..USUAL
    },
    ChaosScenario {
        name: "sentinel-failover-replica1",
        about: "SENTINEL FAILOVER, with replica:1",
        topology: Topology::Sentinel,
        promise: Promise::Kept,
        durability: Durability::Replica,
        fault: |lab| Box::pin(sentinel::fail_over(lab)),
        ..USUAL
    },
    ChaosScenario {
        name: "sentinel-kill-replicas2",
        about: "kill -9 of a primary with two replicas, with replica:2",
        topology: Topology::Sentinel,
        promise: Promise::Kept,
        durability: Durability::BothReplicas,
        replicas: 2,
        fault: |lab| Box::pin(sentinel::kill(lab)),
        ..USUAL
    },
    ChaosScenario {
        name: "sentinel-failover-replicas2",
        about: "SENTINEL FAILOVER with two replicas, with replica:2",
        topology: Topology::Sentinel,
        promise: Promise::Kept,
        durability: Durability::BothReplicas,
        replicas: 2,
        fault: |lab| Box::pin(sentinel::fail_over(lab)),
        ..USUAL
    },
    ChaosScenario {
        name: "sentinel-lag-replicas2",
        about: "the replica that lacks the last second takes over from a killed primary, with memory",
        topology: Topology::Sentinel,
        promise: Promise::Told,
        replicas: 2,
        fault: |lab| Box::pin(sentinel::promote_lagging(lab)),
        ..USUAL
    },
    ChaosScenario {
        name: "sentinel-freeze-replica1",
        about: "a primary is frozen past the fail-over and thawed, with replica:1",
        topology: Topology::Sentinel,
        promise: Promise::Kept,
        durability: Durability::Replica,
        fault: |lab| Box::pin(sentinel::freeze(lab)),
        ..USUAL
    },
    ChaosScenario {
        name: "partition-replica1",
        about: "a partition leaves the ingest with the old primary, with replica:1",
        topology: Topology::Sentinel,
        promise: Promise::Kept,
        durability: Durability::Replica,
        can_part: true,
        fault: |lab| Box::pin(sentinel::part(lab)),
        ..USUAL
    },
    ChaosScenario {
        name: "cluster-kill-replica1",
        about: "kill -9 of a primary of a cluster, with replica:1",
        topology: Topology::Cluster,
        promise: Promise::Kept,
        durability: Durability::Replica,
        fault: |lab| Box::pin(cluster::kill(lab)),
        ..USUAL
    },
    ChaosScenario {
        name: "cluster-freeze-replica1",
        about: "a primary of a cluster is frozen past the fail-over and thawed, with replica:1",
        topology: Topology::Cluster,
        promise: Promise::Kept,
        durability: Durability::Replica,
        fault: |lab| Box::pin(cluster::freeze(lab)),
        ..USUAL
    },
    ChaosScenario {
        name: "cluster-partition-replica1",
        about: "a partition leaves the ingest with one primary of a cluster, with replica:1",
        topology: Topology::Cluster,
        promise: Promise::Kept,
        durability: Durability::Replica,
        can_part: true,
        fault: |lab| Box::pin(cluster::part(lab)),
        ..USUAL
    },
    ChaosScenario {
        name: "cluster-failover",
        about: "CLUSTER FAILOVER",
        topology: Topology::Cluster,
        promise: Promise::Told,
        fault: |lab| Box::pin(cluster::fail_over(lab)),
        ..USUAL
    },
    ChaosScenario {
        name: "cluster-migrate",
        about: "slots are moved key by key",
        topology: Topology::Cluster,
        fault: |lab| Box::pin(cluster::migrate(lab)),
        ..USUAL
    },
    ChaosScenario {
        name: "cluster-migrate-atomic",
        about: "slots are moved as a whole",
        topology: Topology::Cluster,
        needs_valkey: true,
        fault: |lab| Box::pin(cluster::migrate_at_once(lab)),
        ..USUAL
    },
];

impl ChaosScenario {
    /// Returns true if this server has the features that it needs.
    pub(super) fn runs_on(&self, server: &Server) -> bool {
        !self.needs_valkey || server.version.starts_with("valkey 9")
    }

    /// Returns true if its servers have replicas that gateways can read from.
    pub(super) fn has_sources(&self) -> bool {
        self.topology != Topology::Standalone
    }

    pub(super) fn setup(&self, server: &Server, tailwater: &Path, reads_replicas: bool) -> Setup {
        Setup {
            tailwater: tailwater.to_owned(),
            server: server.clone(),
            topology: self.topology,
            append_fsync: self.append_fsync,
            durability: self.durability,
            reads_replicas,
            replicas: self.replicas,
            can_part: self.can_part,
            has_own_clock: self.has_own_clock,
            has_password: self.has_password,
            gateways: 3,
            clients: 200,
            room_clients: 50,
            event_bytes: self.event_bytes,
            history_events: self.history_events,
        }
    }
}

/// The scenarios as text.
pub(super) fn list() -> String {
    let mut text = String::new();
    for ChaosScenario { name, about, quick, .. } in SCENARIOS {
        let sign = if *quick { "*" } else { " " };
        writeln!(text, "{sign} {name:26} {about}").expect("a String takes everything");
    }
    text.push_str("* quick\n");
    text
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::SCENARIOS;

    #[test]
    fn every_scenario_has_a_name_of_its_own_and_says_what_it_does() {
        let names: HashSet<_> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
        assert_eq!(names.len(), SCENARIOS.len());
        assert!(SCENARIOS.iter().all(|s| !s.name.is_empty() && !s.about.is_empty()));
    }
}

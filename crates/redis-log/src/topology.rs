//! The topology: which primary serves which partition, and which server this node reads it from.
//!
//! One task makes the [`Map`]. It asks the sentinels, or the nodes of the cluster, at an interval, and
//! at once on evidence that the map is wrong: a refused connection, a time-out, READONLY, a
//! subscription that Redis ended. Many reports of evidence cost one refresh. MOVED alone changes the
//! map without a refresh, because it names the new primary. Another task chooses the sources, if a node does not read
//! from primaries (`sources`).
//!
//! A primary that was replaced does not know it. So its word that something does not exist counts only if a refresh that
//! began later still names it ([`Topology::confirmed`]).
//!
//! Knows no pool, no feed and no key: they follow the map.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until};

use crate::access::Access;
use crate::address::Address;
use crate::config::Config;
use crate::error::Failure;
use crate::keys::PARTITIONS;
use crate::pace::{every, jitter};
use crate::read_from::ReadFrom;
use crate::slot;
use crate::url::Kind;

pub(crate) mod cluster;
mod primary;
pub(crate) mod replicas;
pub(crate) mod sentinel;
pub(crate) mod sources;
mod successors;

use cluster::ClusterOracle;
use sentinel::SentinelOracle;

/// Least time between two refreshes, at random up to twice as long. It bounds the cost of evidence.
const PAUSE: Duration = Duration::from_millis(50);
/// Time for which a node waits for the end of a fail-over: longer than one takes.
const FAILOVER_MAX: Duration = Duration::from_secs(30);
/// Age at which the choice of the sources is not used any more: this process was suspended, and does not know which
/// replicas have come since. Longer than all questions of one choice take.
const CHOICE_MAX: Duration = Duration::from_secs(10);
/// Time for which a source that did not answer this node is not chosen again.
const DOUBT: Duration = Duration::from_secs(5);

/// The primary and the source of each partition, as far as they are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Map {
    owners: Vec<Option<Address>>,
    /// The chosen sources; empty where primaries are read. A partition whose source was not chosen yet is not read.
    sources: Vec<Option<Address>>,
    /// For a source, the other servers that must have an event before it is delivered.
    successors: BTreeMap<Address, BTreeSet<Address>>,
    /// The reason why a partition has no owner here.
    trouble: Arc<str>,
}

impl Map {
    /// One primary serves every partition.
    pub(crate) fn one(address: Address) -> Self {
        Self { owners: vec![Some(address); PARTITIONS as usize], ..Self::none("") }
    }

    /// No partition has a primary.
    pub(crate) fn none(trouble: impl Into<Arc<str>>) -> Self {
        Self {
            owners: vec![None; PARTITIONS as usize],
            sources: Vec::new(),
            successors: BTreeMap::new(),
            trouble: trouble.into(),
        }
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

    /// The server that this node reads a partition from: the primary, or the chosen one if sources are chosen. A chosen
    /// source stays while the partition has no primary.
    pub(crate) fn source(&self, partition: u32) -> Option<&Address> {
        match self.sources.is_empty() {
            true => self.owner(partition),
            false => self.chosen(partition),
        }
    }

    /// The source that was chosen for a partition.
    pub(crate) fn chosen(&self, partition: u32) -> Option<&Address> {
        self.sources.get(partition as usize).and_then(Option::as_ref)
    }

    /// All servers that this node reads from.
    pub(crate) fn sources(&self) -> BTreeSet<Address> {
        (0..PARTITIONS).filter_map(|partition| self.source(partition).cloned()).collect()
    }

    /// The other servers that must have what a source has before it is delivered. None where primaries are read.
    pub(crate) fn successors(&self, source: &Address) -> &BTreeSet<Address> {
        static NONE: BTreeSet<Address> = BTreeSet::new();
        self.successors.get(source).unwrap_or(&NONE)
    }

    /// Returns true if this node asks a server as a replica: as a source, or as the successor of one.
    pub(crate) fn asks_replica(&self, server: &Address) -> bool {
        let is_successor = self.successors.values().any(|others| others.contains(server));
        is_successor || self.sources().contains(server)
    }

    /// Returns true if the source of every partition was chosen.
    pub(crate) fn is_chosen(&self) -> bool {
        (0..PARTITIONS).all(|partition| self.chosen(partition).is_some())
    }

    /// Each primary with its source.
    pub(crate) fn pairs(&self) -> BTreeSet<(Address, Address)> {
        let pair =
            |partition| Some((self.owner(partition)?.clone(), self.source(partition)?.clone()));
        (0..PARTITIONS).filter_map(pair).collect()
    }

    /// Returns true if every partition has the same primary in another map.
    pub(crate) fn has_owners_of(&self, other: &Self) -> bool {
        self.owners == other.owners
    }
}

/// The map, and the evidence that wakes its task.
#[derive(Debug)]
pub(crate) struct Topology {
    kind: Kind,
    read_from: ReadFrom,
    map: watch::Sender<Arc<Map>>,
    evidence: Notify,
    /// When a partition last got another primary; `None` before the first one left.
    changed: Mutex<Option<Instant>>,
    /// The beginning of the last refresh that named the primaries and is in no fail-over; at first that of this log.
    confirmed: watch::Sender<Instant>,
    /// When the questions began of which the sources were chosen last.
    chosen: Mutex<Option<Instant>>,
    /// Sources that did not answer this node, and when. At most one entry for each server.
    doubted: Mutex<HashMap<Address, Instant>>,
    doubts: Notify,
}

impl Topology {
    pub(crate) fn new(config: &Config) -> Arc<Self> {
        let mut map = match config.url.kind {
            Kind::Standalone => Map::one(config.url.seeds[0].clone()),
            Kind::Sentinel { .. } => Map::none("no sentinel was asked yet"),
            Kind::Cluster => Map::none("no node of the cluster was asked yet"),
        };
        if config.read_from != ReadFrom::Primary {
            map.sources = vec![None; PARTITIONS as usize];
        }
        let (map, _) = watch::channel(Arc::new(map));
        Arc::new(Self {
            kind: config.url.kind.clone(),
            read_from: config.read_from.clone(),
            map,
            evidence: Notify::new(),
            changed: Mutex::default(),
            confirmed: watch::channel(Instant::now()).0,
            chosen: Mutex::default(),
            doubted: Mutex::default(),
            doubts: Notify::new(),
        })
    }

    pub(crate) fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Returns true if the primaries can never change.
    pub(crate) fn is_fixed(&self) -> bool {
        self.kind == Kind::Standalone
    }

    /// Returns true if this node reads from primaries only.
    pub(crate) fn reads_primaries(&self) -> bool {
        self.read_from == ReadFrom::Primary
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

    /// The server that this node reads a partition from.
    pub(crate) fn source(&self, partition: u32) -> Result<Address, Failure> {
        let source = self.map.borrow().source(partition).cloned();
        source.filter(|_| self.knows_sources()).ok_or_else(|| match self.owner(partition) {
            Ok(owner) => Failure::NoSource(owner),
            Err(failure) => failure,
        })
    }

    /// Returns false if the choice of the sources is too old.
    pub(crate) fn knows_sources(&self) -> bool {
        if self.is_fixed() || self.reads_primaries() {
            return true;
        }
        let chosen = *self.chosen.lock().unwrap_or_else(PoisonError::into_inner);
        chosen.is_some_and(|chosen| chosen.elapsed() < CHOICE_MAX)
    }

    /// Waits until a refresh that begins after this call has named the primaries, and no sentinel is about to name
    /// another one. The map then has them. It counts as confirmed as well if it cannot change, and if nobody has
    /// confirmed it for [`FAILOVER_MAX`], so that nobody waits for ever. Many callers cost one refresh.
    pub(crate) async fn confirmed(&self) {
        if self.is_fixed() {
            return;
        }
        let asked = Instant::now();
        let mut confirmed = self.confirmed.subscribe();
        self.suspect();
        loop {
            let last = *confirmed.borrow_and_update();
            if last > asked {
                return;
            }
            // Both arms are cancel-safe: a change stays until it is seen.
            tokio::select! {
                changed = confirmed.changed() => if changed.is_err() { return },
                () = sleep_until(last + FAILOVER_MAX) => return,
            }
        }
    }

    /// Reports evidence that the map may be wrong.
    pub(crate) fn suspect(&self) {
        self.evidence.notify_one();
    }

    /// Reports that a source did not answer this node. A primary is no source that could be left.
    pub(crate) fn doubt_source(&self, source: &Address) {
        if self.reads_primaries() || self.map.borrow().serves(source) {
            return;
        }
        let now = Instant::now();
        let mut doubted = self.doubted.lock().unwrap_or_else(PoisonError::into_inner);
        doubted.retain(|_, since| now - *since < DOUBT);
        doubted.insert(source.clone(), now);
        drop(doubted);
        self.doubts.notify_one();
    }

    /// Waits for a doubt that was not taken yet.
    async fn source_doubted(&self) {
        self.doubts.notified().await;
    }

    /// The sources that did not answer this node a short while ago.
    fn doubted_sources(&self) -> BTreeSet<Address> {
        let now = Instant::now();
        let doubted = self.doubted.lock().unwrap_or_else(PoisonError::into_inner);
        let young = doubted.iter().filter(|(_, since)| now - **since < DOUBT);
        young.map(|(source, _)| source.clone()).collect()
    }

    /// Makes these the sources, with their successors, after questions that began at this time. Returns the number of
    /// primaries that are read.
    fn read(
        &self,
        sources: Vec<Option<Address>>,
        successors: BTreeMap<Address, BTreeSet<Address>>,
        asked: Instant,
    ) -> usize {
        *self.chosen.lock().unwrap_or_else(PoisonError::into_inner) = Some(asked);
        self.map.send_if_modified(|map| {
            let changed = map.sources != sources || map.successors != successors;
            if changed {
                let map = Arc::make_mut(map);
                (map.sources, map.successors) = (sources, successors);
            }
            changed
        });
        let map = self.map.borrow();
        let primaries = map.primaries();
        map.sources().iter().filter(|source| primaries.contains(source)).count()
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
                    self.note_change(map);
                    Arc::make_mut(map).owners[partition as usize] = Some(to.clone());
                    changed = true;
                }
                // The source may be a replica of another primary.
                if map.chosen(partition).is_some_and(|source| source != to) {
                    Arc::make_mut(map).sources[partition as usize] = None;
                    changed = true;
                }
            }
            changed
        });
        self.suspect();
    }

    /// When a partition last got another primary.
    pub(crate) fn changed(&self) -> Option<Instant> {
        *self.changed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that the primaries of a map are no longer all of them.
    fn note_change(&self, known: &Map) {
        if !known.primaries().is_empty() {
            let mut changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
            *changed = Some(Instant::now());
        }
    }

    /// Takes the primaries of another map. The sources stay.
    fn learn(&self, map: Map) -> bool {
        self.map.send_if_modified(|known| {
            let (sources, successors) = (known.sources.clone(), known.successors.clone());
            let map = Map { sources, successors, ..map };
            let changed = **known != map;
            if changed {
                if !known.has_owners_of(&map) {
                    self.note_change(known);
                }
                *known = Arc::new(map);
            }
            changed
        })
    }
}

/// The answer of the servers that know the primaries.
struct Named {
    map: Map,
    /// False if one of them is about to name another primary.
    is_final: bool,
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
        let (known, begin) = (topology.map(), Instant::now());
        let learnt = match &mut oracle {
            Oracle::Sentinels(sentinels) => sentinels.ask(&known).await,
            Oracle::Nodes(nodes) => nodes.ask(&known).await,
        };
        let failed = match learnt {
            Ok(Named { map, is_final }) => {
                let failed = map.trouble.to_string();
                let primaries = map.primaries();
                if topology.learn(map) {
                    tracing::info!(url = %config.url, ?primaries, "the primaries have changed");
                }
                if is_final {
                    topology.confirmed.send_replace(begin);
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

    #[tokio::test(start_paused = true)]
    async fn a_later_refresh_confirms_the_map_and_nobody_waits_for_ever() {
        let topology = cluster();
        let begin = Instant::now();
        let confirmed = tokio::spawn({
            let topology = Arc::clone(&topology);
            async move {
                topology.confirmed().await;
                begin.elapsed()
            }
        });
        let second = Duration::from_secs(1);
        sleep(second).await;
        // One that began before the question.
        topology.confirmed.send_replace(begin);
        sleep(second).await;
        topology.confirmed.send_replace(Instant::now());
        assert_eq!(confirmed.await.unwrap(), second * 2);
        for _ in 0..2 {
            topology.confirmed().await;
            assert_eq!(begin.elapsed(), second * 2 + FAILOVER_MAX);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_that_was_suspended_reads_nothing_before_it_has_looked_again() {
        let mut config = Config::new("redis+sentinel://a/main".parse().unwrap());
        config.read_from = ReadFrom::Replica;
        let topology = Topology::new(&config);
        let source = Address::new("replica", 1);
        topology.learn(Map::one(Address::new("primary", 1)));
        assert!(topology.source(0).unwrap_err().to_string().contains("not known yet"));
        let choose = |asked| {
            let sources = vec![Some(source.clone()); PARTITIONS as usize];
            topology.read(sources, BTreeMap::new(), asked)
        };
        let asked = Instant::now();
        choose(asked);
        assert_eq!(topology.source(0).unwrap(), source);
        sleep(CHOICE_MAX).await;
        assert!(topology.source(0).is_err());
        // Answers to questions from before.
        choose(asked);
        assert!(topology.source(0).is_err());
        choose(Instant::now());
        assert_eq!(topology.source(0).unwrap(), source);
    }

    #[test]
    fn an_owner_that_is_asked_for_too_early_is_reported_as_unknown() {
        let said = cluster().owner(0).unwrap_err().to_string();
        assert!(said.contains("no node of the cluster was asked yet"), "{said}");
    }
}

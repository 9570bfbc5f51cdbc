//! The choice of sources: the servers that this node reads from, where it does not read from primaries.
//!
//! A primary names its replicas. A node keeps to one of them for as long as that follows its primary. A replica that
//! falls behind, is not heard of, or does not answer this node, is left for another one, and for the primary if there is
//! no other.
//!
//! In a fail-over the node stays: neither the feed nor any reader has to move when their replica takes the primary's
//! place. The old primary then says that the replica does not follow it any more, before anybody names a new one. So
//! the replica is asked itself, because the old primary has events that nobody will keep.
//!
//! A node that does not know the replicas reads nothing: before the first report, and when the last one is too old
//! (`primary`).
//!
//! The choice names the successors as well: the other replicas that must have an event before it is delivered.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep, timeout};

use super::primary::Primary;
use super::replicas::Role;
use super::sentinel::within;
use super::{FAILOVER_MAX, Map, PAUSE, Topology};
use crate::access::Access;
use crate::address::Address;
use crate::keys::PARTITIONS;
use crate::pace::{every, jitter};
use crate::read_from::ReadFrom;
use crate::stats::Stats;

/// Time for which a replica must be fit before readers leave a primary for it. A fail-over ends with servers that come
/// and go.
const SETTLED: Duration = Duration::from_secs(5);

/// The choice.
struct Sources {
    read_from: ReadFrom,
    /// True if a primary stays one for ever. Its reports do not age.
    is_fixed: bool,
    /// Spreads the nodes over replicas that are equally good.
    random: RandomState,
    primaries: HashMap<Address, Primary>,
    /// When the questions of the last choice began. Until then at least, the node knew the replicas.
    last: Instant,
    /// Sources that say that they do not follow the primary which the map names, and since when.
    strayed: HashMap<Address, Instant>,
}

/// Keeps the choice until the log closes.
pub(crate) async fn run(
    topology: Arc<Topology>,
    read_from: ReadFrom,
    access: Access,
    poll: Duration,
    stats: Arc<Stats>,
) {
    let mut sources = Sources {
        read_from,
        is_fixed: topology.is_fixed(),
        random: RandomState::new(),
        primaries: HashMap::new(),
        last: Instant::now(),
        strayed: HashMap::new(),
    };
    let mut map = topology.subscribe();
    let mut poll = every(poll);
    loop {
        // All arms are cancel-safe: a tick, a change and a notification stay until they are taken.
        tokio::select! {
            _ = poll.tick() => {}
            changed = map.changed() => if changed.is_err() { return },
            () = topology.source_doubted() => {}
        }
        let known = Arc::clone(&map.borrow_and_update());
        let asked = Instant::now();
        sources.ask(&access, &known.primaries()).await;
        sources.confirm(&topology, asked, access.connect_timeout).await;
        sources.ask_missing(&access, &known).await;
        let doubted = topology.doubted_sources();
        let chosen = sources.choose(&known, &doubted, Instant::now());
        let successors = sources.successors(&known, &chosen, &doubted);
        for line in changes(&known, &chosen, &successors) {
            tracing::info!("{line}");
        }
        stats.set_replicas_awaited(successors.values().map(BTreeSet::len).sum());
        stats.set_primaries_read(topology.read(chosen, successors, asked));
        sources.last = asked;
        sleep(PAUSE + jitter(PAUSE)).await;
    }
}

/// The changes of the choice, for people.
fn changes(
    known: &Map,
    chosen: &[Option<Address>],
    successors: &BTreeMap<Address, BTreeSet<Address>>,
) -> BTreeSet<String> {
    let partitions = (0..PARTITIONS).zip(chosen).filter_map(|(partition, chosen)| {
        let (owner, now) = (known.owner(partition)?, chosen.as_ref()?);
        (known.chosen(partition) != Some(now)).then(|| match now == owner {
            true => format!("reading from the primary {owner}: no replica of it can be read from"),
            false => format!("reading from {now}, a replica of {owner}"),
        })
    });
    let awaited = successors.iter().filter(|(source, others)| *others != known.successors(source));
    let awaited = awaited.map(|(source, others)| {
        let others: Vec<_> = others.iter().map(Address::to_string).collect();
        match &others[..] {
            [] => format!("events of {source} wait for no other replica"),
            others => format!("events of {source} wait for {}", others.join(", ")),
        }
    });
    partitions.chain(awaited).collect()
}

impl Sources {
    /// Asks every primary for its replicas.
    async fn ask(&mut self, access: &Access, primaries: &BTreeSet<Address>) {
        self.primaries.retain(|address, _| primaries.contains(address));
        for address in primaries {
            let new = || Primary::after(self.last);
            self.primaries.entry(address.clone()).or_insert_with(new);
        }
        join_all(self.primaries.iter_mut().map(|(address, primary)| primary.ask(access, address)))
            .await;
    }

    /// Drops the first report of a primary that is not confirmed within the limit. All of them were asked for at this time.
    async fn confirm(&mut self, topology: &Topology, asked: Instant, limit: Duration) {
        let needed = self.primaries.values().any(|primary| primary.needs_word(asked));
        let confirmed = needed && timeout(limit, topology.confirmed()).await.is_ok();
        let map = topology.map();
        for (address, primary) in &mut self.primaries {
            primary.settle(asked, confirmed && map.serves(address));
        }
    }

    /// The sources and successors that their primary's report lacks, and the sources whose primary has given none for a
    /// while, each with that primary.
    fn missing(&self, map: &Map) -> BTreeSet<(Address, Address)> {
        let mut missing = BTreeSet::new();
        for (owner, source) in (0..PARTITIONS).filter_map(|p| Some((map.owner(p)?, map.chosen(p)?)))
        {
            let Some(primary) = self.primaries.get(owner) else { continue };
            let is_old = !self.is_fixed && primary.is_old();
            let successors = map.successors(source).iter().filter(|_| primary.fit.is_some());
            let asked = successors.chain([source]).filter(|server| match &primary.fit {
                Some(fit) => *server != owner && !fit.contains_key(*server),
                None => is_old,
            });
            missing.extend(asked.map(|server| (owner.clone(), server.clone())));
        }
        missing
    }

    /// Asks the missing ones whether they follow another server than their primary, or none, or hear their primary.
    async fn ask_missing(&mut self, access: &Access, map: &Map) {
        let asked = self.missing(map).into_iter().map(|(owner, server)| async move {
            let role = within(access.connect_timeout, async {
                let mut connection = access.connection(&server).await?;
                Role::ask(&mut connection, &server).await
            });
            let role = role.await.ok().flatten();
            (owner, server, role)
        });
        let (now, mut strayed) = (Instant::now(), HashMap::new());
        for (owner, server, role) in join_all(asked).await {
            let Some(primary) = self.primaries.get_mut(&owner) else { continue };
            let (strays, silence) = match role {
                // Without an answer it may have heard its primary just now.
                None => (false, Some(Duration::ZERO)),
                Some(Role::Primary) => (server != owner, Some(Duration::ZERO)),
                // Names of the same server differ, so only one that the primary has reported counts as another.
                Some(Role::ReplicaOf { server: other, silence }) => {
                    (primary.reports.has_named(&other), silence)
                }
            };
            if strays && primary.fit.is_some() {
                let since = self.strayed.get(&server).copied().unwrap_or(now);
                strayed.insert(server, since);
            } else if !strays && primary.overheard(&server, map.successors(&server), silence) {
                tracing::warn!(
                    primary = %owner, source = %server,
                    "the primary gives this node no report, and may speak to its replicas"
                );
            }
        }
        self.strayed = strayed;
    }

    /// The source of each partition; `None` as long as it is not known which replicas there are.
    fn choose(&self, map: &Map, doubted: &BTreeSet<Address>, now: Instant) -> Vec<Option<Address>> {
        let mut of_primary = HashMap::new();
        (0..PARTITIONS)
            .map(|partition| {
                let present = map.chosen(partition);
                let Some(owner) = map.owner(partition) else { return present.cloned() };
                let choice = of_primary.entry((owner, present));
                choice.or_insert_with(|| self.choose_for(owner, present, doubted, now)).clone()
            })
            .collect()
    }

    /// The successors of each chosen source: the other replicas of its primary that may take the primary's place.
    fn successors(
        &self,
        map: &Map,
        chosen: &[Option<Address>],
        doubted: &BTreeSet<Address>,
    ) -> BTreeMap<Address, BTreeSet<Address>> {
        let mut successors = BTreeMap::new();
        for (partition, chosen) in (0..PARTITIONS).zip(chosen) {
            let Some(source) = chosen else { continue };
            if successors.contains_key(source) {
                continue;
            }
            let primary = map.owner(partition).and_then(|owner| self.primaries.get(owner));
            let others = match primary {
                Some(primary) if primary.fit.is_some() && !self.strayed.contains_key(source) => {
                    let others = primary.reports.awaited().filter(|replica| {
                        *replica != source
                            && !doubted.contains(replica)
                            && self.read_from.waits_for(replica)
                            && primary.successors.has(replica)
                    });
                    // One that was promoted is waited for until the map names it.
                    let before = map.successors(source).iter();
                    let strayed = before.filter(|other| self.strayed.contains_key(*other));
                    others.chain(strayed).cloned().collect()
                }
                // In a fail-over nobody knows better than before.
                _ => {
                    let left = primary.and_then(|primary| primary.successors_of_left(source));
                    let before = left.unwrap_or_else(|| map.successors(source));
                    before.difference(doubted).cloned().collect()
                }
            };
            successors.insert(source.clone(), others);
        }
        successors
    }

    /// The source for the partitions of a primary that have this one at present.
    fn choose_for(
        &self,
        owner: &Address,
        present: Option<&Address>,
        doubted: &BTreeSet<Address>,
        now: Instant,
    ) -> Option<Address> {
        let Some(primary) = self.primaries.get(owner) else { return present.cloned() };
        let Some(fit) = &primary.fit else {
            return primary.source_without_report(present, now);
        };
        let strayed = present.and_then(|present| self.strayed.get(present));
        if strayed.is_some_and(|since| now - *since < FAILOVER_MAX) {
            return present.cloned();
        }
        let usable = |replica: &Address| fit.contains_key(replica) && !doubted.contains(replica);
        let best =
            fit.keys().filter(|replica| usable(replica)).min_by_key(|replica| self.rank(replica));
        // A near primary is better than a replica that is far away.
        let best =
            best.filter(|best| self.read_from.is_near(best) || !self.read_from.is_near(owner));
        match (present, best) {
            (Some(present), Some(best)) if present == owner => {
                let is_settled = now - fit[best] >= SETTLED;
                Some(if is_settled { best } else { owner }.clone())
            }
            (Some(present), Some(best)) if usable(present) => {
                let is_nearer = self.read_from.is_near(best) && !self.read_from.is_near(present);
                let is_settled = now - fit[best] >= SETTLED;
                Some(if is_nearer && is_settled { best } else { present }.clone())
            }
            (_, Some(best)) => Some(best.clone()),
            (_, None) => Some(owner.clone()),
        }
    }

    /// The least is the best.
    fn rank(&self, server: &Address) -> (bool, u64) {
        (!self.read_from.is_near(server), self.random.hash_one(server))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRIMARY: &str = "p";

    fn address(host: &str) -> Address {
        Address::new(host, 1)
    }

    /// The choice of a node whose replica `promoted` has strayed.
    fn sources(read_from: ReadFrom, primary: Primary, since: Instant) -> Sources {
        Sources {
            read_from,
            is_fixed: false,
            random: RandomState::new(),
            primaries: HashMap::from([(address(PRIMARY), primary)]),
            last: Instant::now(),
            strayed: HashMap::from([(address("promoted"), since)]),
        }
    }

    /// The choice after the present one, of replicas that have been fit for some seconds each.
    fn choice(
        read_from: &str,
        present: Option<&str>,
        fit: Option<&[(&str, u64)]>,
        doubted: &[&str],
    ) -> Option<String> {
        let now = Instant::now() + Duration::from_secs(1000);
        let since =
            |(host, seconds): &(&str, u64)| (address(host), now - Duration::from_secs(*seconds));
        let fit = fit.map(|fit| fit.iter().map(since).collect());
        let mut primary = Primary::after(Instant::now());
        primary.fit = fit;
        let sources = sources(read_from.parse().unwrap(), primary, now - Duration::from_secs(29));
        let mut map = Map::one(address(PRIMARY));
        if let Some(present) = present {
            map.sources = vec![Some(address(present)); PARTITIONS as usize];
        }
        let doubted = doubted.iter().map(|host| address(host)).collect();
        let chosen = sources.choose(&map, &doubted, now);
        assert!(chosen.windows(2).all(|pair| pair[0] == pair[1]));
        chosen[0].as_ref().map(|chosen| chosen.host().to_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_stays_at_its_replica_while_that_follows_or_nobody_knows_better() {
        let all: &[_] = &[("a", 9), ("b", 9)];
        assert_eq!(choice("replica", Some("b"), Some(all), &[]).unwrap(), "b");
        assert_eq!(choice("replica", Some("b"), None, &["b"]).unwrap(), "b", "the primary is away");
        assert_eq!(choice("replica", None, None, &[]), None);
        assert_eq!(choice("replica", Some("promoted"), Some(&[]), &[]).unwrap(), "promoted");
    }

    #[tokio::test(start_paused = true)]
    async fn a_replica_that_cannot_be_read_is_left_for_another_or_for_the_primary() {
        assert_eq!(choice("replica", Some("b"), Some(&[("a", 0)]), &[]).unwrap(), "a");
        assert_eq!(choice("replica", Some("b"), Some(&[("a", 0), ("b", 9)]), &["b"]).unwrap(), "a");
        assert_eq!(choice("replica", Some("b"), Some(&[("b", 9)]), &["b"]).unwrap(), PRIMARY);
        assert_eq!(choice("replica", Some("b"), Some(&[]), &[]).unwrap(), PRIMARY);
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_leaves_a_primary_for_a_replica_that_has_been_fit_for_a_while() {
        assert_eq!(
            choice("replica", None, Some(&[("a", 0)]), &[]).unwrap(),
            "a",
            "the first choice"
        );
        assert_eq!(choice("replica", Some(PRIMARY), Some(&[("a", 4)]), &[]).unwrap(), PRIMARY);
        assert_eq!(choice("replica", Some(PRIMARY), Some(&[("a", 5)]), &[]).unwrap(), "a");
    }

    #[tokio::test(start_paused = true)]
    async fn the_nearest_comes_first_a_primary_as_well() {
        let all: &[_] = &[("a", 9), ("b", 9)];
        assert_eq!(choice("nearest:b", None, Some(all), &[]).unwrap(), "b");
        assert_eq!(choice("nearest:b", Some("a"), Some(all), &[]).unwrap(), "b");
        assert_eq!(choice("nearest:b", Some("a"), Some(&[("a", 9), ("b", 1)]), &[]).unwrap(), "a");
        assert_eq!(choice("nearest:p", None, Some(all), &[]).unwrap(), PRIMARY);
        assert_eq!(choice("nearest:p,b", None, Some(all), &[]).unwrap(), "b");
        assert!(["a", "b"].contains(&&*choice("nearest:elsewhere", None, Some(all), &[]).unwrap()));
    }

    /// The successors of a source, of replicas that are fit.
    fn successors(read_from: &str, source: &str, fit: Option<&[&str]>, doubted: &[&str]) -> String {
        let now = Instant::now();
        let mut primary = Primary::after(Instant::now());
        primary.fit = fit.map(|fit| primary.reports.say(fit.iter().map(|host| address(host))));
        primary.successors.say(&address("never"), false);
        ["a", "b", "c"].iter().for_each(|host| primary.successors.say(&address(host), true));
        let sources = sources(read_from.parse().unwrap(), primary, now);
        let mut map = Map::one(address(PRIMARY));
        let before = BTreeSet::from([address("before"), address("b")]);
        map.successors = BTreeMap::from([(address(source), before)]);
        let chosen = vec![Some(address(source)); PARTITIONS as usize];
        let doubted = doubted.iter().map(|host| address(host)).collect();
        let successors = sources.successors(&map, &chosen, &doubted);
        let hosts: Vec<_> = successors[&address(source)].iter().map(Address::host).collect();
        hosts.join(" ")
    }

    #[tokio::test(start_paused = true)]
    async fn readers_wait_for_every_other_replica_that_may_be_promoted() {
        let all: &[_] = &["a", "b", "c", "never", "silent"];
        assert_eq!(successors("replica", "a", Some(all), &[]), "b c");
        assert_eq!(successors("replica", PRIMARY, Some(all), &[]), "a b c", "nobody else is read");
        assert_eq!(successors("replica", "a", Some(all), &["c"]), "b");
        assert_eq!(successors("replica", "a", Some(&["a"]), &[]), "");
        assert_eq!(successors("nearest:b", "a", Some(all), &[]), "b", "the others are far away");
    }

    #[tokio::test(start_paused = true)]
    async fn readers_wait_for_a_successor_that_was_promoted() {
        let now = Instant::now();
        let mut primary = Primary::after(Instant::now());
        primary.fit = Some(primary.reports.say([address("a")].into_iter()));
        let sources = sources(ReadFrom::Replica, primary, now);
        let mut map = Map::one(address(PRIMARY));
        let before = BTreeSet::from([address("promoted"), address("gone")]);
        map.successors = BTreeMap::from([(address("a"), before)]);
        let chosen = vec![Some(address("a")); PARTITIONS as usize];
        let successors = sources.successors(&map, &chosen, &BTreeSet::new());
        assert_eq!(successors[&address("a")], BTreeSet::from([address("promoted")]));
    }

    #[tokio::test(start_paused = true)]
    async fn in_a_fail_over_readers_wait_for_those_of_before() {
        assert_eq!(successors("replica", "a", None, &[]), "b before");
        assert_eq!(successors("replica", "promoted", Some(&["b"]), &[]), "b before");
        assert_eq!(successors("replica", "promoted", Some(&["b"]), &["before"]), "b");
    }

    #[tokio::test(start_paused = true)]
    async fn nodes_are_spread_over_replicas() {
        let all: &[_] = &[("a", 9), ("b", 9)];
        let chosen: BTreeSet<_> =
            (0..100).map(|_| choice("replica", None, Some(all), &[]).unwrap()).collect();
        assert_eq!(chosen.len(), 2);
    }
}

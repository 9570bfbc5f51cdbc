//! The slots of a cluster, as its nodes report them.
//!
//! Each refresh asks some nodes at random, and takes the view with the latest epoch, first among nodes
//! that find the cluster well: a node that was cut off still reports itself as the owner of its slots.
//! Every version of every server answers CLUSTER SLOTS.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};

use futures_util::future::join_all;
use redis::aio::MultiplexedConnection;
use redis::{RedisError, Value};

use super::sentinel::within;
use super::{Map, Named};
use crate::access::Access;
use crate::address::Address;
use crate::keys::PARTITIONS;
use crate::slot;

/// Nodes that one refresh asks: enough that most of them are neither dead nor cut off.
const ASKED_MAX: usize = 5;

/// The known nodes of a cluster.
pub(super) struct ClusterOracle {
    seeds: Vec<Address>,
    access: Access,
    /// All nodes of the last view, with the replicas.
    known: BTreeSet<Address>,
    connections: HashMap<Address, MultiplexedConnection>,
}

/// The cluster as one node reports it.
pub(crate) struct View {
    well: bool,
    epoch: u64,
    ranges: Vec<SlotRange>,
}

/// A range of slots, and its nodes: the primary first.
struct SlotRange {
    first: u16,
    last: u16,
    nodes: Vec<Address>,
}

impl ClusterOracle {
    pub(super) fn new(seeds: Vec<Address>, access: Access) -> Self {
        Self { seeds, access, known: BTreeSet::new(), connections: HashMap::new() }
    }

    pub(super) async fn ask(&mut self, map: &Map) -> Result<Named, String> {
        let asked = self.choose(map);
        self.connections.retain(|address, _| asked.contains(address));
        let views = join_all(asked.iter().map(|address| {
            let open = self.connections.get(address).cloned();
            let access = &self.access;
            async move {
                let limit = access.connect_timeout;
                let view = within(limit, view(access, address, open)).await;
                (address, view.map_err(|reason| format!("node {address}: {reason}")))
            }
        }));
        let mut reasons = Vec::new();
        let mut latest: Option<View> = None;
        for (address, view) in views.await {
            match view {
                Ok((view, connection)) => {
                    self.connections.insert(address.clone(), connection);
                    if latest.as_ref().is_none_or(|latest| view.rank() > latest.rank()) {
                        latest = Some(view);
                    }
                }
                Err(reason) => {
                    self.connections.remove(address);
                    reasons.push(reason);
                }
            }
        }
        let Some(view) = latest else { return Err(reasons.join("; ")) };
        self.known = view.ranges.iter().flat_map(|range| range.nodes.iter().cloned()).collect();
        Ok(Named { map: view.map(), is_final: true })
    }

    /// Chooses some of all known nodes at random.
    fn choose(&self, map: &Map) -> Vec<Address> {
        let mut all = map.primaries();
        all.extend(self.known.iter().chain(&self.seeds).cloned());
        let mut all: Vec<_> = all.into_iter().collect();
        // Each `RandomState` has new keys. They are random enough for a choice of nodes.
        let random = RandomState::new();
        all.sort_by_cached_key(|address| random.hash_one(address));
        all.truncate(ASKED_MAX);
        all
    }
}

async fn view(
    access: &Access,
    address: &Address,
    open: Option<MultiplexedConnection>,
) -> Result<(View, MultiplexedConnection), RedisError> {
    let mut connection = match open {
        Some(connection) => connection,
        None => access.connection(address).await?,
    };
    let mut pipeline = redis::pipe();
    pipeline.cmd("CLUSTER").arg("INFO").cmd("CLUSTER").arg("SLOTS");
    let (info, slots): (String, Vec<Value>) = pipeline.query_async(&mut connection).await?;
    Ok((View::parse(address, &info, slots), connection))
}

impl View {
    /// Parses the answers of the node `asked` to CLUSTER INFO and CLUSTER SLOTS.
    pub(crate) fn parse(asked: &Address, info: &str, slots: Vec<Value>) -> Self {
        let fields: HashMap<_, _> = info.lines().filter_map(|line| line.split_once(':')).collect();
        let field = |name| fields.get(name).map(|value| value.trim());
        Self {
            well: field("cluster_state") == Some("ok"),
            epoch: field("cluster_current_epoch").and_then(|epoch| epoch.parse().ok()).unwrap_or(0),
            ranges: slots.into_iter().filter_map(|range| SlotRange::parse(asked, range)).collect(),
        }
    }

    /// Views of a higher rank are better.
    fn rank(&self) -> (bool, u64) {
        (self.well, self.epoch)
    }

    pub(crate) fn map(&self) -> Map {
        let mut map = Map::none("the cluster has no primary for this partition's slot");
        for partition in 0..PARTITIONS {
            let slot = slot::of(partition);
            let range = self.ranges.iter().find(|range| (range.first..=range.last).contains(&slot));
            map.owners[partition as usize] = range.and_then(|range| range.nodes.first().cloned());
        }
        map
    }
}

impl SlotRange {
    /// Parses one entry of CLUSTER SLOTS: `first, last, primary, replica…`, where a node is
    /// `host, port, …`. An entry without a host means the host of the node that was asked.
    fn parse(asked: &Address, value: Value) -> Option<Self> {
        let Value::Array(items) = value else { return None };
        let mut items = items.into_iter();
        let first = redis::from_redis_value(items.next()?).ok()?;
        let last = redis::from_redis_value(items.next()?).ok()?;
        let node = |value: Value| {
            let Value::Array(parts) = value else { return None };
            let mut parts = parts.into_iter();
            let host: Option<String> = redis::from_redis_value(parts.next()?).ok()?;
            let port = redis::from_redis_value(parts.next()?).ok()?;
            // "?" stands for a host name that is announced but not configured.
            let host = host.filter(|host| host != "?").unwrap_or_default();
            Some(asked.reported_parts(&host, port))
        };
        let nodes: Vec<_> = items.filter_map(node).collect();
        (!nodes.is_empty()).then_some(Self { first, last, nodes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(host: Value, port: i64) -> Value {
        Value::Array(vec![host, Value::Int(port), Value::BulkString(b"id".to_vec())])
    }

    fn text(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn a_node_that_was_cut_off_ranks_below_one_that_finds_the_cluster_well() {
        let view = |well, epoch| View { well, epoch, ranges: Vec::new() };
        assert!(view(true, 3).rank() > view(false, 9).rank());
        assert!(view(true, 4).rank() > view(true, 3).rank());
    }

    #[test]
    fn slots_are_parsed_with_and_without_hosts() {
        let asked = Address::new("seed", 7000);
        let range = |first, last, nodes: Vec<Value>| {
            let mut items = vec![Value::Int(first), Value::Int(last)];
            items.extend(nodes);
            SlotRange::parse(&asked, Value::Array(items)).unwrap()
        };
        let view = View {
            well: true,
            epoch: 1,
            ranges: vec![
                range(0, 8000, vec![node(text("a"), 1), node(text("r"), 2)]),
                range(8001, 12_000, vec![node(Value::Nil, 3)]),
                range(12_001, 16_000, vec![node(text("?"), 4)]),
            ],
        };
        let map = view.map();
        for partition in 0..PARTITIONS {
            let expected = match slot::of(partition) {
                0..=8000 => Some("a:1"),
                8001..=12_000 => Some("seed:3"),
                12_001..=16_000 => Some("seed:4"),
                _ => None,
            };
            let owner = map.owner(partition).map(ToString::to_string);
            assert_eq!(owner.as_deref(), expected);
        }
        assert!(SlotRange::parse(&asked, Value::Array(vec![Value::Int(1)])).is_none());
    }
}

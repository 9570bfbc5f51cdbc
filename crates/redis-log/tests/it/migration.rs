//! Slots that move between the primaries of a cluster, while publishers and subscribers go on.

use std::time::Duration;

use redis::Value;

use crate::deployment::{Cluster, until};
use crate::server::Server;
use crate::support::config_at;
use crate::traffic::{Traffic, lasting};

/// The slot of a topic's keys.
async fn slot_of(node: &Server, stream: &str) -> u16 {
    node.words(&format!("CLUSTER KEYSLOT {stream}")).await
}

/// The streams that a node has.
async fn streams(node: &Server) -> Vec<String> {
    node.words("KEYS e:*").await
}

async fn id(node: &Server) -> String {
    node.words("CLUSTER MYID").await
}

/// Moves a slot as tools do on servers that cannot by themselves: key by key.
async fn migrate(cluster: &Cluster, slot: u16, from: usize, to: usize) {
    let (source, target) = (&cluster.nodes[from], &cluster.nodes[to]);
    let (from_id, to_id) = (id(source).await, id(target).await);
    target.words::<()>(&format!("CLUSTER SETSLOT {slot} IMPORTING {from_id}")).await;
    source.words::<()>(&format!("CLUSTER SETSLOT {slot} MIGRATING {to_id}")).await;
    loop {
        // One at a time, so that topics are here and there and half-way.
        let keys: Vec<String> = source.words(&format!("CLUSTER GETKEYSINSLOT {slot} 1")).await;
        let Some(key) = keys.first() else { break };
        let command = format!("MIGRATE {} {key} 0 5000", target.host_port());
        // One that expired meanwhile is gone.
        source.words::<Value>(&command).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for node in [target, source] {
        node.words::<()>(&format!("CLUSTER SETSLOT {slot} NODE {to_id}")).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_that_move_key_by_key_lose_and_double_nothing() {
    let cluster = Cluster::start().await;
    let mut config = lasting(config_at(&cluster.url()));
    // Keys that are gone soon: each would be moved.
    config.retention.key = Duration::from_millis(300);
    let traffic = Traffic::start(config, 12).await;
    let mut moved = 0;
    for stream in streams(&cluster.nodes[0]).await {
        migrate(&cluster, slot_of(&cluster.nodes[0], &stream).await, 0, 1).await;
        moved += 1;
    }
    assert!(moved > 1);
    traffic.goes_on().await;
    let outcome = traffic.judge().await;
    assert!(outcome.gaps.is_empty(), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_that_move_at_once_lose_and_double_nothing() {
    let cluster = Cluster::start().await;
    let target = id(&cluster.nodes[1]).await;
    let commands: Vec<Value> = cluster.nodes[0].words("COMMAND INFO CLUSTER|MIGRATESLOTS").await;
    if matches!(commands[..], [Value::Nil]) {
        eprintln!("this server cannot move slots by itself");
        return;
    }
    let traffic = Traffic::start(lasting(config_at(&cluster.url())), 12).await;
    let streams = streams(&cluster.nodes[0]).await;
    assert!(streams.len() > 1);
    for stream in &streams {
        let slot = slot_of(&cluster.nodes[0], stream).await;
        let command = format!("CLUSTER MIGRATESLOTS SLOTSRANGE {slot} {slot} NODE {target}");
        cluster.nodes[0].words::<()>(&command).await;
        until(&cluster.nodes[1], "KEYS e:*", |keys: &Vec<String>| keys.contains(stream)).await;
    }
    traffic.goes_on().await;
    let outcome = traffic.judge().await;
    assert!(outcome.gaps.is_empty(), "{outcome:?}");
}

//! Presence over several nodes: real processes, a kill -9, and clients that come back.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use loadtest::client::http;
use loadtest::client::sse::Connection;
use loadtest::machine::{Redis, Tailwater};
use serde_json::Value;
use tokio::time::{Instant, timeout};

use crate::support::{TAILWATER, publish, serve, until};

const LIST: &str = "/v1/topics/room/1/subscribers";
/// Clients of each gateway.
const EACH: usize = 10;
/// The time after a kill in which all news of it have come.
const NEWS: Duration = Duration::from_secs(15);

async fn open(node: SocketAddr, client: &str) -> Connection {
    let path = format!("/v1/events?topic=room/1&client={client}");
    let mut stream = Connection::open(node, &path, &[]).await.unwrap();
    assert_eq!(stream.next_event().await.unwrap().event_type(), "tailwater.ready");
    stream
}

fn names(told: &Value) -> BTreeSet<String> {
    let members = told["members"].as_array().unwrap_or_else(|| panic!("no list: {told}"));
    members.iter().map(|member| member["client"].as_str().unwrap().to_owned()).collect()
}

async fn list(node: SocketAddr) -> BTreeSet<String> {
    let answer = http::get(node, LIST).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let told: Value = answer.json().unwrap();
    let names = names(&told);
    assert_eq!(told["count"], names.len());
    names
}

/// A client that is told who joins and leaves.
struct Watcher(Connection);

impl Watcher {
    async fn open(node: SocketAddr) -> Self {
        let path = "/v1/events?topic=room/1&client=watcher&presence=1";
        Self(Connection::open(node, path, &[]).await.unwrap())
    }

    /// Counts the joins and leaves by name within a time.
    async fn hear(&mut self, time: Duration) -> BTreeMap<(String, String), usize> {
        let mut heard = BTreeMap::new();
        let end = Instant::now() + time;
        while let Ok(event) = tokio::time::timeout_at(end, self.0.next_event()).await {
            let event = event.expect("the stream goes on");
            if ["tailwater.join", "tailwater.leave"].contains(&event.event_type()) {
                for name in names(&serde_json::from_str(&event.data).unwrap()) {
                    *heard.entry((event.event_type().to_owned(), name)).or_default() += 1;
                }
            }
        }
        heard
    }
}

/// Gateways that serve for longer than a lease after a signal.
async fn three(redis: &Redis) -> Vec<Tailwater> {
    let mut nodes = Vec::new();
    for name in ["one", "two", "three"] {
        let node = Tailwater::gateway(TAILWATER).redis(redis).node(name);
        let node = node.flag("--drain-delay", "10s").flag("--drain-window", "1s");
        let node = node.flag("--retry", "500ms").flag("--presence", "room/*");
        nodes.push(node.start().await.unwrap());
    }
    nodes
}

#[tokio::test]
async fn the_clients_of_a_killed_node_leave_once_and_those_who_come_back_do_not() {
    let redis = Redis::start().await.unwrap();
    let mut nodes = three(&redis).await;
    let mut watcher = Watcher::open(nodes[1].addr()).await;
    let mut streams = BTreeMap::new();
    for node in &nodes {
        for number in 0..EACH {
            let client = format!("{}-{number}", node.node());
            streams.insert(client.clone(), open(node.addr(), &client).await);
        }
    }
    let mut all: BTreeSet<String> = streams.keys().cloned().collect();
    all.insert("watcher".to_owned());
    until("every node lists all", async || {
        list(nodes[0].addr()).await == all && list(nodes[2].addr()).await == all
    })
    .await;
    let heard = watcher.hear(Duration::from_secs(3)).await;
    let once = |kind: &str, names: &BTreeSet<String>| -> BTreeMap<(String, String), usize> {
        names.iter().map(|name| ((kind.to_owned(), name.clone()), 1)).collect()
    };
    assert_eq!(heard, once("tailwater.join", &all));

    nodes[0].kill_nine().unwrap();
    let mut gone = BTreeSet::new();
    for number in 0..EACH {
        let client = format!("one-{number}");
        let mut stream = streams.remove(&client).unwrap();
        while timeout(NEWS, stream.next_event()).await.expect("the stream ends").is_some() {}
        match number % 2 {
            0 => drop(gone.insert(client)),
            _ => drop(streams.insert(client.clone(), open(nodes[2].addr(), &client).await)),
        }
    }
    let heard = watcher.hear(NEWS).await;
    assert_eq!(heard, once("tailwater.leave", &gone));
    let present: BTreeSet<_> = all.difference(&gone).cloned().collect();
    assert_eq!(list(nodes[1].addr()).await, present);
    assert_eq!(list(nodes[2].addr()).await, present);
}

#[tokio::test]
async fn a_client_that_a_drain_hands_away_has_not_left() {
    let redis = Redis::start().await.unwrap();
    let nodes = three(&redis).await;
    let mut watcher = Watcher::open(nodes[1].addr()).await;
    let mut moved = open(nodes[0].addr(), "moved").await;
    until("the client is there", async || list(nodes[1].addr()).await.contains("moved")).await;
    watcher.hear(Duration::from_secs(2)).await;
    nodes[0].begin_termination().unwrap();
    let moving = async {
        while moved.next_event().await.is_some() {}
        tokio::time::sleep(moved.retry().unwrap()).await;
        open(nodes[2].addr(), "moved").await
    };
    // The drain, and the time after which a node that has ended has no members.
    let (_moved, heard) = tokio::join!(moving, watcher.hear(Duration::from_secs(10) + NEWS));
    assert!(heard.is_empty(), "{heard:?}");
    assert!(list(nodes[1].addr()).await.contains("moved"));
}

#[tokio::test]
async fn a_single_node_has_presence_and_a_topic_without_it_has_none() {
    let node = serve().flag("--presence", "room/*,chat/**").start().await.unwrap();
    let mut watcher = Watcher::open(node.addr()).await;
    let _ann = open(node.addr(), "ann").await;
    let heard = watcher.hear(Duration::from_secs(3)).await;
    let joined: BTreeSet<_> = heard.keys().map(|(_, name)| name.as_str()).collect();
    assert_eq!(joined, BTreeSet::from(["ann", "watcher"]));
    let counts = http::get(node.addr(), "/v1/subscribers?topic=room/*").await.unwrap();
    assert_eq!(counts.json::<Value>().unwrap()["topics"]["room/1"], 2);
    // A topic of this name is still described where no presence is.
    publish(node.addr(), "news/subscribers", "hello").await;
    let described = http::get(node.addr(), "/v1/topics/news/subscribers").await.unwrap();
    assert_eq!(described.json::<Value>().unwrap()["length"], 1);
    let metrics = node.metrics().await.unwrap();
    assert!(metrics.contains("tailwater_presence_members 2"), "{metrics}");
}

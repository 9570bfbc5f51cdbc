//! The streams of a subject over several nodes.

use std::sync::Arc;
use std::time::Duration;

use limits::{SubjectId, SubjectPlace, SubjectStreams, WantedStream};
use metrics::Registry;
use redis_log::RedisLog;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::deployment::Cluster;
use crate::server::Server;
use crate::support::{config, config_at, open};

/// A node that counts, and reports for as long as it lives.
struct Node {
    streams: Arc<SubjectStreams>,
    held: Vec<SubjectPlace>,
    reports: JoinHandle<()>,
}

const ANN: SubjectId = SubjectId::new(0xa11);
/// Streams of a subject in these tests.
const MAX: u32 = 48;

impl Node {
    async fn start(log: &Arc<RedisLog>) -> Self {
        let streams = SubjectStreams::new((MAX, 1000), Some(log.leases()), &Registry::new());
        streams.report().await;
        let reports = tokio::spawn({
            let streams = Arc::clone(&streams);
            async move { streams.run().await }
        });
        Self { streams, held: Vec::new(), reports }
    }

    async fn open(&mut self, claimed: Option<u32>) -> bool {
        let admitted = self
            .streams
            .admit(ANN, WantedStream { topics: 1, streams_max: claimed, topics_max: None })
            .await;
        self.held.extend(admitted.ok());
        self.held.len() == self.streams.held(ANN) as usize
    }

    /// Opens streams until one is refused.
    async fn fill(&mut self, claimed: Option<u32>) {
        while let Ok(stream) = self
            .streams
            .admit(ANN, WantedStream { topics: 1, streams_max: claimed, topics_max: None })
            .await
        {
            self.held.push(stream);
        }
    }

    /// Stops reporting without a word, as kill -9 does.
    fn die(self) {
        self.reports.abort();
        std::mem::forget(self.held);
    }
}

fn total(nodes: &[Node]) -> usize {
    nodes.iter().map(|node| node.held.len()).sum()
}

async fn three(logs: &[Arc<RedisLog>; 3]) -> Vec<Node> {
    let mut nodes = Vec::new();
    for log in logs {
        nodes.push(Node::start(log).await);
    }
    for node in &nodes {
        node.streams.report().await;
    }
    nodes
}

async fn a_dead_node_gives_its_places_back(logs: [Arc<RedisLog>; 3]) {
    let mut nodes = three(&logs).await;
    // A subject that comes to all nodes at once.
    for _ in 0..MAX {
        for node in &mut nodes {
            assert!(node.open(None).await);
        }
    }
    let (most, full) = ((MAX + MAX / 8) as usize, MAX as usize);
    assert!((full..=most).contains(&total(&nodes)), "{}", total(&nodes));
    let dead = nodes.remove(0);
    let lost = dead.held.len();
    dead.die();
    let killed = Instant::now();
    while total(&nodes) < full {
        for node in &mut nodes {
            node.fill(None).await;
        }
        assert!(total(&nodes) <= most, "{}", total(&nodes));
        assert!(killed.elapsed() < Duration::from_secs(60), "{lost} places do not come back");
        sleep(Duration::from_millis(100)).await;
    }
    println!("{lost} places came back within {:?}", killed.elapsed());
    nodes.into_iter().for_each(Node::die);
}

#[tokio::test]
async fn the_places_of_a_dead_node_come_back() {
    let server = Server::start().await;
    let logs =
        [open(config(&server)).await, open(config(&server)).await, open(config(&server)).await];
    a_dead_node_gives_its_places_back(logs).await;
}

#[tokio::test]
async fn the_places_of_a_dead_node_come_back_on_a_cluster() {
    let cluster = Cluster::start().await;
    let url = cluster.url();
    let logs =
        [open(config_at(&url)).await, open(config_at(&url)).await, open(config_at(&url)).await];
    a_dead_node_gives_its_places_back(logs).await;
}

#[tokio::test]
async fn a_low_bound_holds_exactly_and_a_place_is_given_on() {
    let server = Server::start().await;
    let logs =
        [open(config(&server)).await, open(config(&server)).await, open(config(&server)).await];
    let mut nodes = three(&logs).await;
    for node in &mut nodes {
        node.fill(Some(3)).await;
    }
    assert_eq!(total(&nodes), 3);
    nodes[0].held.clear();
    nodes[0].streams.report().await;
    nodes[2].streams.report().await;
    nodes[2].fill(Some(3)).await;
    assert_eq!((nodes[2].held.len(), total(&nodes)), (3, 3));
    nodes.into_iter().for_each(Node::die);
}

#[tokio::test]
async fn without_redis_a_subject_is_admitted_by_the_count_of_its_node() {
    let mut server = Server::start().await;
    let log = open(config(&server)).await;
    let mut node = Node::start(&log).await;
    node.open(Some(3)).await;
    server.kill();
    node.fill(Some(3)).await;
    assert_eq!(node.held.len(), 3);
    node.die();
}

//! Echoes: a message that a node sends through its own feed.

use std::time::Duration;

use event_log::Log;
use redis_log::Config;

use crate::deployment::Cluster;
use crate::server::Server;
use crate::support::{append, config, config_at, eventually, open, topic};

#[tokio::test]
async fn a_node_without_its_feed_gets_no_echo() {
    let server = Server::start().await;
    let log = open(Config { timeout: Duration::from_millis(500), ..config(&server) }).await;
    let (t, stats) = (topic("t"), log.stats());
    let _tail = log.tail(&t).await.unwrap();
    log.echo(&t).await.unwrap();
    // The server takes commands, but its messages do not arrive.
    server.words::<()>("ACL SETUSER default resetchannels").await;
    assert!(log.echo(&t).await.is_err());
    server.words::<()>("ACL SETUSER default allchannels").await;
    eventually("the feed is back", || stats.connected()).await;
    log.echo(&t).await.unwrap();
}

#[tokio::test]
async fn a_replica_gives_no_echo() {
    let (primary, replica) = (Server::start().await, Server::start().await);
    let log = open(Config { timeout: Duration::from_millis(500), ..config(&replica) }).await;
    let t = topic("t");
    log.echo(&t).await.unwrap();
    replica.words::<()>(&format!("REPLICAOF {}", primary.host_port())).await;
    let error = log.echo(&t).await.unwrap_err().to_string();
    assert!(error.contains("replica"), "{error}");
}

#[tokio::test]
async fn an_echo_passes_every_node_of_a_cluster_and_disturbs_no_reader() {
    let cluster = Cluster::start().await;
    let nodes = [open(config_at(&cluster.url())).await, open(config_at(&cluster.url())).await];
    for i in 0..12 {
        let t = topic(&format!("t{i}"));
        let mut reader = crate::support::Reader::latest(&nodes[1], &t).await;
        nodes[0].echo(&t).await.unwrap();
        append(&nodes[0], &t, "1").await;
        nodes[0].echo(&t).await.unwrap();
        assert_eq!(reader.until(1).await, [1]);
    }
    assert_eq!(nodes[1].stats().repairs(), 0, "a marker of another node is no lost event");
}

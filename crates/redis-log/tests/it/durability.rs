//! The meaning of an acknowledgement at each level of durability.

use std::time::Duration;

use event_log::{AppendError, Log};
use redis_log::{Config, ConnectError, RedisLog};

use crate::deployment::{until, until_replica_speaks};
use crate::server::Server;
use crate::support::{append, config, event, keyed, open, topic, try_append};

fn with(server: &Server, durability: &str) -> Config {
    Config {
        durability: durability.parse().unwrap(),
        replica_timeout: Duration::from_millis(300),
        ..config(server)
    }
}

/// The text of a refusal.
fn reason<T: std::fmt::Debug>(result: Result<T, AppendError>) -> String {
    match result {
        Err(AppendError::Unavailable(reason)) => reason,
        other => panic!("{other:?} instead of a refusal"),
    }
}

/// Makes a server the replica of another, and waits until it follows.
async fn follow(replica: &Server, primary: &Server) {
    replica.words::<()>(&format!("REPLICAOF {}", primary.host_port())).await;
    until(replica, "INFO replication", |info: &String| info.contains("master_link_status:up"))
        .await;
    until_replica_speaks(primary).await;
}

#[tokio::test]
async fn an_event_is_not_acknowledged_before_its_replicas_have_it() {
    let server = Server::start().await;
    let error = RedisLog::connect(with(&server, "replica:1")).await.unwrap_err();
    assert!(matches!(error, ConnectError::Durability { .. }), "{error}");
    assert!(error.to_string().contains("0 replicas"), "{error}");
    let log = RedisLog::new(with(&server, "replica:1"));
    let t = topic("t");
    let said = reason(try_append(&log, keyed(&t, "1", "k")).await);
    assert!(said.contains("stored, but not by 1 replicas yet"), "{said}");
    // A retry is not acknowledged either, although it appends nothing.
    reason(try_append(&log, keyed(&t, "1", "k")).await);

    let replica = Server::start().await;
    follow(&replica, &server).await;
    let receipt = try_append(&log, keyed(&t, "1", "k")).await.unwrap();
    assert_eq!((receipt.position.n, receipt.duplicate), (1, true));
    let streams: Vec<String> = replica.words("KEYS e:*").await;
    assert_eq!(streams.len(), 1, "the acknowledged event is on the replica");
    append(&log, &t, "2").await;
    let length: u64 = replica.words(&format!("XLEN {}", streams[0])).await;
    assert_eq!(length, 2);
    open(with(&server, "replica:1")).await;
    reason(try_append(&open_with(&server, "replica:2"), event(&t, "3")).await);
}

fn open_with(server: &Server, durability: &str) -> std::sync::Arc<RedisLog> {
    RedisLog::new(with(server, durability))
}

#[tokio::test]
async fn a_retry_on_a_fresh_connection_waits_for_the_replicas_of_the_first_try() {
    let (server, replica) = (Server::start().await, Server::start().await);
    follow(&replica, &server).await;
    let t = topic("t");
    append(&*open(with(&server, "replica:1")).await, &t, "1").await;
    // The replica receives nothing more, and the primary has not noticed.
    let pid = replica.pid().await;
    pid.signal("-STOP");
    reason(try_append(&open_with(&server, "replica:1"), keyed(&t, "2", "k")).await);
    let fresh = open_with(&server, "replica:1");
    reason(try_append(&fresh, keyed(&t, "2", "k")).await);
    pid.signal("-CONT");
    assert!(try_append(&fresh, keyed(&t, "2", "k")).await.unwrap().duplicate);
}

#[tokio::test]
async fn an_ended_topic_is_reported_whatever_the_replicas_do() {
    let server = Server::start().await;
    let t = topic("t");
    let mut last = event(&t, "1");
    last.event.mark = event_log::Mark::Last;
    let plain = open(config(&server)).await;
    try_append(&plain, last).await.unwrap();
    let log = open_with(&server, "replica:1");
    assert!(matches!(try_append(&log, event(&t, "2")).await, Err(AppendError::Ended { .. })));
}

#[tokio::test]
async fn a_disk_is_refused_unless_it_syncs_at_every_write() {
    let server = Server::with(&["--appendonly", "yes", "--appendfsync", "everysec"]).await;
    let error = RedisLog::connect(with(&server, "disk")).await.unwrap_err();
    assert!(error.to_string().contains("appendfsync is everysec"), "{error}");
    let log = open_with(&server, "disk");
    let t = topic("t");
    let said = reason(try_append(&log, event(&t, "1")).await);
    assert!(said.contains("appendfsync is everysec, but must be always"), "{said}");
    assert!(log.bounds(&t).await.unwrap().is_none(), "nothing was stored");

    server.words::<()>("CONFIG SET appendfsync always").await;
    append(&log, &t, "1").await;
    // Another client changes the setting back.
    server.words::<()>("CONFIG SET appendfsync everysec").await;
    reason(try_append(&log, event(&t, "2")).await);
    server.words::<()>("CONFIG SET appendfsync always").await;
    append(&log, &t, "3").await;
}

#[tokio::test]
async fn a_killed_server_has_every_acknowledged_event_on_disk() {
    let mut server = Server::with(&["--appendonly", "yes", "--appendfsync", "always"]).await;
    let log = open(with(&server, "disk")).await;
    let t = topic("t");
    let mut last = 0;
    for i in 0..200 {
        last = append(&log, &t, &i.to_string()).await.position.n;
    }
    server.restart().await;
    let bounds = open(with(&server, "disk")).await.bounds(&t).await.unwrap().unwrap();
    assert_eq!((bounds.head.n, bounds.length), (last, 200));
}

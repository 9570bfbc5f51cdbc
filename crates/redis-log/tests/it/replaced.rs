//! The word of a primary that was replaced, or is about to be, and does not know it.

use std::collections::HashMap;
use std::time::Duration;

use event_log::{Log, Outcome, Position};
use redis_log::{Config, RedisLog};
use tokio::time::timeout;

use crate::deployment::{Sentinels, until};
use crate::replicas::{reading, replicated, until_follows};
use crate::server::Server;
use crate::support::{PAGE, Reader, append, config_at, eventually, open, topic};

#[tokio::test]
async fn a_loss_is_told_only_by_a_primary_that_the_sentinels_still_name() {
    let deployment = Sentinels::start().await;
    let old = deployment.primary().await;
    // A node that does not ask the sentinels of its own accord.
    let poll = Duration::from_secs(3600);
    let log = open(Config { poll, ..config_at(&deployment.url()) }).await;
    let t = topic("t");
    let before = open(replicated(&deployment.url())).await;
    append(&before, &t, "1").await;
    before.shutdown().await;
    // The old primary is not told, and so answers as one.
    deployment.servers[old].words::<()>("ACL SETUSER default -replicaof -slaveof").await;
    until(&deployment.sentinels[0], "SENTINEL FAILOVER main", |_: &String| true).await;
    deployment.other_primary(old).await;
    let after = open(config_at(&deployment.url())).await;
    let seen = append(&after, &t, "2").await.position;
    append(&after, &t, "3").await;
    let mut reader = Reader::resume(&log, &t, &seen.to_string()).await;
    assert_eq!(reader.outcome, Outcome::Exact);
    assert_eq!(reader.until(3).await, [3]);
    // The new primary is believed.
    let never = Position::new(seen.ms + 1_000_000, 9);
    let reader = Reader::resume(&log, &t, &never.to_string()).await;
    assert_eq!(reader.outcome, Outcome::Rewound);
}

#[tokio::test]
async fn a_node_that_starts_in_a_fail_over_does_not_believe_the_old_primary() {
    let deployment = Sentinels::with_replicas(2).await;
    let [primary, other, promoted] = &deployment.servers[..] else { unreachable!() };
    let t = topic("t");
    let writing = open(config_at(&deployment.url())).await;
    append(&writing, &t, "seen").await;
    other.words::<()>("CONFIG SET replica-priority 0").await;
    for sentinel in &deployment.sentinels {
        let never_promoted = |replicas: &Vec<HashMap<String, String>>| {
            replicas.iter().any(|replica| replica["slave-priority"] == "0")
        };
        until(sentinel, "SENTINEL REPLICAS main", never_promoted).await;
        // They wait for the replica, and do not find it silent.
        let patient = "SENTINEL SET main failover-timeout 60000 down-after-milliseconds 30000";
        sentinel.words::<()>(patient).await;
        sentinel.words::<()>("SENTINEL DEBUG INFO-PERIOD 5000 PING-PERIOD 5000").await;
    }
    // The replica that is being promoted hangs, until the primary does not count it any more.
    let pid = promoted.pid().await;
    pid.signal("-STOP");
    deployment.sentinels[0].words::<()>("SENTINEL FAILOVER main").await;
    let port = format!("port={},", promoted.port());
    until(primary, "INFO replication", |info: &String| {
        let line = info.lines().find(|line| line.contains(&port)).unwrap_or("lag=3");
        let lag = line.rsplit("lag=").next().and_then(|lag| lag.split(',').next()?.parse().ok());
        lag.is_some_and(|lag: u32| lag >= 3)
    })
    .await;
    append(&writing, &t, "lost").await;
    writing.shutdown().await;
    drop(writing);
    let log = RedisLog::connect(reading(config_at(&deployment.url()))).await.unwrap();
    let failed = log.read(&t, Position::START, PAGE).await.unwrap_err().to_string();
    assert!(failed.contains("not known yet"), "{failed}");
    pid.signal("-CONT");
    deployment.other_primary(0).await;
    until_follows(other).await;
    let stats = log.stats();
    eventually("the feed is up", || stats.connected()).await;
    let mut reader = Reader::resume(&log, &t, "0-0").await;
    assert_eq!(reader.events().await[0].data(), "seen");
    let writing = open(config_at(&deployment.url())).await;
    append(&writing, &t, "new").await;
    assert_eq!(reader.events().await[0].data(), "new");
}

#[tokio::test]
async fn a_node_that_hears_no_primary_delivers_nothing_that_a_new_replica_may_lack() {
    let deployment = Sentinels::with_replicas(2).await;
    for server in &deployment.servers {
        server.words::<()>("ACL SETUSER tailwater on >s3cret ~* &* +@all").await;
        server.words::<()>("CONFIG SET repl-ping-replica-period 1").await;
    }
    let primary = &deployment.servers[0];
    let url = deployment.url().replace("://", "://tailwater:s3cret@");
    let (log, writing) =
        (open(reading(config_at(&url))).await, open(config_at(&deployment.url())).await);
    let stats = log.stats();
    eventually("the other replica is waited for", || stats.replicas_awaited() == 1).await;
    let t = topic("t");
    let mut reader = Reader::latest(&log, &t).await;
    append(&writing, &t, "1").await;
    assert_eq!(reader.until(1).await, [1]);
    // The primary answers everybody but this node.
    primary.words::<()>("ACL SETUSER tailwater off").await;
    primary.words::<u64>("CLIENT KILL USER tailwater").await;
    let added = Server::with(&["--replicaof", &primary.host_port()]).await;
    added.words::<()>("ACL SETUSER tailwater on >s3cret ~* &* +@all").await;
    until_follows(&added).await;
    let pid = added.pid().await;
    pid.signal("-STOP");
    eventually("the report is too old", || !stats.connected()).await;
    append(&writing, &t, "2").await;
    let nothing = timeout(Duration::from_secs(2), reader.step()).await;
    assert!(nothing.is_err(), "{nothing:?}");
    pid.signal("-CONT");
    primary.words::<()>("ACL SETUSER tailwater on").await;
    assert_eq!(reader.until(2).await, [2]);
    eventually("the new replica is waited for", || stats.replicas_awaited() == 2).await;
}

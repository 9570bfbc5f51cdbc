//! Another server becomes primary while publishers and subscribers continue.

use std::time::Duration;

use event_log::Log;
use redis_log::{Config, RedisLog};
use tokio::time::{sleep, timeout};

use crate::deployment::{Cluster, Sentinels, until};
use crate::support::{Reader, append, config_at, event, eventually, open, topic, try_append};
use crate::traffic::{Traffic, lasting};

/// A configuration that acknowledges an event only when a replica has it too.
fn replicated(url: &str) -> Config {
    let replica_timeout = Duration::from_millis(300);
    Config { durability: "replica:1".parse().unwrap(), replica_timeout, ..lasting(config_at(url)) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_that_switch_over_lose_and_double_nothing() {
    let deployment = Sentinels::start().await;
    let traffic = Traffic::start(replicated(&deployment.url()), 3).await;
    let old = deployment.primary().await;
    until(&deployment.sentinels[0], "SENTINEL FAILOVER main", |_: &String| true).await;
    deployment.other_primary(old).await;
    until(&deployment.servers[old], "INFO replication", |info: &String| {
        info.contains("master_link_status:up")
    })
    .await;
    traffic.goes_on().await;
    traffic.judge().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_primary_under_sentinels_loses_and_doubles_nothing_acknowledged() {
    let mut deployment = Sentinels::start().await;
    let traffic = Traffic::start(replicated(&deployment.url()), 3).await;
    let old = deployment.primary().await;
    deployment.servers[old].kill();
    deployment.other_primary(old).await;
    // It has lost its memory, and takes itself for the primary until a sentinel demotes it.
    deployment.servers[old].restart().await;
    until(&deployment.servers[old], "INFO replication", |info: &String| {
        info.contains("master_link_status:up")
    })
    .await;
    traffic.goes_on().await;
    traffic.judge().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_thaws_after_its_replacement_is_not_trusted() {
    let deployment = Sentinels::start().await;
    let config = Config { timeout: Duration::from_millis(500), ..replicated(&deployment.url()) };
    let traffic = Traffic::start(config, 3).await;
    let old = deployment.primary().await;
    let pid = deployment.servers[old].pid().await;
    pid.signal("-STOP");
    deployment.other_primary(old).await;
    pid.signal("-CONT");
    until(&deployment.servers[old], "INFO replication", |info: &String| {
        info.contains("master_link_status:up")
    })
    .await;
    traffic.goes_on().await;
    traffic.judge().await;
}

#[tokio::test]
async fn missing_sentinels_stop_no_reader_and_no_publisher() {
    let mut deployment = Sentinels::start().await;
    let log = open(config_at(&deployment.url())).await;
    let t = topic("t");
    let mut reader = Reader::latest(&log, &t).await;
    for sentinel in &mut deployment.sentinels {
        sentinel.kill();
    }
    sleep(Duration::from_millis(700)).await;
    append(&log, &t, "1").await;
    assert_eq!(reader.until(1).await, [1]);
    // But a new log cannot find the primary.
    let error = RedisLog::connect(config_at(&deployment.url())).await.unwrap_err();
    assert!(error.to_string().contains("sentinel 127.0.0.1"), "{error}");
}

#[tokio::test]
async fn a_master_that_no_sentinel_knows_is_named() {
    let deployment = Sentinels::start().await;
    let url = deployment.url().replace("/main", "/other");
    let error = RedisLog::connect(config_at(&url)).await.unwrap_err().to_string();
    assert!(error.contains("knows no master \"other\""), "{error}");
    let said = try_append(&RedisLog::new(config_at(&url)), event(&topic("t"), "1")).await;
    assert!(said.unwrap_err().to_string().contains("there is no primary"));
    let said = RedisLog::new(config_at(&url)).tail(&topic("t")).await;
    assert!(said.unwrap_err().to_string().contains("there is no primary"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_switches_over_loses_and_doubles_nothing() {
    let deployment = Cluster::start().await;
    let traffic = Traffic::start(replicated(&deployment.url()), 12).await;
    for replica in 3..6 {
        deployment.switch_over(replica).await;
        traffic.goes_on().await;
    }
    let outcome = traffic.judge().await;
    assert!(outcome.gaps.is_empty(), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_primary_of_a_cluster_loses_and_doubles_nothing_acknowledged() {
    let mut deployment = Cluster::start().await;
    let traffic = Traffic::start(replicated(&deployment.url()), 12).await;
    deployment.nodes[0].kill();
    until(&deployment.nodes[3], "INFO replication", |info: &String| info.contains("role:master"))
        .await;
    // Its topics wait for a replica.
    deployment.nodes[0].restart().await;
    deployment.settled().await;
    traffic.goes_on().await;
    traffic.judge().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_primary_stops_only_its_own_topics() {
    let mut deployment = Cluster::start().await;
    let log = open(config_at(&deployment.url())).await;
    let mut readers = Vec::new();
    for i in 0..20 {
        let t = topic(&format!("t{i}"));
        let reader = Reader::latest(&log, &t).await;
        append(&log, &t, "1").await;
        readers.push((t, reader));
    }
    // Both, so that no server takes its place. The other primaries continue if they are configured to.
    for node in &deployment.nodes {
        node.words::<()>("CONFIG SET cluster-require-full-coverage no").await;
    }
    deployment.nodes[3].kill();
    deployment.nodes[0].kill();
    let stats = log.stats();
    eventually("the loss is noticed", || !stats.connected()).await;
    let mut served = 0;
    for (t, reader) in &mut readers {
        if let Ok(receipt) = try_append(&log, event(t, "2")).await {
            assert_eq!(reader.until(receipt.position.n).await.last(), Some(&receipt.position.n));
            served += 1;
        }
    }
    assert!((5..20).contains(&served), "{served} of 20");
}

#[tokio::test]
async fn the_last_words_of_a_replaced_primary_of_a_cluster_are_no_events() {
    let deployment = Cluster::start().await;
    let log = open(config_at(&deployment.url())).await;
    let t = topic("t");
    let mut reader = Reader::latest(&log, &t).await;
    append(&log, &t, "1").await;
    assert_eq!(reader.until(1).await, [1]);
    for replica in 3..6 {
        deployment.switch_over(replica).await;
    }
    // The log knows the new primaries, and follows their feeds.
    let receipt = append(&log, &t, "2").await;
    assert_eq!(reader.until(2).await, [2]);
    // A message without an event, as of a primary that thaws.
    let mut told = 0;
    for node in &deployment.nodes[3..] {
        let channels: Vec<String> = node.words("PUBSUB SHARDCHANNELS").await;
        for channel in channels.iter().filter(|channel| channel.ends_with(":t")) {
            let message = format!("{}-3\n\nnever stored", receipt.position.ms + 1);
            told += node.run::<u64>(redis::cmd("SPUBLISH").arg(channel).arg(message)).await;
        }
    }
    assert!(told > 0, "no node heard it");
    let nothing = timeout(Duration::from_millis(300), reader.step()).await;
    assert!(nothing.is_err(), "{nothing:?}");
    append(&log, &t, "3").await;
    let events = reader.events().await;
    assert_eq!(events.iter().map(|event| event.data()).collect::<Vec<_>>(), ["3"]);
}

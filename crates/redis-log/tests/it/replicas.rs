//! Readers that read from a replica.

use std::sync::Arc;
use std::time::Duration;

use event_log::{Log, Origin, Step};
use redis_log::{Config, ReadFrom, RedisLog};
use tokio::time::{Instant, sleep};

use crate::deployment::{Cluster, Sentinels, until, until_replica_speaks};
use crate::server::Server;
use crate::support::{Reader, StoredKeys, append, config_at, eventually, fill, open, topic};
use crate::traffic::{Traffic, lasting};

/// A configuration that reads from replicas and acknowledges an event only when a replica has it too.
pub(crate) fn replicated(url: &str) -> Config {
    let replica_timeout = Duration::from_millis(300);
    let durability = "replica:1".parse().unwrap();
    Config { durability, replica_timeout, ..reading(lasting(config_at(url))) }
}

pub(crate) fn reading(config: Config) -> Config {
    Config { read_from: ReadFrom::Replica, ..config }
}

/// A primary and a replica that follows it.
async fn pair() -> (Server, Server) {
    let primary = Server::start().await;
    let replica = Server::with(&["--replicaof", &primary.host_port()]).await;
    until_replica_speaks(&primary).await;
    (primary, replica)
}

/// The same, and a log that reads from the replica.
async fn read_pair() -> (Server, Server, Arc<RedisLog>) {
    let (primary, replica) = pair().await;
    let log = open(reading(config_at(&primary.url()))).await;
    until_feed_is_at(&replica).await;
    (primary, replica, log)
}

/// Waits until a log is read from this server.
async fn until_feed_is_at(server: &Server) {
    let has_feed = |clients: &String| clients.contains("name=tailwater-feed");
    until(server, "CLIENT LIST", has_feed).await;
}

/// Waits until a replica has been promoted to this primary's place and the old one follows.
pub(crate) async fn until_follows(server: &Server) {
    let follows = |info: &String| info.contains("master_link_status:up");
    until(server, "INFO replication", follows).await;
}

#[tokio::test]
async fn a_node_reads_from_the_replica_and_writes_to_the_primary() {
    let (primary, replica, log) = read_pair().await;
    let t = topic("t");
    // The log has tried its rights.
    let before = [primary.calls("xrange").await, primary.calls("ssubscribe").await];
    let mut reader = Reader::latest(&log, &t).await;
    fill(&log, &t, 1..=500).await;
    assert_eq!(reader.until(500).await, (1..=500).collect::<Vec<_>>());
    let mut late = Reader::open(&log, &t, Origin::Seek(event_log::Seek::Earliest)).await;
    assert_eq!(late.until(500).await, (1..=500).collect::<Vec<_>>());
    assert_eq!([primary.calls("xrange").await, primary.calls("ssubscribe").await], before);
    assert!(replica.calls("ssubscribe").await > 0 && replica.calls("xrange").await > 0);
    assert_eq!(log.stats().primaries_read(), 0);
    assert!(log.echo(&t).await.unwrap() < Duration::from_secs(1));
}

#[tokio::test]
async fn a_reader_that_is_ahead_of_the_replica_waits_and_misses_nothing() {
    let (primary, replica) = pair().await;
    let (writing, log) =
        (open(config_at(&primary.url())).await, open(reading(config_at(&primary.url()))).await);
    until_feed_is_at(&replica).await;
    let t = topic("t");
    fill(&writing, &t, 1..=3).await;
    let mut before = Reader::latest(&log, &t).await;
    // A replica that gets nothing new, and does not know it.
    let pid = replica.pid().await;
    pid.signal("-STOP");
    let receipt = append(&writing, &t, "4").await;
    let thaw = tokio::spawn(async move {
        sleep(Duration::from_millis(500)).await;
        pid.signal("-CONT");
    });
    // The reader comes from a node whose server had the event.
    let mut reader = Reader::resume(&log, &t, &format!("{}", receipt.position)).await;
    append(&writing, &t, "5").await;
    assert_eq!(reader.events().await[0].position().n, 5);
    assert_eq!(before.until(5).await, [4, 5]);
    thaw.await.unwrap();
}

#[tokio::test]
async fn a_replica_that_stops_is_left_for_the_primary_and_taken_again_when_it_follows() {
    let (_primary, mut replica, log) = read_pair().await;
    let t = topic("t");
    let mut reader = Reader::latest(&log, &t).await;
    append(&log, &t, "1").await;
    assert_eq!(reader.until(1).await, [1]);
    replica.kill();
    append(&log, &t, "2").await;
    assert_eq!(reader.until(2).await, [2]);
    let stats = log.stats();
    eventually("the primary is read", || stats.primaries_read() == 1).await;
    replica.restart().await;
    until_follows(&replica).await;
    until_feed_is_at(&replica).await;
    append(&log, &t, "3").await;
    assert_eq!(reader.until(3).await, [3]);
    eventually("the replica is read", || stats.primaries_read() == 0).await;
}

#[tokio::test]
async fn a_replica_that_is_frozen_is_left() {
    let (_primary, replica, log) = read_pair().await;
    let t = topic("t");
    let mut reader = Reader::latest(&log, &t).await;
    let pid = replica.pid().await;
    pid.signal("-STOP");
    append(&log, &t, "1").await;
    let begin = Instant::now();
    assert_eq!(reader.until(1).await, [1]);
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    pid.signal("-CONT");
    append(&log, &t, "2").await;
    assert_eq!(reader.until(2).await, [2]);
}

#[tokio::test]
async fn a_replica_that_has_lost_its_primary_is_left() {
    let (primary, replica, log) = read_pair().await;
    let t = topic("t");
    let mut reader = Reader::latest(&log, &t).await;
    // It follows a server that is not there.
    replica.words::<()>("REPLICAOF 127.0.0.1 1").await;
    append(&log, &t, "1").await;
    assert_eq!(reader.until(1).await, [1]);
    replica.words::<()>(&format!("REPLICAOF {}", primary.host_port())).await;
    append(&log, &t, "2").await;
    assert_eq!(reader.until(2).await, [2]);
}

#[tokio::test]
async fn in_a_fail_over_nothing_is_read_that_only_the_old_primary_has() {
    let (primary, replica, log) = read_pair().await;
    let t = topic("t");
    let mut reader = Reader::latest(&log, &t).await;
    append(&log, &t, "1").await;
    assert_eq!(reader.until(1).await, [1]);
    // As sentinels do it, before they name the new primary.
    replica.words::<()>("REPLICAOF NO ONE").await;
    replica.words::<()>("CLIENT KILL TYPE pubsub").await;
    let receipt = append(&log, &t, "2").await;
    append(&log, &t, "3").await;
    until_feed_is_at(&replica).await;
    let limit = crate::support::PAGE;
    let said = log.read(&t, receipt.position, limit).await.unwrap_err().to_string();
    assert!(said.contains("takes the primary's place"), "{said}");
    let nothing = tokio::time::timeout(Duration::from_secs(2), reader.step()).await;
    assert!(nothing.is_err(), "{nothing:?}");
    // They change their mind.
    replica.words::<()>(&format!("REPLICAOF {}", primary.host_port())).await;
    until_follows(&replica).await;
    append(&log, &t, "4").await;
    assert_eq!(reader.until(4).await, [2, 3, 4]);
}

#[tokio::test]
async fn a_gap_is_told_by_the_primary_only() {
    let (_primary, _replica, log) = read_pair().await;
    let t = topic("t");
    fill(&log, &t, 1..=5).await;
    let mut reader = Reader::resume(&log, &t, "1-1").await;
    // No position of this log: the primary says so.
    let gap = reader.gap().await;
    assert_eq!(gap.newest.n, 5, "{gap:?}");
    // A topic that nobody knows.
    let unknown = Reader::resume(&log, &topic("unknown"), "1-1").await;
    assert_eq!(unknown.outcome, event_log::Outcome::Reset);
    assert!(log.bounds(&topic("unknown")).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_planned_switch_over_takes_nothing_back_and_hardly_pauses_readers() {
    let deployment = Sentinels::start().await;
    let config = replicated(&deployment.url());
    let log = open(reading(config_at(&deployment.url()))).await;
    let traffic = Traffic::start(config, 3).await;
    let old = deployment.primary().await;
    until_feed_is_at(&deployment.servers[1 - old]).await;
    until(&deployment.sentinels[0], "SENTINEL FAILOVER main", |_: &String| true).await;
    deployment.other_primary(old).await;
    until_follows(&deployment.servers[old]).await;
    traffic.goes_on().await;
    assert_eq!(traffic.judge().await.gaps, []);
    // At last the new replica is read.
    let stats = log.stats();
    eventually("the replica is read", || stats.primaries_read() == 0).await;
}

#[tokio::test]
async fn a_reader_from_before_a_fail_over_goes_on_at_the_replica_of_the_new_primary() {
    let deployment = Sentinels::start().await;
    let log = open(reading(config_at(&deployment.url()))).await;
    let t = topic("t");
    fill(&log, &t, 1..=3).await;
    let last = append(&log, &t, "4").await.position;
    let old = deployment.primary().await;
    until(&deployment.sentinels[0], "SENTINEL FAILOVER main", |_: &String| true).await;
    deployment.other_primary(old).await;
    until_follows(&deployment.servers[old]).await;
    until_feed_is_at(&deployment.servers[old]).await;
    fill(&log, &t, 5..=7).await;
    let mut reader = Reader::resume(&log, &t, &last.to_string()).await;
    assert_eq!(reader.until(7).await, [5, 6, 7]);
    // Outside of the window too.
    let page = log.read(&t, last, crate::support::PAGE).await.unwrap();
    assert_eq!((page.gap, page.events.len()), (None, 3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_primary_takes_nothing_back() {
    let mut deployment = Sentinels::start().await;
    let traffic = Traffic::start(replicated(&deployment.url()), 3).await;
    let old = deployment.primary().await;
    until_feed_is_at(&deployment.servers[1 - old]).await;
    deployment.servers[old].kill();
    deployment.other_primary(old).await;
    deployment.servers[old].restart().await;
    until_follows(&deployment.servers[old]).await;
    traffic.goes_on().await;
    assert_eq!(traffic.judge().await.gaps, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_primary_takes_nothing_back_and_readers_read_on() {
    let deployment = Sentinels::start().await;
    let config = Config { timeout: Duration::from_millis(500), ..replicated(&deployment.url()) };
    let log = open(Config { durability: Default::default(), ..config.clone() }).await;
    let traffic = Traffic::start(config, 3).await;
    let old = deployment.primary().await;
    until_feed_is_at(&deployment.servers[1 - old]).await;
    let pid = deployment.servers[old].pid().await;
    pid.signal("-STOP");
    // A cold resume, while there is no primary.
    let mut reader = Reader::resume(&log, &topic("traffic/0"), "0-0").await;
    assert!(matches!(reader.step().await, Step::Events { .. }));
    deployment.other_primary(old).await;
    pid.signal("-CONT");
    until_follows(&deployment.servers[old]).await;
    traffic.goes_on().await;
    assert_eq!(traffic.judge().await.gaps, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_replicas_of_a_cluster_are_read_through_switches_and_a_kill() {
    let mut deployment = Cluster::start().await;
    let traffic = Traffic::start(replicated(&deployment.url()), 12).await;
    for replica in 3..6 {
        until_feed_is_at(&deployment.nodes[replica]).await;
    }
    deployment.switch_over(4).await;
    traffic.goes_on().await;
    deployment.nodes[0].kill();
    until(&deployment.nodes[3], "INFO replication", |info: &String| info.contains("role:master"))
        .await;
    deployment.nodes[0].restart().await;
    deployment.settled().await;
    traffic.goes_on().await;
    assert_eq!(traffic.judge().await.gaps, []);
}

/// A primary under sentinels with two replicas, and a log that reads from one of them. Returns the index of that one, and
/// of the other, which the log waits for.
async fn three() -> (Sentinels, Arc<RedisLog>, usize, usize) {
    let deployment = Sentinels::with_replicas(2).await;
    let log = open(reading(config_at(&deployment.url()))).await;
    let stats = log.stats();
    eventually("the other replica is waited for", || stats.replicas_awaited() == 1).await;
    let clients: String = deployment.servers[1].words("CLIENT LIST").await;
    let source = if clients.contains("name=tailwater-feed") { 1 } else { 2 };
    until_feed_is_at(&deployment.servers[source]).await;
    (deployment, log, source, 3 - source)
}

#[tokio::test]
async fn an_event_is_seen_when_every_replica_has_it_that_may_be_promoted() {
    let (deployment, log, _, other) = three().await;
    let writing = open(config_at(&deployment.url())).await;
    let t = topic("t");
    let mut reader = Reader::latest(&log, &t).await;
    fill(&writing, &t, 1..=300).await;
    assert_eq!(reader.until(300).await, (1..=300).collect::<Vec<_>>());
    let pid = deployment.servers[other].pid().await;
    pid.signal("-STOP");
    append(&writing, &t, "301").await;
    let nothing = tokio::time::timeout(Duration::from_millis(500), reader.step()).await;
    assert!(nothing.is_err(), "{nothing:?}");
    // Nor is it there for a reader that begins now, whose first read asks the frozen replica.
    let begin = tokio::time::timeout(
        Duration::from_millis(300),
        log.read(&t, event_log::Position::START, crate::support::PAGE),
    );
    assert!(begin.await.is_err());
    pid.signal("-CONT");
    assert_eq!(reader.until(301).await, [301]);
    let bounds = log.bounds(&t).await.unwrap().unwrap();
    assert_eq!((bounds.head.n, bounds.length), (301, 301));
}

/// A promoted replica goes on after the numbers of lost events that a witness knows. It has those numbers, and not the
/// events.
#[tokio::test]
async fn a_promoted_replica_that_passes_over_lost_numbers_does_not_have_their_events() {
    let (deployment, log, _, other) = three().await;
    let writing = open(config_at(&deployment.url())).await;
    let t = topic("t");
    let mut reader = Reader::latest(&log, &t).await;
    append(&writing, &t, "1").await;
    assert_eq!(reader.until(1).await, [1]);
    // As sentinels promote it, before they name it.
    let promoted = &deployment.servers[other];
    promoted.words::<()>("REPLICAOF NO ONE").await;
    let lost = append(&writing, &t, "lost").await.position;
    let nothing = tokio::time::timeout(Duration::from_millis(300), reader.step()).await;
    assert!(nothing.is_err(), "{nothing:?}");
    // The entry and the head that the script writes for an append with this witness.
    let keys = StoredKeys::of_only_topic(promoted).await.unwrap();
    let next = format!("{}-{}", lost.ms + 10_000, lost.n + 1);
    promoted.words::<String>(&format!("XADD {} {next} d new", keys.stream)).await;
    let head: String = promoted.words(&format!("GET {}", keys.head)).await;
    let [_, expired, ..] = head.split(' ').collect::<Vec<_>>()[..] else { panic!("{head}") };
    let head = format!("{next} {expired} {next} 01234567 o");
    let set = redis::cmd("SET").arg(&keys.head).arg(head).take();
    promoted.try_run::<()>(&set).await.unwrap();
    let nothing = tokio::time::timeout(Duration::from_millis(500), reader.step()).await;
    assert!(nothing.is_err(), "{nothing:?}");
    let follow = format!("REPLICAOF {}", deployment.servers[0].host_port());
    promoted.words::<()>(&follow).await;
    assert_eq!(reader.until(2).await, [2]);
}

#[tokio::test]
async fn readers_wait_for_a_replica_that_loses_its_connections_as_it_is_promoted() {
    let (deployment, log, _, other) = three().await;
    let writing = open(lasting(config_at(&deployment.url()))).await;
    let t = topic("t");
    let mut reader = Reader::latest(&log, &t).await;
    // Questions to the replica are under way all the time.
    let publisher = tokio::spawn({
        let t = t.clone();
        async move {
            loop {
                append(&writing, &t, "").await;
                sleep(Duration::from_millis(1)).await;
            }
        }
    });
    let mut seen = 0;
    while seen < 100 {
        seen = reader.events().await.last().unwrap().position().n;
    }
    // As sentinels promote it, before they name it.
    let promoted = &deployment.servers[other];
    promoted.words::<()>("REPLICAOF NO ONE").await;
    promoted.words::<u64>("CLIENT KILL TYPE normal").await;
    let end = Instant::now() + Duration::from_millis(800);
    while let Ok(events) = tokio::time::timeout_at(end, reader.events()).await {
        seen = events.last().unwrap().position().n;
    }
    let keys = StoredKeys::of_only_topic(promoted).await.unwrap();
    assert!(seen <= promoted.words(&format!("XLEN {}", keys.stream)).await, "{seen}");
    let follow = format!("REPLICAOF {}", deployment.servers[0].host_port());
    promoted.words::<()>(&follow).await;
    let enough = seen + 500;
    while seen < enough {
        seen = reader.events().await.last().unwrap().position().n;
    }
    publisher.abort();
}

#[tokio::test]
async fn readers_do_not_wait_for_a_replica_that_is_gone() {
    let (mut deployment, log, _, other) = three().await;
    let t = topic("t");
    let mut reader = Reader::latest(&log, &t).await;
    let pid = deployment.servers[other].pid().await;
    pid.signal("-STOP");
    append(&log, &t, "1").await;
    assert_eq!(reader.until(1).await, [1]);
    pid.signal("-CONT");
    append(&log, &t, "2").await;
    assert_eq!(reader.until(2).await, [2]);
    deployment.servers[other].kill();
    append(&log, &t, "3").await;
    assert_eq!(reader.until(3).await, [3]);
}

#[tokio::test]
async fn readers_do_not_wait_for_a_replica_that_is_never_promoted() {
    let deployment = Sentinels::with_replicas(2).await;
    for replica in 1..=2 {
        deployment.servers[replica].words::<()>("CONFIG SET replica-priority 0").await;
    }
    let log = open(reading(config_at(&deployment.url()))).await;
    let stats = log.stats();
    eventually("a replica is read", || stats.primaries_read() == 0).await;
    assert_eq!(stats.replicas_awaited(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_promotion_of_a_replica_that_lacks_events_takes_nothing_back() {
    let (mut deployment, log, source, other) = three().await;
    let t = topic("t");
    let mut reader = Reader::latest(&log, &t).await;
    // A publisher that will be gone, so that no witness of its events is left.
    let writing = open(config_at(&deployment.url())).await;
    append(&writing, &t, "seen").await;
    assert_eq!(reader.until(1).await, [1]);
    // The sentinels can promote only the replica that lacks the next event.
    deployment.servers[source].words::<()>("CONFIG SET replica-priority 0").await;
    for sentinel in &deployment.sentinels {
        let never_promoted = |replicas: &Vec<std::collections::HashMap<String, String>>| {
            replicas.iter().any(|replica| replica["slave-priority"] == "0")
        };
        until(sentinel, "SENTINEL REPLICAS main", never_promoted).await;
        // Sentinels mend the link of a replica after four of these periods.
        sentinel.words::<()>("SENTINEL DEBUG PUBLISH-PERIOD 3000").await;
    }
    // Its link breaks a moment before the primary dies.
    deployment.servers[other].words::<()>("REPLICAOF 127.0.0.1 1").await;
    append(&writing, &t, "lost").await;
    writing.shutdown().await;
    drop(writing);
    let nothing = tokio::time::timeout(Duration::from_millis(300), reader.step()).await;
    assert!(nothing.is_err(), "{nothing:?}");
    deployment.servers[0].kill();
    deployment.other_primary(0).await;
    assert_eq!(deployment.primary().await, other);
    until_follows(&deployment.servers[source]).await;
    let writing = open(config_at(&deployment.url())).await;
    append(&writing, &t, "new").await;
    let events = reader.events().await;
    assert_eq!((events[0].position().n, events[0].data()), (2, "new"));
}

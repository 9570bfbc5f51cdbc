use std::sync::Arc;
use std::time::Duration;

use event_log::{AppendError, Log, Reason, Retention, Topic};
use redis_log::{Config, Op, RedisLog};
use tokio::time::{Instant, sleep};

use crate::server::Server;
use crate::support::{
    DEADLINE, Reader, StoredKeys, append, audited, config, event, eventually, fill, keyed, open,
    topic, try_append,
};

/// A configuration with a history that no reader can fall out of, however slow the machine.
fn whole(server: &Server) -> Config {
    let retention = Retention { events: 100_000, ..Retention::default() };
    Config { retention, ..config(server) }
}

/// Publishes numbered events until each is acknowledged, as an ingest does: the same key again.
async fn publish(log: Arc<RedisLog>, t: Topic, count: u64) {
    for n in 1..=count {
        let deadline = Instant::now() + DEADLINE;
        while let Err(error) = try_append(&log, keyed(&t, &n.to_string(), &format!("k{n}"))).await {
            assert!(matches!(error, AppendError::Unavailable(_)), "{error}");
            assert!(Instant::now() < deadline, "event {n} is refused: {error}");
            sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Reads `count` events, and asserts that each comes once and in order.
async fn receive(mut reader: Reader, count: u64) {
    let mut expected = 1;
    while expected <= count {
        for event in reader.events().await {
            assert_eq!(event.data(), expected.to_string());
            assert_eq!(event.position().n, expected);
            expected += 1;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_subscriber_connection_loses_and_doubles_nothing() {
    const EVENTS: u64 = 3000;
    let server = Server::start().await;
    let log = open(whole(&server)).await;
    let stats = log.stats();
    let topics = [topic("a"), topic("b"), topic("c")];
    let mut tasks = Vec::new();
    for t in &topics {
        for _ in 0..3 {
            tasks.push(tokio::spawn(receive(Reader::latest(&log, t).await, EVENTS)));
        }
        tasks.push(tokio::spawn(publish(Arc::clone(&log), t.clone(), EVENTS)));
    }
    for kills in 1..=8 {
        sleep(Duration::from_millis(30)).await;
        server.words::<()>("CLIENT KILL TYPE pubsub").await;
        eventually("the feed is back", || stats.connected() && stats.reconnects() >= kills).await;
    }
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_loses_no_acknowledged_event() {
    const EVENTS: u64 = 1500;
    let mut server = Server::with(&["--appendonly", "yes", "--appendfsync", "always"]).await;
    let log = open(whole(&server)).await;
    let stats = log.stats();
    let t = topic("t");
    let mut tasks = Vec::new();
    for _ in 0..3 {
        tasks.push(tokio::spawn(receive(Reader::latest(&log, &t).await, EVENTS)));
    }
    tasks.push(tokio::spawn(publish(Arc::clone(&log), t.clone(), EVENTS)));
    for _ in 0..3 {
        sleep(Duration::from_millis(100)).await;
        server.kill();
        eventually("the loss is noticed", || !stats.connected()).await;
        server.restart().await;
        eventually("the feed is back", || stats.connected()).await;
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert!(stats.errors(Op::Feed) > 0);
}

#[tokio::test]
async fn a_server_that_comes_back_empty_is_a_reset() {
    let mut server = Server::start().await;
    let log = open(config(&server)).await;
    let (t, quiet) = (topic("t"), topic("quiet"));
    fill(&log, &t, 1..=5).await;
    fill(&log, &quiet, 1..=5).await;
    let mut reader = Reader::latest(&log, &t).await;
    let mut other = Reader::latest(&log, &quiet).await;
    server.restart().await;
    assert_eq!(reader.gap().await.reason, Reason::Reset);
    assert_eq!(other.gap().await.reason, Reason::Reset);
    append(&log, &t, "1").await;
    assert_eq!(reader.until(1).await, [1]);
}

#[tokio::test]
async fn a_lost_last_message_is_found_by_the_audit() {
    let server = Server::start().await;
    let log = open(audited(&server)).await;
    let stats = log.stats();
    let t = topic("t");
    let first = append(&log, &t, "1").await.position;
    let mut reader = Reader::resume(&log, &t, "0-0").await;
    reader.until(1).await;
    let keys = StoredKeys::of_only_topic(&server).await.unwrap();
    keys.add_in_silence(&server, first).await;
    assert_eq!(reader.until(2).await, [2]);
    assert_eq!(stats.audit_finds(), 1);
    append(&log, &t, "3").await;
    assert_eq!(reader.until(3).await, [3]);
    assert_eq!(stats.audit_finds(), 1);
}

#[tokio::test]
async fn a_silent_connection_is_closed() {
    let server = Server::start().await;
    let log = open(config(&server)).await;
    let stats = log.stats();
    let t = topic("t");
    let mut reader = Reader::latest(&log, &t).await;
    // A stopped server looks like a cut network: the socket stays open, and nothing arrives.
    let pid = server.pid().await;
    pid.signal("-STOP");
    eventually("the silence is noticed", || !stats.connected()).await;
    let start = Instant::now();
    let refused = try_append(&log, event(&t, "lost")).await;
    assert!(matches!(refused, Err(AppendError::Unavailable(_))), "{refused:?}");
    assert!(log.bounds(&t).await.is_err());
    assert!(start.elapsed() < DEADLINE, "every wait has an end");
    pid.signal("-CONT");
    eventually("the feed is back", || stats.connected()).await;
    append(&log, &t, "told").await;
    // The refused event may have been stored. If so, it comes first.
    let mut told = false;
    while !told {
        told = reader.events().await.iter().any(|event| event.data() == "told");
    }
}

#[tokio::test]
async fn a_missing_server_stops_no_reader_and_comes_back_without_a_gap() {
    let mut server = Server::with(&["--appendonly", "yes", "--appendfsync", "always"]).await;
    let log = open(Config { timeout: Duration::from_millis(300), ..config(&server) }).await;
    let stats = log.stats();
    let (t, unseen) = (topic("t"), topic("unseen"));
    fill(&log, &t, 1..=300).await;
    let mut at_head = Reader::latest(&log, &t).await;
    let mut behind = Reader::resume(&log, &t, "0-0").await;
    server.kill();
    eventually("the loss is noticed", || !stats.connected()).await;
    assert!(log.tail(&t).await.is_ok(), "an open tail stays");
    assert!(log.tail(&unseen).await.is_err());
    assert!(matches!(try_append(&log, event(&t, "x")).await, Err(AppendError::Unavailable(_))));
    server.restart().await;
    eventually("the feed is back", || stats.connected()).await;
    append(&log, &t, "301").await;
    assert_eq!(at_head.until(301).await, [301]);
    assert!(behind.until(301).await.into_iter().eq(1..=301));
    assert!(log.tail(&unseen).await.is_ok());
}

#[tokio::test]
async fn a_topic_that_many_open_at_once_is_opened_once() {
    let server = Server::start().await;
    let log = open(config(&server)).await;
    let t = topic("t");
    fill(&log, &t, 1..=10).await;
    let before = server.calls("ssubscribe").await;
    let opened = (0..200).map(|_| {
        let (log, t) = (Arc::clone(&log), t.clone());
        tokio::spawn(async move { log.tail(&t).await.unwrap() })
    });
    let mut tails = Vec::new();
    for task in opened.collect::<Vec<_>>() {
        tails.push(task.await.unwrap());
    }
    assert!(tails.iter().all(|tail| Arc::ptr_eq(tail, &tails[0])));
    assert_eq!(server.calls("ssubscribe").await - before, 1);
}

#[tokio::test]
async fn readers_of_one_page_share_the_read() {
    let server = Server::start().await;
    let log = open(config(&server)).await;
    let t = topic("t");
    fill(&log, &t, 1..=500).await;
    let before = server.calls("xrange").await;
    let mut tasks = Vec::new();
    for _ in 0..500 {
        let (log, t) = (Arc::clone(&log), t.clone());
        tasks.push(tokio::spawn(async move {
            log.read(&t, event_log::Position::START, crate::support::PAGE).await.unwrap()
        }));
    }
    for task in tasks {
        assert_eq!(task.await.unwrap().events.len(), 128);
    }
    let reads = server.calls("xrange").await - before;
    assert!(reads <= 10, "{reads} reads for 500 readers of one page");
}

//! The work of an operator on stored topics.

use event_log::{Append, Key, Log, Mark, NewEvent, Position, Reason};
use redis_log::{Config, RedisLog, StoredTopic};

use crate::deployment::Cluster;
use crate::server::Server;
use crate::support::{
    PAGE, Reader, append, audited, config, config_at, event, eventually, fill, open, topic,
    try_append,
};

async fn inventory(log: &RedisLog) -> Vec<StoredTopic> {
    let mut topics = Vec::new();
    log.inventory(|_| true, |topic| topics.push(topic)).await.unwrap();
    topics.sort_by(|a, b| a.log.cmp(&b.log));
    topics
}

#[tokio::test]
async fn every_topic_is_measured_and_those_of_other_prefixes_are_not() {
    let server = Server::start().await;
    let log = open(config(&server)).await;
    let other = Config { prefix: "shop".parse().unwrap(), ..config(&server) };
    let other = open(other).await;
    append(&other, &topic("elsewhere"), "x").await;
    let _reader = Reader::latest(&log, &topic("a")).await;
    fill(&log, &topic("a"), 1..=3).await;
    fill(&log, &topic("b"), 1..=130).await;
    let [a, b] = &inventory(&log).await[..] else { panic!("two topics") };
    assert_eq!((a.log.as_str(), a.events, a.watched, a.ended), ("a", 3, 1, false));
    assert_eq!((b.events, b.head.n, b.watched), (130, 130, 0));
    assert!(b.bytes > a.bytes && b.quiet.as_secs() < 60, "{b:?}");
    let mut some = Vec::new();
    log.inventory(|topic| topic.as_str() == "b", |topic| some.push(topic)).await.unwrap();
    assert_eq!(some.len(), 1);
}

#[tokio::test]
async fn the_topics_of_all_primaries_are_measured() {
    let deployment = Cluster::start().await;
    let log = open(config_at(&deployment.url())).await;
    for i in 0..30 {
        append(&log, &topic(&format!("t{i}")), "x").await;
    }
    assert_eq!(inventory(&log).await.len(), 30);
}

#[tokio::test]
async fn a_deleted_topic_is_a_reset_for_its_readers() {
    let server = Server::start().await;
    let log = open(audited(&server)).await;
    let t = topic("t");
    let mut reader = Reader::latest(&log, &t).await;
    fill(&log, &t, 1..=3).await;
    reader.until(3).await;
    assert!(log.delete(&t).await.unwrap());
    assert!(!log.delete(&t).await.unwrap(), "there is none any more");
    assert_eq!(reader.gap().await.reason, Reason::Reset);
    assert_eq!(append(&log, &t, "again").await.position.n, 1);
    assert_eq!(reader.until(1).await, [1]);
}

/// An operator who makes room on a full server deletes topics.
#[tokio::test]
async fn a_topic_is_deleted_on_a_full_server_and_its_keys_are_over() {
    let server = Server::start().await;
    let (log, t) = (open(config(&server)).await, topic("t"));
    let keyed = || Append { key: Key::new("k").ok(), ..event(&t, "1") };
    try_append(&log, keyed()).await.unwrap();
    server.words::<()>("CONFIG SET maxmemory-policy noeviction").await;
    server.words::<()>("CONFIG SET maxmemory 1").await;
    assert!(log.delete(&t).await.unwrap());
    server.words::<()>("CONFIG SET maxmemory 0").await;
    let again = try_append(&log, keyed()).await.unwrap();
    assert_eq!((again.position.n, again.duplicate), (1, false));
}

#[tokio::test]
async fn an_erased_event_is_a_gap_of_one_for_every_reader() {
    let server = Server::start().await;
    // The one node has the events in its memory, the other has not.
    let (warm, cold) = (open(config(&server)).await, open(config(&server)).await);
    let t = topic("t");
    let mut live = Reader::latest(&warm, &t).await;
    fill(&warm, &t, 1..=5).await;
    live.until(5).await;
    let tail = warm.tail(&t).await.unwrap();
    assert_eq!(tail.len(), 5);
    let page = warm.read(&t, Position::START, crate::support::PAGE).await.unwrap();
    let third = page.events[2].position();

    assert!(warm.erase(&t, third).await.unwrap());
    assert!(!warm.erase(&t, third).await.unwrap(), "it is gone already");
    eventually("the node forgets it", || tail.len() == 2).await;
    for log in [&warm, &cold] {
        let mut reader = Reader::resume(log, &t, "0-0").await;
        assert_eq!(reader.until(2).await, [1, 2]);
        let gap = reader.gap().await;
        assert_eq!((gap.reason, gap.missed), (Reason::Trimmed, Some(1)));
        assert_eq!(reader.until(5).await, [4, 5]);
    }
    // A live reader is past it, and the numbers go on.
    assert_eq!(append(&cold, &t, "6").await.position.n, 6);
    assert_eq!(live.until(6).await, [6]);
    // The newest event, too.
    let newest = warm.bounds(&t).await.unwrap().unwrap().head;
    assert!(cold.erase(&t, newest).await.unwrap());
    eventually("the node forgets it", || tail.is_empty()).await;
    let mut reader = Reader::resume(&cold, &t, "0-0").await;
    reader.until(2).await;
    reader.gap().await;
    assert_eq!(reader.until(5).await, [4, 5]);
    let gap = reader.gap().await;
    assert_eq!((gap.reason, gap.missed), (Reason::Trimmed, Some(1)));
    assert_eq!(append(&warm, &t, "7").await.position.n, 7);
    assert_eq!(reader.until(7).await, [7]);
}

/// Witnesses of a deleted topic must not raise its numbers, and the clock of the server must not set its positions
/// back.
#[tokio::test]
async fn positions_of_a_deleted_topic_are_over_for_every_node() {
    let server = Server::start().await;
    let (one, two) = (open(config(&server)).await, open(config(&server)).await);
    let a = topic("a");
    for log in [&one, &two] {
        append(log, &a, "x").await;
    }
    // A server whose clock was ahead has given out the last position.
    let head = server.words::<String>("GET h:{9}:a").await;
    let (last, rest) = head.split_once(' ').unwrap();
    let ms: u64 = last.split_once('-').unwrap().0.parse().unwrap();
    let ahead = Position::new(ms + 3_600_000, 2);
    let mut command = redis::cmd("SET");
    server.run::<()>(command.arg("h:{9}:a").arg(format!("{ahead} {rest}"))).await;
    let last = append(&two, &a, "y").await.position;
    assert!(last.n == 3 && last > ahead);

    let event = NewEvent { mark: Mark::Deleted, ..NewEvent::default() };
    let deleted = try_append(&one, Append::new(a.clone(), event)).await.unwrap();
    assert_eq!((deleted.position, deleted.duplicate), (last, false));
    assert_eq!(server.words::<u64>("XLEN e:{9}:a").await, 0);
    for (log, n) in [(&two, 1), (&one, 2), (&two, 3)] {
        let position = append(log, &a, "z").await.position;
        assert!(position.n == n && position.ms > last.ms, "{position} after {last}");
    }
    // The life of the stream was renewed with its first event.
    assert!(server.words::<i64>("PTTL e:{9}:a").await > 0);
    let page = one.read(&a, last, PAGE).await.unwrap();
    assert_eq!(page.gap.map(|gap| gap.reason), Some(Reason::Reset));
}

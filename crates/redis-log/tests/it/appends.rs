use std::time::Duration;

use event_log::{Append, AppendError, Log, Mark, NewEvent, Retention};
use redis_log::{Config, Op};

use crate::gaps::key;
use crate::server::Server;
use crate::support::{Reader, append, config, event, fill, keyed, open, topic, try_append};

fn marked(append: Append, mark: Mark) -> Append {
    Append { event: NewEvent { mark, ..append.event }, ..append }
}

#[tokio::test]
async fn a_batch_of_a_thousand_keeps_its_order() {
    let server = Server::start().await;
    let log = open(config(&server)).await;
    let topics = [topic("a"), topic("b")];
    let batch: Vec<_> = (0..2500_usize).map(|i| event(&topics[i % 2], &i.to_string())).collect();
    let receipts = log.append(batch).await;
    for (i, receipt) in receipts.into_iter().enumerate() {
        assert_eq!(receipt.unwrap().position.n, i as u64 / 2 + 1);
    }
}

#[tokio::test]
async fn a_retry_with_the_same_key_is_stored_once() {
    let server = Server::start().await;
    let log = open(config(&server)).await;
    let (t, other) = (topic("t"), topic("u"));
    let first = try_append(&log, keyed(&t, "x", "k")).await.unwrap();
    append(&log, &t, "y").await;
    let again = try_append(&log, keyed(&t, "x", "k")).await.unwrap();
    assert_eq!((again.position, again.duplicate), (first.position, true));
    assert!(!try_append(&log, keyed(&other, "x", "k")).await.unwrap().duplicate);
    assert_eq!(log.bounds(&t).await.unwrap().unwrap().head.n, 2);
}

/// 0.2.0 stores a key without a fingerprint, and takes the whole value of a key for a position.
#[tokio::test]
async fn keys_are_shared_with_the_version_before() {
    let server = Server::start().await;
    let log = open(config(&server)).await;
    let t = topic("a");
    let first = try_append(&log, keyed(&t, "x", "k")).await.unwrap();
    assert_eq!(server.words::<String>("GET i:{9}:a|k").await, first.position.to_string());
    let lives = [
        server.words::<i64>("PEXPIRETIME i:{9}:a|k").await,
        server.words::<i64>("PEXPIRETIME i:{9}:|a|k").await,
    ];
    assert!(lives[0] > 0 && lives[0] == lives[1], "{lives:?}");
    let reused = try_append(&log, keyed(&t, "y", "k")).await.unwrap_err();
    assert_eq!(reused, AppendError::KeyReused { topic: t.clone(), first: first.position });

    assert_eq!(server.words::<u64>("DEL i:{9}:|a|k").await, 1);
    let other = try_append(&log, keyed(&t, "y", "k")).await.unwrap();
    assert_eq!((other.position, other.duplicate), (first.position, true));
}

#[tokio::test]
async fn a_key_is_forgotten_after_its_time() {
    let server = Server::start().await;
    let retention = Retention { key: Duration::from_millis(1), ..Retention::default() };
    let log = open(Config { retention, ..config(&server) }).await;
    let t = topic("t");
    let mut appends = 0;
    loop {
        appends += 1;
        if appends > 1 && !try_append(&log, keyed(&t, "x", "k")).await.unwrap().duplicate {
            break;
        }
        try_append(&log, keyed(&t, "x", "k")).await.unwrap();
    }
}

#[tokio::test]
async fn only_retries_follow_the_end() {
    let server = Server::start().await;
    let log = open(config(&server)).await;
    let t = topic("t");
    let keyed_first = try_append(&log, keyed(&t, "1", "k1")).await.unwrap();
    let last = try_append(&log, marked(keyed(&t, "2", "k2"), Mark::Last)).await.unwrap();
    for late in [event(&t, "3"), keyed(&t, "3", "k3"), marked(event(&t, "3"), Mark::Last)] {
        let ended = AppendError::Ended { topic: t.clone(), last: last.position };
        assert_eq!(try_append(&log, late).await, Err(ended));
    }
    for (retry, first) in [(keyed(&t, "1", "k1"), keyed_first), (keyed(&t, "2", "k2"), last)] {
        let receipt = try_append(&log, retry).await.unwrap();
        assert_eq!((receipt.position, receipt.duplicate), (first.position, true));
    }
    let end = try_append(&log, marked(event(&t, ""), Mark::End)).await.unwrap();
    assert_eq!((end.position, end.duplicate), (last.position, true));
    // The refused key was not kept.
    let mut keys: Vec<String> = server.words("KEYS i:*").await;
    keys.sort();
    assert_eq!(keys.len(), 4, "a key and a fingerprint of two events: {keys:?}");
    assert!(!keys.iter().any(|key| key.ends_with("|k3")), "{keys:?}");
    // Without the head the stream still shows the end.
    let head: Vec<String> = server.words("KEYS h:*").await;
    server.words::<()>(&format!("DEL {}", head[0])).await;
    assert!(log.bounds(&t).await.unwrap().unwrap().ended);
    assert!(matches!(try_append(&log, event(&t, "3")).await, Err(AppendError::Ended { .. })));
    assert_eq!(log.stats().errors(Op::Append), 0);
}

#[tokio::test]
async fn a_full_server_stores_no_part_of_an_append() {
    let server = Server::start().await;
    let log = open(config(&server)).await;
    let t = topic("t");
    append(&log, &t, "1").await;
    server.words::<()>("CONFIG SET maxmemory 1").await;
    for refused in [event(&t, "2"), keyed(&t, "2", "k")] {
        assert!(matches!(try_append(&log, refused).await, Err(AppendError::Full(_))));
    }
    assert_eq!(log.stats().errors(Op::Append), 2);
    // Stored events can be read, and retries are answered.
    let mut reader = Reader::resume(&log, &t, "0-0").await;
    assert_eq!(reader.until(1).await, [1]);
    server.words::<()>("CONFIG SET maxmemory 0").await;
    let keys: Vec<String> = server.words("KEYS i:*").await;
    assert!(keys.is_empty(), "{keys:?}");
    assert!(!try_append(&log, keyed(&t, "2", "k")).await.unwrap().duplicate);
    assert_eq!(reader.until(2).await, [2]);
}

#[tokio::test]
async fn forgotten_scripts_are_loaded_again() {
    let server = Server::start().await;
    let log = open(config(&server)).await;
    let t = topic("t");
    fill(&log, &t, 1..=10).await;
    server.words::<()>("SCRIPT FLUSH").await;
    fill(&log, &t, 11..=30).await;
    let mut reader = Reader::resume(&log, &t, "0-0").await;
    let mut data = Vec::new();
    while data.len() < 30 {
        data.extend(reader.events().await.iter().map(|e| e.data().parse::<u64>().unwrap()));
    }
    assert!(data.into_iter().eq(1..=30));
}

#[tokio::test]
async fn length_and_age_bound_a_topic() {
    let server = Server::start().await;
    let retention = Retention { events: 50, ..Retention::default() };
    let log = open(Config { retention, ..config(&server) }).await;
    let long = topic("long");
    for _ in 0..10 {
        fill(&log, &long, 1..=100).await;
    }
    // Redis drops whole nodes of the stream, each of at most a hundred entries.
    let bounds = log.bounds(&long).await.unwrap().unwrap();
    assert!((50..=150).contains(&bounds.length), "{bounds:?}");
    assert_eq!(bounds.head.n, 1000);

    let retention = Retention { age: Duration::from_millis(7), ..Retention::default() };
    let log = open(Config { retention, ..config(&server) }).await;
    let old = topic("old");
    fill(&log, &old, 1..=600).await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    // An idle topic is gone after 8/7 of the age; its numbering remains.
    let bounds = log.bounds(&old).await.unwrap().unwrap();
    assert_eq!((bounds.length, bounds.oldest, bounds.head.n), (0, None, 600));
    let mut reader = Reader::resume(&log, &old, "0-0").await;
    assert_eq!(reader.gap().await.missed, Some(600));
    append(&log, &old, "601").await;
    assert_eq!(reader.until(601).await, [601]);
}

#[tokio::test]
async fn a_refused_new_topic_writes_nothing_and_a_duplicate_is_answered_first() {
    let server = Server::start().await;
    let log = open(config(&server)).await;
    let t = topic("t");
    let follow = |key: &str| Append { may_begin: false, ..keyed(&t, "x", key) };
    let refused = try_append(&log, follow("k")).await;
    assert_eq!(refused, Err(AppendError::NewTopic { topic: t.clone() }));
    let keys: Vec<String> = server.words("KEYS *").await;
    assert_eq!(keys, [""; 0]);
    let first = try_append(&log, keyed(&t, "x", "k")).await.unwrap();
    // The head is gone, the stream is not, and the other way round: the topic is known.
    let (stream, head) = (key(&server, 'e').await, key(&server, 'h').await);
    server.words::<()>(&format!("DEL {head}")).await;
    assert_eq!(try_append(&log, follow("k2")).await.unwrap().position.n, 2);
    server.words::<()>(&format!("DEL {stream}")).await;
    assert_eq!(try_append(&log, follow("k3")).await.unwrap().position.n, 3);
    // Only the key is left.
    server.words::<()>(&format!("DEL {stream} {head}")).await;
    let again = try_append(&log, follow("k")).await.unwrap();
    assert_eq!((again.position, again.duplicate), (first.position, true));
    let refused = try_append(&log, follow("k4")).await;
    assert_eq!(refused, Err(AppendError::NewTopic { topic: t.clone() }));
}

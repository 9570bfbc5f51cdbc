//! Spaces on real servers: what the conformance suite does not see.

use std::sync::Arc;
use std::time::Duration;

use event_log::{Append, AppendError, Limit, Log, LogName, Mark, NewEvent, Position, Spaces};
use redis_log::{Config, ConnectError, RedisLog};

use crate::server::Server;
use crate::support::{append, config, event, eventually, open, topic, try_append};

fn with(server: &Server, prefixes: &[&str]) -> Config {
    let spaces = Spaces::new(prefixes.iter().copied()).unwrap();
    Config { spaces, ..config(server) }
}

fn log_of(name: &str) -> LogName {
    LogName::parse(name).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_with_other_spaces_is_refused_at_its_start() {
    let server = Server::start().await;
    // A node without spaces leaves nothing.
    drop(open(with(&server, &[])).await);
    let first = open(with(&server, &["orders/", "a/"])).await;
    drop(open(with(&server, &["a/", "orders/"])).await);
    for others in [&["orders/"][..], &[], &["orders/", "a/", "b/"]] {
        let refused = RedisLog::connect(with(&server, others)).await.unwrap_err();
        assert!(matches!(refused, ConnectError::Spaces { .. }), "{refused}");
        let said = refused.to_string();
        assert!(said.contains("--space a/ --space orders/"), "{said}");
    }
    let stored = first.stored_spaces().await.unwrap().unwrap();
    assert_eq!(stored.to_string(), "a/, orders/");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_serves_nothing_while_the_store_has_other_spaces() {
    let server = Server::start().await;
    let log = open(with(&server, &["orders/"])).await;
    append(&log, &topic("orders/1"), "x").await;
    let spaces = Spaces::new(["orders/", "new/"]).unwrap();
    log.set_spaces(&spaces).await.unwrap();
    let is_refused = async || match try_append(&log, event(&topic("new/1"), "x")).await {
        Ok(_) => false,
        Err(AppendError::Unavailable(why)) => why.contains("--space new/"),
        Err(other) => panic!("{other}"),
    };
    while !is_refused().await {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(log.bounds(&log_of("orders/**")).await.is_err());
    assert!(log.echo(&topic("t")).await.is_err());
    // It goes on as soon as they agree.
    log.set_spaces(&Spaces::new(["orders/"]).unwrap()).await.unwrap();
    while try_append(&log, event(&topic("orders/1"), "x")).await.is_err() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // A wiped store gets them again.
    server.words::<()>("FLUSHALL").await;
    let stored = async || log.stored_spaces().await.unwrap();
    while stored().await.is_none() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_space_keeps_its_own_number_of_events() {
    let server = Server::start().await;
    let mut config = with(&server, &["orders/"]);
    (config.retention.events, config.retention.space_events) = (100, 1000);
    let log = open(config).await;
    for name in ["orders/1", "alone"] {
        let batch: Vec<_> = (0..3000).map(|_| event(&topic(name), "x")).collect();
        for some in batch.chunks(200) {
            assert!(log.append(some.to_vec()).await.iter().all(Result::is_ok));
        }
    }
    let length = async |name| log.bounds(&log_of(name)).await.unwrap().unwrap().length;
    let (space, alone) = (length("orders/**").await, length("alone").await);
    // Redis trims whole nodes of a stream.
    assert!((1000..1400).contains(&space) && (100..400).contains(&alone), "{space} {alone}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_event_and_a_foreign_entry_have_topics() {
    let server = Server::start().await;
    let log = open(with(&server, &["orders/"])).await;
    let tail = log.tail(&log_of("orders/**")).await.unwrap();
    let large = "x".repeat(64 * 1024);
    append(&log, &topic("orders/1"), &large).await;
    append(&log, &topic("orders/2/lines"), "small").await;
    eventually("both are on the tail", || tail.head().n == 2).await;
    let stream: Vec<String> = server.words("KEYS e:*").await;
    let ms = tail.head().ms + 1;
    server.words::<String>(&format!("XADD {} {ms}-3 d foreign", stream[0])).await;
    let limit = Limit { events: 10, bytes: usize::MAX };
    let page = log.read(&log_of("orders/**"), Position::START, limit).await.unwrap();
    let topics: Vec<_> = page.events.iter().map(|event| event.topic().as_str()).collect();
    assert_eq!(topics, ["orders/1", "orders/2/lines", "orders/"]);
    assert_eq!(page.events[0].data().len(), large.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_that_a_space_refuses_stops_no_other() {
    let server = Server::start().await;
    let log = open(with(&server, &["orders/"])).await;
    let end = NewEvent { mark: Mark::End, ..NewEvent::default() };
    let batch = vec![
        event(&topic("orders/1"), "a"),
        Append::new(topic("orders/1"), end.clone()),
        Append::new(topic("alone"), end),
        event(&topic("orders/2"), "b"),
    ];
    let results = log.append(batch).await;
    let numbers: Vec<_> = results.iter().map(|r| r.as_ref().ok().map(|r| r.position.n)).collect();
    assert_eq!(numbers, [Some(1), None, Some(1), Some(2)]);
    assert!(matches!(results[1], Err(AppendError::InSpace { .. })));
    let _: Arc<dyn Log> = log;
}

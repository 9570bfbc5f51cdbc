use std::time::Duration;

use event_log::{Log, Mark, NewEvent, Seek, Step};
use redis_log::Config;
use tokio::time::sleep;

use crate::server::Server;
use crate::support::{Reader, append, audited, config, eventually, fill, open, topic, try_append};

#[tokio::test]
async fn an_event_reaches_readers_on_every_node() {
    let server = Server::start().await;
    let (one, two) = (open(config(&server)).await, open(config(&server)).await);
    let t = topic("t");
    let mut readers = [Reader::latest(&one, &t).await, Reader::latest(&two, &t).await];
    let receipt = append(&one, &t, "hello").await;
    for reader in &mut readers {
        let events = reader.events().await;
        assert_eq!((events[0].position(), events[0].data()), (receipt.position, "hello"));
    }
    assert_eq!(two.stats().repairs(), 0);
}

#[tokio::test]
async fn type_trace_and_mark_travel_with_the_event() {
    let server = Server::start().await;
    let log = open(config(&server)).await;
    let t = topic("t");
    let mut live = Reader::latest(&log, &t).await;
    let event = NewEvent {
        kind: Some(event_log::EventType::new("tick").unwrap()),
        data: "a\nb\r\n\u{1f389}".into(),
        mark: Mark::Last,
        trace: event_log::TraceParent::parse(
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ),
        extra: None,
    };
    let append = event_log::Append::new(t.clone(), event.clone());
    try_append(&log, append).await.unwrap();
    let other = open(config(&server)).await;
    let mut resumed = Reader::resume(&other, &t, "0-0").await;
    for reader in [&mut live, &mut resumed] {
        let got = &reader.events().await[0];
        assert_eq!(
            (got.kind(), got.data(), got.mark()),
            (event.kind.as_ref(), &*event.data, Mark::Last)
        );
        assert_eq!(got.trace(), event.trace.as_ref());
        assert!(matches!(reader.step().await, Step::End { place: 0 }));
        assert!(matches!(reader.step().await, Step::Finished));
    }
}

#[tokio::test]
async fn an_event_too_large_for_a_message_is_read_from_the_log() {
    let server = Server::start().await;
    let log = open(config(&server)).await;
    let t = topic("t");
    let mut reader = Reader::latest(&log, &t).await;
    let large = "x".repeat(200_000);
    for data in ["small", &large, "small again", &large] {
        append(&log, &t, data).await;
    }
    let mut sizes = Vec::new();
    while sizes.len() < 4 {
        sizes.extend(reader.events().await.iter().map(|event| event.data().len()));
    }
    assert_eq!(sizes, [5, 200_000, 11, 200_000]);
}

#[tokio::test]
async fn a_resume_within_the_window_costs_no_read() {
    let server = Server::start().await;
    let log = open(config(&server)).await;
    let t = topic("t");
    fill(&log, &t, 1..=300).await;
    // The position of an event, as a client has it. The position before an event may have no event.
    let before = log.seek(&t, Seek::Last(101)).await.unwrap().position;
    let page = log.read(&t, before, event_log::Limit::ONE).await.unwrap();
    let cursor = page.events[0].position().to_string();
    log.tail(&t).await.unwrap();
    let reads = log.stats().reads();
    for _ in 0..50 {
        let mut reader = Reader::resume(&log, &t, &cursor).await;
        reader.until(300).await;
    }
    assert_eq!(log.stats().reads(), reads);
}

#[tokio::test]
async fn a_reader_far_behind_pages_in_order() {
    let server = Server::start().await;
    let retention = event_log::Retention { events: 20_000, ..Default::default() };
    let log = open(Config { retention, ..config(&server) }).await;
    let t = topic("t");
    for start in (1..=10_000).step_by(1000) {
        fill(&log, &t, start..=start + 999).await;
    }
    let mut reader = Reader::resume(&log, &t, "0-0").await;
    let numbers = reader.until(10_000).await;
    assert!(numbers.into_iter().eq(1..=10_000));
}

#[tokio::test]
async fn two_publishers_keep_the_numbers_dense_and_every_reader_sees_one_order() {
    let server = Server::start().await;
    let (one, two) = (open(config(&server)).await, open(config(&server)).await);
    let t = topic("t");
    let mut readers = [Reader::latest(&one, &t).await, Reader::latest(&two, &t).await];
    let publish = |log: std::sync::Arc<redis_log::RedisLog>, name: &'static str| {
        let t = t.clone();
        tokio::spawn(async move {
            for i in 0..500 {
                append(&log, &t, &format!("{name}{i}")).await;
            }
        })
    };
    let (a, b) = (publish(one, "a"), publish(two, "b"));
    let mut orders = Vec::new();
    for reader in &mut readers {
        let mut order = Vec::new();
        while order.len() < 1000 {
            order.extend(reader.events().await.iter().map(|e| (e.position(), e.data().to_owned())));
        }
        assert!(order.iter().map(|(position, _)| position.n).eq(1..=1000));
        orders.push(order);
    }
    assert_eq!(orders[0], orders[1]);
    a.await.unwrap();
    b.await.unwrap();
}

#[tokio::test]
async fn a_topic_without_readers_is_released_and_comes_back_whole() {
    let server = Server::start().await;
    let log = open(Config { idle: Duration::from_millis(60), ..config(&server) }).await;
    let stats = log.stats();
    let t = topic("t");
    fill(&log, &t, 1..=3).await;
    drop(Reader::latest(&log, &t).await);
    eventually("the topic is released", || stats.topics() == 0).await;
    loop {
        let channels: Vec<String> = server.words("PUBSUB SHARDCHANNELS").await;
        if channels.is_empty() {
            break;
        }
        sleep(Duration::from_millis(2)).await;
    }
    let mut reader = Reader::resume(&log, &t, "0-0").await;
    fill(&log, &t, 4..=5).await;
    assert_eq!(reader.until(5).await, [1, 2, 3, 4, 5]);
    // A topic that is read is kept.
    sleep(Duration::from_millis(200)).await;
    assert_eq!(stats.topics(), 1);
    fill(&log, &t, 6..=6).await;
    assert_eq!(reader.until(6).await, [6]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_that_come_and_go_lose_nothing() {
    let server = Server::start().await;
    let log = open(Config { idle: Duration::from_millis(6), ..config(&server) }).await;
    let writer = open(config(&server)).await;
    let t = topic("t");
    let publisher = tokio::spawn({
        let t = t.clone();
        async move {
            for _ in 0..1000 {
                append(&writer, &t, "x").await;
                sleep(Duration::from_micros(500)).await;
            }
        }
    });
    let mut cursor = "0-0".to_owned();
    let mut expected = 1;
    while expected <= 1000 {
        let mut reader = Reader::resume(&log, &t, &cursor).await;
        for event in reader.events().await {
            assert_eq!(event.position().n, expected);
            expected += 1;
        }
        cursor = reader.wire();
        drop(reader);
        // About the time at which the topic is swept.
        sleep(Duration::from_millis(expected % 9)).await;
    }
    publisher.await.unwrap();
}

#[tokio::test]
async fn an_entry_of_another_program_does_not_stop_a_reader() {
    let server = Server::start().await;
    let log = open(audited(&server)).await;
    let t = topic("t");
    let first = append(&log, &t, "1").await.position;
    let stream: Vec<String> = server.words("KEYS e:*").await;
    let mut reader = Reader::resume(&log, &t, "0-0").await;
    let mut add = redis::cmd("XADD");
    add.arg(&stream[0]).arg(format!("{}-2", first.ms)).arg("odd").arg(b"\xff\n\x00");
    server.run::<()>(&add).await;
    server.words::<()>("SPUBLISH e:nonsense x").await;
    server.words::<()>(&format!("SPUBLISH {} nonsense", stream[0])).await;
    let head: Vec<String> = server.words("KEYS h:*").await;
    server.words::<()>(&format!("DEL {}", head[0])).await;
    append(&log, &t, "3").await;
    assert_eq!(reader.until(3).await, [1, 2, 3]);
    assert!(log.tail(&t).await.is_ok());
}

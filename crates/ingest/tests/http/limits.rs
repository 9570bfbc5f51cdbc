//! Sizes, times and numbers at and over their limits, and a log that does not take what it should.

use std::time::Duration;

use ingest::Config;

use crate::double::{Mood, Moody};
use crate::server::Server;

fn small() -> Config {
    Config { event_bytes_max: 100, ..Config::default() }
}

#[tokio::test]
async fn data_of_exactly_the_limit_is_taken_and_one_byte_more_is_not() {
    let server = Server::with(small()).await;
    assert_eq!(server.post("topic=t", "x".repeat(100)).await.status, 200);
    let answer = server.post("topic=t", "x".repeat(101)).await;
    assert_eq!(answer.refusal(), "413 too_large: the body has 101 bytes; the limit is 100");
    assert_eq!(server.events("t").await.len(), 1);
}

#[tokio::test]
async fn a_body_of_unknown_length_is_refused_when_it_passes_the_limit() {
    let server = Server::with(small()).await;
    let mut wire = server.connect().await;
    let headers = [("transfer-encoding", "chunked"), ("connection", "close")];
    wire.head("PUT /v1/events?topic=t", &headers).await;
    wire.chunk("x".repeat(60)).await;
    wire.chunk("x".repeat(60)).await;
    wire.chunk("").await;
    assert_eq!(
        wire.answer().await.refusal(),
        "413 too_large: the body has more bytes than the limit, which is 100"
    );
}

#[tokio::test]
async fn a_refusal_arrives_although_the_publisher_sends_megabytes_first() {
    let server = Server::start().await;
    let answer = server.post("topic=t", "x".repeat(4 << 20)).await;
    assert_eq!(answer.status, 413);
}

#[tokio::test]
async fn a_publisher_that_waits_to_be_asked_is_asked_or_refused_at_once() {
    let server = Server::with(small()).await;
    let expects = ("expect", "100-continue");
    let mut wire = server.connect().await;
    wire.head("PUT /v1/events?topic=t", &[("content-length", "2"), expects]).await;
    wire.until("HTTP/1.1 100 Continue\r\n\r\n").await;
    wire.write("hi").await;
    assert!(wire.until("\r\n\r\n").await.starts_with("HTTP/1.1 200"));

    let mut wire = server.connect().await;
    wire.head("PUT /v1/events?topic=t", &[("content-length", "101"), expects]).await;
    assert_eq!(wire.answer().await.status, 413);

    // Asked, and then found to send too much: a refusal like any other.
    let mut wire = server.connect().await;
    wire.head("PUT /v1/events?topic=t", &[("transfer-encoding", "chunked"), expects]).await;
    wire.until("HTTP/1.1 100 Continue\r\n\r\n").await;
    wire.chunk("x".repeat(1 << 20)).await;
    wire.chunk("").await;
    assert!(wire.until("\r\n\r\n").await.starts_with("HTTP/1.1 413"));
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let config = Config { body_timeout: Duration::from_millis(50), ..Config::default() };
    let server = Server::with(config).await;
    let mut wire = server.connect().await;
    wire.head("POST /v1/events?topic=t", &[("content-length", "10")]).await;
    wire.write("half").await;
    let answer = wire.answer().await;
    assert!(answer.refusal().starts_with("408 body_timeout: "), "{answer:?}");
    assert!(server.events("t").await.is_empty());
}

#[tokio::test]
async fn a_log_that_does_not_take_the_event_is_503_with_retry_after() {
    let log = Moody::new([Mood::Unavailable, Mood::Full, Mood::Hangs]);
    let config = Config { append_timeout: Duration::from_millis(50), ..Config::default() };
    let server = Server::on(config, log).await;
    for code in ["log_unavailable", "log_full", "log_unavailable"] {
        let answer = server.post("topic=t", "x").await;
        assert!(answer.refusal().starts_with(&format!("503 {code}: ")), "{answer:?}");
        assert!(answer.head.contains("retry-after: "), "{answer:?}");
        assert!(!answer.body.contains("6379"), "{answer:?}");
    }
    let shown = server.get("/v1/topics/t").await;
    assert!(shown.refusal().starts_with("503 log_unavailable: "), "{shown:?}");
    assert_eq!(server.metric("tailwater_events_published_total{outcome=\"unavailable\"}"), 3);
}

#[tokio::test]
async fn one_request_too_many_is_429_with_retry_after_and_the_next_is_served() {
    let log = Moody::new([Mood::Slow]);
    let config = Config { requests_max: 1, ..Config::default() };
    let server = Server::on(config, log.clone()).await;
    let mut first = server.connect().await;
    let headers = [("content-length", "1"), ("connection", "close")];
    first.head("POST /v1/events?topic=t", &headers).await;
    first.write("x").await;
    while log.batches.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    let second = server.post("topic=t", "y").await;
    assert_eq!(
        second.refusal(),
        "429 too_many_requests: too many requests at a time; the limit is 1"
    );
    assert!(second.head.contains("retry-after: "), "{second:?}");
    log.release();
    assert_eq!(first.answer().await.status, 200);
    log.release();
    assert_eq!(server.post("topic=t", "z").await.status, 200);
}

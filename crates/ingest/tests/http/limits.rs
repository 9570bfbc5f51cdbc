//! Sizes, times and numbers at and over their limits, and a log that refuses events.

use std::time::Duration;

use ingest::Config;

use crate::double::{Reaction, ScriptedLog};
use crate::server::Server;

fn small() -> Config {
    Config { event_bytes_max: 100, ..Config::default() }
}

#[tokio::test]
async fn data_of_exactly_the_limit_is_accepted_and_one_byte_more_is_refused() {
    let server = Server::with(small()).await;
    assert_eq!(server.post("topic=t", "x".repeat(100)).await.status, 200);
    let answer = server.post("topic=t", "x".repeat(101)).await;
    assert_eq!(answer.refusal(), "413 too_large: the body has 101 bytes; the limit is 100");
    assert_eq!(server.events("t").await.len(), 1);
}

#[tokio::test]
async fn a_body_of_unknown_length_is_refused_when_it_passes_the_limit() {
    let server = Server::with(small()).await;
    let mut connection = server.connect().await;
    let headers = [("transfer-encoding", "chunked"), ("connection", "close")];
    connection.head("PUT /v1/events?topic=t", &headers).await;
    connection.chunk("x".repeat(60)).await;
    connection.chunk("x".repeat(60)).await;
    connection.chunk("").await;
    assert_eq!(
        connection.answer().await.refusal(),
        "413 too_large: the body has more bytes than the limit of 100"
    );
}

#[tokio::test]
async fn a_publisher_that_sends_megabytes_first_still_receives_the_refusal() {
    let server = Server::start().await;
    let answer = server.post("topic=t", "x".repeat(4 << 20)).await;
    assert_eq!(answer.status, 413);
}

#[tokio::test]
async fn a_publisher_that_expects_100_continue_gets_it_or_a_refusal_at_once() {
    let server = Server::with(small()).await;
    let expects = ("expect", "100-continue");
    let mut connection = server.connect().await;
    connection.head("PUT /v1/events?topic=t", &[("content-length", "2"), expects]).await;
    connection.until("HTTP/1.1 100 Continue\r\n\r\n").await;
    connection.write("hi").await;
    assert!(connection.until("\r\n\r\n").await.starts_with("HTTP/1.1 200"));

    let mut connection = server.connect().await;
    connection.head("PUT /v1/events?topic=t", &[("content-length", "101"), expects]).await;
    assert_eq!(connection.answer().await.status, 413);

    // A body that was asked for may still be too large, and is refused like any other.
    let mut connection = server.connect().await;
    connection.head("PUT /v1/events?topic=t", &[("transfer-encoding", "chunked"), expects]).await;
    connection.until("HTTP/1.1 100 Continue\r\n\r\n").await;
    connection.chunk("x".repeat(1 << 20)).await;
    connection.chunk("").await;
    assert!(connection.until("\r\n\r\n").await.starts_with("HTTP/1.1 413"));
}

#[tokio::test]
async fn a_body_that_does_not_arrive_times_out() {
    let config = Config { body_timeout: Duration::from_millis(50), ..Config::default() };
    let server = Server::with(config).await;
    let mut connection = server.connect().await;
    connection.head("POST /v1/events?topic=t", &[("content-length", "10")]).await;
    connection.write("half").await;
    let answer = connection.answer().await;
    assert!(answer.refusal().starts_with("408 body_timeout: "), "{answer:?}");
    assert!(server.events("t").await.is_empty());
}

#[tokio::test]
async fn an_event_that_the_log_does_not_take_is_answered_503_with_retry_after() {
    let log = ScriptedLog::new([Reaction::Unavailable, Reaction::Full, Reaction::Hangs]);
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
async fn a_request_over_the_limit_is_answered_429_with_retry_after_and_a_later_one_is_served() {
    let log = ScriptedLog::new([Reaction::Slow]);
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
        "429 too_many_requests: too many concurrent requests on this node; the limit is 1 (--address-share)"
    );
    assert!(second.head.contains("retry-after: "), "{second:?}");
    log.release();
    assert_eq!(first.answer().await.status, 200);
    log.release();
    assert_eq!(server.post("topic=t", "z").await.status, 200);
}

//! Publishers that let ingest wait.

use std::time::Duration;

use axum::http::StatusCode;
use ingest::Config;
use tokio::time::{Instant, advance, sleep};

use crate::local::{Local, outcomes, peer, refusal};

const LINES: &str = "application/x-ndjson";
const SSE: &str = "text/event-stream";
const ONE: [u8; 4] = [192, 0, 2, 1];
const HOUR: Duration = Duration::from_hours(1);

#[tokio::test(start_paused = true)]
async fn a_body_without_a_byte_holds_no_place_and_is_not_waited_for_long() {
    let config = Config { requests_max: 1, streams_max: 1, ..Config::default() };
    let local = Local::with(config);
    let silent: Vec<_> = (0..50).map(|_| local.open(peer(ONE), "topic=t", "text/plain")).collect();
    let streams: Vec<_> = (0..50).map(|_| local.open(peer(ONE), "topic=t", LINES)).collect();
    sleep(Duration::from_secs(5)).await;
    assert_eq!(local.metric("tailwater_limit_used{limit=\"publishes\"}"), 0);
    assert_eq!(local.metric("tailwater_limit_used{limit=\"publish_streams\"}"), 0);
    assert_eq!(local.post(peer(ONE), "t").await, StatusCode::OK);
    let line = "{\"data\":1}\n";
    let stored = local.send(peer(ONE), "topic=t", &[("content-type", LINES)], line).await;
    assert_eq!(outcomes(stored).await, ["stored"]);
    let start = Instant::now();
    for (_writer, pending) in silent {
        let refusal = refusal(pending.await.unwrap()).await;
        assert_eq!(refusal, "408 body_timeout: no byte of the body arrived within 10s");
    }
    for (_writer, pending) in streams {
        let refusal = refusal(pending.await.unwrap()).await;
        assert_eq!(refusal, "408 body_timeout: the stream had no event within 30s");
    }
    assert!(start.elapsed() < Duration::from_secs(30));
    assert_eq!(local.metric("tailwater_publish_timeouts_total{wait=\"first_bytes\"}"), 50);
    assert_eq!(local.metric("tailwater_publish_timeouts_total{wait=\"first_event\"}"), 50);
}

#[tokio::test(start_paused = true)]
async fn bytes_that_are_no_event_do_not_keep_a_stream_that_has_sent_none() {
    let local = Local::with(Config::default());
    for (media, bytes) in [(SSE, ": comment\n\n"), (SSE, "data: x\n"), (LINES, "\n"), (LINES, "x")]
    {
        let (writer, pending) = local.open(peer(ONE), "topic=t&end=true", media);
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(40) {
            writer.write(bytes);
            sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(local.metric("tailwater_publish_streams"), 0, "{media} {bytes:?}");
        let response = pending.await.unwrap();
        assert_eq!(response.status(), StatusCode::REQUEST_TIMEOUT);
        assert_eq!(outcomes(response).await, ["body_timeout"], "{media} {bytes:?}");
    }
    assert_eq!(local.post(peer(ONE), "t").await, StatusCode::OK, "the topic has not ended");
}

#[tokio::test(start_paused = true)]
async fn a_stream_with_events_may_be_silent_for_an_hour_and_with_heartbeats_for_ever() {
    let local = Local::with(Config::default());
    let (writer, pending) = local.open(peer(ONE), "topic=t&end=true", SSE);
    writer.write("data: 1\n\n");
    let response = pending.await.unwrap();
    for _ in 0..100 {
        advance(HOUR / 2).await;
        sleep(HOUR / 4).await;
        writer.write(":\n");
        sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(local.metric("tailwater_publish_streams"), 1);
    writer.write("data: 2\n\n");
    assert_eq!(outcomes(response).await, ["stored", "stored", "body_timeout"]);
    assert_eq!(local.metric("tailwater_publish_timeouts_total{wait=\"idle\"}"), 1);
    assert_eq!(local.metric("tailwater_publish_streams"), 0);
    assert_eq!(local.post(peer(ONE), "t").await, StatusCode::OK, "the topic has not ended");
}

#[tokio::test(start_paused = true)]
async fn an_event_that_arrives_byte_by_byte_has_an_hour() {
    let local = Local::with(Config::default());
    for (media, event, drip) in
        [(SSE, "data: 1\n\ndata: 2\n", ": x\n"), (LINES, "{\"data\":1}\n", " ")]
    {
        let (writer, pending) = local.open(peer(ONE), "topic=t", media);
        writer.write(event);
        let response = pending.await.unwrap();
        let start = Instant::now();
        while start.elapsed() < HOUR + Duration::from_mins(2) {
            writer.write(drip);
            sleep(Duration::from_mins(1)).await;
        }
        assert_eq!(local.metric("tailwater_publish_streams"), 0, "{media}");
        assert_eq!(outcomes(response).await, ["stored", "body_timeout"], "{media}");
    }
    assert_eq!(local.metric("tailwater_publish_timeouts_total{wait=\"event\"}"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_publisher_that_does_not_read_its_receipts_loses_its_place() {
    let local = Local::with(Config::default());
    let (writer, pending) = local.open(peer(ONE), "topic=t", LINES);
    let response = pending_response(&writer, pending).await;
    // Nobody reads the body of the answer.
    for _ in 0..10 {
        writer.write("{\"data\":1}\n");
        sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(local.metric("tailwater_publish_streams"), 1);
    sleep(Duration::from_mins(2)).await;
    assert_eq!(local.metric("tailwater_publish_streams"), 0);
    assert_eq!(outcomes(response).await.last().unwrap(), "body_timeout");
    assert_eq!(local.metric("tailwater_publish_timeouts_total{wait=\"receipts\"}"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_publisher_that_goes_away_gives_its_place_back() {
    let local = Local::with(Config::default());
    let (writer, pending) = local.open(peer(ONE), "topic=t", LINES);
    let response = pending_response(&writer, pending).await;
    assert_eq!(local.metric("tailwater_publish_streams"), 1);
    drop((response, writer));
    local.until("tailwater_publish_streams", 0).await;
}

/// Sends a first event, and returns the head of the answer.
async fn pending_response(
    writer: &crate::local::Writer,
    pending: crate::local::Pending,
) -> axum::http::Response<axum::body::Body> {
    writer.write("{\"data\":1}\n");
    pending.await.unwrap()
}

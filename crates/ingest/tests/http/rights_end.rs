//! Rights that end while a body is under way.

use std::sync::Arc;
use std::time::Duration;

use access::{Revocation, Timestamp};
use axum::body::Body;
use axum::http::Response;
use event_log::{Limit, Log, Mark, MemoryLog, Position, Retention, Topic};
use ingest::Config;
use tokio::time::{Instant, sleep};

use crate::closed::{NDJSON, closed, token, with_access};
use crate::local::{Local, outcomes, peer, refusal};

const SSE: (&str, &str) = ("content-type", "text/event-stream");
const TEXT: (&str, &str) = ("content-type", "text/plain");
const ONE: [u8; 4] = [192, 0, 2, 1];
const EXPIRED: &str = "401 token_expired: the token has expired";

/// The authorization of a token whose right ends in so many seconds.
fn bearer(seconds: u64) -> String {
    format!("Bearer {}", token(seconds))
}

fn local(log: &Arc<MemoryLog>) -> Local {
    let log: Arc<dyn Log> = Arc::<MemoryLog>::clone(log);
    Local::on(Config { access: closed(), ..Config::default() }, log)
}

fn memory() -> Arc<MemoryLog> {
    Arc::new(MemoryLog::new(Retention::default()))
}

async fn marks(log: &MemoryLog, topic: &str) -> Vec<Mark> {
    let topic = Topic::new(topic).unwrap();
    let page = log.read(&topic, Position::START, Limit::PAGE).await.unwrap();
    page.events.iter().map(|event| event.mark()).collect()
}

fn challenge(response: &Response<Body>) -> &str {
    response.headers()["www-authenticate"].to_str().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_waits_ends_with_its_right() {
    let log = memory();
    let local = local(&log);
    let authorization = bearer(600);
    for (media, event) in [(SSE, "data: 1\n\n"), (NDJSON, "{\"data\":1}\n")] {
        let headers = [("authorization", &*authorization), media];
        let topic = &media.1[..4];
        let query = format!("topic={topic}&end=true");
        let (writer, pending) = local.open_with(peer(ONE), &query, &headers);
        let start = Instant::now();
        writer.write(event);
        let response = pending.await.unwrap();
        assert_eq!(outcomes(response).await, ["stored", "token_expired"], "{media:?}");
        let lasted = start.elapsed();
        assert!((590..700).contains(&lasted.as_secs()), "{media:?}: {lasted:?}");
        assert_eq!(marks(&log, topic).await, [Mark::Open], "its topic has not ended");
    }
    assert_eq!(local.metric("tailwater_publish_streams"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_for_its_body_no_longer_than_for_its_right() {
    let log = memory();
    let local = local(&log);
    let authorization = bearer(8);
    // Nothing, a part of an event, a comment.
    for (media, bytes) in [(TEXT, ""), (NDJSON, ""), (TEXT, "a"), (NDJSON, "{"), (SSE, ":\n")] {
        let headers = [("authorization", &*authorization), media];
        let (writer, pending) = local.open_with(peer(ONE), "topic=t", &headers);
        if !bytes.is_empty() {
            writer.write(bytes);
        }
        let start = Instant::now();
        let response = pending.await.unwrap();
        assert!(start.elapsed() < Duration::from_secs(10), "{media:?} {bytes:?}");
        assert_eq!(challenge(&response), r#"Bearer error="invalid_token""#, "{media:?} {bytes:?}");
        if media == TEXT || bytes.is_empty() {
            assert_eq!(refusal(response).await, EXPIRED, "{media:?} {bytes:?}");
        } else {
            assert_eq!(response.status(), 401);
            assert_eq!(outcomes(response).await, ["token_expired"], "{media:?} {bytes:?}");
        }
    }
    assert!(marks(&log, "t").await.is_empty());
}

#[tokio::test]
async fn a_stream_that_never_pauses_ends_with_its_right() {
    let (server, _) = with_access().await;
    let mut connection = server.connect().await;
    // The least that is accepted is 3 seconds, and `exp` counts whole ones.
    let authorization = bearer(5);
    let chunked = [("transfer-encoding", "chunked"), ("connection", "close")];
    let headers = [("authorization", &*authorization), NDJSON, chunked[0], chunked[1]];
    connection.head("POST /v1/events?topic=t", &headers).await;
    let start = Instant::now();
    let mut stored = 0;
    let last = loop {
        connection.chunk("{\"data\":1}\n").await;
        let line = connection.line().await;
        match line {
            line if line.contains("\"id\"") => stored += 1,
            line if line.contains("\"error\"") => break line,
            _head => {}
        }
        assert!(start.elapsed() < Duration::from_secs(9), "the right ends");
        sleep(Duration::from_millis(20)).await;
    };
    assert!(last.contains("\"code\":\"token_expired\""), "{last}");
    for _ in 0..3 {
        connection.chunk("{\"data\":2}\n").await;
    }
    connection.until("0\r\n\r\n").await;
    assert!(stored > 0);
    assert_eq!(server.data("t").await, vec!["1"; stored]);
    let late = server.send("POST /v1/events?topic=t", &[headers[0]], "3").await;
    assert_eq!(late.refusal(), EXPIRED);
}

#[tokio::test]
async fn a_right_that_is_revoked_while_its_body_is_read_stores_nothing() {
    let log = memory();
    let access = closed();
    let log_of_node: Arc<dyn Log> = Arc::<MemoryLog>::clone(&log);
    let local = Local::on(Config { access: access.clone(), ..Config::default() }, log_of_node);
    let batch = "application/cloudevents-batch+json";
    let envelope = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","subject":"t"}"#;
    let authorization = bearer(600);
    let bodies = [("topic=t", "text/plain", "x".to_owned()), ("", batch, format!("[{envelope}]"))];
    let open = bodies.map(|(query, media, body)| {
        let headers = [("authorization", &*authorization), ("content-type", media)];
        let (writer, pending) = local.open_with(peer(ONE), query, &headers);
        writer.write(body);
        (writer, pending)
    });
    local.until("tailwater_limit_used{limit=\"publishes\"}", 2).await;
    let until = Timestamp::now().later(Duration::from_secs(60));
    let revocation = Revocation::new(Some("dan".to_owned()), None, until).unwrap();
    access.revocations().add(&revocation).unwrap();
    for (writer, pending) in open {
        drop(writer);
        let refusal = refusal(pending.await.unwrap()).await;
        assert_eq!(refusal, "403 revoked: the right was revoked");
    }
    assert!(marks(&log, "t").await.is_empty());
}

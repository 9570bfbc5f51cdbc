//! Publishers that break off in the middle of a body.

use std::time::Duration;

use event_log::{BreakReason, Mark};
use ingest::Config;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::double::{Reaction, ScriptedLog};
use crate::local::{Local, peer};
use crate::server::{Connection, Server};

const LINES: (&str, &str) = ("content-type", "application/x-ndjson");
const SSE: (&str, &str) = ("content-type", "text/event-stream");
const CHUNKED: (&str, &str) = ("transfer-encoding", "chunked");
const LOST: Mark = Mark::Broken(BreakReason::Disconnected);

/// Opens a body without an end that has sent one event, and has its receipt.
async fn open(server: &Server, query: &str, media: (&str, &str)) -> Connection {
    let mut connection = begin(server, query, media).await;
    connection.until("\r\n\r\n").await;
    assert!(connection.line().await.contains("\"id\""));
    connection
}

async fn begin(server: &Server, query: &str, media: (&str, &str)) -> Connection {
    let mut connection = server.connect().await;
    connection.head(&format!("POST /v1/events?{query}"), &[media, CHUNKED]).await;
    connection.chunk(if media == SSE { "data: 1\n\n" } else { "{\"data\":1}\n" }).await;
    connection
}

/// Returns the marks of a topic's entries once no body streams.
async fn marks(server: &Server, topic: &str) -> Vec<Mark> {
    while server.metric("tailwater_publish_streams") > 0 {
        sleep(Duration::from_millis(5)).await;
    }
    server.events(topic).await.iter().map(|event| event.mark()).collect()
}

fn breaks(server: &Server, outcome: &str) -> u64 {
    server.metric(&format!("tailwater_publish_breaks_total{{outcome=\"{outcome}\"}}"))
}

async fn is_broken(server: &Server, topic: &str) -> bool {
    server.get(&format!("/v1/topics/{topic}")).await.json()["broken"].as_bool().unwrap()
}

#[tokio::test]
async fn a_topic_is_broken_until_a_publisher_goes_on() {
    let server = Server::start().await;
    for (topic, media, query) in
        [("a", SSE, ""), ("b", LINES, "&on-break=signal"), ("c", SSE, "&end=true")]
    {
        drop(open(&server, &format!("topic={topic}{query}"), media).await);
        assert_eq!(marks(&server, topic).await, [Mark::Open, LOST]);
        assert!(is_broken(&server, topic).await);
        assert_eq!(server.post(&format!("topic={topic}"), "2").await.status, 200);
        assert_eq!(marks(&server, topic).await, [Mark::Open, LOST, Mark::Open]);
        assert!(!is_broken(&server, topic).await);
    }
    assert_eq!(breaks(&server, "stored"), 3);
}

#[tokio::test]
async fn a_topic_ends_with_a_break_if_its_publisher_wanted_so() {
    let server = Server::start().await;
    drop(open(&server, "topic=t&on-break=end", LINES).await);
    assert_eq!(marks(&server, "t").await, [Mark::Open, Mark::End]);
    assert_eq!(server.post("topic=t", "2").await.status, 409);
}

#[tokio::test]
async fn a_body_that_has_stored_nothing_or_ended_cleanly_has_not_broken_off() {
    let server = Server::start().await;
    let mut empty = server.connect().await;
    empty.head("POST /v1/events?topic=a", &[SSE, CHUNKED]).await;
    empty.chunk(": nothing yet\n\ndata: 1\n").await;
    drop(empty);
    assert_eq!(marks(&server, "a").await, []);

    let mut clean = open(&server, "topic=b", SSE).await;
    clean.chunk("").await;
    clean.until("0\r\n\r\n").await;
    drop(clean);
    assert_eq!(marks(&server, "b").await, [Mark::Open]);

    // A publisher that does not wait for the receipts has sent a whole body all the same.
    let mut hasty = begin(&server, "topic=c", SSE).await;
    hasty.chunk("").await;
    drop(hasty);
    while server.events("c").await.is_empty() {
        sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(marks(&server, "c").await, [Mark::Open]);

    // Events of other topics do not break the topic of the query.
    let mut other = server.connect().await;
    other.head("POST /v1/events?topic=d", &[LINES, CHUNKED]).await;
    other.chunk("{\"topic\":\"e\",\"data\":1}\n").await;
    other.until("\"id\"").await;
    drop(other);
    assert_eq!(marks(&server, "d").await, []);
    assert_eq!(marks(&server, "e").await, [Mark::Open]);
}

#[tokio::test]
async fn a_topic_with_which_another_publisher_has_gone_on_is_not_broken() {
    let server = Server::start().await;
    for (topic, query, then) in
        [("a", "topic=a", Mark::Open), ("b", "topic=b&on-break=end", Mark::Open)]
    {
        let first = open(&server, query, SSE).await;
        server.post(&format!("topic={topic}"), "2").await;
        drop(first);
        assert_eq!(marks(&server, topic).await, [Mark::Open, then]);
    }
    let first = open(&server, "topic=c", SSE).await;
    server.post("topic=c&end=true", "").await;
    drop(first);
    assert_eq!(marks(&server, "c").await, [Mark::Open, Mark::End]);
    assert_eq!(breaks(&server, "overtaken"), 3);
}

#[tokio::test]
async fn a_break_while_the_log_is_away_is_stored_when_it_is_back() {
    let reactions = [Reaction::Works, Reaction::Unavailable, Reaction::Full, Reaction::Works];
    let server = Server::on(Config::default(), ScriptedLog::new(reactions)).await;
    drop(open(&server, "topic=t", SSE).await);
    assert_eq!(marks(&server, "t").await, [Mark::Open, LOST]);
    assert_eq!(breaks(&server, "stored"), 1);
}

#[tokio::test]
async fn an_event_that_is_being_stored_when_its_publisher_goes_comes_before_the_break() {
    let log = ScriptedLog::new([Reaction::Slow, Reaction::Works]);
    let server = Server::on(Config::default(), log.clone()).await;
    let connection = begin(&server, "topic=t", SSE).await;
    while log.batches.lock().unwrap().is_empty() {
        sleep(Duration::from_millis(5)).await;
    }
    drop(connection);
    sleep(Duration::from_millis(100)).await;
    log.release();
    assert_eq!(marks(&server, "t").await, [Mark::Open, LOST]);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_silent_for_too_long_has_broken_off() {
    let log = ScriptedLog::new([Reaction::Works]);
    let local = Local::on(Config::default(), log.clone());
    let (writer, pending) = local.open(peer([192, 0, 2, 1]), "topic=t", SSE.1);
    writer.write("data: 1\n\n");
    let codes = crate::local::outcomes(pending.await.unwrap()).await;
    assert_eq!(codes, ["stored", "body_timeout"]);
    local.until("tailwater_publish_breaks_total{outcome=\"stored\"}", 1).await;
    let topic = event_log::Topic::new("t").unwrap();
    let page =
        event_log::Log::read(&*log, &topic, event_log::Position::START, event_log::Limit::PAGE);
    let marks: Vec<_> = page.await.unwrap().events.iter().map(|event| event.mark()).collect();
    assert_eq!(marks, [Mark::Open, Mark::Broken(BreakReason::Timeout)]);
}

/// The publisher was told to go on elsewhere, so nobody has broken off.
#[tokio::test]
async fn a_node_that_stops_breaks_no_topic() {
    let drain = CancellationToken::new();
    let server = Server::with(Config { drain: drain.clone(), ..Config::default() }).await;
    let mut connection = open(&server, "topic=t", SSE).await;
    drain.cancel();
    assert!(connection.line().await.contains("draining"));
    drop(connection);
    assert_eq!(marks(&server, "t").await, [Mark::Open]);
}

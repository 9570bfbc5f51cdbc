//! Refusals: the gateway is full or cannot reach its log.

use std::sync::Arc;
use std::time::Duration;

use ::metrics::Registry;
use event_log::{MemoryLog, Retention};
use gateway::Config;
use limits::{AddressShare, Proxies, Rules};

use crate::log::{Mood, Publish as _, Remote};
use crate::node::Node;

fn one_at_a_time() -> Config {
    Config { max_connections: 1, ..Config::default() }
}

#[tokio::test]
async fn a_stream_above_the_maximum_is_told_to_reconnect_with_its_own_cursor() {
    let node = Node::with(one_at_a_time()).await;
    let mut first = node.subscribe("topic=t").await;
    first.ready().await;
    for query in ["topic=t", "topic=t&last_event_id=5-1", "topic=t&lastEventId=5-1"] {
        let mut refused = match query.contains('&') {
            true => node.subscribe(query).await,
            false => node.resume(query, "5-1").await,
        };
        assert_eq!(refused.header("content-type"), Some("text/event-stream"));
        assert_eq!(refused.header("connection"), Some("close"));
        let (event, json) = refused.control("reconnect").await;
        assert_eq!(json["reason"], "overload");
        assert_eq!(event.id, "5-1", "{query}");
        let pause = refused.retry().unwrap();
        assert!(pause >= Duration::from_secs(2) && pause <= Duration::from_secs(4), "{pause:?}");
        refused.ends().await;
    }
    drop(first);
    node.until("tailwater_connections", 0.0).await;
    let mut served = node.subscribe("topic=t").await;
    assert_eq!(served.ready().await, "live");
    let refusals = node.metric("tailwater_connections_rejected_total{reason=\"overload\"}");
    assert!((refusals - 3.0).abs() < 0.1, "{refusals}");
}

#[tokio::test]
async fn a_poll_above_the_maximum_gets_429_and_retry_after() {
    let node = Node::with(one_at_a_time()).await;
    let first = node.subscribe("topic=t").await;
    let mut refused = node.poll("topic=t").await;
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("2")));
    assert_eq!(refused.json().await["error"]["code"], "overload");
    drop(first);
    node.until("tailwater_connections", 0.0).await;
    for _ in 0..3 {
        assert_eq!(node.poll("topic=t").await.status, 200, "a poll gives its place back");
    }
}

#[tokio::test]
async fn every_response_frees_its_connection_slot() {
    let node = Node::with(one_at_a_time()).await;
    node.log.publish("t", "a").await;
    let end = node.log.end("t").await.to_string();
    for _ in 0..2 {
        node.subscribe("topic=t").await.text().await;
        node.until("tailwater_connections", 0.0).await;
        assert_eq!(node.resume("topic=t", &end).await.status, 204);
        assert_eq!(node.poll("topic=t").await.status, 200);
        assert_eq!(node.poll("topic=").await.status, 400);
        assert_eq!(node.request("HEAD /v1/events?topic=t", &[]).await.status, 200);
        node.until("tailwater_connections", 0.0).await;
    }
}

#[tokio::test]
async fn a_cursor_that_could_break_a_frame_is_not_sent_back() {
    let node = Node::with(Config { max_connections: 0, ..Config::default() }).await;
    let cases = ["5-1%0Adata:%20forged%0A%0A", "%00", "caf%C3%A9", "a%20b", "%0D"];
    for cursor in cases.map(str::to_owned).into_iter().chain(["x".repeat(4000)]) {
        let mut refused = node.subscribe(&format!("topic=t&last_event_id={cursor}")).await;
        let text = refused.text().await;
        assert_eq!(refused.control("reconnect").await.0.id, "", "{cursor}");
        refused.ends().await;
        assert!(!text.contains("forged") && !text.contains("id: "), "{text:?}");
    }
}

#[tokio::test]
async fn without_its_log_the_gateway_tells_a_stream_when_to_reconnect() {
    let remote = Remote::new();
    let node = Node::on(Config::default(), remote.memory.clone(), remote.clone()).await;
    remote.goes_away(Mood::Fails);
    let mut refused = node.resume("topic=t", "5-1").await;
    assert_eq!(refused.status, 200);
    let (event, json) = refused.control("reconnect").await;
    assert_eq!((&json["reason"], &*event.id), (&"unavailable".into(), "5-1"));
    refused.ends().await;
    let mut refused = node.poll("topic=t").await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("2")));
    assert_eq!(refused.json().await["error"]["code"], "log_unavailable");
    assert!(node.metric("tailwater_connections") < 0.5);

    remote.comes_back().await;
    let mut stream = node.subscribe("topic=t").await;
    assert_eq!(stream.ready().await, "live");
    remote.publish("t", "a").await;
    assert_eq!(stream.data(1).await, ["a"]);
}

#[tokio::test]
async fn a_log_that_hangs_counts_as_unreachable() {
    let remote = Remote::new();
    remote.goes_away(Mood::Hangs);
    let memory = Arc::new(MemoryLog::new(Retention::default()));
    let node = Node::on(Config::default(), memory, remote).await;
    let (mut stream, poll) = tokio::join!(node.subscribe("topic=t"), node.poll("topic=t"));
    assert_eq!(stream.control("reconnect").await.1["reason"], "unavailable");
    assert_eq!(poll.status, 503);
    assert!(node.metric("tailwater_connections") < 0.5);
}

#[tokio::test]
async fn one_address_gets_its_share_of_the_subscriptions() {
    let node = Node::with(Config { max_connections: 4, ..Config::default() }).await;
    // The peer is a trusted proxy, which names its client in one header or the other.
    let ask = async |header, value: &'static str, accept: &'static str| {
        let headers = [(header, value.as_bytes()), ("accept", accept.as_bytes())];
        node.request("GET /v1/events?topic=t", &headers).await
    };
    let (stream, json) = ("text/event-stream", "application/json");
    let mut first = ask("x-forwarded-for", "198.51.100.1, 203.0.113.7", stream).await;
    let mut second = ask("forwarded", "for=\"203.0.113.7:9\";proto=https", stream).await;
    assert_eq!((&*first.ready().await, &*second.ready().await), ("live", "live"));
    let mut third = ask("x-forwarded-for", "203.0.113.7", stream).await;
    assert_eq!(third.control("reconnect").await.1["reason"], "overload");
    let mut poll = ask("x-forwarded-for", "203.0.113.7", json).await;
    assert_eq!(poll.status, 429);
    let message = poll.json().await["error"]["message"].to_string();
    assert!(
        message.contains("too many subscriptions for one address; the limit is 2"),
        "{message}"
    );
    let mut other = ask("x-forwarded-for", "203.0.113.8", stream).await;
    assert_eq!(other.ready().await, "live");
    let refused =
        node.metric("tailwater_limit_refusals_total{limit=\"subscriptions\",part=\"address\"}");
    assert!((refused - 2.0).abs() < 0.1, "{refused}");
}

#[tokio::test]
async fn topics_and_filters_that_do_not_fit_the_memory_are_refused() {
    let rules = Rules::new(Proxies::default(), AddressShare::ALL, 3000, &Registry::new());
    let memory = Arc::clone(&rules.memory);
    let node = Node::with(Config { rules, ..Config::default() }).await;
    let mut stream = node.subscribe("topic=1&topic=2&topic=3").await;
    stream.ready().await;
    assert!(memory.used() > 2000, "{}", memory.used());
    let mut refused = node.poll("topic=1&topic=2").await;
    assert_eq!(refused.status, 429);
    let message = refused.json().await["error"]["message"].to_string();
    assert!(message.contains("--memory-budget"), "{message}");
    let mut plain = node.subscribe("topic=1").await;
    assert_eq!(plain.ready().await, "live");
    drop(stream);
    node.until("tailwater_connections", 1.0).await;
    assert_eq!(memory.used(), 0);
}

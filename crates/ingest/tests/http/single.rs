//! Requests with one event.

use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use event_log::{Mark, MemoryLog, Retention};
use ingest::Config;
use metrics::Registry;

use crate::server::Server;

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[tokio::test]
async fn an_event_is_answered_with_its_topic_and_id_and_is_in_the_log() {
    let server = Server::start().await;
    let answer = server
        .send("POST /v1/events?topic=orders/42&type=paid", &[("traceparent", TRACE)], "caf\u{e9}\n")
        .await;
    assert_eq!(answer.status, 200);
    let event = server.events("orders/42").await.remove(0);
    assert_eq!(
        answer.json(),
        serde_json::json!({
            "topic": "orders/42", "id": event.position().to_string(), "duplicate": false,
        })
    );
    assert_eq!(event.data(), "caf\u{e9}\n");
    assert_eq!(event.kind().unwrap().as_str(), "paid");
    assert_eq!(event.trace().unwrap().as_str(), TRACE);
    assert_eq!(server.metric("tailwater_events_published_total{outcome=\"stored\"}"), 1);
    assert_eq!(server.metric("tailwater_publish_seconds_count"), 1);
}

#[tokio::test]
async fn put_and_any_other_content_type_publish_data_too() {
    let server = Server::start().await;
    for kind in ["application/x-www-form-urlencoded", "application/json", "text/plain"] {
        let headers = [("content-type", kind)];
        assert_eq!(server.send("PUT /v1/events?topic=t", &headers, "a=1").await.status, 200);
    }
    assert_eq!(server.data("t").await, ["a=1", "a=1", "a=1"]);
}

#[tokio::test]
async fn a_retry_with_the_same_key_is_answered_with_the_first_id() {
    let server = Server::start().await;
    let key = [("idempotency-key", "k-1")];
    let first = server.send("POST /v1/events?topic=t", &key, "x").await.json();
    let again = server.send("POST /v1/events?topic=t", &key, "x").await.json();
    assert_eq!(again["id"], first["id"]);
    assert_eq!((&first["duplicate"], &again["duplicate"]), (&false.into(), &true.into()));
    assert_eq!(server.data("t").await, ["x"]);
    assert_eq!(server.metric("tailwater_events_published_total{outcome=\"duplicate\"}"), 1);
}

#[tokio::test]
async fn a_key_that_names_another_event_is_refused() {
    let server = Server::start().await;
    let key = [("idempotency-key", "k-1")];
    let first = server.send("POST /v1/events?topic=t", &key, "x").await.json();
    let id = first["id"].as_str().unwrap();
    for (query, body) in [("topic=t", "y"), ("topic=t&type=a", "x"), ("topic=t&end=true", "x")] {
        let answer = server.send(&format!("POST /v1/events?{query}"), &key, body).await;
        assert_eq!(
            answer.refusal(),
            format!(
                "422 key_reused: the idempotency key was used for another event of topic t, stored at {id}"
            )
        );
        assert!(!answer.head.contains("retry-after"), "{}", answer.head);
    }
    assert_eq!(server.data("t").await, ["x"]);
    assert_eq!(server.metric("tailwater_events_published_total{outcome=\"refused\"}"), 3);
}

#[tokio::test]
async fn an_empty_body_is_an_event_without_data() {
    let server = Server::start().await;
    assert_eq!(server.post("topic=t", "").await.status, 200);
    let event = server.events("t").await.remove(0);
    assert_eq!((event.data(), event.mark()), ("", Mark::Open));
}

#[tokio::test]
async fn a_topic_ends_with_or_without_an_event_and_then_refuses_events() {
    let server = Server::start().await;
    assert_eq!(server.post("topic=a&end=true", "last").await.status, 200);
    assert_eq!(server.post("topic=b&type=x&end=true", "").await.status, 200);
    assert_eq!(server.events("a").await[0].mark(), Mark::Last);
    let end = server.events("b").await.remove(0);
    assert_eq!((end.mark(), end.kind()), (Mark::End, None));

    let answer = server.post("topic=a", "more").await;
    let last = server.events("a").await[0].position();
    assert_eq!(
        answer.refusal(),
        format!("409 topic_ended: topic a was ended at {last}; nothing can follow")
    );
    assert_eq!(server.post("topic=b&end=true", "").await.json()["duplicate"], true);
}

#[tokio::test]
async fn the_refusal_of_text_that_is_not_utf_8_names_the_byte() {
    let server = Server::start().await;
    let answer = server.post("topic=t", b"abc\xff").await;
    assert_eq!(answer.refusal(), "400 bad_body: the body is not UTF-8 at byte 3");
    assert!(server.events("t").await.is_empty());
    assert_eq!(server.metric("tailwater_events_published_total{outcome=\"refused\"}"), 1);
}

#[tokio::test]
async fn a_refusal_is_json_with_code_and_message() {
    let server = Server::start().await;
    let encoded = [("content-encoding", "gzip")];
    let refusals = [
        server.post("", "x").await.refusal(),
        server.post("topic=a%20b", "x").await.refusal(),
        server.post("topic=tailwater.x", "x").await.refusal(),
        server.post("topic=t&type=tailwater.end", "x").await.refusal(),
        server.post("topic=t&hue=red", "x").await.refusal(),
        server.send("POST /v1/events?topic=t", &encoded, "x").await.refusal(),
        server.get("/v1/topics/a%20b").await.refusal(),
        server.get("/v1/topics/%FF").await.refusal(),
        server.get("/v1/topics/nobody/knows").await.refusal(),
    ];
    insta::assert_snapshot!(refusals.join("\n"));
}

#[tokio::test]
async fn a_topic_is_shown_with_slashes_and_escapes_in_its_name() {
    let server = Server::start().await;
    for data in ["1", "2"] {
        server.post("topic=orders/4@2", data).await;
    }
    let events = server.events("orders/4@2").await;
    let shown = server.get("/v1/topics/orders%2F4%402").await;
    assert_eq!(
        shown.json(),
        serde_json::json!({
            "topic": "orders/4@2", "head": events[1].position().to_string(),
            "oldest": events[0].position().to_string(), "length": 2, "ended": false,
            "broken": false,
        })
    );
    server.post("topic=orders/4@2&end=true", "").await;
    let shown = server.get("/v1/topics/orders/4@2").await.json();
    assert_eq!((&shown["ended"], &shown["length"]), (&true.into(), &3.into()));
}

#[tokio::test]
async fn the_router_merges_with_one_that_answers_get() {
    let registry = Registry::new();
    let log = std::sync::Arc::new(MemoryLog::new(Retention::default()));
    let ours = ingest::router(Config::default(), Arc::clone(&log) as _, &registry);
    let gateway = Router::new().route("/v1/events", get(|| async { "subscribed" }));
    for router in [ours.clone().merge(gateway.clone()), gateway.merge(ours)] {
        let server = Server::serve(router, Arc::clone(&log) as _, registry.clone()).await;
        assert_eq!(server.get("/v1/events?topic=t").await.body, "subscribed");
        assert_eq!(server.post("topic=t", "x").await.status, 200);
        assert_eq!(server.send("DELETE /v1/events", &[], "").await.status, 405);
    }
}

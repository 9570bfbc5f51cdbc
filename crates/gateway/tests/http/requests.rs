//! Malformed requests, and methods other than GET.

use std::fmt::Write as _;

use crate::client::ACCEPT_JSON;
use crate::log::Publish as _;
use crate::node::Node;

#[tokio::test]
async fn a_bad_request_is_json_that_names_the_value_and_the_limit() {
    let node = Node::start().await;
    let topics: String = (0..65).map(|number| format!("topic=t{number}&")).collect();
    let long = format!("topic={}", "x".repeat(201));
    let mut refusals = String::new();
    for query in [
        "",
        "topic=",
        "topic=a%20b",
        "topic=%FF",
        "topic=tailwater.probe/x",
        &long,
        &topics,
        "topic=t&heartbeat=2",
        "topic=t&heartbeat=61",
        "topic=t&heartbeat=3s",
        "topic=t&wait=61",
        "topic=t&wait=-1",
        "topic=t&limit=0",
        "topic=t&limit=1001",
        "topic=t&from=yesterday",
        "topic=t&types=",
        "topic=t&types=a,,b",
        "topic=t&types=tailwater.gap",
        "topic=t&envelope=xml",
        "topic=t&Last-Event-ID=5-1",
    ] {
        for mut response in [node.get(query).await, node.poll(query).await] {
            assert_eq!(response.status, 400, "{query}");
            assert_eq!(response.header("content-type"), Some("application/json"));
            let error = response.json().await["error"].take();
            let (code, message) = (error["code"].as_str().unwrap(), error["message"].as_str());
            let query: String = query.chars().take(40).collect();
            writeln!(refusals, "{query}\n    {code}: {}", message.unwrap()).unwrap();
        }
    }
    // A client of streams and a client of JSON get the same text.
    let lines: Vec<_> = refusals.lines().collect();
    let once: Vec<_> = lines
        .chunks(4)
        .map(|both| {
            assert_eq!(both[..2], both[2..]);
            both[..2].join("\n")
        })
        .collect();
    // The two builds of this test share one snapshot.
    insta::with_settings!({ prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!(once.join("\n"));
    });
    let rejected = node.metric("tailwater_connections_rejected_total{reason=\"bad_request\"}");
    assert!((rejected - 40.0).abs() < 0.5, "{rejected}");
}

#[tokio::test]
async fn a_topic_named_twice_counts_once_and_a_cache_buster_does_not_count() {
    let node = Node::start().await;
    let at = node.log.publish("t", "a").await;
    let mut stream = node.subscribe("topic=t&topic=t&_=12345&from=earliest").await;
    stream.ready().await;
    assert_eq!(stream.event().await.id, at.to_string());
}

#[tokio::test]
async fn accept_decides_between_a_stream_and_json_however_it_is_written() {
    let node = Node::start().await;
    let streams = [
        &b"text/event-stream"[..],
        b"*/*",
        b"",
        b"text/*;q=0.3, text/html",
        b"TEXT/Event-Stream; charset=utf-8",
        b"application/json, text/event-stream",
        b"application/jsonlines",
        b"\xff\xfe",
        b",;,",
    ];
    let polls = [
        &b"application/json"[..],
        b"Application/JSON",
        b"application/json;q=0.1, */*",
        b" text/plain ,application/json ; charset=utf-8",
    ];
    for (accepts, kind) in [(&streams[..], "text/event-stream"), (&polls[..], "application/json")] {
        for accept in accepts {
            let response = node.request("GET /v1/events?topic=t", &[("accept", accept)]).await;
            let got = response.header("content-type").unwrap();
            assert!(got.starts_with(kind), "{}: {got}", String::from_utf8_lossy(accept));
        }
    }
}

#[tokio::test]
async fn head_is_answered_as_get_without_a_subscription() {
    let node = Node::start().await;
    let response = node.request("HEAD /v1/events?topic=t", &[]).await;
    assert_eq!(response.status, 200);
    assert_eq!(response.header("content-type"), Some("text/event-stream"));
    assert_eq!(response.header("cache-control"), Some("no-cache, no-transform"));
    let response = node.request("HEAD /v1/events?topic=t&wait=60", &ACCEPT_JSON).await;
    assert_eq!(response.header("content-type"), Some("application/json"));
    assert_eq!(node.request("HEAD /v1/events", &[]).await.status, 400);
    for resume in ["none", "header", "query"] {
        let name = format!("tailwater_connections_opened_total{{resume=\"{resume}\"}}");
        assert!(node.metric(&name) < 0.5);
    }
}

#[tokio::test]
async fn other_methods_get_405_and_the_allowed_methods() {
    let node = Node::start().await;
    for method in ["OPTIONS", "POST", "PUT", "DELETE", "PATCH"] {
        let line = format!("{method} /v1/events?topic=t");
        let response = node.request(&line, &[]).await;
        assert_eq!(
            (response.status, response.header("allow")),
            (405, Some("get,head")),
            "{method}"
        );
    }
    assert_eq!(node.request("GET /v1/nothing", &[]).await.status, 404);
}

#[tokio::test]
async fn an_error_quotes_no_more_than_a_few_words_and_json_is_not_sniffed() {
    let node = Node::start().await;
    let mut refused = node.poll(&format!("topic=t&{}", "\u{e9}".repeat(1000))).await;
    assert_eq!((refused.status, refused.header("x-content-type-options")), (400, Some("nosniff")));
    let json = refused.json().await;
    let message = json["error"]["message"].as_str().unwrap();
    assert!(message.len() <= 403 && message.ends_with('\u{2026}'), "{message}");
    let answer = node.poll("topic=t").await;
    assert_eq!((answer.status, answer.header("x-content-type-options")), (200, Some("nosniff")));
}

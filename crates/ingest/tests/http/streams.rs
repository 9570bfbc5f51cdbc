//! Bodies that stream events, and receipts that stream back.

use std::time::Duration;

use event_log::{BreakReason, Mark};
use ingest::Config;
use serde_json::{Value, json};

use crate::double::{Reaction, ScriptedLog};
use crate::server::{Answer, Connection, Server};

const LINES: (&str, &str) = ("content-type", "application/x-ndjson");
const SSE: (&str, &str) = ("content-type", "text/event-stream");
const CHUNKED: (&str, &str) = ("transfer-encoding", "chunked");
const CLOSE: (&str, &str) = ("connection", "close");

/// Publishes a whole body of lines to `query`.
async fn lines(server: &Server, query: &str, body: impl AsRef<[u8]>) -> Answer {
    server.send(&format!("POST /v1/events?{query}"), &[LINES], body).await
}

async fn sse(server: &Server, query: &str, body: impl AsRef<[u8]>) -> Answer {
    server.send(&format!("POST /v1/events?{query}"), &[SSE], body).await
}

/// Opens a request whose body has no end.
async fn open(server: &Server, query: &str, media: (&str, &str)) -> Connection {
    let mut connection = server.connect().await;
    connection.head(&format!("PUT /v1/events?{query}"), &[media, CHUNKED, CLOSE]).await;
    connection
}

/// Returns the code of each error, and "stored" for each receipt.
fn outcomes(answer: &Answer) -> Vec<String> {
    let outcome = |line: &Value| line["error"]["code"].as_str().unwrap_or("stored").to_owned();
    answer.lines().iter().map(outcome).collect()
}

#[tokio::test]
async fn a_used_key_is_refused_with_its_line_and_stops_nothing() {
    let server = Server::start().await;
    let body = concat!(
        "{\"data\":1,\"key\":\"a\"}\n\n",
        "{\"data\":2,\"key\":\"a\"}\n",
        "{\"data\":1,\"key\":\"a\"}\n",
        "{\"data\":3,\"key\":\"b\"}\n",
    );
    let answer = lines(&server, "topic=t", body).await;
    assert_eq!(
        (answer.status, outcomes(&answer)),
        (200, ["stored", "key_reused", "stored", "stored"].map(str::to_owned).to_vec())
    );
    let lines = answer.lines();
    assert_eq!((&lines[1]["line"], &lines[2]["duplicate"]), (&json!(3), &json!(true)));
    assert_eq!(server.data("t").await, ["1", "3"]);
}

#[tokio::test]
async fn the_receipt_of_a_line_arrives_before_the_next_line_is_sent() {
    let server = Server::start().await;
    let mut connection = open(&server, "topic=t", LINES).await;
    connection.chunk("{\"data\":\"1\"}\n").await;
    let head = connection.until("\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("application/x-ndjson"), "{head}");
    for data in ["1", "2", "3"] {
        let receipt: Value = serde_json::from_str(&connection.line().await).unwrap();
        assert_eq!(receipt["duplicate"], false);
        assert_eq!(server.data("t").await.last().unwrap(), data);
        assert_eq!(server.metric("tailwater_publish_streams"), 1);
        let next = data.parse::<u64>().unwrap() + 1;
        connection.chunk(format!("{{\"data\":\"{next}\"}}\n")).await;
    }
}

#[tokio::test]
async fn the_receipt_of_a_server_sent_event_arrives_before_the_next_is_sent() {
    let server = Server::start().await;
    let mut connection = open(&server, "topic=t&type=token", SSE).await;
    for data in ["a\nb", "c"] {
        connection.chunk(": comment\n\nid: 7\nretry: 1\n").await;
        for line in data.lines() {
            connection.chunk(format!("data: {line}\r\n")).await;
        }
        connection.chunk("\r").await;
        if data == "a\nb" {
            connection.until("\r\n\r\n").await;
        }
        assert!(connection.line().await.contains("\"id\":"));
        let event = server.events("t").await.pop().unwrap();
        assert_eq!((event.data(), event.kind().unwrap().as_str()), (data, "token"));
    }
}

#[tokio::test]
async fn a_publisher_that_expects_100_continue_for_an_endless_body_gets_it() {
    let server = Server::start().await;
    let mut connection = server.connect().await;
    let headers = [SSE, CHUNKED, ("expect", "100-continue")];
    connection.head("PUT /v1/events?topic=t", &headers).await;
    connection.until("HTTP/1.1 100 Continue\r\n\r\n").await;
    connection.chunk("data: 1\n\n").await;
    assert!(connection.until("\r\n\r\n").await.starts_with("HTTP/1.1 200"));
    assert!(connection.line().await.contains("\"id\":"));
}

#[tokio::test]
async fn a_thousand_lines_get_a_thousand_receipts_in_order_from_a_few_appends() {
    let log = ScriptedLog::new([Reaction::Works]);
    let server = Server::on(Config::default(), log.clone()).await;
    let body: String = (0..1000).map(|n| format!("{{\"data\":{n},\"key\":\"k{n}\"}}\n")).collect();
    let answer = lines(&server, "topic=t", &body).await;
    let events = server.events("t").await;
    assert_eq!(answer.lines().len(), 1000);
    for (n, receipt) in answer.lines().iter().enumerate() {
        assert_eq!(receipt["id"], events[n].position().to_string());
        assert_eq!(events[n].data(), n.to_string());
    }
    {
        let batches = log.batches.lock().unwrap();
        assert!(batches.iter().all(|size| *size <= 64) && batches.len() < 100, "{batches:?}");
    }
    let again = lines(&server, "topic=t", &body).await;
    assert!(again.lines().iter().all(|receipt| receipt["duplicate"] == true));
    assert_eq!(server.events("t").await.len(), 1000);
}

#[tokio::test]
async fn the_error_of_a_bad_line_has_its_number_and_the_stream_continues() {
    let server = Server::with(Config { event_bytes_max: 100, ..Config::default() }).await;
    let long = format!("{{\"topic\":\"t\",\"data\":\"{}\"}}", "x".repeat(101));
    let endless = "x".repeat(100_000);
    let body = format!(
        "{{\"topic\":\"t\",\"data\":1}}\n\n \r\n{{\"topic\":\"t\",\"colour\":1}}\n{{\"data\":2}}\n\
         {long}\n{endless}\n{{\"topic\":\"u\",\"data\":3}}"
    );
    let answer = lines(&server, "", body).await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        outcomes(&answer),
        ["stored", "bad_body", "missing_topic", "too_large", "too_large", "stored"]
    );
    let numbers: Vec<_> = answer.lines().iter().map(|line| line["line"].as_u64()).collect();
    assert_eq!(numbers, [None, Some(4), Some(5), Some(6), Some(7), None]);
    assert_eq!(
        (server.data("t").await, server.data("u").await),
        (vec!["1".into()], vec!["3".into()])
    );
    assert_eq!(server.metric("tailwater_events_published_total{outcome=\"refused\"}"), 4);
}

#[tokio::test]
async fn a_connection_that_breaks_within_a_line_neither_stores_the_line_nor_ends_the_topic() {
    let server = Server::start().await;
    for (media, whole, part) in
        [(LINES, "{\"data\":\"1\"}\n", "{\"data\":\"2\"}"), (SSE, "data: 1\n\n", "data: 2\n")]
    {
        let topic = &media.1[..4];
        let mut connection = open(&server, &format!("topic={topic}&end=true"), media).await;
        connection.chunk(whole).await;
        connection.until("\r\n\r\n").await;
        connection.line().await;
        connection.chunk(part).await;
        drop(connection);
        while server.metric("tailwater_publish_streams") > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let broken = Mark::Broken(BreakReason::Disconnected);
        let marks: Vec<_> = server.events(topic).await.iter().map(|event| event.mark()).collect();
        assert_eq!(marks, [Mark::Open, broken]);
    }
}

#[tokio::test]
async fn a_log_that_fails_ends_the_stream_so_that_events_keep_their_order() {
    let log = ScriptedLog::new([Reaction::Works, Reaction::Unavailable, Reaction::Works]);
    let server = Server::on(Config::default(), log).await;
    let mut connection = open(&server, "topic=t&end=true", LINES).await;
    connection.chunk("{\"data\":1}\n").await;
    connection.until("\r\n\r\n").await;
    connection.line().await;
    connection.chunk("{\"data\":2}\n").await;
    let receipt: Value = serde_json::from_str(&connection.line().await).unwrap();
    assert_eq!(
        (&receipt["error"]["code"], &receipt["line"]),
        (&"log_unavailable".into(), &2.into())
    );
    connection.chunk("{\"data\":3}\n").await;
    connection.chunk("").await;
    connection.until("0\r\n\r\n").await;
    assert_eq!(server.data("t").await, ["1"]);
}

#[tokio::test]
async fn the_error_of_a_log_that_fails_at_once_is_also_the_status() {
    let server = Server::on(Config::default(), ScriptedLog::new([Reaction::Full])).await;
    let answer = lines(&server, "topic=t", "{\"data\":1}\n{\"data\":2}\n").await;
    assert_eq!(answer.status, 503);
    assert!(answer.head.contains("retry-after: "), "{answer:?}");
    assert_eq!(outcomes(&answer), ["log_full", "log_full"]);
}

#[tokio::test]
async fn the_end_of_a_topic_is_not_in_one_append_with_events_that_may_fail() {
    let body = "{\"data\":1}\n{\"data\":2,\"end\":true}\n";
    let log = ScriptedLog::new([Reaction::Unavailable, Reaction::Works]);
    let server = Server::on(Config::default(), log.clone()).await;
    assert_eq!(outcomes(&lines(&server, "topic=t", body).await), ["log_unavailable"]);
    assert_eq!(*log.batches.lock().unwrap(), [1]);
    assert_eq!(outcomes(&lines(&server, "topic=t", body).await), ["stored", "stored"]);
    assert_eq!(server.events("t").await[1].mark(), Mark::Last);
    assert_eq!(outcomes(&lines(&server, "topic=t", body).await), ["topic_ended", "topic_ended"]);
}

#[tokio::test]
async fn a_body_that_ends_cleanly_ends_the_topic_if_end_is_true() {
    let server = Server::start().await;
    let answer = sse(&server, "topic=a&end=true", "data: 1\n\n").await;
    assert_eq!(outcomes(&answer), ["stored", "stored"]);
    let answer = lines(&server, "topic=b&end=true", "{\"data\":1}").await;
    assert_eq!(outcomes(&answer), ["stored", "stored"]);
    let answer = sse(&server, "topic=c&end=true", "").await;
    assert_eq!(outcomes(&answer), ["stored"]);
    for topic in ["a", "b", "c"] {
        assert_eq!(server.events(topic).await.last().unwrap().mark(), Mark::End, "{topic}");
    }
    // A body that is cut off within an event does not end the topic.
    let answer = sse(&server, "topic=d&end=true", "data: 1\n\ndata: 2\n").await;
    assert_eq!(outcomes(&answer), ["stored", "bad_body"]);
    let answer = lines(&server, "topic=e&end=true", "{\"data\":1}\n{\"dat").await;
    assert_eq!(outcomes(&answer), ["stored", "bad_body"]);
    for topic in ["d", "e"] {
        assert_eq!(server.events(topic).await.last().unwrap().mark(), Mark::Open, "{topic}");
    }
    assert_eq!(server.post("topic=d", "more").await.status, 200);
}

#[tokio::test]
async fn the_stream_of_a_gateway_can_be_published_again() {
    let server = Server::start().await;
    let stream = ":\nevent: tailwater.ready\ndata: {}\nid: 1-1\n\nevent: x\ndata: 1\nid: 1-2\n\n";
    assert_eq!(outcomes(&sse(&server, "topic=t", stream).await), ["bad_type", "stored"]);
    assert_eq!(server.data("t").await, ["1"]);
}

#[tokio::test]
async fn every_name_of_lines_of_json_is_read_as_lines() {
    let server = Server::start().await;
    for (n, name) in
        ["ndjson", "jsonl", "x-jsonlines", "json-lines", "stream+json"].iter().enumerate()
    {
        let content_type = format!("application/{name}");
        let headers = [("content-type", &*content_type)];
        let path = format!("POST /v1/events?topic={n}");
        let answer = server.send(&path, &headers, "{\"data\":1}\n{\"data\":2}\n").await;
        assert_eq!(outcomes(&answer), ["stored", "stored"], "{name}");
        assert_eq!(server.data(&n.to_string()).await, ["1", "2"], "{name}");
    }
    // An array is JSON, and one event.
    let json = [("content-type", "application/json")];
    let answer = server.send("POST /v1/events?topic=array", &json, "[1,2]").await;
    assert_eq!(answer.status, 200);
    assert_eq!(server.data("array").await, ["[1,2]"]);
}

#[tokio::test]
async fn a_byte_order_mark_is_no_part_of_any_body() {
    let server = Server::start().await;
    let event = "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/s\",\"type\":\"t\"}";
    for (topic, content_type, body, stored) in [
        ("lines", "application/x-ndjson", "{\"data\":1}\n", "1"),
        ("sse", "text/event-stream", "data: 1\n\n", "1"),
        ("json", "application/json", "{\"n\":1}", "{\"n\":1}"),
        ("text", "text/plain", "hello", "hello"),
        ("one", "application/cloudevents+json", event, event),
    ] {
        let path = format!("POST /v1/events?topic={topic}");
        let headers = [("content-type", content_type)];
        let answer = server.send(&path, &headers, format!("\u{feff}{body}")).await;
        assert_eq!((answer.status, outcomes(&answer)), (200, vec!["stored".to_owned()]), "{topic}");
        assert_eq!(server.data(topic).await, [stored], "{topic}");
    }
    let batch = [("content-type", "application/cloudevents-batch+json")];
    let body = format!("\u{feff}[{event}]");
    let answer = server.send("POST /v1/events?topic=batch", &batch, body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(server.data("batch").await, [event]);
}

#[tokio::test]
async fn a_body_without_events_gets_no_receipts() {
    let server = Server::start().await;
    let answer = lines(&server, "", "\n\n").await;
    assert_eq!((answer.status, &*answer.body), (200, ""));
}

#[tokio::test]
async fn a_stream_over_the_limit_is_answered_429_and_a_closed_stream_makes_room() {
    let server = Server::with(Config { streams_max: 1, ..Config::default() }).await;
    let mut first = open(&server, "topic=t", SSE).await;
    first.chunk("data: 1\n\n").await;
    first.until("\r\n\r\n").await;
    let second = sse(&server, "topic=t", "data: 2\n\n").await;
    assert_eq!(
        second.refusal(),
        "429 too_many_requests: too many concurrent streams on this node; the limit is 1 (--address-share)"
    );
    assert_eq!(server.post("topic=t", "3").await.status, 200);
    first.chunk("").await;
    first.until("\r\n0\r\n\r\n").await;
    assert_eq!(sse(&server, "topic=t", "data: 4\n\n").await.status, 200);
    assert_eq!(server.data("t").await, ["1", "3", "4"]);
}

#[tokio::test]
async fn a_node_that_stops_sends_its_streams_to_another_node() {
    let config = Config::default();
    let drain = config.drain.clone();
    let server = Server::with(config).await;
    let mut connection = open(&server, "topic=t&end=true", SSE).await;
    connection.chunk("data: 1\n\n").await;
    connection.until("\r\n\r\n").await;
    connection.line().await;
    drain.cancel();
    let receipt: Value = serde_json::from_str(&connection.line().await).unwrap();
    assert_eq!(
        receipt,
        json!({
            "error": {
                "code": "draining",
                "message": "this node is stopping; send the rest to another node",
            },
            "line": 1,
        })
    );
    connection.until("0\r\n\r\n").await;
    assert_eq!(server.data("t").await, ["1"]);
    assert_eq!(server.post("topic=t", "2").await.status, 200);
    let late = sse(&server, "topic=t", "data: 3\n\n").await;
    assert_eq!((late.status, outcomes(&late)), (503, vec!["draining".into()]));
}

#[tokio::test]
async fn lines_that_arrive_during_an_append_are_the_next_batch() {
    let log = ScriptedLog::new([Reaction::Slow]);
    let server = Server::on(Config::default(), log.clone()).await;
    let mut connection = open(&server, "topic=t", LINES).await;
    connection.chunk("{\"data\":0}\n").await;
    while log.batches.lock().unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let more: String = (1..=10).map(|n| format!("{{\"data\":{n}}}\n")).collect();
    connection.chunk(more).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    log.release();
    log.release();
    connection.until("\r\n\r\n").await;
    for _ in 0..=10 {
        connection.line().await;
    }
    assert_eq!(*log.batches.lock().unwrap(), [1, 10]);
}

/// A gateway that drains closes its streams cleanly, and so does a pipe from a stream that broke off.
#[tokio::test]
async fn a_copied_stream_ends_its_topic_only_after_the_end_of_its_source() {
    let server = Server::start().await;
    let event = |kind: &str, data: &str| format!("event: tailwater.{kind}\ndata: {data}\n\n");
    let comment = |kind: &str, data: &str| format!(": tailwater.{kind} {data}\n");
    let (one, several) = (r#"{"cursor":"1-1"}"#, r#"{"cursor":"2.abc"}"#);
    let (end, away) = (r#"{"topic":"a"}"#, r#"{"reason":"drain"}"#);
    let data = || "data: 1\n\n".to_owned();
    for (topic, body, ends) in [
        ("plain", vec![data()], true),
        ("ended", vec![event("ready", one), data(), event("end", end)], true),
        ("drained", vec![event("ready", one), data(), event("reconnect", away)], false),
        ("broken-off", vec![event("ready", one), data()], false),
        ("of-several", vec![event("ready", several), data(), event("end", end)], false),
        (
            "again",
            vec![event("ready", one), data(), event("end", end), event("reopened", end)],
            false,
        ),
        (
            "in-a-loop",
            vec![
                event("ready", one),
                event("reconnect", away),
                event("ready", one),
                data(),
                event("end", end),
            ],
            true,
        ),
        ("drained-comment", vec![comment("ready", one), data(), comment("reconnect", away)], false),
        ("ended-comment", vec![comment("ready", one), data(), comment("end", end)], true),
    ] {
        let answer = sse(&server, &format!("topic={topic}&end=true"), body.concat()).await;
        let marks: Vec<_> = server.events(topic).await.iter().map(|event| event.mark()).collect();
        let expected: &[_] = if ends { &[Mark::Open, Mark::End] } else { &[Mark::Open] };
        assert_eq!(marks, expected, "{topic}: {outcomes:?}", outcomes = outcomes(&answer));
        let last = outcomes(&answer).pop().unwrap();
        assert_eq!(last, if ends { "stored" } else { "bad_body" }, "{topic}");
    }
    // Without the wish to end the topic nothing is missing.
    let body = [event("ready", one), data()].concat();
    let told = outcomes(&sse(&server, "topic=t", body).await);
    assert_eq!(told, ["bad_type", "stored"]);
}

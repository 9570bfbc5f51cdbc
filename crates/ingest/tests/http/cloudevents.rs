//! CloudEvents in structured, binary and batched mode.

use event_log::Mark;
use ingest::Config;
use serde_json::{Value, json};

use crate::double::{Reaction, ScriptedLog};
use crate::server::{Answer, Server};

/// The headers of `event("1")`.
const BINARY: [(&str, &str); 5] = [
    ("Ce-Specversion", "1.0"),
    ("Ce-Id", "1"),
    ("Ce-Source", "/s"),
    ("Ce-Type", "a.b"),
    ("Ce-Subject", "t"),
];
const JSON: (&str, &str) = ("Content-Type", "application/json; charset=utf-8");

fn event(id: &str) -> Value {
    json!({ "specversion": "1.0", "id": id, "source": "/s", "type": "a.b", "subject": "t" })
}

async fn one(server: &Server, query: &str, body: &Value) -> Answer {
    let headers = [("content-type", "application/cloudevents+json; charset=utf-8")];
    server.send(&format!("POST /v1/events?{query}"), &headers, body.to_string()).await
}

/// Publishes an event in binary mode.
async fn binary(
    server: &Server,
    query: &str,
    headers: &[(&str, &str)],
    body: impl AsRef<[u8]>,
) -> Answer {
    server.send(&format!("POST /v1/events?{query}"), &[&BINARY, headers].concat(), body).await
}

async fn batch(server: &Server, body: impl AsRef<[u8]>) -> Answer {
    let headers = [("content-type", "application/cloudevents-batch+json")];
    server.send("POST /v1/events", &headers, body).await
}

#[tokio::test]
async fn a_cloud_event_is_stored_whole_once_for_its_source_and_id() {
    let server = Server::start().await;
    let first = one(&server, "", &event("1")).await.json();
    assert_eq!((&first["topic"], &first["duplicate"]), (&"t".into(), &false.into()));
    assert_eq!(one(&server, "", &event("1")).await.json()["id"], first["id"]);
    assert_eq!(one(&server, "topic=u&end=true", &event("2")).await.status, 200);
    let stored = server.events("t").await.remove(0);
    assert_eq!(stored.data().parse::<Value>().unwrap(), event("1"));
    assert_eq!(stored.kind().unwrap().as_str(), "a.b");
    assert_eq!(server.events("u").await[0].mark(), Mark::Last);
}

#[tokio::test]
async fn a_body_that_is_not_a_cloud_event_is_refused() {
    let server = Server::start().await;
    assert_eq!(
        one(&server, "topic=t", &json!({ "id": "1" })).await.refusal(),
        "400 bad_body: the body is not a CloudEvent: missing field `source` at line 1 column 10"
    );
    assert!(batch(&server, "{}").await.refusal().starts_with("400 bad_body: "));
    let avro = [("content-type", "application/cloudevents+avro")];
    let answer = server.send("POST /v1/events?topic=t", &avro, "x").await;
    assert!(answer.refusal().starts_with("415 unsupported_media_type: "));
}

#[tokio::test]
async fn a_cloud_event_in_binary_mode_is_stored_as_the_same_event_in_structured_mode() {
    let server = Server::start().await;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let extensions = [
        JSON,
        ("ce-time", "2026-01-31T12:00:00Z"),
        ("ce-traceparent", trace),
        ("ce-partitionkey", "Euro%20%E2%82%AC"),
        ("ce-comexample", "\"quoted \\\"text\\\"\""),
    ];
    let first = binary(&server, "", &extensions, "{\"n\": 1.10}").await.json();
    assert_eq!((&first["topic"], &first["duplicate"]), (&"t".into(), &false.into()));
    let stored = server.events("t").await.remove(0);
    assert_eq!(
        stored.data(),
        r#"{"comexample":"quoted \"text\"","data":{"n":1.10},"datacontenttype":"application/json; charset=utf-8","id":"1","partitionkey":"Euro €","source":"/s","specversion":"1.0","subject":"t","time":"2026-01-31T12:00:00Z","traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01","type":"a.b"}"#
    );
    assert_eq!(stored.kind().unwrap().as_str(), "a.b");
    assert_eq!(stored.trace().unwrap().as_str(), trace);
    // Its source and id are the key, whatever the mode.
    assert_eq!(one(&server, "", &event("1")).await.json()["id"], first["id"]);
    let query = binary(&server, "topic=u&end=true", &[], "").await;
    assert_eq!(query.json()["topic"], "u");
    let stored = server.events("u").await.remove(0);
    assert_eq!(stored.data().parse::<Value>().unwrap(), event("1"));
    assert_eq!(stored.mark(), Mark::Last);
}

#[tokio::test]
async fn a_cloud_event_in_binary_mode_may_have_any_content_type() {
    let server = Server::start().await;
    for (content_type, body, member, data) in [
        ("application/x-ndjson", &b"{}\n{}\n"[..], "data", "{}\n{}\n"),
        ("text/event-stream", b"data: 1\n\n", "data", "data: 1\n\n"),
        ("image/png", b"\x89PNG", "data_base64", "iVBORw=="),
    ] {
        let topic = content_type.replace('+', "-");
        let content_type = [("content-type", content_type)];
        let answer = binary(&server, &format!("topic={topic}"), &content_type, body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let stored: Value = server.data(&topic).await.remove(0).parse().unwrap();
        assert_eq!(stored[member], data);
        assert_eq!(stored["datacontenttype"], content_type[0].1);
    }
}

#[tokio::test]
async fn a_cloud_event_whose_headers_are_no_attributes_is_refused() {
    let server = Server::start().await;
    let id = [("ce-id", "1")];
    let answer = server.send("POST /v1/events?topic=t", &id, "x").await;
    assert_eq!(
        answer.refusal(),
        "400 bad_body: the header ce-specversion is missing; a CloudEvent in binary mode has \
         ce-specversion, ce-id, ce-source, ce-type"
    );
    for (headers, body, code) in [
        (&[("ce-subject", "%FF")][..], "", "bad_body"),
        (&[("ce-a-b", "x")], "", "bad_body"),
        (&[("ce-datacontenttype", "text/plain")], "", "bad_body"),
        (&[("ce-id", "2")], "", "bad_body"),
        (&[JSON], "{", "bad_body"),
        (&[("content-encoding", "gzip")], "", "unsupported_media_type"),
    ] {
        let refusal = binary(&server, "topic=t", headers, body).await.refusal();
        assert!(refusal.contains(&format!(" {code}: ")), "{headers:?}: {refusal}");
    }
    let old = [("ce-specversion", "0.3"), ("ce-id", "1"), ("ce-source", "/s"), ("ce-type", "a.b")];
    let answer = server.send("POST /v1/events?topic=t", &old, "x").await;
    assert_eq!(
        answer.refusal(),
        "400 bad_body: specversion is \"0.3\"; the only supported version is \"1.0\""
    );
    let refusal = binary(&server, "topic=t&type=x", &[], "").await.refusal();
    assert!(refusal.starts_with("400 bad_parameter: "), "{refusal}");
    assert_eq!(server.data("t").await, Vec::<String>::new());
}

#[tokio::test]
async fn a_sender_that_takes_an_answer_for_an_event_gets_no_receipt() {
    let server = Server::start().await;
    for prefer in ["reply", "respond-async, Reply; x=1"] {
        let answer = binary(&server, "", &[JSON, ("prefer", prefer)], "{}").await;
        assert_eq!((answer.status, &*answer.body), (204, ""), "{prefer}");
    }
    let structured = [("content-type", "application/cloudevents+json"), ("prefer", "reply")];
    let body = event("1").to_string();
    let answer = server.send("POST /v1/events", &structured, body).await;
    assert_eq!((answer.status, &*answer.body), (204, ""));
    assert_eq!(server.events("t").await.len(), 1);
    // An error is told as ever, and other events have receipts.
    let refusal = binary(&server, "", &[("prefer", "reply"), ("ce-id", "2")], "").await.refusal();
    assert!(refusal.starts_with("400 bad_body: "), "{refusal}");
    assert_eq!(binary(&server, "", &[("prefer", "return=minimal")], "").await.status, 200);
    let data = server.send("POST /v1/events?topic=u", &[("prefer", "reply")], "x").await;
    assert_eq!(data.json()["topic"], "u");
}

#[tokio::test]
async fn headers_beside_a_structured_event_must_say_the_same() {
    let server = Server::start().await;
    let mut body = event("1");
    body["count"] = 5.into();
    let structured = [("content-type", "application/cloudevents+json"), ("ce-count", "5")];
    let answer = binary(&server, "", &structured, body.to_string()).await;
    assert_eq!(answer.json()["duplicate"], false, "{answer:?}");
    for (header, message) in [
        (("ce-count", "6"), "the header ce-count is \"6\", but count of the body is 5"),
        (("ce-time", "x"), "the header ce-time is \"x\", but time of the body is null"),
    ] {
        let headers = [structured[0], header];
        let refusal = binary(&server, "", &headers, body.to_string()).await.refusal();
        assert_eq!(refusal, format!("400 bad_body: {message}"));
    }
    let batched = [("content-type", "application/cloudevents-batch+json")];
    let refusal = binary(&server, "", &batched, json!([body]).to_string()).await.refusal();
    assert!(refusal.starts_with("400 bad_body: ce- headers are given"), "{refusal}");
}

#[tokio::test]
async fn each_event_of_a_batch_has_its_own_answer() {
    let server = Server::with(Config { batch_max: 2, ..Config::default() }).await;
    let mut bad = event("2");
    bad["type"] = "tailwater.gap".into();
    let events = json!([event("1"), bad, event("3"), event("1"), event("4")]);
    let answer = batch(&server, events.to_string()).await;
    assert_eq!(answer.status, 200);
    let receipts = answer.json()["receipts"].as_array().unwrap().clone();
    let duplicates: Vec<_> = receipts.iter().map(|r| r["duplicate"].as_bool()).collect();
    assert_eq!(duplicates, [Some(false), None, Some(false), Some(true), Some(false)]);
    assert_eq!(receipts[1]["error"]["code"], "bad_type");
    assert_eq!(receipts[1]["index"], 1);
    assert_eq!(server.events("t").await.len(), 3);
    assert_eq!(batch(&server, "[]").await.json(), json!({ "receipts": [] }));
}

#[tokio::test]
async fn a_batch_stops_where_the_log_fails_so_that_events_keep_their_order() {
    let config = || Config { batch_max: 1, ..Config::default() };
    let events = json!([event("1"), event("2"), event("3")]).to_string();
    let log = ScriptedLog::new([Reaction::Works, Reaction::Unavailable, Reaction::Works]);
    let server = Server::on(config(), log).await;
    let answer = batch(&server, &events).await;
    assert_eq!(answer.status, 200);
    let receipts = &answer.json()["receipts"];
    assert_eq!(receipts[1]["error"]["code"], "log_unavailable");
    assert!(receipts[2]["error"]["message"].as_str().unwrap().starts_with("not tried"));
    assert_eq!(server.events("t").await.len(), 1);

    let server = Server::on(config(), ScriptedLog::new([Reaction::Unavailable])).await;
    assert!(batch(&server, &events).await.refusal().starts_with("503 log_unavailable: "));
}

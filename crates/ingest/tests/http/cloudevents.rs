//! CloudEvents in structured mode.

use event_log::Mark;
use ingest::Config;
use serde_json::{Value, json};

use crate::double::{Reaction, ScriptedLog};
use crate::server::{Answer, Server};

fn event(id: &str) -> Value {
    json!({ "specversion": "1.0", "id": id, "source": "/s", "type": "a.b", "subject": "t" })
}

async fn one(server: &Server, query: &str, body: &Value) -> Answer {
    let headers = [("content-type", "application/cloudevents+json; charset=utf-8")];
    server.send(&format!("POST /v1/events?{query}"), &headers, body.to_string()).await
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
    let binary = [("ce-specversion", "1.0")];
    let answer = server.send("POST /v1/events?topic=t", &binary, "x").await;
    assert!(answer.refusal().starts_with("415 unsupported_media_type: "));
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

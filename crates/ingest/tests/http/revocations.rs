//! `POST /v1/revocations`.

use std::time::Duration;

use access::{REVOCATIONS_TOPIC, Revocation, Revoked, Timestamp};
use event_log::{Limit, Position, Topic};
use ingest::Config;
use serde_json::{Value, json};

use crate::closed::{ANN, COOKIE, ROOT, closed, server, token};
use crate::double::{Reaction, ScriptedLog};
use crate::server::{Answer, Server};

async fn revoke(server: &Server, body: &Value) -> Answer {
    server.send("POST /v1/revocations", &[ROOT], body.to_string()).await
}

fn later(time: Duration) -> String {
    Timestamp::now().later(time).to_string()
}

/// The revocations that the log holds.
async fn stored(server: &Server) -> Vec<Revocation> {
    let topic = Topic::reserved(REVOCATIONS_TOPIC).unwrap();
    let page = server.log.read(&topic, Position::START, Limit::PAGE).await.unwrap();
    page.events.iter().map(|event| Revocation::from_json(event.data()).unwrap()).collect()
}

#[tokio::test]
async fn a_revocation_is_stored_and_holds_on_this_node_at_once() {
    let server = server().await;
    assert_eq!(server.send("POST /v1/events?topic=a/1", &[ANN], "x").await.status, 200);
    let answer = revoke(&server, &json!({ "sub": "ann" })).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json()["sub"], "ann");
    let until = Timestamp::parse(answer.json()["until"].as_str().unwrap()).unwrap();
    let (least, most) = (later(Duration::from_hours(23)), later(Duration::from_hours(25)));
    assert!((Timestamp::parse(&least)..Timestamp::parse(&most)).contains(&Some(until)), "a day");
    assert_eq!(stored(&server).await[0].revoked, Revoked::Subject("ann".into()));

    let refused = server.send("POST /v1/events?topic=a/1", &[ANN], "x").await;
    assert_eq!(refused.refusal(), "403 revoked: the right was revoked");
    assert_eq!(server.send("GET /v1/topics/a/1", &[ANN], "").await.status, 403);
}

#[tokio::test]
async fn the_answer_names_the_time_that_holds() {
    let server = server().await;
    let (long, short) = (later(Duration::from_hours(10)), later(Duration::from_hours(1)));
    for wanted in [&long, &short] {
        let answer = revoke(&server, &json!({ "jti": "x", "until": wanted })).await;
        assert_eq!(answer.json(), json!({ "jti": "x", "until": long }), "asked for {wanted}");
    }
    assert_eq!(stored(&server).await.len(), 2);
}

#[tokio::test]
async fn bad_input_is_named() {
    let server = server().await;
    let (past, far) = (later(Duration::ZERO), later(Duration::from_hours(32 * 24)));
    let long = "x".repeat(257);
    for (body, reason) in [
        (json!({}), "a revocation names one of sub and jti"),
        (json!({ "sub": "a", "jti": "b" }), "a revocation names one of sub and jti"),
        (json!({ "sub": "" }), "the name has 0 bytes; it must have 1 to 256"),
        (json!({ "sub": long }), "the name has 257 bytes; it must have 1 to 256"),
        (json!({ "sub": "a", "until": past }), "until must be in the future"),
        (json!({ "sub": "a", "until": far }), "at most 31 days from now"),
        (json!({ "sub": "a", "until": "tomorrow" }), "until is \"tomorrow\""),
        (json!({ "sub": "a", "untl": far }), "unknown field `untl`"),
        (json!(["a"]), "the body is no revocation"),
    ] {
        let answer = revoke(&server, &body).await;
        assert_eq!(answer.status, 400, "{body}");
        assert!(answer.refusal().contains(reason), "{}", answer.refusal());
    }
    let large = json!({ "sub": "x".repeat(5000) });
    assert_eq!(revoke(&server, &large).await.status, 413);
    assert!(stored(&server).await.is_empty());
}

#[tokio::test]
async fn only_those_who_may_revoke_do() {
    let server = server().await;
    let over = format!("{COOKIE}={}", token(0));
    for (headers, refusal) in [
        (&[ANN][..], "403 forbidden: revoking needs a token with the right \"admin\": true"),
        (&[], "401 no_token: a token is needed: send Authorization: Bearer TOKEN"),
        (&[("cookie", &over)], "401 token_expired: the token has expired"),
        (&[("authorization", "Bearer nonsense")], "401 bad_token: the token is no JSON Web Token"),
    ] {
        let answer = server.send("POST /v1/revocations", headers, r#"{"sub":"bob"}"#).await;
        assert!(answer.refusal().starts_with(refusal), "{}", answer.refusal());
    }
    assert!(stored(&server).await.is_empty());
    let open = Server::start().await;
    let off = open.send("POST /v1/revocations", &[ROOT], r#"{"sub":"bob"}"#).await;
    assert_eq!(off.status, 404, "{off:?}");
}

#[tokio::test]
async fn no_more_hold_than_the_log_keeps() {
    let config = Config { access: closed(), revocations_max: 2, ..Config::default() };
    let server = Server::with(config).await;
    for name in ["a", "b", "a"] {
        assert_eq!(revoke(&server, &json!({ "sub": name })).await.status, 200, "{name}");
    }
    let full = revoke(&server, &json!({ "sub": "c" })).await.refusal();
    assert!(full.starts_with("429 too_many_revocations: 2 revocations hold"), "{full}");
    assert!(full.contains("--history-events"), "{full}");
    assert_eq!(stored(&server).await.len(), 3);
}

#[tokio::test]
async fn a_revocation_that_the_log_does_not_hold_is_not_acknowledged() {
    let access = closed();
    let log = ScriptedLog::new([Reaction::Unavailable, Reaction::Works]);
    let server = Server::on(Config { access: access.clone(), ..Config::default() }, log).await;
    assert_eq!(revoke(&server, &json!({ "sub": "ann" })).await.status, 503);
    assert!(access.revocations().is_empty());
    assert_eq!(revoke(&server, &json!({ "sub": "ann" })).await.status, 200);
    assert_eq!(access.revocations().len(), 1);
}

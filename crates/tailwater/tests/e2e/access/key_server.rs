//! Keys that come from a server, which rotates them and goes away.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use loadtest::client::http;
use tokio::net::TcpListener;

use super::{AUDIENCE, ISSUER, Mint};
use crate::support::{metric, serve, until};

/// A key server: the set that it answers; none if it is away.
pub(super) type Answer = Arc<Mutex<Option<String>>>;

pub(super) async fn start(answer: &Answer) -> String {
    let keys = |State(answer): State<Answer>| async move {
        answer.lock().unwrap().clone().ok_or(StatusCode::BAD_GATEWAY)
    };
    let routes = Router::new().route("/keys", get(keys)).with_state(Arc::clone(answer));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/keys", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, routes).await });
    url
}

/// The JWK set with the keys of several mints.
pub(super) fn set(mints: &[&Mint]) -> String {
    let key = |mint: &&Mint| {
        let mut set: serde_json::Value = serde_json::from_str(&mint.keys()).unwrap();
        set["keys"][0].take()
    };
    serde_json::json!({ "keys": mints.iter().map(key).collect::<Vec<_>>() }).to_string()
}

#[tokio::test]
async fn a_key_server_that_is_away_is_no_refusal_and_a_new_key_is_found_at_its_first_token() {
    let (old, new) = (Mint::new("old"), Mint::new("new"));
    let answer = Answer::default();
    let url = start(&answer).await;
    let node = serve()
        .flag("--auth-jwks", url)
        .flag("--auth-issuer", ISSUER)
        .flag("--auth-audience", AUDIENCE)
        .start()
        .await
        .unwrap();
    let publish = async |token: &str| {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", &*bearer)];
        let mut client = http::Client::new(node.addr());
        client.post("/v1/events?topic=t", &headers, "x").await.unwrap().status
    };
    let old_token = old.token("t");
    assert_eq!(publish(&old_token).await, 503, "nobody knows yet if the token is good");
    *answer.lock().unwrap() = Some(old.keys());
    until("the keys are loaded", async || publish(&old_token).await == 200).await;

    // The server is away: what is known stays good.
    *answer.lock().unwrap() = None;
    assert_eq!(publish(&old_token).await, 200);
    assert_eq!(publish(&new.token("t")).await, 503, "its key may be newer than the set");

    // Both keys, as an issuer that rotates has them. The node asks again, at most every 30 s.
    *answer.lock().unwrap() = Some(set(&[&old, &new]));
    let new_token = new.token("t");
    until("the new key is found", async || {
        assert_eq!(publish(&old_token).await, 200, "no honest request is refused");
        publish(&new_token).await == 200
    })
    .await;
    let metrics = node.metrics().await.unwrap();
    assert!(metric(&metrics, "tailwater_auth_key_set_age_seconds").unwrap() < 60.0);
}

//! Rights that end: revocations on every node, and tokens that expire under open streams.

use std::time::Duration;

use loadtest::client::http;
use loadtest::machine::{Redis, Tailwater, TailwaterBuilder};
use reqwest::Client;
use serde_json::json;
use tokio::time::timeout;

use super::Mint;
use crate::support::{gateway, ingest, serve, until};

/// A user's stream, as text.
async fn stream(node: &Tailwater, token: &str, query: &str) -> reqwest::Response {
    let url = format!("http://{}/v1/events?topic=user/ann{query}", node.addr());
    let bearer = format!("Bearer {token}");
    let _first = rustls::crypto::ring::default_provider().install_default();
    Client::new().get(url).header("authorization", bearer).send().await.unwrap()
}

/// Reads a stream to its end.
async fn rest(mut stream: reqwest::Response) -> String {
    let mut text = String::new();
    while let Ok(Some(chunk)) = stream.chunk().await {
        text.push_str(&String::from_utf8_lossy(&chunk));
    }
    text
}

fn admin(mint: &Mint) -> String {
    let mut claims = Mint::claims("none", 600);
    claims.insert("sub".to_owned(), json!("root"));
    claims.insert("tailwater".to_owned(), json!({ "admin": true }));
    mint.sign(&claims)
}

async fn revoke(node: &Tailwater, token: &str, body: &str) -> u16 {
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", &*bearer)];
    http::Client::new(node.addr())
        .post("/v1/revocations", &headers, body.to_owned())
        .await
        .unwrap()
        .status
}

#[tokio::test]
async fn a_revocation_ends_the_streams_on_every_node_and_a_node_that_starts_later_knows_it() {
    let (redis, mint) = (Redis::start().await.unwrap(), Mint::new("one"));
    let one = mint.close(gateway(&redis, "one")).start().await.unwrap();
    let mut two = mint.close(gateway(&redis, "two")).start().await.unwrap();
    let ingest = mint.close(ingest(&redis)).start().await.unwrap();
    let token = mint.token("user/ann");
    let mut bob = Mint::claims("user/ann", 600);
    bob.insert("sub".to_owned(), json!("bob"));
    let bob = mint.sign(&bob);
    let (first, second) = (stream(&one, &token, "").await, stream(&two, &token, "").await);
    let others = stream(&one, &bob, "").await;
    assert_eq!(first.status(), 200);

    assert_eq!(revoke(&ingest, &token, r#"{"sub":"ann"}"#).await, 403, "users may not");
    for bad in ["", "{}", r#"{"sub":"a","jti":"b"}"#, r#"{"sub":"a","until":"yesterday"}"#] {
        assert_eq!(revoke(&ingest, &admin(&mint), bad).await, 400, "{bad}");
    }
    assert_eq!(revoke(&ingest, &admin(&mint), r#"{"sub":"ann"}"#).await, 200);
    for open in [first, second] {
        // A second is promised; a machine that is busy may take longer.
        let ended = timeout(Duration::from_secs(3), rest(open)).await.expect("it ends at once");
        assert!(ended.contains(r#"{"reason":"revoked"}"#), "{ended}");
    }
    assert_eq!(stream(&one, &token, "").await.status(), 403, "an EventSource stops at that");
    assert_eq!(stream(&one, &bob, "").await.status(), 200);
    drop(others);

    two.kill_nine().unwrap();
    two.restart().await.unwrap();
    assert_eq!(stream(&two, &token, "").await.status(), 403);
    let bearer = format!("Bearer {token}");
    let publish = [("authorization", &*bearer)];
    until("ingest has heard of it", async || {
        let mut client = http::Client::new(ingest.addr());
        client.post("/v1/events?topic=user/ann", &publish, "x").await.unwrap().status == 403
    })
    .await;
}

#[tokio::test]
async fn a_revocation_holds_until_its_time_and_not_only_while_the_log_keeps_its_event() {
    let (redis, mint) = (Redis::start().await.unwrap(), Mint::new("one"));
    let brief = |node: TailwaterBuilder| {
        mint.close(node).flag("--history-age", "3s").flag("--history-events", "4")
    };
    let mut gateway = brief(gateway(&redis, "one")).start().await.unwrap();
    let ingest = brief(ingest(&redis)).start().await.unwrap();
    let soon = access::Timestamp::now().later(Duration::from_secs(6));
    let bodies = [json!({ "sub": "bob", "until": soon.to_string() }), json!({ "sub": "ann" })];
    for body in bodies {
        assert_eq!(revoke(&ingest, &admin(&mint), &body.to_string()).await, 200);
    }
    let full = revoke(&ingest, &admin(&mint), r#"{"sub":"eve"}"#).await;
    assert_eq!(full, 429, "half as many hold as the log keeps events");

    let mut claims = Mint::claims("user/ann", 600);
    claims.insert("sub".to_owned(), json!("bob"));
    let (ann, bob) = (mint.token("user/ann"), mint.sign(&claims));
    until("the second one holds", async || stream(&gateway, &ann, "").await.status() == 403).await;
    assert_eq!(stream(&gateway, &bob, "").await.status(), 403);
    until("bob is let in", async || stream(&gateway, &bob, "").await.status() == 200).await;
    // Twice the age of the log has passed.
    gateway.kill_nine().unwrap();
    gateway.restart().await.unwrap();
    assert_eq!(stream(&gateway, &ann, "").await.status(), 403);
    assert_eq!(stream(&gateway, &bob, "").await.status(), 200);
    assert_eq!(
        revoke(&ingest, &admin(&mint), r#"{"sub":"eve"}"#).await,
        200,
        "there is room again"
    );
}

#[tokio::test]
async fn a_stream_ends_before_its_token_does_and_a_new_token_goes_on_where_it_was() {
    let mint = Mint::new("one");
    // The leeway of 30 s is over in a few seconds.
    let node = mint.close(serve()).start().await.unwrap();
    let short = mint.sign(&Mint::claims("user/ann", -22));
    let open = stream(&node, &short, "").await;
    assert_eq!(open.status(), 200);
    let bearer = format!("Bearer {}", mint.token("user/ann"));
    let headers = [("authorization", &*bearer)];
    let mut publisher = http::Client::new(node.addr());
    publisher.post("/v1/events?topic=user/ann", &headers, "first").await.unwrap();
    let seen = rest(open).await;
    assert!(
        seen.contains("data: first") && seen.contains(r#"{"reason":"token_expired"}"#),
        "{seen}"
    );
    publisher.post("/v1/events?topic=user/ann", &headers, "second").await.unwrap();
    let cursor = seen.lines().rev().find_map(|line| line.strip_prefix("id: ")).unwrap().to_owned();
    until("the old token is over", async || stream(&node, &short, "").await.status() == 401).await;
    let mut next =
        stream(&node, &mint.token("user/ann"), &format!("&last_event_id={cursor}")).await;
    let mut text = String::new();
    while !text.contains("data: second") {
        text.push_str(&String::from_utf8_lossy(&next.chunk().await.unwrap().unwrap()));
    }
    assert!(!text.contains("data: first") && text.contains("exact"), "{text}");
}

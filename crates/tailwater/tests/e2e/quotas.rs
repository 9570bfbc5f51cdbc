//! Quotas of a subject over several nodes.

use loadtest::machine::{Redis, Tailwater};
use reqwest::{Client, Response};
use serde_json::json;

use crate::access::Mint;
use crate::support::{gateway, until};

/// Streams of a subject in this test: the most, and the part that all nodes admit without a question.
const MAX: usize = 48;
const SHARES: usize = MAX / 8;

async fn get(node: &Tailwater, token: &str) -> Response {
    let _first = rustls::crypto::ring::default_provider().install_default();
    let url = format!("http://{}/v1/events?topic=user/ann", node.addr());
    let bearer = format!("Bearer {token}");
    Client::new().get(url).header("authorization", bearer).send().await.unwrap()
}

/// Opens a stream; `None` if the node tells the client to come back.
async fn open(node: &Tailwater, token: &str) -> Option<Response> {
    let mut stream = get(node, token).await;
    assert_eq!(stream.status(), 200);
    let mut text = String::new();
    loop {
        let chunk = stream.chunk().await.unwrap().expect("the stream says what it is first");
        text.push_str(&String::from_utf8_lossy(&chunk));
        if text.contains("tailwater.ready") {
            return Some(stream);
        }
        if text.contains("tailwater.reconnect") {
            assert!(text.contains(r#""reason":"overload""#), "{text}");
            return None;
        }
    }
}

#[tokio::test]
async fn streams_are_counted_on_three_nodes_and_a_killed_one_gives_its_places_back() {
    let (redis, mint) = (Redis::start().await.unwrap(), Mint::new("one"));
    let mut nodes = Vec::new();
    for name in ["one", "two", "three"] {
        let node = mint.close(gateway(&redis, name)).flag("--subject-streams", MAX.to_string());
        nodes.push(node.start().await.unwrap());
    }
    let token = mint.token("user/ann");
    let mut held: Vec<Vec<Response>> = vec![vec![], vec![], vec![]];
    for _ in 0..MAX {
        for (node, held) in nodes.iter().zip(&mut held) {
            held.extend(open(node, &token).await);
        }
    }
    let total = held.iter().map(Vec::len).sum::<usize>();
    assert!((MAX..=MAX + SHARES).contains(&total), "{total}");

    let mut dead = nodes.remove(0);
    dead.kill_nine().unwrap();
    held.remove(0);
    until("the places of the dead node are given to others", async || {
        for (node, held) in nodes.iter().zip(&mut held) {
            while let Some(stream) = open(node, &token).await {
                held.push(stream);
            }
        }
        let total = held.iter().map(Vec::len).sum::<usize>();
        assert!(total <= MAX + SHARES, "{total}");
        total >= MAX
    })
    .await;
}

#[tokio::test]
async fn a_token_lowers_a_bound_and_a_long_poll_is_told_which() {
    let (redis, mint) = (Redis::start().await.unwrap(), Mint::new("one"));
    let node = mint.close(gateway(&redis, "one")).start().await.unwrap();
    for quota in ["streams", "topics"] {
        assert_lowers(&node, &mint, quota).await;
    }
}

/// Asserts that a subject whose token allows two of a quota opens two streams of a topic, and no third.
async fn assert_lowers(node: &Tailwater, mint: &Mint, quota: &str) {
    let mut claims = Mint::claims("user/ann", 600);
    // Another subject for each quota: the places of the last one may not be free yet.
    claims.insert("sub".to_owned(), json!(quota));
    claims.insert(
        "tailwater".to_owned(),
        json!({ "subscribe": ["user/ann"], "quotas": { quota: 2 } }),
    );
    let token = mint.sign(&claims);
    let held = [open(node, &token).await.unwrap(), open(node, &token).await.unwrap()];
    assert!(open(node, &token).await.is_none());
    let refused = Client::new()
        .get(format!("http://{}/v1/events?topic=user/ann", node.addr()))
        .header("authorization", format!("Bearer {token}"))
        .header("accept", "application/json")
        .send()
        .await
        .unwrap();
    assert_eq!(refused.status(), 429);
    assert!(refused.headers().contains_key("retry-after"));
    let text = refused.text().await.unwrap();
    assert!(
        text.contains(r#""code":"quota""#) && text.contains(&format!("quotas.{quota}")),
        "{text}"
    );
    drop(held);
    until("the places are free", async || open(node, &token).await.is_some()).await;
}

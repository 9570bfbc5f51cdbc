//! Requests with an `Idempotency-Key`, and orders that reach another relay, over a real Redis.

use std::net::SocketAddr;

use loadtest::machine::{Redis, Tailwater};
use reqwest::{Response, StatusCode};

use super::client::{CHAT, Caller, at, chat_data, data, http, read, relay};
use super::upstream::{Upstream, chat_body};
use crate::support::until;

async fn cluster(upstream: &Upstream) -> (Redis, Tailwater, Tailwater) {
    let redis = Redis::start().await.unwrap();
    let first = relay(upstream, Some(&redis)).node("first").start().await.unwrap();
    let second = relay(upstream, Some(&redis)).node("second").start().await.unwrap();
    (redis, first, second)
}

/// Sends a request with a key.
async fn keyed(node: SocketAddr, path: &str, key: &str, body: &'static str) -> Response {
    let request = http().post(at(node, path)).header("idempotency-key", key).body(body);
    request.header("authorization", "Bearer sk-1").send().await.unwrap()
}

#[tokio::test]
async fn the_same_key_joins_the_running_answer_on_any_relay() {
    let upstream = Upstream::start().await;
    let (_redis, first, second) = cluster(&upstream).await;
    upstream.allow(100);
    let mut caller = Caller::of(keyed(first.addr(), CHAT, "k-1", "{}").await);
    caller.until_token(99).await;
    for node in [&first, &second] {
        let mut joined = Caller::of(keyed(node.addr(), CHAT, "k-1", "{}").await);
        assert_eq!(joined.response.headers()["idempotency-replayed"], "true");
        assert_eq!((&joined.topic, &joined.location), (&caller.topic, &caller.location));
        joined.until_token(99).await;
    }
    let joined = keyed(second.addr(), CHAT, "k-1", "{}").await;
    upstream.allow(usize::MAX);
    assert_eq!(caller.rest().await.unwrap(), chat_body());
    let (seen, is_whole) = read(joined).await;
    assert_eq!((data(&seen), is_whole), (chat_data(), true));
    let (seen, _) = read(keyed(second.addr(), CHAT, "k-1", "{}").await).await;
    assert_eq!(data(&seen), chat_data(), "a finished answer is joined as well");
    assert_eq!(upstream.requests().len(), 1, "the upstream was asked once");
}

#[tokio::test]
async fn requests_at_the_same_time_with_the_same_key_are_one_request() {
    let upstream = Upstream::start().await;
    upstream.allow(usize::MAX);
    let (_redis, first, second) = cluster(&upstream).await;
    let nodes = [first.addr(), second.addr(), first.addr(), second.addr()];
    let answers = nodes.map(|node| tokio::spawn(keyed(node, CHAT, "k-1", "{}")));
    for answer in answers {
        let (seen, is_whole) = read(answer.await.unwrap()).await;
        assert_eq!((data(&seen), is_whole), (chat_data(), true));
    }
    assert_eq!(upstream.requests().len(), 1);
}

#[tokio::test]
async fn another_request_with_the_same_key_is_refused() {
    let upstream = Upstream::start().await;
    upstream.allow(usize::MAX);
    let (_redis, first, second) = cluster(&upstream).await;
    keyed(first.addr(), CHAT, "k-1", "{}").await;
    for node in [first.addr(), second.addr()] {
        let refused = keyed(node, CHAT, "k-1", "{\"other\":1}").await;
        assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
        let refused = keyed(node, "/lines", "k-1", "{}").await;
        assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
    }
    let of_another = http().post(at(first.addr(), CHAT)).header("idempotency-key", "k-1").body("?");
    let of_another = of_another.header("authorization", "Bearer sk-2").send().await.unwrap();
    assert_eq!(of_another.status(), StatusCode::OK, "other credentials have other keys");
    assert_eq!(upstream.requests().len(), 2);
}

#[tokio::test]
async fn an_answer_of_json_lines_is_joined_as_json_lines() {
    let upstream = Upstream::start().await;
    upstream.allow(usize::MAX);
    let (_redis, first, second) = cluster(&upstream).await;
    let one = keyed(first.addr(), "/lines", "k-1", "").await.text().await.unwrap();
    let two = keyed(second.addr(), "/lines", "k-1", "").await;
    assert_eq!(two.headers()["content-type"], "application/x-ndjson");
    assert_eq!(two.text().await.unwrap().trim_end(), one);
    assert_eq!(upstream.requests().len(), 1);
}

#[tokio::test]
async fn an_answer_that_was_not_stored_or_broke_off_is_asked_for_again() {
    let upstream = Upstream::start().await;
    let (_redis, first, second) = cluster(&upstream).await;
    for node in [first.addr(), second.addr()] {
        let failed = keyed(node, "/failed", "k-1", "").await;
        assert_eq!(failed.status(), StatusCode::INTERNAL_SERVER_ERROR);
    }
    assert_eq!(upstream.requests().len(), 2);
    upstream.allow(10);
    let mut caller = Caller::of(keyed(first.addr(), CHAT, "k-2", "{}").await);
    caller.until_token(9).await;
    http().delete(at(first.addr(), &caller.location)).send().await.unwrap();
    assert!(caller.rest().await.is_err());
    upstream.allow(usize::MAX);
    until("the key is free", async || {
        let again = keyed(second.addr(), CHAT, "k-2", "{}").await;
        !again.headers().contains_key("idempotency-replayed")
    })
    .await;
}

#[tokio::test]
async fn a_retry_finds_the_answer_of_a_caller_that_left_before_its_head() {
    let upstream = Upstream::start().await;
    let (_redis, first, second) = cluster(&upstream).await;
    let hold = upstream.hold();
    let leaving = tokio::spawn(keyed(first.addr(), CHAT, "k-1", "{}"));
    until("the upstream is asked", async || upstream.requests().len() == 1).await;
    leaving.abort();
    let retry = tokio::spawn(keyed(second.addr(), CHAT, "k-1", "{}"));
    upstream.allow(usize::MAX);
    drop(hold);
    let (seen, is_whole) = read(retry.await.unwrap()).await;
    assert_eq!((data(&seen), is_whole), (chat_data(), true));
    assert_eq!(upstream.requests().len(), 1);
}

#[tokio::test]
async fn a_key_is_free_again_when_its_relay_was_killed_before_the_answer() {
    let upstream = Upstream::start().await;
    let (_redis, mut first, second) = cluster(&upstream).await;
    let hold = upstream.hold();
    let lost = tokio::spawn(keyed(first.addr(), CHAT, "k-1", "{}"));
    until("the upstream is asked", async || upstream.requests().len() == 1).await;
    first.kill_nine().unwrap();
    lost.abort();
    drop(hold);
    upstream.allow(usize::MAX);
    until("the request is sent again", async || {
        keyed(second.addr(), CHAT, "k-1", "{}").await.status() == StatusCode::OK
    })
    .await;
    let (seen, is_whole) = read(keyed(second.addr(), CHAT, "k-1", "{}").await).await;
    assert_eq!((data(&seen), is_whole), (chat_data(), true));
    assert_eq!(upstream.requests().len(), 2);
}

#[tokio::test]
async fn a_body_over_the_limit_for_keys_is_refused() {
    let upstream = Upstream::start().await;
    let node = relay(&upstream, None).flag("--request-bytes-max", "10B").start().await.unwrap();
    let refused = keyed(node.addr(), "/echo", "k-1", "0123456789+").await;
    assert_eq!(refused.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(
        keyed(node.addr(), "/echo", "k-1", "0123456789").await.text().await.unwrap(),
        "0123456789"
    );
}

#[tokio::test]
async fn delete_reaches_the_relay_that_reads_the_answer() {
    let upstream = Upstream::start().await;
    let (_redis, first, second) = cluster(&upstream).await;
    upstream.allow(10);
    let mut caller = Caller::chat(first.addr()).await;
    caller.until_token(9).await;
    let delete = http().delete(at(second.addr(), &caller.location)).send().await.unwrap();
    assert_eq!(delete.status(), StatusCode::NO_CONTENT);
    upstream.until_cancelled(1).await;
    assert!(caller.rest().await.is_err());
}

//! Clients that resume in a way of their own, over a real Redis. `sdk.rs` runs the real ones.

use std::net::SocketAddr;

use loadtest::machine::{Redis, Tailwater};
use reqwest::{Response, StatusCode};
use serde_json::Value;

use super::client::{CHAT, Caller, at, chat_data, data, http, read, relay};
use super::upstream::{RESPONSE, TOKENS, Upstream};

async fn cluster(upstream: &Upstream) -> (Redis, Tailwater, Tailwater) {
    let redis = Redis::start().await.unwrap();
    let adapted = |name| {
        let relay = relay(upstream, Some(&redis)).node(name);
        relay.flag("--adapter", "openai,ai-sdk=/api/chat,langgraph").start()
    };
    let (first, second) = (adapted("first").await.unwrap(), adapted("second").await.unwrap());
    (redis, first, second)
}

async fn retrieve(node: SocketAddr, query: &str) -> Response {
    let path = format!("/v1/responses/{RESPONSE}?{query}");
    http().get(at(node, &path)).bearer_auth("sk-1").send().await.unwrap()
}

async fn numbers(response: Response) -> Vec<u64> {
    let (seen, is_whole) = read(response).await;
    assert!(is_whole);
    let number =
        |data: &str| serde_json::from_str::<Value>(data).unwrap()["sequence_number"].as_u64();
    seen.iter().map(|seen| number(&seen.data).unwrap()).collect()
}

#[tokio::test]
async fn a_response_is_retrieved_after_a_sequence_number_from_another_relay() {
    let upstream = Upstream::start().await;
    let (_redis, first, second) = cluster(&upstream).await;
    upstream.allow(101);
    let begun = http().post(at(first.addr(), "/v1/responses")).bearer_auth("sk-1").body("{}");
    let mut caller = Caller::of(begun.send().await.unwrap());
    caller.until_token(99).await;
    drop(caller);
    let resumed = retrieve(second.addr(), "stream=true&starting_after=100").await;
    assert_eq!(resumed.headers()["content-type"], "text/event-stream");
    upstream.allow(usize::MAX);
    let last = TOKENS as u64 + 1;
    assert_eq!(numbers(resumed).await, (101..=last).collect::<Vec<_>>());
    let whole = retrieve(first.addr(), "stream=true").await;
    assert_eq!(numbers(whole).await, (0..=last).collect::<Vec<_>>());
    let part = retrieve(first.addr(), "stream=true&starting_after=7").await;
    assert_eq!(numbers(part).await, (8..=last).collect::<Vec<_>>());
    let nothing = retrieve(first.addr(), &format!("stream=true&starting_after={last}")).await;
    assert_eq!(nothing.status(), StatusCode::NO_CONTENT);
    assert_eq!(upstream.requests().len(), 1);
}

#[tokio::test]
async fn a_response_that_the_relay_does_not_know_is_asked_of_the_upstream() {
    let upstream = Upstream::start().await;
    let (_redis, first, _second) = cluster(&upstream).await;
    upstream.allow(usize::MAX);
    let passed = retrieve(first.addr(), "stream=true").await;
    assert_eq!(passed.status(), StatusCode::IM_A_TEAPOT);
    let begun = http().post(at(first.addr(), "/v1/responses")).bearer_auth("sk-1").body("{}");
    Caller::of(begun.send().await.unwrap()).rest().await.unwrap();
    assert_eq!(retrieve(first.addr(), "stream=true").await.status(), StatusCode::OK);
    assert_eq!(retrieve(first.addr(), "").await.status(), StatusCode::IM_A_TEAPOT, "no stream");
    let path = format!("/v1/responses/{RESPONSE}?stream=true");
    let of_another = http().get(at(first.addr(), &path)).bearer_auth("sk-2").send().await.unwrap();
    assert_eq!(of_another.status(), StatusCode::IM_A_TEAPOT, "the id of another party");
}

#[tokio::test]
async fn a_response_is_cancelled_by_its_id() {
    let upstream = Upstream::start().await;
    let (_redis, first, second) = cluster(&upstream).await;
    upstream.allow(11);
    let begun = http().post(at(first.addr(), "/v1/responses")).bearer_auth("sk-1").body("{}");
    let mut caller = Caller::of(begun.send().await.unwrap());
    caller.until_token(9).await;
    let path = format!("/v1/responses/{RESPONSE}/cancel");
    let cancelled = http().post(at(second.addr(), &path)).bearer_auth("sk-1").send().await.unwrap();
    let cancelled: Value = serde_json::from_slice(&cancelled.bytes().await.unwrap()).unwrap();
    assert_eq!((&cancelled["id"], &cancelled["status"]), (&RESPONSE.into(), &"cancelled".into()));
    upstream.until_cancelled(1).await;
}

#[tokio::test]
async fn a_page_that_is_loaded_again_finds_the_running_answer_of_its_chat() {
    let upstream = Upstream::start().await;
    let (_redis, first, second) = cluster(&upstream).await;
    let stream = |node| http().get(at(node, "/api/chat/chat-1/stream")).send();
    let nothing = stream(first.addr()).await.unwrap();
    assert_eq!(nothing.status(), StatusCode::NO_CONTENT, "nothing runs");
    upstream.allow(102);
    let begin = || http().post(at(first.addr(), "/api/chat")).body("{\"id\":\"chat-1\"}").send();
    let mut caller = Caller::of(begin().await.unwrap());
    caller.until_token(99).await;
    drop(caller);
    let again = stream(second.addr()).await.unwrap();
    assert_eq!(again.headers()["x-vercel-ai-ui-message-stream"], "v1");
    upstream.allow(usize::MAX);
    let (seen, is_whole) = read(again).await;
    assert_eq!((seen.len(), is_whole), (TOKENS + 5, true), "from the beginning to the end");
    assert_eq!(stream(second.addr()).await.unwrap().status(), StatusCode::NO_CONTENT);

    upstream.allow(12);
    let mut caller = Caller::of(begin().await.unwrap());
    caller.until_token(9).await;
    let stop = http().delete(at(second.addr(), "/api/chat/chat-1/stream")).send().await.unwrap();
    assert_eq!(stop.status(), StatusCode::NO_CONTENT);
    upstream.until_cancelled(1).await;
    assert!(caller.rest().await.is_err());
}

#[tokio::test]
async fn a_caller_that_asks_for_ids_goes_on_after_the_last_one() {
    let upstream = Upstream::start().await;
    let (_redis, first, second) = cluster(&upstream).await;
    upstream.allow(100);
    let chat = http().post(at(first.addr(), CHAT)).header("tailwater-ids", "on").body("{}");
    let mut caller = Caller::of(chat.send().await.unwrap());
    caller.until_token(99).await;
    let (location, last) = (caller.location.clone(), caller.last_id());
    drop(caller);
    let rest = http().get(at(second.addr(), &location)).header("last-event-id", last);
    let rest = rest.send().await.unwrap();
    upstream.allow(usize::MAX);
    let (seen, is_whole) = read(rest).await;
    assert_eq!((data(&seen), is_whole), (chat_data()[100..].to_vec(), true));
    let (parts, _) = upstream.requests().pop().unwrap();
    assert!(!parts.headers.contains_key("tailwater-ids"));
}

#[tokio::test]
async fn a_caller_with_ids_that_leaves_has_left() {
    let upstream = Upstream::start().await;
    let node = relay(&upstream, None).flag("--detached", "cancel").start().await.unwrap();
    upstream.allow(10);
    let chat = http().post(at(node.addr(), CHAT)).header("tailwater-ids", "on").body("{}");
    let mut caller = Caller::of(chat.send().await.unwrap());
    caller.until_token(9).await;
    drop(caller);
    upstream.until_cancelled(1).await;
}

#[tokio::test]
async fn a_run_is_read_on_at_the_location_of_the_upstream() {
    let upstream = Upstream::start().await;
    let (_redis, first, second) = cluster(&upstream).await;
    upstream.allow(100);
    let run = http().post(at(first.addr(), "/threads/t/runs/stream")).body("{}");
    let mut caller = Caller::of(run.send().await.unwrap());
    assert_eq!(caller.location, "/threads/t/runs/r/stream");
    caller.until_token(99).await;
    let (location, last) = (caller.location.clone(), caller.last_id());
    drop(caller);
    let rest = http().get(at(second.addr(), &location)).header("last-event-id", last);
    let rest = rest.send().await.unwrap();
    upstream.allow(usize::MAX);
    let (seen, is_whole) = read(rest).await;
    let kinds = (seen[0].kind.as_str(), seen.last().unwrap().kind.as_str());
    assert_eq!((seen.len(), kinds, is_whole), (TOKENS - 99, ("messages", "end"), true));
}

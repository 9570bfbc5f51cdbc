//! Answers that outlive their caller, on the embedded log and on a real Redis.

use loadtest::machine::Redis;
use reqwest::StatusCode;
use serde_json::Value;

use super::client::{Caller, Seen, at, chat_data, data, http, read, relay, reread};
use super::upstream::{TOKENS, Upstream, chat_body};
use crate::support::{gateway, until};

fn error_code(seen: &Seen) -> String {
    assert_eq!(seen.kind, "error");
    let told: Value = serde_json::from_str(&seen.data).unwrap();
    told["error"]["code"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_answer_whose_caller_was_killed_is_read_to_its_end_on_another_gateway() {
    let redis = Redis::start().await.unwrap();
    let upstream = Upstream::start().await;
    let node = relay(&upstream, Some(&redis)).start().await.unwrap();
    let other = gateway(&redis, "other").start().await.unwrap();
    upstream.allow(100);
    let mut caller = Caller::chat(node.addr()).await;
    caller.until_token(99).await;
    let location = caller.location.clone();
    drop(caller);

    // Everything that the caller has seen is in the log already.
    let mut reader =
        Caller::of_stream(http().get(at(other.addr(), &location)).send().await.unwrap());
    reader.until_token(99).await;
    upstream.allow(300);
    reader.until_token(299).await;
    let cursor = reader.last_id();
    drop(reader);

    upstream.allow(usize::MAX);
    let resumed = http().get(at(other.addr(), &location)).header("last-event-id", &cursor);
    let (seen, is_whole) = read(resumed.send().await.unwrap()).await;
    assert!(is_whole);
    assert_eq!(data(&seen), chat_data()[300..]);
    assert_eq!(data(&reread(node.addr(), &location).await), chat_data());
    assert_eq!(upstream.requests().len(), 1);
}

#[tokio::test]
async fn a_reader_that_has_everything_is_told_so() {
    let upstream = Upstream::start().await;
    upstream.allow(usize::MAX);
    let node = relay(&upstream, None).start().await.unwrap();
    let caller = Caller::chat(node.addr()).await;
    let seen = reread(node.addr(), &caller.location).await;
    let last = &seen.last().unwrap().id;
    let again = http().get(at(node.addr(), &caller.location)).header("last-event-id", last);
    let again = again.send().await.unwrap();
    assert_eq!(again.status(), StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn delete_cancels_the_request_to_the_upstream() {
    let upstream = Upstream::start().await;
    let node = relay(&upstream, None).start().await.unwrap();
    upstream.allow(10);
    let mut caller = Caller::chat(node.addr()).await;
    caller.until_token(9).await;
    let location = caller.location.clone();
    let delete = || http().delete(at(node.addr(), &location)).send();
    assert_eq!(delete().await.unwrap().status(), StatusCode::NO_CONTENT);
    upstream.until_cancelled(1).await;
    assert!(caller.rest().await.is_err(), "a cancelled answer does not look complete");
    let seen = reread(node.addr(), &location).await;
    assert_eq!((seen.len(), error_code(&seen[10]).as_str()), (11, "cancelled"));
    assert_eq!(delete().await.unwrap().status(), StatusCode::NO_CONTENT, "twice is as good");
}

#[tokio::test]
async fn delete_refuses_what_is_no_answer() {
    let upstream = Upstream::start().await;
    let node = relay(&upstream, None).start().await.unwrap();
    for (query, status) in [
        ("topic=relay/none", StatusCode::NOT_FOUND),
        ("topic=orders", StatusCode::NOT_FOUND),
        ("", StatusCode::BAD_REQUEST),
        ("topic=relay/a&topic=relay/b", StatusCode::BAD_REQUEST),
    ] {
        let path = format!("/v1/events?{query}");
        let response = http().delete(at(node.addr(), &path)).send().await.unwrap();
        assert_eq!(response.status(), status, "{query}");
    }
}

#[tokio::test]
async fn a_closed_relay_lets_those_read_and_cancel_who_may() {
    let upstream = Upstream::start().await;
    upstream.allow(10);
    for (rights, reads, cancels) in [
        ("publish=other", StatusCode::UNAUTHORIZED, StatusCode::UNAUTHORIZED),
        ("subscribe=relay/**", StatusCode::OK, StatusCode::UNAUTHORIZED),
        ("subscribe=relay/**,end=relay/**", StatusCode::OK, StatusCode::NO_CONTENT),
    ] {
        let node = relay(&upstream, None).flag("--anonymous", rights).start().await.unwrap();
        let mut caller = Caller::chat(node.addr()).await;
        caller.until_token(9).await;
        let url = at(node.addr(), &caller.location);
        assert_eq!(http().get(&url).send().await.unwrap().status(), reads, "{rights}");
        assert_eq!(http().delete(&url).send().await.unwrap().status(), cancels, "{rights}");
    }
}

#[tokio::test]
async fn an_answer_goes_on_without_its_caller_for_a_while() {
    let upstream = Upstream::start().await;
    let node = relay(&upstream, None).flag("--detached", "1s").start().await.unwrap();
    upstream.allow(10);
    let mut caller = Caller::chat(node.addr()).await;
    caller.until_token(9).await;
    let location = caller.location.clone();
    drop(caller);
    upstream.until_cancelled(1).await;
    let seen = reread(node.addr(), &location).await;
    assert_eq!(error_code(seen.last().unwrap()), "abandoned");

    upstream.allow(TOKENS - 1);
    let mut caller = Caller::chat(node.addr()).await;
    caller.until_token(TOKENS - 2).await;
    let location = caller.location.clone();
    drop(caller);
    upstream.allow(usize::MAX);
    assert_eq!(data(&reread(node.addr(), &location).await), chat_data());
}

#[tokio::test]
async fn an_answer_ends_with_its_caller_if_that_was_said() {
    let upstream = Upstream::start().await;
    let node = relay(&upstream, None).flag("--detached", "cancel").start().await.unwrap();
    upstream.allow(10);
    let mut caller = Caller::chat(node.addr()).await;
    caller.until_token(9).await;
    drop(caller);
    upstream.until_cancelled(1).await;
    upstream.allow(usize::MAX);
    assert_eq!(Caller::chat(node.addr()).await.rest().await.unwrap(), chat_body());
}

#[tokio::test]
async fn a_relay_that_stops_waits_for_answers_and_ends_those_that_take_too_long() {
    let redis = Redis::start().await.unwrap();
    let upstream = Upstream::start().await;
    let mut node = relay(&upstream, Some(&redis)).start().await.unwrap();
    let other = gateway(&redis, "other").start().await.unwrap();
    upstream.allow(10);
    let mut caller = Caller::chat(node.addr()).await;
    caller.until_token(9).await;
    let location = caller.location.clone();
    node.begin_termination().unwrap();
    let seen = reread(other.addr(), &location).await;
    assert_eq!((seen.len(), error_code(&seen[10]).as_str()), (11, "stopped"));
    assert!(node.wait_exit().await.unwrap().success());
    until("the upstream's answer is cancelled", async || upstream.cancelled() == 1).await;
}

#[tokio::test]
async fn the_answer_of_a_relay_that_was_killed_does_not_look_finished() {
    let redis = Redis::start().await.unwrap();
    let upstream = Upstream::start().await;
    let mut first = relay(&upstream, Some(&redis)).node("first").start().await.unwrap();
    let second = relay(&upstream, Some(&redis)).node("second").start().await.unwrap();
    let other = gateway(&redis, "other").start().await.unwrap();
    upstream.allow(10);
    let mut caller = Caller::chat(first.addr()).await;
    caller.until_token(9).await;
    let mut own = Caller::chat(second.addr()).await;
    own.until_token(9).await;
    let location = caller.location.clone();
    first.kill_nine().unwrap();
    assert!(caller.rest().await.is_err());
    let seen = reread(other.addr(), &location).await;
    assert_eq!((seen.len(), error_code(&seen[10]).as_str()), (11, "lost"));
    upstream.allow(usize::MAX);
    assert_eq!(own.rest().await.unwrap(), chat_body(), "the other relay's answer goes on");
}

#[tokio::test]
async fn a_relay_that_starts_ends_the_answers_of_one_that_was_killed_when_it_was_alone() {
    let redis = Redis::start().await.unwrap();
    let upstream = Upstream::start().await;
    let mut node = relay(&upstream, Some(&redis)).start().await.unwrap();
    upstream.allow(10);
    let mut caller = Caller::chat(node.addr()).await;
    caller.until_token(9).await;
    let location = caller.location.clone();
    node.kill_nine().unwrap();
    node.restart().await.unwrap();
    let seen = reread(node.addr(), &location).await;
    assert_eq!((seen.len(), error_code(&seen[10]).as_str()), (11, "lost"));
}

#[tokio::test]
async fn an_answer_goes_on_without_its_log_and_its_topic_ends_when_the_log_is_back() {
    let mut redis = Redis::start().await.unwrap();
    let upstream = Upstream::start().await;
    let node = relay(&upstream, Some(&redis)).start().await.unwrap();
    upstream.allow(10);
    let mut caller = Caller::chat(node.addr()).await;
    caller.until_token(9).await;
    let location = caller.location.clone();
    redis.kill_nine().unwrap();
    upstream.allow(usize::MAX);
    assert_eq!(caller.rest().await.unwrap(), chat_body());
    redis.restart().await.unwrap();
    let seen = reread(node.addr(), &location).await;
    assert_eq!(error_code(seen.last().unwrap()), "unstorable");
    assert!(data(&seen[..10]) == chat_data()[..10] && seen.len() < TOKENS, "{}", seen.len());
}

#[tokio::test]
async fn many_answers_at_once_are_each_whole_on_every_gateway() {
    let redis = Redis::start().await.unwrap();
    let upstream = Upstream::start().await;
    let node = relay(&upstream, Some(&redis)).start().await.unwrap();
    let other = gateway(&redis, "other").start().await.unwrap();
    let (relay, other) = (node.addr(), other.addr());
    let answers: Vec<_> = (0..100)
        .map(|_| {
            tokio::spawn(async move {
                let caller = Caller::chat(relay).await;
                let location = caller.location.clone();
                // A reader that is there from the beginning, and a caller.
                let (seen, body) = tokio::join!(reread(other, &location), caller.rest());
                (data(&seen), body.unwrap())
            })
        })
        .collect();
    upstream.allow(usize::MAX);
    let (events, body) = (chat_data(), chat_body());
    for answer in answers {
        assert!(answer.await.unwrap() == (events.clone(), body.clone()));
    }
}

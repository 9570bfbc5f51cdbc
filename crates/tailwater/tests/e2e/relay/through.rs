//! Everything that a caller gets through a relay: the same as from the upstream.

use axum::http::{HeaderMap, Method};
use loadtest::machine::Tailwater;
use reqwest::{Response, StatusCode};
use serde_json::Value;

use super::client::{CHAT, Caller, at, chat_data, data, http, read, relay, reread};
use super::upstream::{TOKENS, Upstream, chat_body};
use crate::support::{TAILWATER, metric, until};
use crate::tls::Issued;

/// The headers that a relay may add or change.
const OWN: [&str; 4] = ["location", "tailwater-topic", "connection", "date"];

fn others(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &axum::http::HeaderValue| value.to_str().unwrap().to_owned();
    let all = headers.iter().map(|(name, value)| (name.to_string(), text(value)));
    let mut others: Vec<_> = all.filter(|(name, _)| !OWN.contains(&name.as_str())).collect();
    others.sort();
    others
}

async fn code(response: Response) -> (StatusCode, String) {
    let status = response.status();
    let json: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    (status, json["error"]["code"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_caller_cannot_tell_the_relay_from_the_upstream() {
    let upstream = Upstream::start().await;
    upstream.allow(usize::MAX);
    let node = relay(&upstream, None).start().await.unwrap();
    let direct = http().post(upstream.url(CHAT)).body("{}").send().await.unwrap();
    let relayed = http().post(at(node.addr(), CHAT)).body("{}").send().await.unwrap();
    assert_eq!(relayed.status(), direct.status());
    assert_eq!(others(relayed.headers()), others(direct.headers()));
    assert_eq!(direct.text().await.unwrap(), chat_body());
    assert_eq!(relayed.text().await.unwrap(), chat_body());
}

#[tokio::test]
async fn the_topic_has_the_events_of_the_answer_and_an_end() {
    let upstream = Upstream::start().await;
    upstream.allow(usize::MAX);
    let node = relay(&upstream, None).start().await.unwrap();
    let caller = Caller::chat(node.addr()).await;
    let (location, topic) = (caller.location.clone(), caller.topic.clone());
    assert!(topic.starts_with("relay/") && location.contains(&topic), "{location}");
    assert_eq!(caller.rest().await.unwrap(), chat_body());
    let seen = reread(node.addr(), &location).await;
    assert_eq!(data(&seen), chat_data());
    assert!(seen.iter().all(|seen| seen.kind == "message" && !seen.id.is_empty()));
}

#[tokio::test]
async fn json_lines_are_events_too() {
    let upstream = Upstream::start().await;
    upstream.allow(usize::MAX);
    let node = relay(&upstream, None).start().await.unwrap();
    let response = http().post(at(node.addr(), "/lines")).send().await.unwrap();
    let caller = Caller::of(response);
    let location = caller.location.clone();
    let lines: Vec<_> = (0..5).map(|n| format!("{{\"n\":{n}}}")).collect();
    assert_eq!(caller.rest().await.unwrap(), lines.join("\n"));
    assert_eq!(data(&reread(node.addr(), &location).await), lines);
}

#[tokio::test]
async fn a_request_that_does_not_stream_passes_through_both_ways() {
    let upstream = Upstream::start().await;
    let node = relay(&upstream, None).start().await.unwrap();
    let body: Vec<u8> = (0..20_u32 << 20).map(|n| (n % 251) as u8).collect();
    let request = http()
        .request(Method::PUT, at(node.addr(), "/echo?a=%20b&c"))
        .header("authorization", "Bearer sk-test")
        .header("connection", "x-own")
        .header("x-own", "1")
        .body(body.clone());
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::IM_A_TEAPOT);
    assert_eq!(
        (&response.headers()["x-echo"], &response.headers()["set-cookie"]),
        (&"yes".parse().unwrap(), &"a=1".parse().unwrap())
    );
    assert!(!response.headers().contains_key("tailwater-topic"));
    assert!(response.bytes().await.unwrap() == body, "the body comes back as it went");
    let (parts, received) = upstream.requests().pop().unwrap();
    assert_eq!((parts.method, parts.uri.to_string()), (Method::PUT, "/echo?a=%20b&c".to_owned()));
    assert_eq!(received.len(), body.len());
    assert_eq!(parts.headers["authorization"], "Bearer sk-test");
    assert_eq!(parts.headers["content-length"], body.len().to_string());
    assert_eq!(parts.headers["x-forwarded-for"], "127.0.0.1");
    assert_eq!(parts.headers["x-forwarded-host"], node.addr().to_string());
    assert!(!parts.headers.contains_key("x-own"));
}

#[tokio::test]
async fn a_redirect_is_the_callers_to_follow() {
    let upstream = Upstream::start().await;
    let node = relay(&upstream, None).start().await.unwrap();
    let response = http().get(at(node.addr(), "/moved")).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::FOUND);
    assert_eq!(response.headers()["location"], "/elsewhere");
}

#[tokio::test]
async fn an_error_of_the_upstream_passes_and_is_not_stored() {
    let upstream = Upstream::start().await;
    let node = relay(&upstream, None).start().await.unwrap();
    let response = http().post(at(node.addr(), "/failed")).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert!(!response.headers().contains_key("tailwater-topic"));
    assert_eq!(response.text().await.unwrap(), "data: overloaded\n\n");
}

#[tokio::test]
async fn an_upstream_that_is_not_there_is_a_bad_gateway() {
    let upstream = Upstream::start().await;
    let node = relay(&upstream, None).start().await.unwrap();
    drop(upstream);
    let response = http().post(at(node.addr(), CHAT)).body("{}").send().await.unwrap();
    assert_eq!(code(response).await, (StatusCode::BAD_GATEWAY, "upstream_unreachable".to_owned()));
}

#[tokio::test]
async fn an_answer_that_is_cut_off_is_not_stored_as_finished() {
    let upstream = Upstream::start().await;
    let node = relay(&upstream, None).start().await.unwrap();
    let mut caller = Caller::of(http().post(at(node.addr(), "/cut")).send().await.unwrap());
    let location = caller.location.clone();
    caller.until("unfinish").await;
    upstream.allow(1);
    assert!(caller.rest().await.is_err(), "the caller's answer breaks off, as the upstream's does");
    let seen = reread(node.addr(), &location).await;
    assert_eq!(data(&seen[..2]), ["1", "2"]);
    let (kind, data) = (&seen[2].kind, &seen[2].data);
    let told: Value = serde_json::from_str(data).unwrap();
    assert_eq!((seen.len(), kind.as_str(), &told["error"]["code"]), (3, "error", &"cut".into()));
}

#[tokio::test]
async fn a_caller_that_takes_nothing_does_not_stop_the_storing() {
    let upstream = Upstream::start().await;
    upstream.allow(usize::MAX);
    let node = relay(&upstream, None).start().await.unwrap();
    let caller = Caller::chat(node.addr()).await;
    let seen = reread(node.addr(), &caller.location).await;
    assert_eq!(seen.len(), TOKENS + 1);
    assert_eq!(caller.rest().await.unwrap(), chat_body(), "and it gets everything later");
}

#[tokio::test]
async fn an_answer_over_the_limits_is_passed_on_and_not_stored() {
    let upstream = Upstream::start().await;
    let node = relay(&upstream, None).flag("--max-answers", "1").start().await.unwrap();
    let first = Caller::chat(node.addr()).await;
    let second = http().post(at(node.addr(), CHAT)).send().await.unwrap();
    assert!(!second.headers().contains_key("tailwater-topic"));
    upstream.allow(usize::MAX);
    assert_eq!(second.text().await.unwrap(), chat_body());
    assert_eq!(first.rest().await.unwrap(), chat_body());
    let passed = "tailwater_relay_answers_total{outcome=\"passed\"}";
    until("the answer is counted", async || {
        let exposed = http().get(at(node.admin_addr(), "/metrics")).send().await.unwrap();
        metric(&exposed.text().await.unwrap(), passed) == Some(1.0)
    })
    .await;
}

#[tokio::test]
async fn an_event_over_the_limit_ends_the_topic_and_not_the_answer() {
    let upstream = Upstream::start().await;
    upstream.allow(usize::MAX);
    let node = relay(&upstream, None).flag("--event-bytes-max", "40B").start().await.unwrap();
    let caller = Caller::chat(node.addr()).await;
    let location = caller.location.clone();
    assert_eq!(caller.rest().await.unwrap(), chat_body());
    let response = http().get(at(node.addr(), &location)).send().await.unwrap();
    let (seen, _) = read(response).await;
    assert!(seen[0].data.contains("\"unstorable\""), "{seen:?}");
}

#[tokio::test]
async fn an_upstream_over_tls_is_one_that_the_relay_trusts() {
    let upstream = Upstream::start().await;
    upstream.allow(usize::MAX);
    let issued = Issued::new();
    // Another relay stands in for an upstream that speaks TLS and HTTP/2.
    let encrypted = issued.encrypt(relay(&upstream, None)).start().await.unwrap();
    let url = format!("https://localhost:{}", encrypted.addr().port());
    let trusting = Tailwater::relay(TAILWATER, &url).node("trusting");
    let trusting = trusting.env("SSL_CERT_FILE", issued.file("ca.crt")).start().await.unwrap();
    let answer = http().post(at(trusting.addr(), CHAT)).body("{}").send().await.unwrap();
    assert_eq!(answer.text().await.unwrap(), chat_body());

    let wary = Tailwater::relay(TAILWATER, &url).node("wary").start().await.unwrap();
    let refused = http().post(at(wary.addr(), CHAT)).body("{}").send().await.unwrap();
    assert_eq!(code(refused).await, (StatusCode::BAD_GATEWAY, "upstream_unreachable".to_owned()));
    assert_eq!(upstream.requests().len(), 1);
}

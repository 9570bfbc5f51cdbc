//! Both front ends read every head alike.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::http::{Method, Response};
use event_log::{MemoryLog, Retention, Spaces};
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use metrics::Registry;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::TestRunner;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

use super::*;
use crate::config::Config;
use crate::head::HeaderField;
use crate::http1::head::{FirstRequest, parse};

fn gateway() -> Gateway {
    let origins = ["https://app.example".to_owned()];
    let cors = cors::Policy::allow(&origins).unwrap();
    let spaces = Spaces::new(["mercure/"]).unwrap();
    let log = Arc::new(MemoryLog::with_spaces(Retention::default(), spaces));
    let mercure = Some(Arc::new(mercure::Settings {
        hub: mercure::Hub::new("https://example.com/.well-known/mercure").unwrap(),
        space: mercure::Space::new("mercure/").unwrap(),
        is_anonymous_allowed: true,
        is_query_token_allowed: true,
    }));
    let config = Config { cors, mercure, max_topics: 3, ..Config::default() };
    Gateway::new(config, log, &Registry::new())
}

/// Sends the bytes to hyper and calls `look` with the head of the first request that hyper finds.
async fn by_hyper<T: Send>(bytes: &[u8], look: impl Fn(&Parts) -> T + Sync) -> Option<T> {
    let found = Mutex::new(None);
    let (mut client, server) = duplex(64 * 1024);
    client.write_all(bytes).await.unwrap();
    client.shutdown().await.unwrap();
    let service = service_fn(async |request: hyper::Request<hyper::body::Incoming>| {
        let (parts, _) = request.into_parts();
        found.lock().unwrap().get_or_insert_with(|| look(&parts));
        Ok::<_, Infallible>(Response::new(Body::empty()))
    });
    let mut builder = Builder::new();
    // The client has said everything and still waits for the answer.
    builder.half_close(true);
    // Hyper ends a connection that makes no sense with an error.
    let _ended = builder.serve_connection(TokioIo::new(server), service).await;
    let mut answers = Vec::new();
    client.read_to_end(&mut answers).await.unwrap();
    found.into_inner().unwrap()
}

/// The values of every field.
fn values(head: &SubscriptionHead<'_>) -> Vec<(HeaderField, Vec<Vec<u8>>)> {
    let owned = |field: &HeaderField| {
        (*field, head.values(*field).iter().map(|value| value.to_vec()).collect())
    };
    HeaderField::ALL.iter().map(owned).collect()
}

#[tokio::test]
async fn both_front_ends_carry_every_header_that_a_subscription_looks_at() {
    for field in HeaderField::ALL {
        let name = field.name().to_uppercase();
        let bytes = format!("GET /v1/events?topic=t HTTP/1.1\r\n{name}:  a b \r\n\r\n");
        let FirstRequest::Subscription(bare) = parse(bytes.as_bytes()) else { panic!("{bytes}") };
        let hyper = by_hyper(bytes.as_bytes(), |parts| values(&SubscriptionHead::of(parts))).await;
        for carried in [values(&bare), hyper.unwrap()] {
            for (other, values) in carried {
                let expected: &[&[u8]] = if other == *field { &[b"a b"] } else { &[] };
                assert_eq!(values, expected, "{name}: {other:?}");
            }
        }
    }
}

fn header_name() -> impl Strategy<Value = String> {
    let known: Vec<_> = HeaderField::ALL.iter().map(|field| field.name()).collect();
    let others = vec!["host", "x-any", "content-length", "expect", "upgrade", "a b", ""];
    let name = prop_oneof![8 => select(known), 1 => select(others)];
    (name, any::<bool>()).prop_map(|(name, is_upper)| match is_upper {
        true => name.to_uppercase(),
        false => name.to_owned(),
    })
}

fn header_value() -> impl Strategy<Value = Vec<u8>> {
    let usual = [
        "text/event-stream",
        "application/json",
        "application/json;q=0.5, */*",
        "5-1",
        "",
        "203.0.113.7, 10.0.0.1",
        "https://app.example",
        "https://evil.example",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "Bearer x",
        "a=b; c=d",
    ];
    let usual = select(usual.map(|text| text.as_bytes().to_vec()).to_vec());
    let visible = prop::collection::vec(prop_oneof![32..127_u8, 128..=255_u8, Just(b'\t')], 0..12);
    let arbitrary = prop::collection::vec(any::<u8>(), 0..4);
    prop_oneof![6 => usual, 3 => visible, 1 => arbitrary]
}

fn target() -> impl Strategy<Value = Vec<u8>> {
    let paths =
        vec!["/v1/events", "/v1/events/", "/v1/event", "http://x/v1/events", "/v1/%65vents"];
    let path = prop_oneof![9 => Just("/v1/events"), 3 => Just(hub::PATH), 1 => select(paths)];
    let usual = vec![
        "topic=t",
        "topic=u&topic=t",
        "topic=a%20b",
        "topic=",
        "from=-5",
        "from=now",
        "types=a,b",
        "last_event_id=6-2",
        "lastEventId=",
        "heartbeat=3",
        "heartbeat=1",
        "wait=9",
        "limit=0",
        "envelope=json",
        "_=1",
        "match=u",
        "topic=/a/%7Bb%7D",
        "lastEventID=x",
        "authorization=t",
        "control=on",
        "unknown",
        "topic=1&topic=2&topic=3&topic=4",
        "",
    ];
    let odd = prop::collection::vec(prop_oneof![20 => 33..127_u8, 1 => any::<u8>()], 0..6);
    let part = prop_oneof![
        9 => select(usual).prop_map(|text| text.as_bytes().to_vec()),
        1 => odd,
    ];
    let query = prop::collection::vec(part, 0..4).prop_map(|parts| parts.join(&b'&'));
    (path, prop::option::weighted(0.95, query)).prop_map(|(path, query)| {
        let query = query.map(|query| [b"?topic=t&", &query[..]].concat()).unwrap_or_default();
        [path.as_bytes(), &query].concat()
    })
}

/// The bytes of a head, mostly a good one, perhaps cut short.
fn head() -> impl Strategy<Value = Vec<u8>> {
    let methods = vec!["GET", "HEAD", "POST", "get", "GET "];
    let method = prop_oneof![12 => Just("GET"), 1 => select(methods)];
    let version =
        prop_oneof![12 => Just("HTTP/1.1"), 1 => select(vec!["HTTP/1.0", "HTTP/2.0", ""])];
    let headers = prop::collection::vec((header_name(), header_value()), 0..7);
    let end = prop_oneof![12 => Just("\r\n"), 1 => Just("\n")];
    let kept = prop_oneof![12 => Just(1.0), 1 => 0.0..1.0];
    (method, target(), version, headers, end, kept).prop_map(
        |(method, target, version, headers, end, kept)| {
            let mut bytes = [method.as_bytes(), b" ", &target, b" ", version.as_bytes()].concat();
            for (name, value) in headers {
                bytes.extend([end.as_bytes(), name.as_bytes(), b": ", &value].concat());
            }
            bytes.extend([end, end].concat().as_bytes());
            bytes.truncate((bytes.len() as f64 * kept) as usize);
            bytes
        },
    )
}

/// A head that the bare front end does not take goes to the general server as it came, so only a head
/// that it takes, or waits for, can be read differently.
#[test]
fn any_head_is_the_same_request_or_the_same_refusal_on_both_front_ends() {
    const CASES: u32 = 2000;
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let gateway = gateway();
    let peer = Peer::new(([127, 0, 0, 1], 9).into());
    let via = Via { peer, version: axum::http::Version::HTTP_11, framing: Framing::Chunks };
    let taken = std::cell::Cell::new((0, 0));
    let mut runner = TestRunner::new(ProptestConfig::with_cases(CASES));
    let outcome = runner.run(&head(), |bytes| {
        let hyper = runtime.block_on(by_hyper(&bytes, |parts| {
            let is_ours =
                parts.method == Method::GET && [PATH, hub::PATH].contains(&parts.uri.path());
            is_ours.then(|| read(&gateway.0, parts, peer))
        }));
        match parse(&bytes) {
            FirstRequest::Subscription(head) => {
                let bare = Asked::parse(&gateway.0, &head, via);
                let (requests, refusals) = taken.get();
                taken.set(match bare.request() {
                    Ok(_) => (requests + 1, refusals),
                    Err(_) => (requests, refusals + 1),
                });
                let hyper = hyper.flatten().ok_or_else(|| TestCaseError::fail("hyper refused"))?;
                prop_assert!(bare.is_as(&hyper), "{bare:?}\n{hyper:?}");
            }
            FirstRequest::Incomplete => prop_assert!(hyper.is_none(), "hyper saw a request"),
            FirstRequest::Other => {}
        }
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
    let (requests, refusals) = taken.get();
    assert!(requests > CASES / 10 && refusals > CASES / 10, "{requests} and {refusals}");
}

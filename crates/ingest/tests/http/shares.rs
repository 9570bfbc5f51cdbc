//! Clients that take what they can get, and clients beside them.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use event_log::{MemoryLog, Retention};
use ingest::Config;
use limits::{AddressShare, Peer, Proxies, Rules};
use metrics::Registry;

use crate::double::{Reaction, ScriptedLog};
use crate::local::{Local, outcomes, peer, refusal};

const LINES: &str = "application/x-ndjson";
const EVIL: [u8; 4] = [192, 0, 2, 66];
const HONEST: [u8; 4] = [192, 0, 2, 1];

#[tokio::test]
async fn one_address_takes_half_of_the_places_and_one_connection_an_eighth_of_that() {
    let config = Config { streams_max: 32, ..Config::default() };
    let local = Local::with(config);
    let connection = peer(EVIL);
    let mut open = Vec::new();
    // 16 for the address, 2 for a connection.
    for n in 0..2 {
        open.push(stream(&local, connection, n).await);
    }
    let refused = line(&local, connection).await;
    assert_eq!(
        refused,
        "429 too_many_requests: too many concurrent streams on one connection; the limit is 2 \
         (--address-share)"
    );
    for n in 2..16 {
        open.push(stream(&local, peer(EVIL), n).await);
    }
    assert!(line(&local, peer(EVIL)).await.contains("for one address; the limit is 16"));
    for n in 0..10 {
        open.push(stream(&local, peer(HONEST), 100 + n).await);
    }
    assert_eq!(local.metric("tailwater_limit_used{limit=\"publish_streams\"}"), 26);
    drop(open);
    local.until("tailwater_limit_used{limit=\"publish_streams\"}", 0).await;
}

/// Opens a stream that has sent an event.
async fn stream(local: &Local, peer: Peer, n: usize) -> impl Sized {
    let (writer, pending) = local.open(peer, &format!("topic=t{n}"), LINES);
    writer.write("{\"data\":1}\n");
    let response = pending.await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    (writer, response)
}

async fn line(local: &Local, peer: Peer) -> String {
    let headers = [("content-type", LINES)];
    let response = local.send(peer, "topic=t", &headers, "{\"data\":1}\n").await;
    assert!(response.headers().contains_key("retry-after"));
    refusal(response).await
}

#[tokio::test]
async fn the_clients_of_a_trusted_proxy_count_by_the_addresses_that_it_names() {
    let rules = Rules { proxies: Proxies::new(["10.0.0.0/8"]).unwrap(), ..Rules::default() };
    let log = ScriptedLog::new([Reaction::Slow]);
    let config = Config { requests_max: 2, rules, ..Config::default() };
    let local = Arc::new(Local::on(config, log.clone()));
    let proxy = peer([10, 0, 0, 1]);
    let send = |headers: Vec<(&'static str, &'static str)>| {
        let local = Arc::clone(&local);
        tokio::spawn(async move { local.send(proxy, "topic=t", &headers, "x").await })
    };
    let first = send(vec![("x-forwarded-for", "198.51.100.7, 192.0.2.66")]);
    local.until("tailwater_limit_used{limit=\"publishes\"}", 1).await;
    let same = send(vec![("forwarded", "for=192.0.2.66")]).await.unwrap();
    assert!(refusal(same).await.contains("for one address; the limit is 1"));
    let other = send(vec![("x-forwarded-for", "192.0.2.1")]);
    local.until("tailwater_limit_used{limit=\"publishes\"}", 2).await;
    log.release();
    log.release();
    assert_eq!(first.await.unwrap().status(), StatusCode::OK);
    assert_eq!(other.await.unwrap().status(), StatusCode::OK);
}

/// Ingest with so many bytes of memory for clients, and the registry that shows them.
fn with_memory(bytes: u64) -> (Local, Registry) {
    let registry = Registry::new();
    let rules = Rules::new(Proxies::none(), AddressShare::default(), bytes, &registry);
    (Local::with(Config { rules, ..Config::default() }), registry)
}

fn used(registry: &Registry) -> u64 {
    let text = registry.expose();
    let line = text.lines().find(|l| l.starts_with("tailwater_limit_used{limit=\"memory\"}"));
    line.unwrap().rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_unfinished_line_is_charged_and_ends_its_stream_when_there_is_no_room() {
    // An address may have 1 MiB, a connection 256 KiB.
    let (local, registry) = with_memory(2 << 20);
    let mut open = Vec::new();
    for n in 0..40 {
        let (writer, pending) = local.open(peer(EVIL), &format!("topic=t{n}"), LINES);
        writer.write("{\"data\":1}\n");
        let response = pending.await.unwrap();
        for _ in 0..7 {
            writer.write(vec![b'x'; 16 * 1024]);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        open.push((writer, response));
    }
    assert!(used(&registry) <= 1 << 20, "{}", used(&registry));
    assert!(used(&registry) >= 512 << 10, "{}", used(&registry));
    // Another address still has room for its own lines and bodies.
    let big = vec![b'x'; 200 * 1024];
    let stored = local.send(peer(HONEST), "topic=honest", &[], big).await;
    assert_eq!(stored.status(), StatusCode::OK);
    let (_, last) = open.pop().unwrap();
    assert_eq!(outcomes(last).await, ["stored", "memory"]);
    drop(open);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(used(&registry), 0);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_finds_no_memory_is_refused_by_name_and_a_small_one_needs_none() {
    // A connection may have 32 KiB.
    let (local, registry) = with_memory(256 << 10);
    let response = local.send(peer(EVIL), "topic=t", &[], vec![b'x'; 100 * 1024]).await;
    assert!(response.headers().contains_key("retry-after"));
    assert_eq!(
        refusal(response).await,
        "429 memory: too many bytes of unread pages and unfinished bodies on one connection; the \
         limit is 32768 (--memory-budget, --address-share)"
    );
    let _all = local.open(peer(EVIL), "topic=t", "text/plain");
    assert_eq!(local.post(peer(EVIL), "t").await, StatusCode::OK);
    assert_eq!(used(&registry), 0);
    let batch = [&b"{\"data\":\""[..], &[b'x'; 60 * 1024], b"\"}\n"].concat();
    let headers = [("content-type", LINES)];
    let response = local.send(peer(EVIL), "topic=t", &headers, batch).await;
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(outcomes(response).await, ["memory"]);
    assert_eq!(used(&registry), 0);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_new_topics_is_refused_by_name_and_costs_no_other_publisher() {
    let log = Arc::new(MemoryLog::new(Retention::default()));
    let local = Local::on(Config { new_topics: 10, ..Config::default() }, log);
    let flood = |from: usize| -> String {
        (from..from + 64).map(|n| format!("{{\"topic\":\"f/{n}\",\"data\":\"\"}}\n")).collect()
    };
    let headers = [("content-type", LINES)];
    let first = local.send(peer(EVIL), "", &headers, flood(0)).await;
    // 5 a second, and 10 seconds' worth at once.
    let codes = outcomes(first).await;
    assert_eq!(codes.iter().filter(|code| *code == "stored").count(), 50, "{codes:?}");
    assert!(codes[50..].iter().all(|code| code == "too_many_topics"), "{codes:?}");
    for second in 0..100 {
        let refused = local.send(peer(EVIL), "topic=f/never", &[], "x").await;
        if second == 0 {
            assert!(refused.headers().contains_key("retry-after"));
            assert_eq!(
                refusal(refused).await,
                "429 too_many_topics: too many new topics a second for one address; the limit is 5 \
                 (--new-topics, --address-share)"
            );
        }
        local.send(peer(EVIL), "", &headers, flood(1000 + 64 * second)).await;
        assert_eq!(local.post(peer(HONEST), &format!("new/{second}")).await, StatusCode::OK);
        assert_eq!(local.post(peer(HONEST), "f/0").await, StatusCode::OK);
        assert_eq!(local.post(peer(EVIL), "f/1").await, StatusCode::OK);
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    let name = "tailwater_limit_refusals_total{limit=\"new_topics\",part=\"address\"}";
    assert!(local.metric(name) > 5000);
    assert_eq!(
        local.metric("tailwater_limit_refusals_total{limit=\"new_topics\",part=\"node\"}"),
        0
    );
}

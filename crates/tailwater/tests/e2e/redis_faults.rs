//! Redis is killed or frozen under load and recovers. Clients notice a pause only.

use std::net::SocketAddr;

use loadtest::client::http;
use loadtest::client::publisher::Publisher;
use loadtest::machine::{Redis, Tailwater};
use tokio::sync::watch;

use crate::reader::Reader;
use crate::support::{PATIENCE, gateway, ingest, metric, status, until};

/// Topics, each with a publisher and a reader of its own.
const TOPICS: usize = 8;
const LAST: u32 = 500;
const FAILED_APPENDS: &str = "tailwater_log_errors_total{op=\"append\"}";

/// Publishes numbers one by one and retries each until it is acknowledged. Returns the number of
/// receipts that belong to an earlier attempt.
async fn publish_steadily(to: SocketAddr, topic: String, progress: watch::Sender<u32>) -> u32 {
    let mut publisher = Publisher::new(to, PATIENCE);
    let mut duplicates = 0;
    for n in 1..=LAST {
        let key = format!("key-{n}");
        let receipt = publisher.publish(&topic, &key, n.to_string()).await.unwrap();
        assert_eq!(receipt.at.n, u64::from(n), "each is stored once");
        duplicates += u32::from(receipt.duplicate);
        progress.send_replace(n);
    }
    duplicates
}

/// Returns the response of an ingest node whose log is unreachable.
async fn refusal(ingest: &Tailwater) -> http::Response {
    let mut http = http::Client::new(ingest.addr()).timeout(PATIENCE);
    http.post("/v1/events?topic=other", &[], "x").await.expect("ingest answers")
}

async fn break_redis(redis: &mut Redis, nodes: [&Tailwater; 2], freeze: bool) {
    match freeze {
        true => redis.freeze().unwrap(),
        false => redis.kill_nine().unwrap(),
    }
    let refused = refusal(nodes[1]).await;
    assert_eq!(refused.status, 503, "{}", refused.text());
    let retry_after = refused.headers.get("retry-after").expect("a refusal has Retry-After");
    assert!(retry_after.to_str().unwrap().parse::<u32>().unwrap() >= 1);
    let json: serde_json::Value = refused.json().unwrap();
    assert_eq!(json["error"]["code"], "log_unavailable", "{json}");
    for node in nodes {
        assert_eq!(status(node.admin_addr(), "/livez").await, Some(200), "{}", node.node());
    }
    assert_eq!(status(nodes[1].admin_addr(), "/readyz").await, Some(503));
    match freeze {
        true => redis.thaw().unwrap(),
        false => redis.restart().await.unwrap(),
    }
}

async fn redis_fault_is_survived(freeze: bool) {
    let mut redis = Redis::start().await.unwrap();
    let ingest = ingest(&redis).start().await.unwrap();
    let gateway = gateway(&redis, "gateway").start().await.unwrap();
    let (mut reading, mut publishing) = (Vec::new(), Vec::new());
    let (progress, mut progressed) = watch::channel(0);
    for n in 1..=TOPICS {
        let topic = format!("steady/{n}");
        let mut reader = Reader::open(gateway.addr(), &format!("topic={topic}")).await;
        reading.push(tokio::spawn(async move {
            reader.numbers(1, LAST).await;
            reader
        }));
        publishing.push(tokio::spawn(publish_steadily(ingest.addr(), topic, progress.clone())));
    }
    progressed.wait_for(|n| *n >= LAST / 3).await.unwrap();
    break_redis(&mut redis, [&gateway, &ingest], freeze).await;

    let mut duplicates = 0;
    for publisher in publishing {
        duplicates += publisher.await.unwrap();
    }
    println!("{duplicates} events were acknowledged at a second attempt");
    for reader in reading {
        let reader = reader.await.unwrap();
        assert_eq!((reader.streams(), reader.stats().lost), (1, 0), "{:?}", reader.controls);
        assert!(reader.gaps().is_empty(), "{:?}", reader.gaps());
    }
    let text = gateway.metrics().await.unwrap();
    let count = |name: &str| metric(&text, &format!("tailwater_log_{name}")).unwrap();
    assert!(count("reconnects_total") >= 1.0 || freeze, "{text}");
    assert_eq!(count("connected"), 1.0);
    let failed = metric(&ingest.metrics().await.unwrap(), FAILED_APPENDS).unwrap();
    assert!(failed >= 1.0, "{failed}");
    until("the gateway is ready again", async || gateway.is_ready().await).await;
    until("ingest is ready again", async || ingest.is_ready().await).await;
}

#[tokio::test]
async fn a_redis_that_is_killed_and_restarted_closes_no_stream_and_loses_nothing() {
    redis_fault_is_survived(false).await;
}

#[tokio::test]
async fn a_redis_that_hangs_and_recovers_closes_no_stream_and_loses_nothing() {
    redis_fault_is_survived(true).await;
}

#[tokio::test]
async fn a_gateway_started_without_its_redis_is_ready_once_there_is_one() {
    let mut redis = Redis::start().await.unwrap();
    redis.kill_nine().unwrap();
    let mut gateway = gateway(&redis, "gateway").spawn().unwrap();
    until("the gateway answers", async || {
        status(gateway.admin_addr(), "/livez").await == Some(200)
    })
    .await;
    assert_eq!(status(gateway.admin_addr(), "/readyz").await, Some(503));
    // A browser is told to reconnect; an error status would stop it for ever.
    let mut told = loadtest::client::sse::EventSource::new(gateway.addr(), "/v1/events?topic=t");
    let event = told.next_event().await.unwrap();
    assert_eq!(event.event_type(), "tailwater.reconnect");
    assert!(event.data.contains("unavailable"), "{}", event.data);
    redis.restart().await.unwrap();
    gateway.wait_ready().await.unwrap();
    let event = told.next_event().await.unwrap();
    assert_eq!(event.event_type(), "tailwater.ready");
}

//! A plain `EventSource` at an open cluster whose gateway is killed.

use std::time::Duration;

use loadtest::client::publisher::Publisher;
use loadtest::machine::{Haproxy, Redis};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{Browser, Kind};
use crate::support::{PATIENCE, gateway, ingest};

/// The whole code of a page that receives events: it needs no library and keeps no cursor.
const PAGE: &str = "\
    window.got = []; window.readies = []; window.failed = 0; \
    const source = new EventSource('/v1/events?topic=steady'); \
    source.onmessage = e => got.push([e.lastEventId, e.data]); \
    source.onerror = () => { if (source.readyState === EventSource.CLOSED) failed += 1 }; \
    source.addEventListener('tailwater.ready', e => readies.push(JSON.parse(e.data)));";

const LAST: u32 = 200;

#[tokio::test]
async fn a_plain_event_source_survives_its_gateway_and_has_every_event_once_in_chromium() {
    survives_its_gateway(Kind::Chromium).await;
}

#[tokio::test]
async fn a_plain_event_source_survives_its_gateway_and_has_every_event_once_in_firefox() {
    survives_its_gateway(Kind::Firefox).await;
}

async fn survives_its_gateway(kind: Kind) {
    let redis = Redis::start().await.unwrap();
    let ingest = ingest(&redis).start().await.unwrap();
    let mut gateways = [
        gateway(&redis, "gw-1").start().await.unwrap(),
        gateway(&redis, "gw-2").start().await.unwrap(),
    ];
    let haproxy = Haproxy::start(&[&gateways[0], &gateways[1]]).await.unwrap();
    let browser = Browser::start(kind).await;
    browser.open(&format!("http://{}/", haproxy.addr())).await;
    browser.run(PAGE).await;
    browser.until("return readies.length", |n| n == &json!(1)).await;
    let node = browser.run("return readies[0].node").await;
    let node = node.as_str().unwrap().to_owned();

    let mut publisher = Publisher::new(ingest.addr(), PATIENCE);
    let mut receipts = Vec::new();
    for n in 1..=LAST {
        let receipt = publisher.publish("steady", &format!("key-{n}"), n.to_string()).await;
        receipts.push(json!([receipt.unwrap().at.to_string(), n.to_string()]));
        if n == LAST / 3 {
            let serving = gateways.iter_mut().find(|gateway| gateway.node() == node);
            serving.expect("one of the two gateways serves the page").kill_nine().unwrap();
        }
        sleep(Duration::from_millis(20)).await;
    }
    browser.until("return got.length", |n| n.as_u64() >= Some(u64::from(LAST))).await;
    assert_eq!(browser.run("return got").await, Value::Array(receipts));
    let readies = browser.run("return readies").await;
    assert_eq!(readies.as_array().unwrap().len(), 2, "{readies}");
    assert_eq!(readies[1]["outcome"], "exact");
    assert_ne!(readies[1]["node"], node.as_str());
    assert_eq!(browser.run("return failed").await, json!(0));
    browser.quit().await;
}

//! `tailwater relay --config`: a copy of another Tailwater.

use loadtest::client::http;
use loadtest::machine::{Redis, Tailwater};
use serde_json::Value;

use crate::support::{TAILWATER, gateway, ingest, publish_numbers, until};

/// Gateways of the source that are killed, and every seventh time the relay.
const FAULTS: u32 = 21;
const EVENTS: u32 = 20;

/// Returns the data of a topic's first events, without padding, and the breaks among them.
async fn copied(relay: &Tailwater) -> (Vec<String>, Vec<Value>) {
    let path = "/v1/events?topic=copy&from=earliest&limit=1000";
    let json = [("accept", "application/json")];
    let mut http = http::Client::new(relay.addr());
    let answer = http.request("GET".parse().unwrap(), path, &json, "".into()).await.unwrap();
    let answer: Value = answer.json().unwrap();
    let all = |name: &str| answer[name].as_array().cloned().unwrap_or_default();
    let data = |event: &Value| event["data"].as_str().unwrap().trim().to_owned();
    (all("events").iter().map(data).collect(), all("broken"))
}

#[tokio::test]
async fn a_gateways_stream_is_copied_once_while_gateways_and_relays_are_killed() {
    let (theirs, ours) = (Redis::start().await.unwrap(), Redis::start().await.unwrap());
    let publisher = ingest(&theirs).start().await.unwrap();
    let mut upstream = gateway(&theirs, "upstream").start().await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("relay.toml");
    let url = format!("http://{}/v1/events?topic=t&from=earliest", upstream.addr());
    std::fs::write(&config, format!("[source.s]\ntopic = 'copy'\nsse = {{ url = '{url}' }}\n"))
        .unwrap();
    let mut relay = Tailwater::copier(TAILWATER, &config).redis(&ours).start().await.unwrap();
    for fault in 0..FAULTS {
        let last = (fault + 1) * EVENTS;
        publish_numbers(publisher.addr(), "t", last - EVENTS + 1..=last, 6).await;
        // Some events of each round are copied before the fault, and some after it.
        let seen = usize::try_from(last - EVENTS / 2).unwrap();
        until("events are copied", async || copied(&relay).await.0.len() >= seen).await;
        upstream.kill_nine().unwrap();
        if fault % 7 == 6 {
            relay.kill_nine().unwrap();
            relay.restart().await.unwrap();
        }
        upstream.restart().await.unwrap();
    }
    let wanted: Vec<_> = (1..=FAULTS * EVENTS).map(|n| n.to_string()).collect();
    until("all events are copied", async || copied(&relay).await.0.len() >= wanted.len()).await;
    assert_eq!(copied(&relay).await, (wanted, Vec::new()));
}

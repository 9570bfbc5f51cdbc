//! All at once: a client whose connection keeps breaking, changing gateways, and a history that is
//! shorter than the client's absences.

use std::sync::Arc;
use std::time::Duration;

use event_log::{MemoryLog, Retention};
use gateway::Config;
use serde_json::Value;
use tokio::time::sleep;

use crate::log::Publish as _;
use crate::node::Node;

const EVENTS: usize = 3000;
const TOPICS: [&str; 2] = ["a", "b"];

/// Publishes numbers to both topics in bursts. Some bursts are longer than the history.
async fn publish(log: Arc<MemoryLog>) {
    let mut random = fastrand::Rng::with_seed(7);
    let mut next = [0; 2];
    while next != [EVENTS; 2] {
        let topic = random.usize(..2);
        let until = EVENTS.min(next[topic] + random.usize(1..150));
        log.publish_numbers(TOPICS[topic], next[topic]..until).await;
        next[topic] = until;
        sleep(Duration::from_millis(random.u64(..4))).await;
    }
}

#[tokio::test]
async fn a_client_that_keeps_reconnecting_gets_every_event_once_or_is_told_of_a_gap() {
    let log = Arc::new(MemoryLog::new(Retention { events: 100, ..Retention::default() }));
    let one = Node::on(Config::default(), Arc::clone(&log), Arc::clone(&log) as _).await;
    let two = one.sibling().await;
    let query = "topic=a&topic=b&envelope=json";
    let mut cursor = one.subscribe(query).await.control("ready").await.0.id;
    let publisher = tokio::spawn(publish(Arc::clone(&log)));

    let mut random = fastrand::Rng::with_seed(8);
    let (mut next, mut got, mut connections) = ([0; 2], 0, 0);
    while next != [EVENTS; 2] {
        connections += 1;
        let node = if random.bool() { &one } else { &two };
        let mut stream = node.resume(query, &cursor).await;
        for _ in 0..random.usize(..200) {
            if next == [EVENTS; 2] {
                break;
            }
            let event = stream.event().await;
            let json: Value = serde_json::from_str(&event.data).unwrap();
            if let Some(topic) = TOPICS.iter().position(|topic| json["topic"] == **topic) {
                if event.event_type() == "tailwater.gap" {
                    next[topic] += usize::try_from(json["missed"].as_u64().unwrap()).unwrap();
                } else {
                    assert_eq!(json["data"], next[topic].to_string(), "of {}", TOPICS[topic]);
                    next[topic] += 1;
                    got += 1;
                }
            }
            cursor = event.id;
        }
    }
    publisher.await.unwrap();
    assert!(got > 200 && connections > 5, "{got} events in {connections} connections");
}

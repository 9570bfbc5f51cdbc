//! Readers that stall.

use std::time::Duration;

use event_log::{Append, Log as _, MemoryLog, NewEvent, Retention};
use gateway::Config;
use std::sync::Arc;
use tokio::time::sleep;

use crate::client::Response;
use crate::log::topic;
use crate::node::Node;

const PAYLOAD: usize = 200;

/// Publishes numbered events of `PAYLOAD` bytes.
async fn flood(log: &MemoryLog, numbers: std::ops::Range<usize>) {
    for number in numbers {
        let data = format!("{number:0>PAYLOAD$}").into();
        let event = NewEvent { data, ..NewEvent::default() };
        log.append(vec![Append::new(topic("t"), event)]).await;
    }
}

/// Events that are published before and during a stall.
const FLOOD: usize = 20_000;

/// Connects a client that reads nothing, and publishes more than the buffers between can hold.
pub(crate) async fn stalled(node: &Node) -> Response {
    let stream = node.subscribe("topic=t&from=earliest").await;
    for part in 0..FLOOD / 500 {
        flood(&node.log, part * 500..(part + 1) * 500).await;
        sleep(Duration::from_millis(1)).await;
    }
    settled(node).await;
    stream
}

/// Waits until the gateway writes nothing more, and returns the number of bytes written.
async fn settled(node: &Node) -> u64 {
    let mut before = u64::MAX;
    loop {
        let bytes = node.gateway.laggards(1)[0].bytes;
        if bytes == before {
            return bytes;
        }
        before = bytes;
        sleep(Duration::from_millis(150)).await;
    }
}

#[tokio::test]
async fn a_reader_that_stalls_costs_little_and_then_gets_everything_in_order() {
    const EVENTS: usize = 50_000;
    let retention = Retention { events: EVENTS, ..Retention::default() };
    let log = Arc::new(MemoryLog::new(retention));
    let node = Node::on(Config::default(), Arc::clone(&log), log).await;
    let mut stream = node.subscribe("topic=t").await;
    stream.ready().await;
    for part in 0..50 {
        flood(&node.log, part * 1000..(part + 1) * 1000).await;
        tokio::task::yield_now().await;
    }
    let taken = settled(&node).await;
    // Of 11 MB, the sockets hold some, hyper up to 400 KiB, and the gateway one page.
    assert!(
        taken < 1_000_000,
        "{taken} bytes were taken from the log for a reader that takes none"
    );
    let report = &node.gateway.laggards(1)[0];
    assert!(report.lag > 40_000, "{report:?}");
    assert!((node.metric("tailwater_slow_readers") - 1.0).abs() < 0.1);

    for number in 0..EVENTS {
        let event = stream.event().await;
        assert_eq!(event.data.trim_start_matches('0').parse().unwrap_or(0), number);
    }
    node.until("tailwater_slow_readers", 0.0).await;
    let delivered = node.metric("tailwater_events_delivered_total");
    assert!((delivered - EVENTS as f64).abs() < 0.1, "{delivered}");
}

#[tokio::test]
async fn a_stalled_reader_does_not_delay_others() {
    let node = Node::start().await;
    let _stuck = stalled(&node).await;
    let mut other = node.subscribe("topic=t").await;
    other.ready().await;
    flood(&node.log, 7..8).await;
    assert!(other.event().await.data.ends_with("07"));
}

#[tokio::test]
async fn a_reader_that_stalls_for_longer_than_the_history_is_told_how_much_it_missed() {
    let node = Node::start().await;
    let mut stream = stalled(&node).await;
    stream.ready().await;
    let (mut got, mut missed) = (0, 0);
    while got + missed < FLOOD {
        let event = stream.event().await;
        if event.is_control() {
            let gap: serde_json::Value = serde_json::from_str(&event.data).unwrap();
            missed += usize::try_from(gap["missed"].as_u64().unwrap()).unwrap();
        } else {
            let number: usize = event.data.trim_start_matches('0').parse().unwrap_or(0);
            assert_eq!(number, got + missed);
            got += 1;
        }
    }
    assert!(got > 1000 && missed > 10_000, "{got} and {missed}: the log keeps 1000");
}

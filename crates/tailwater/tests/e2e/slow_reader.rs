//! A stalled reader costs its gateway no memory and misses no event.

use std::time::Duration;

use loadtest::client::sse::Connection;
use loadtest::machine::Redis;
use tokio::time::{Instant, sleep, timeout};

use crate::reader::Reader;
use crate::support::{PATIENCE, gateway, ingest, publish_numbers};

const EVENTS: u32 = 50_000;
const EVENT_BYTES: usize = 1024;
const SILENCE: Duration = Duration::from_secs(30);
/// Largest growth of the process: its window of the topic, pages in flight, and the slack of the heap.
/// A queue for the reader would take at least `EVENTS * EVENT_BYTES`, 49 MiB.
const GROWTH_MAX: u64 = 32 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_thousand_events_for_a_stalled_reader_take_no_memory() {
    let redis = Redis::start().await.unwrap();
    let ingest = ingest(&redis).flag("--history-events", "60000").start().await.unwrap();
    let gateway = gateway(&redis, "gateway").start().await.unwrap();
    let mut stalled =
        Connection::open(gateway.addr(), "/v1/events?topic=flood", &[]).await.unwrap();
    assert_eq!(stalled.next_event().await.unwrap().event_type(), "tailwater.ready");
    // A reader that keeps up shows when the gateway has read all events.
    let mut live = Reader::open(gateway.addr(), "topic=flood").await;
    publish_numbers(ingest.addr(), "flood", 1..=100, EVENT_BYTES).await;
    live.numbers(1, 100).await;

    let before = gateway.rss_bytes().unwrap();
    let start = Instant::now();
    let addr = ingest.addr();
    let publishing =
        tokio::spawn(
            async move { publish_numbers(addr, "flood", 101..=EVENTS, EVENT_BYTES).await },
        );
    let keeping_up = tokio::spawn(async move { live.numbers(101, EVENTS).await });
    let mut most = before;
    while start.elapsed() < SILENCE || !publishing.is_finished() || !keeping_up.is_finished() {
        most = most.max(gateway.rss_bytes().unwrap());
        sleep(Duration::from_millis(50)).await;
    }
    publishing.await.unwrap();
    keeping_up.await.unwrap();
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    println!(
        "RSS {:.1} MiB before, at most {:.1} while {:.1} MiB of events passed a reader that did not \
         read for {:.0?}",
        mib(before),
        mib(most),
        mib(u64::from(EVENTS) * EVENT_BYTES as u64),
        start.elapsed(),
    );
    assert!(most - before <= GROWTH_MAX, "the node grew by {:.1} MiB", mib(most - before));

    for expected in 1..=EVENTS {
        let event = timeout(PATIENCE, stalled.next_event()).await.expect("the stream continues");
        let event = event.expect("the connection is still the same");
        let found = event.data.split_whitespace().next();
        assert_eq!(
            found,
            Some(expected.to_string().as_str()),
            "{} {}",
            event.event_type(),
            event.id
        );
    }
}

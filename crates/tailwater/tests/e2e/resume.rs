//! The outcomes of a client's cursor on another gateway, with a real Redis.

use loadtest::machine::{AppendFsync, Redis, Tailwater};

use crate::reader::Reader;
use crate::support::{gateway, ingest, number, publish, publish_numbers, until};

const TOPIC: &str = "topic=orders/42";

struct Cluster {
    redis: Redis,
    ingest: Tailwater,
}

impl Cluster {
    async fn start() -> Cluster {
        Cluster::keeping("1000").await
    }

    async fn keeping(events: &str) -> Cluster {
        Cluster::on(Redis::start().await.unwrap(), events).await
    }

    async fn on(redis: Redis, events: &str) -> Cluster {
        let ingest = ingest(&redis).flag("--history-events", events).start().await.unwrap();
        Cluster { redis, ingest }
    }

    async fn gateway(&self, node: &str) -> Tailwater {
        gateway(&self.redis, node).start().await.unwrap()
    }

    async fn publish(&self, numbers: std::ops::RangeInclusive<u32>) -> Vec<String> {
        publish_numbers(self.ingest.addr(), "orders/42", numbers, 0).await
    }

    /// Runs a command on the topic's stream, and returns the number that Redis answers.
    async fn stream(&self, command: &str) -> u64 {
        let find = "redis.call('KEYS', 'e:*:orders/42')[1]";
        let script = format!("return {}", command.replace("STREAM", find));
        let answer = self.redis.command(&["EVAL", &script, "0"]).await.unwrap();
        answer.strip_prefix(':').expect("an integer").parse().unwrap()
    }
}

#[tokio::test]
async fn a_cursor_is_exact_on_a_gateway_that_started_after_the_event() {
    let cluster = Cluster::start().await;
    let mut first = cluster.gateway("first").await;
    let mut reader = Reader::open(first.addr(), TOPIC).await;
    cluster.publish(1..=5).await;
    reader.numbers(1, 5).await;
    cluster.publish(6..=9).await;
    let cursor = reader.last_event_id().to_owned();
    first.kill_nine().unwrap();

    let second = cluster.gateway("second").await;
    let mut reader = Reader::resume(second.addr(), TOPIC, &cursor).await;
    assert_eq!(
        (reader.ready().outcome.as_str(), reader.ready().node.as_str()),
        ("exact", "second")
    );
    reader.numbers(6, 9).await;
    cluster.publish(10..=12).await;
    reader.numbers(10, 12).await;
}

#[tokio::test]
async fn a_cursor_is_exact_on_a_gateway_that_has_not_opened_the_topic() {
    let cluster = Cluster::start().await;
    let (first, second) = (cluster.gateway("first").await, cluster.gateway("second").await);
    let mut elsewhere = Reader::open(second.addr(), "topic=other").await;
    let mut reader = Reader::open(first.addr(), TOPIC).await;
    cluster.publish(1..=5).await;
    reader.numbers(1, 5).await;
    cluster.publish(6..=9).await;

    let mut moved = Reader::resume(second.addr(), TOPIC, reader.last_event_id()).await;
    assert_eq!(moved.ready().outcome, "exact");
    moved.numbers(6, 9).await;
    reader.numbers(6, 9).await;
    cluster.publish(10..=10).await;
    moved.numbers(10, 10).await;
    publish(cluster.ingest.addr(), "other", "1").await;
    elsewhere.numbers(1, 1).await;
}

#[tokio::test]
async fn a_cursor_of_several_topics_is_exact_on_any_gateway_in_any_order() {
    let cluster = Cluster::start().await;
    let (first, second) = (cluster.gateway("first").await, cluster.gateway("second").await);
    let mut reader = Reader::open(first.addr(), "topic=a&topic=b&topic=c").await;
    for (topic, data) in [("a", "1"), ("b", "2"), ("a", "3")] {
        publish(cluster.ingest.addr(), topic, data).await;
        assert_eq!(reader.event().await.data, data);
    }
    for (topic, data) in [("c", "4"), ("a", "5"), ("b", "6")] {
        publish(cluster.ingest.addr(), topic, data).await;
    }
    let query = "topic=c&topic=b&topic=a";
    let mut moved = Reader::resume(second.addr(), query, reader.last_event_id()).await;
    assert_eq!(moved.ready().outcome, "exact");
    let mut data = moved.data(3).await;
    data.sort();
    assert_eq!(data, ["4", "5", "6"]);
}

#[tokio::test]
async fn a_gap_counts_exactly_the_events_that_redis_has_trimmed() {
    let cluster = Cluster::keeping("100").await;
    let gateway = cluster.gateway("gateway").await;
    let ids = cluster.publish(1..=1000).await;
    let kept = cluster.stream("redis.call('XLEN', STREAM)").await;
    assert!((100..500).contains(&kept), "Redis trims whole nodes, yet {kept} events are left");

    let mut reader = Reader::resume(gateway.addr(), TOPIC, &ids[4]).await;
    assert_eq!(reader.ready().outcome, "gap");
    let gap = reader.gap().await;
    let oldest = 1000 - kept + 1;
    assert_eq!((gap.topic.as_str(), gap.reason.as_str()), ("orders/42", "trimmed"));
    assert_eq!(gap.missed, Some(oldest - 1 - 5));
    assert_eq!(gap.requested.as_deref(), Some(ids[4].as_str()));
    assert_eq!(gap.oldest.as_deref().map(number), Some(oldest));
    assert_eq!(gap.newest.as_deref(), ids.last().map(String::as_str));
    reader.numbers(u32::try_from(oldest).unwrap(), 1000).await;
    assert_eq!(reader.gaps().len(), 1);
}

#[tokio::test]
async fn a_gap_counts_exactly_the_events_that_an_operator_has_trimmed() {
    let cluster = Cluster::start().await;
    let ids = cluster.publish(1..=100).await;
    assert_eq!(cluster.stream("redis.call('XTRIM', STREAM, 'MAXLEN', 10)").await, 90);
    let gateway = cluster.gateway("gateway").await;
    let mut reader = Reader::resume(gateway.addr(), TOPIC, &ids[19]).await;
    assert_eq!(reader.gap().await.missed, Some(70));
    reader.numbers(91, 100).await;
    // A reader that has the last trimmed event has lost nothing.
    let mut lucky = Reader::resume(gateway.addr(), TOPIC, &ids[89]).await;
    assert_eq!(lucky.ready().outcome, "exact");
    lucky.numbers(91, 100).await;
    assert!(lucky.gaps().is_empty());
}

#[tokio::test]
async fn a_client_that_resumes_after_the_log_was_wiped_is_reset() {
    let cluster = Cluster::start().await;
    let ids = cluster.publish(1..=5).await;
    assert_eq!(cluster.redis.command(&["FLUSHALL"]).await.unwrap(), "+OK");
    let gateway = cluster.gateway("gateway").await;
    cluster.publish(101..=103).await;
    let mut reader = Reader::resume(gateway.addr(), TOPIC, &ids[4]).await;
    assert_eq!(reader.ready().outcome, "reset");
    let gap = reader.gap().await;
    assert_eq!((gap.reason.as_str(), gap.missed), ("reset", None));
    reader.numbers(101, 103).await;
}

#[tokio::test]
async fn an_open_connection_is_reset_when_the_log_is_wiped() {
    let cluster = Cluster::start().await;
    let gateway = cluster.gateway("gateway").await;
    let mut reader = Reader::open(gateway.addr(), TOPIC).await;
    cluster.publish(1..=5).await;
    reader.numbers(1, 5).await;
    assert_eq!(cluster.redis.command(&["FLUSHALL"]).await.unwrap(), "+OK");
    cluster.publish(101..=103).await;
    assert_eq!(reader.gap().await.reason, "reset");
    reader.numbers(101, 103).await;
    assert_eq!(reader.streams(), 1, "the connection stayed open");
}

/// Restarts Redis with the first 5 of 10 events. An open reader has seen all 10. Returns the reader,
/// the ids of the 5 kept events, and the ids of the 5 lost ones.
async fn half_lost(witness: bool) -> (Cluster, Tailwater, Reader, [Vec<String>; 2]) {
    let forgetful = Redis::builder().append_fsync(AppendFsync::Off).start().await.unwrap();
    let mut cluster = Cluster::on(forgetful, "1000").await;
    let gateway = cluster.gateway("gateway").await;
    let mut open = Reader::open(gateway.addr(), TOPIC).await;
    let kept = cluster.publish(1..=5).await;
    assert_eq!(cluster.redis.command(&["SAVE"]).await.unwrap(), "+OK");
    let lost = cluster.publish(6..=10).await;
    open.numbers(1, 10).await;
    if !witness {
        // The ingest node that got the acknowledgements forgets them.
        cluster.ingest.kill_nine().unwrap();
    }
    cluster.redis.kill_nine().unwrap();
    cluster.redis.restart().await.unwrap();
    if !witness {
        cluster.ingest.restart().await.unwrap();
    }
    until("ingest is ready again", async || cluster.ingest.is_ready().await).await;
    cluster.publish(101..=103).await;
    (cluster, gateway, open, [kept, lost])
}

#[tokio::test]
async fn readers_are_rewound_when_redis_restarts_without_events_they_have_seen() {
    let (_cluster, gateway, mut open, [kept, lost]) = half_lost(false).await;
    // The new events have the numbers 6 to 8 again. Readers must not take them for events already seen.
    assert_eq!(open.gap().await.reason, "rewound");
    open.numbers(101, 103).await;
    assert_eq!(open.streams(), 1, "the connection stayed open");
    for cursor in &lost {
        let mut resumed = Reader::resume(gateway.addr(), TOPIC, cursor).await;
        assert_eq!(resumed.ready().outcome, "rewound", "{cursor}");
        assert_eq!(resumed.gap().await.missed, None);
        resumed.numbers(101, 103).await;
    }
    // A reader at the last kept event has missed no event of the log.
    let mut lucky = Reader::resume(gateway.addr(), TOPIC, &kept[3]).await;
    assert_eq!(lucky.ready().outcome, "exact");
    assert_eq!(lucky.data(4).await, ["5", "101", "102", "103"]);
}

#[tokio::test]
async fn a_gap_counts_exactly_the_acknowledged_events_that_were_lost() {
    let (cluster, _gateway, mut open, [kept, _]) = half_lost(true).await;
    // A reader that has seen the lost events continues. A reader on a gateway whose window lacks them
    // is told of a gap.
    assert_eq!(open.data(3).await, ["101", "102", "103"]);
    let fresh = cluster.gateway("fresh").await;
    let mut behind = Reader::resume(fresh.addr(), TOPIC, &kept[3]).await;
    assert_eq!(behind.data(1).await, ["5"]);
    let gap = behind.gap().await;
    assert_eq!((gap.reason.as_str(), gap.missed), ("trimmed", Some(5)));
    assert_eq!(behind.data(3).await, ["101", "102", "103"]);
}

#[tokio::test]
async fn a_malformed_cursor_is_invalid_and_the_stream_goes_live() {
    let cluster = Cluster::start().await;
    let gateway = cluster.gateway("gateway").await;
    cluster.publish(1..=5).await;
    for (round, garbage) in ["garbage", "v1.AAAA", "-", "9-9-9", "1e3-7"].iter().enumerate() {
        let mut reader = Reader::resume(gateway.addr(), TOPIC, garbage).await;
        assert_eq!(reader.ready().outcome, "invalid", "{garbage}");
        let gap = reader.gap().await;
        assert_eq!((gap.reason.as_str(), gap.missed), ("invalid", None));
        assert_eq!(gap.requested.as_deref(), Some(*garbage));
        let next = 6 + u32::try_from(round).unwrap();
        cluster.publish(next..=next).await;
        reader.numbers(next, next).await;
    }
}

//! The metrics of a gateway.

use std::time::Duration;

use gateway::Config;

use crate::log::{Publish as _, topic};
use crate::node::Node;

fn count(node: &Node, name: &str) -> u64 {
    let value = node.metric(&format!("tailwater_{name}"));
    assert!(value.fract() == 0.0 && value >= 0.0);
    value as u64
}

#[tokio::test]
async fn the_exposition_has_exactly_the_documented_families() {
    let node = Node::start().await;
    let exposition = node.exposition();
    let families: Vec<_> =
        exposition.lines().filter_map(|line| line.strip_prefix("# TYPE tailwater_")).collect();
    // The two builds of this test share one snapshot.
    insta::with_settings!({ prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!(families.join("\n"));
    });
}

#[tokio::test]
async fn a_connection_is_counted_when_it_opens_and_when_it_closes() {
    let node = Node::start().await;
    let last = node.log.publish("t", "a").await.to_string();
    let mut streams = vec![
        node.subscribe("topic=t").await,
        node.resume("topic=t", &last).await,
        node.subscribe(&format!("topic=t&topic=u&lastEventId={last}")).await,
    ];
    for (resume, expected) in [("none", 1), ("header", 1), ("query", 1)] {
        let name = format!("connections_opened_total{{resume=\"{resume}\"}}");
        assert_eq!(count(&node, &name), expected, "{resume}");
    }
    assert_eq!((count(&node, "connections"), count(&node, "topics")), (3, 2));
    streams.clear();
    node.until("tailwater_connections_closed_total{reason=\"client\"}", 3.0).await;
    assert_eq!(count(&node, "connection_age_seconds_count"), 3);
    assert_eq!((count(&node, "connections"), count(&node, "topics")), (0, 0));
}

#[tokio::test]
async fn every_outcome_of_a_cursor_is_counted() {
    let node = Node::start().await;
    let first = node.log.publish("t", "0").await;
    node.log.publish_numbers("t", 1..5).await;
    let last = node.log.publish("t", "5").await;
    node.log.trim(&topic("t"), 2);
    let ahead = format!("{}-{}", last.ms + 9, last.n + 9);
    let cursors = [
        ("exact", "t", last.to_string()),
        ("gap", "t", first.to_string()),
        ("rewound", "t", ahead),
        ("reset", "unknown", last.to_string()),
        ("invalid", "t", "garbage".to_owned()),
    ];
    for (outcome, name, cursor) in cursors {
        let mut stream = node.resume(&format!("topic={name}"), cursor).await;
        assert_eq!(stream.ready().await, outcome);
        if outcome != "exact" {
            stream.control("gap").await;
        }
        assert_eq!(count(&node, &format!("resumes_total{{outcome=\"{outcome}\"}}")), 1);
    }
    for kind in ["trimmed", "rewound", "reset", "invalid"] {
        assert_eq!(count(&node, &format!("gaps_total{{kind=\"{kind}\"}}")), 1, "{kind}");
    }
}

#[tokio::test]
async fn a_replay_and_live_delivery_are_told_apart() {
    let node = Node::start().await;
    let first = node.log.publish("t", "0").await;
    node.log.publish_numbers("t", 1..10).await;
    let mut stream = node.resume("topic=t", first.to_string()).await;
    stream.ready().await;
    stream.data(9).await;
    assert_eq!(count(&node, "replayed_events_total"), 9);
    assert_eq!(count(&node, "replay_seconds_count"), 1);
    assert_eq!(count(&node, "delivery_latency_seconds_count"), 0);
    node.log.publish("t", "live").await;
    stream.data(1).await;
    assert_eq!(count(&node, "events_delivered_total"), 10);
    assert_eq!(count(&node, "replayed_events_total"), 9);
    assert_eq!(count(&node, "delivery_latency_seconds_count"), 1);
}

#[tokio::test]
async fn the_events_that_a_client_missed_are_counted_once_for_each_resume() {
    let node = Node::start().await;
    let seen = node.log.publish("t", "0").await;
    node.log.publish_numbers("t", 1..700).await;
    let mut stream = node.resume("topic=t", seen.to_string()).await;
    stream.ready().await;
    stream.data(699).await;
    node.log.publish("t", "live").await;
    stream.data(1).await;
    assert_eq!(node.metric("tailwater_resume_missed_events_sum"), 699.0);
    assert_eq!(count(&node, "resume_missed_events_count"), 1);
    assert_eq!(count(&node, "replay_age_seconds_count"), 1);
    assert!(node.metric("tailwater_replay_age_seconds_sum") < 60.0);

    // A client that missed nothing, has no cursor, or has a cursor ahead of the log is not counted.
    let last = node.log.publish("t", "last").await;
    let ahead = format!("{}-{}", last.ms + 9, last.n + 9);
    for cursor in [last.to_string(), ahead, "garbage".to_owned()] {
        node.resume("topic=t", cursor).await.ready().await;
    }
    let mut stream = node.subscribe("topic=t&from=earliest").await;
    stream.ready().await;
    stream.data(702).await;
    assert_eq!(count(&node, "resume_missed_events_count"), 1);
    assert_eq!(count(&node, "replay_age_seconds_count"), 1);
}

#[tokio::test]
async fn the_maximum_number_of_connections_is_a_metric() {
    let node = Node::with(Config { max_connections: 7, ..Config::default() }).await;
    assert_eq!(count(&node, "connections_max"), 7);
}

#[tokio::test]
async fn a_resume_with_nothing_to_replay_takes_no_time() {
    let node = Node::start().await;
    let last = node.log.publish("t", "0").await;
    let mut stream = node.resume("topic=t", last.to_string()).await;
    stream.ready().await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    node.log.publish("t", "live").await;
    stream.data(1).await;
    assert_eq!(count(&node, "replay_seconds_count"), 1);
    assert!(node.metric("tailwater_replay_seconds_sum") < 0.2);
    assert_eq!(count(&node, "replayed_events_total"), 0);
}

#[tokio::test]
async fn events_that_a_filter_keeps_out_are_not_delivered() {
    let node = Node::start().await;
    let mut stream = node.subscribe("topic=t&types=a").await;
    stream.ready().await;
    node.log.publish_as("t", "b", "").await;
    node.log.publish_as("t", "a", "").await;
    stream.data(1).await;
    assert_eq!(count(&node, "events_delivered_total"), 1);
    assert_eq!(node.gateway.laggards(1)[0].events, 1);
    assert_eq!(node.gateway.laggards(1)[0].lag, 0);
}

#[tokio::test]
async fn a_connection_closed_for_its_age_is_counted_with_that_reason() {
    let config = Config { max_age: Duration::from_millis(50), ..Config::default() };
    let node = Node::with(config).await;
    let mut stream = node.subscribe("topic=t").await;
    stream.text().await;
    node.until("tailwater_connections_closed_total{reason=\"max_age\"}", 1.0).await;
}

#[tokio::test]
async fn long_polls_are_counted_too() {
    let node = Node::start().await;
    node.log.publish_numbers("t", 0..3).await;
    node.poll("topic=t&from=earliest").await;
    assert_eq!((count(&node, "long_polls_total"), count(&node, "events_delivered_total")), (1, 3));
}

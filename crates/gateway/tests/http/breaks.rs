//! Publishers that broke off.

use event_log::{BreakReason, Mark, NewEvent, Position};
use serde_json::json;

use crate::log::Publish as _;
use crate::node::Node;

async fn breaks_off(node: &Node, topic: &str, reason: BreakReason) -> Position {
    let event = NewEvent { mark: Mark::Broken(reason), ..NewEvent::default() };
    node.log.put(topic, event).await
}

#[tokio::test]
async fn a_live_reader_is_told_and_goes_on_with_the_next_publisher() {
    let node = Node::start().await;
    for query in ["topic=t", "topic=t&envelope=json", "topic=t&types=wanted", "topic=t&topic=u"] {
        let mut stream = node.subscribe(query).await;
        stream.ready().await;
        let at = breaks_off(&node, "t", BreakReason::Disconnected).await;
        let (event, json) = stream.control("broken").await;
        assert_eq!(json, json!({"reason": "disconnected", "topic": "t"}));
        if query != "topic=t&topic=u" {
            assert_eq!(event.id, at.to_string());
        }
        node.log.publish_as("t", "wanted", "more").await;
        assert_eq!(stream.data(1).await.len(), 1, "{query}");
    }
}

#[tokio::test]
async fn a_reader_that_resumes_is_told_in_its_place_and_a_new_one_is_not() {
    let node = Node::start().await;
    let first = node.log.publish("t", "1").await;
    let at = breaks_off(&node, "t", BreakReason::Timeout).await;
    let mut stream = node.resume("topic=t", first.to_string()).await;
    assert_eq!(stream.ready().await, "exact");
    let (event, json) = stream.control("broken").await;
    assert_eq!(json["reason"], "timeout");
    let mut late = node.subscribe("topic=t").await;
    late.ready().await;
    let mut again = node.resume("topic=t", event.id).await;
    assert_eq!(again.ready().await, "exact");
    let second = node.log.publish("t", "2").await;
    assert_eq!(second.n, at.n + 1);
    for stream in [&mut stream, &mut late, &mut again] {
        assert_eq!(stream.data(1).await, ["2"]);
    }
}

#[tokio::test]
async fn a_long_poll_tells_of_a_break() {
    let node = Node::start().await;
    let first = node.log.publish("t", "1").await;
    let at = breaks_off(&node, "t", BreakReason::Disconnected).await;
    let query = format!("topic=t&wait=30&last_event_id={first}");
    let answer = node.poll(&query).await.json().await;
    assert_eq!(
        answer,
        json!({
            "events": [], "cursor": at.to_string(), "gaps": [], "ended": false,
            "broken": [{"reason": "disconnected", "topic": "t"}],
        })
    );
    // It is told once.
    let answer = node.poll(&format!("topic=t&last_event_id={at}")).await.json().await;
    assert_eq!(answer["broken"], json!([]));
}

#[tokio::test]
async fn a_break_ends_a_stream_without_control_events_and_the_next_head_tells_it() {
    let node = Node::start().await;
    let first = node.log.publish("t", "1").await;
    let mut stream = node.resume("topic=t&control=off", first.to_string()).await;
    assert_eq!(stream.header("tailwater-broken"), None);
    let seen = node.log.publish("t", "2").await;
    assert_eq!(stream.data(1).await, ["2"]);
    breaks_off(&node, "t", BreakReason::Disconnected).await;
    stream.ends().await;
    node.until("tailwater_connections_closed_total{reason=\"broken\"}", 1.0).await;

    // The client has no id of the break. It waits for the next publisher all the same.
    let mut again = node.resume("topic=t&control=off", seen.to_string()).await;
    assert_eq!(again.header("tailwater-outcome"), Some("exact"));
    assert_eq!(again.header("tailwater-broken"), Some("\"t\";reason=disconnected"));
    node.log.publish("t", "3").await;
    assert_eq!(again.data(1).await, ["3"]);
    breaks_off(&node, "t", BreakReason::Disconnected).await;
    again.ends().await;
}

#[tokio::test]
async fn a_break_can_be_a_comment() {
    let node = Node::start().await;
    let first = node.log.publish("t", "1").await;
    breaks_off(&node, "t", BreakReason::Disconnected).await;
    let mut stream = node.resume("topic=t&control=comment", first.to_string()).await;
    assert_eq!(stream.header("tailwater-broken"), Some("\"t\";reason=disconnected"));
    node.log.end("t").await;
    let text = stream.text().await;
    let told = ": tailwater.broken {\"reason\":\"disconnected\",\"topic\":\"t\"}\n";
    assert!(text.contains(told), "{text}");
}

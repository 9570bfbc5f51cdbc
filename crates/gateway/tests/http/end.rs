//! Topics that have ended.

use event_log::{Mark, NewEvent};

use crate::log::Publish as _;
use crate::node::Node;

#[tokio::test]
async fn a_client_is_told_of_the_end_then_its_stream_closes_and_its_reconnect_gets_204() {
    for mark in [Mark::End, Mark::Last] {
        let node = Node::start().await;
        let mut stream = node.subscribe("topic=t").await;
        stream.ready().await;
        node.log.publish("t", "a").await;
        node.log.put("t", NewEvent { data: "b".into(), mark, ..NewEvent::default() }).await;
        let expected: &[&str] = if mark == Mark::End { &["a"] } else { &["a", "b"] };
        assert_eq!(stream.data(expected.len()).await, expected);
        let (end, json) = stream.control("end").await;
        assert_eq!(json["topic"], "t");
        stream.ends().await;
        node.until("tailwater_connections_closed_total{reason=\"end\"}", 1.0).await;

        let again = node.sibling().await.resume("topic=t", end.id).await;
        assert_eq!(again.status, 204, "{}", again.head);
        assert_eq!(again.header("cache-control"), Some("no-store"));
        node.until("tailwater_connections", 0.0).await;
    }
}

#[tokio::test]
async fn a_client_that_lost_its_connection_before_the_end_gets_the_rest_and_then_the_end() {
    let node = Node::start().await;
    let first = node.log.publish("t", "a").await;
    node.log.publish("t", "b").await;
    node.log.end("t").await;
    let mut stream = node.resume("topic=t", first.to_string()).await;
    assert_eq!(stream.ready().await, "exact");
    assert_eq!(stream.data(1).await, ["b"]);
    stream.control("end").await;
    stream.ends().await;
}

#[tokio::test]
async fn a_new_client_of_an_ended_topic_is_told_of_the_end() {
    let node = Node::start().await;
    node.log.publish("t", "a").await;
    node.log.end("t").await;
    for (query, data) in [("topic=t", 0), ("topic=t&from=earliest", 1)] {
        let mut stream = node.subscribe(query).await;
        assert_eq!(stream.ready().await, "live");
        assert_eq!(stream.data(data).await.len(), data);
        stream.control("end").await;
        stream.ends().await;
    }
}

#[tokio::test]
async fn a_filter_does_not_hide_the_end() {
    let node = Node::start().await;
    let mut stream = node.subscribe("topic=t&types=wanted").await;
    stream.ready().await;
    node.log.publish("t", "not wanted").await;
    node.log.put("t", NewEvent { mark: Mark::Last, ..NewEvent::default() }).await;
    stream.control("end").await;
    stream.ends().await;
}

#[tokio::test]
async fn one_of_several_topics_ends_and_the_others_go_on() {
    let node = Node::start().await;
    let query = "topic=a&topic=b";
    let mut stream = node.subscribe(query).await;
    stream.ready().await;
    node.log.end("a").await;
    let (end, json) = stream.control("end").await;
    assert_eq!(json["topic"], "a");
    node.log.publish("b", "still here").await;
    assert_eq!(stream.data(1).await, ["still here"]);

    let mut resumed = node.resume(query, end.id).await;
    assert_eq!(resumed.ready().await, "exact");
    // The client may have lost its connection before it read the end, so the end is sent again.
    assert_eq!(resumed.control("end").await.1["topic"], "a");
    assert_eq!(resumed.data(1).await, ["still here"]);
    node.log.end("b").await;
    for stream in [&mut stream, &mut resumed] {
        let (end, json) = stream.control("end").await;
        assert_eq!(json["topic"], "b");
        stream.ends().await;
        assert_eq!(node.resume(query, end.id).await.status, 204);
    }
}

#[tokio::test]
async fn a_client_that_lost_its_connection_before_one_of_its_topics_ended_is_told_of_the_end() {
    for mark in [Mark::End, Mark::Last] {
        let node = Node::start().await;
        let query = "topic=a&topic=b";
        let cursor = node.subscribe(query).await.control("ready").await.0.id;
        node.log.publish("a", "x").await;
        node.log.put("a", NewEvent { mark, ..NewEvent::default() }).await;
        node.log.publish("b", "y").await;
        let mut stream = node.resume(query, cursor).await;
        stream.ready().await;
        while let Some(event) = stream.try_event().await.filter(|event| !event.is_control()) {
            let mut resumed = node.resume(query, event.id).await;
            while resumed.event().await.event_type() != "tailwater.end" {}
        }
    }
}

#[tokio::test]
async fn a_topic_that_is_opened_again_goes_on_for_everybody() {
    let node = Node::start().await;
    let reopened = || NewEvent { mark: Mark::Reopened, ..NewEvent::default() };
    let mut several = node.subscribe("topic=t&topic=u").await;
    several.ready().await;
    node.log.publish("t", "1").await;
    assert_eq!(several.data(1).await, ["1"]);
    let end = node.log.end("t").await;
    several.control("end").await;
    assert_eq!(node.resume("topic=t", end.to_string()).await.status, 204);
    node.log.put("t", reopened()).await;
    let (_, json) = several.control("reopened").await;
    assert_eq!(json, serde_json::json!({"topic": "t"}));

    // A client that comes back is not stopped any more, and an end that was repealed stops no new one.
    let mut back = node.resume("topic=t", end.to_string()).await;
    let mut bare = node.resume("topic=t&control=off", end.to_string()).await;
    let mut new = node.subscribe("topic=t&from=earliest").await;
    assert_eq!(new.ready().await, "live");
    assert_eq!(new.data(1).await, ["1"]);
    node.log.publish("t", "2").await;
    assert_eq!(back.ready().await, "exact");
    for stream in [&mut several, &mut back, &mut bare, &mut new] {
        assert_eq!(stream.data(1).await, ["2"]);
    }
    let poll = node.poll("topic=t&from=earliest").await.json().await;
    assert_eq!((poll["events"].as_array().unwrap().len(), &poll["ended"]), (2, &false.into()));
}

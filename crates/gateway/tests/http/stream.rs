//! The bytes of an event stream.

use std::time::Duration;

use event_log::{Mark, NewEvent};
use serde_json::{Value, json};

use crate::log::Publish as _;
use crate::node::Node;

#[tokio::test]
async fn the_first_bytes_are_a_comment_and_ready_with_its_id_last() {
    let node = Node::start().await;
    let at = node.log.publish("t", "before").await;
    let mut stream = node.subscribe("topic=t").await;
    stream.ready().await;
    let text = String::from_utf8(stream.body.clone()).unwrap();
    let retry = stream.retry().unwrap().as_millis();
    assert_eq!(
        text,
        format!(
            ":\nevent: tailwater.ready\n\
             data: {{\"cursor\":\"{at}\",\"heartbeat\":15,\"node\":\"tailwater\",\"outcome\":\"live\"}}\n\
             retry: {retry}\nid: {at}\n\n"
        )
    );
}

#[tokio::test]
async fn each_client_is_told_a_pause_of_its_own_between_retry_and_twice_that() {
    let node = Node::start().await;
    let mut pauses = Vec::new();
    for _ in 0..16 {
        let mut stream = node.subscribe("topic=t").await;
        stream.ready().await;
        pauses.push(stream.retry().unwrap());
    }
    let (least, most) = (Duration::from_secs(2), Duration::from_secs(4));
    assert!(pauses.iter().all(|pause| (least..=most).contains(pause)), "{pauses:?}");
    pauses.sort_unstable();
    pauses.dedup();
    assert!(pauses.len() > 8, "{pauses:?}");
}

#[tokio::test]
async fn the_headers_tell_every_proxy_to_forward_without_buffering() {
    let node = Node::start().await;
    let stream = node.subscribe("topic=t").await;
    assert_eq!(stream.header("content-type"), Some("text/event-stream"));
    assert_eq!(stream.header("cache-control"), Some("no-cache, no-transform"));
    assert_eq!(stream.header("x-accel-buffering"), Some("no"));
    assert_eq!(stream.header("incremental"), Some("?1"));
    assert_eq!(stream.header("transfer-encoding"), Some("chunked"));
    assert_eq!(stream.header("content-length"), None);
}

#[tokio::test]
async fn each_stream_closes_its_connection_so_that_a_reconnect_may_reach_another_gateway() {
    let node = Node::start().await;
    let stream = node.subscribe("topic=t").await;
    assert_eq!(stream.header("connection"), Some("close"));
    let poll = node.poll("topic=t").await;
    assert_eq!(poll.header("connection"), None, "a client repeats long polls on one connection");
}

#[tokio::test]
async fn an_event_reaches_the_subscribers_of_its_topic() {
    let node = Node::start().await;
    let (mut one, mut two) = (node.subscribe("topic=t").await, node.subscribe("topic=t").await);
    for stream in [&mut one, &mut two] {
        assert_eq!(stream.ready().await, "live");
    }
    let at = node.log.publish_as("t", "price", "{\"eur\":9}").await;
    node.log.publish("other", "not theirs").await;
    node.log.publish("t", "two\nlines\r\nand\ra half").await;
    for stream in [&mut one, &mut two] {
        let event = stream.event().await;
        assert_eq!((event.event_type(), &*event.data), ("price", "{\"eur\":9}"));
        assert_eq!(event.id, at.to_string());
        let event = stream.event().await;
        assert_eq!((event.event_type(), &*event.data), ("message", "two\nlines\nand\na half"));
    }
}

#[tokio::test]
async fn every_frame_ends_with_its_id_and_a_blank_line() {
    let node = Node::start().await;
    node.log.publish_numbers("a", 0..3).await;
    node.log.trim(&crate::log::topic("a"), 2);
    node.log.publish_as("b", "kind", "x\n\ny").await;
    node.log.publish("b", "id: 7\nevent: forged").await;
    node.log.put("a", NewEvent { mark: Mark::Last, ..NewEvent::default() }).await;
    node.log.end("b").await;
    for query in ["topic=a&last_event_id=0-0", "topic=a&topic=b&from=earliest&envelope=json"] {
        let mut stream = node.subscribe(query).await;
        let text = stream.text().await;
        let frames = text.strip_prefix(":\n").unwrap().strip_suffix("\n\n").unwrap();
        for frame in frames.split("\n\n") {
            let (_, last) = frame.rsplit_once('\n').unwrap();
            assert!(last.starts_with("id: ") && last.len() <= 4 + 128, "{frame:?}");
            assert_eq!(frame.matches("\nid: ").count(), 1, "{frame:?}");
            assert!(!frame.contains('\r'), "{frame:?}");
        }
        assert!(text.contains("event: tailwater.end\n"), "{text}");
    }
}

#[tokio::test]
async fn a_filter_by_type_passes_those_types_and_no_others() {
    let node = Node::start().await;
    let mut stream = node.subscribe("topic=t&types=a,message").await;
    stream.ready().await;
    for kind in ["a", "b", "ab"] {
        node.log.publish_as("t", kind, kind).await;
    }
    node.log.publish("t", "untyped").await;
    assert_eq!(stream.data(2).await, ["a", "untyped"]);
}

#[tokio::test]
async fn an_envelope_names_the_topic() {
    let node = Node::start().await;
    let at = node.log.publish_as("a", "price", "line\nline").await;
    node.log.publish("b", "\u{1f980}").await;
    let mut stream = node.subscribe("topic=a&topic=b&from=earliest&envelope=json").await;
    stream.ready().await;
    let mut envelopes = Vec::new();
    for _ in 0..2 {
        let event = stream.event().await;
        assert_eq!(event.event_type(), "message");
        envelopes.push(serde_json::from_str::<Value>(&event.data).unwrap());
    }
    envelopes.sort_by_key(|envelope| envelope["topic"].to_string());
    let time = envelopes[0]["time"].clone();
    assert_eq!(
        envelopes[0],
        json!({"id": at.to_string(), "topic": "a", "type": "price", "data": "line\nline", "time": time})
    );
    let time: jiff::Timestamp = time.as_str().unwrap().parse().unwrap();
    assert_eq!(u64::try_from(time.as_millisecond()).unwrap(), at.ms);
    assert_eq!(envelopes[1]["type"], Value::Null);
    assert_eq!(envelopes[1]["data"], "\u{1f980}");
}

#[tokio::test]
async fn a_client_that_leaves_is_noticed() {
    let node = Node::start().await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        let mut stream = node.subscribe("topic=t").await;
        stream.ready().await;
        streams.push(stream);
    }
    assert_eq!(node.gateway.laggards(9).len(), 3);
    node.until("tailwater_connections", 3.0).await;
    drop(streams);
    node.until("tailwater_connections", 0.0).await;
    node.until("tailwater_connections_closed_total{reason=\"client\"}", 3.0).await;
    assert!(node.gateway.laggards(9).is_empty());
}

//! Gaps: the events that a client missed and that the log no longer has.

use serde_json::{Value, json};

use crate::log::{Publish as _, topic};
use crate::node::Node;

#[tokio::test]
async fn a_gap_of_trimmed_events_has_their_exact_number() {
    let node = Node::start().await;
    let first = node.log.publish("t", "0").await;
    node.log.publish_numbers("t", 1..9).await;
    let oldest = node.log.publish("t", "9").await;
    node.log.trim(&topic("t"), 1);
    let mut stream = node.resume("topic=t", first.to_string()).await;
    assert_eq!(stream.ready().await, "gap");
    let (event, gap) = stream.control("gap").await;
    assert_eq!(
        gap,
        json!({
            "topic": "t", "reason": "trimmed", "missed": 8, "requested": first.to_string(),
            "oldest": oldest.to_string(), "newest": oldest.to_string(),
        })
    );
    assert_eq!(stream.data(1).await, ["9"]);
    // A client that resumes after the gap is not told of the gap again.
    let mut stream = node.resume("topic=t", event.id).await;
    assert_eq!(stream.ready().await, "exact");
    assert_eq!(stream.data(1).await, ["9"]);
}

#[tokio::test]
async fn a_client_that_lost_its_connection_before_it_read_the_gap_is_told_again() {
    let node = Node::start().await;
    let first = node.log.publish("t", "0").await;
    node.log.publish_numbers("t", 1..4).await;
    node.log.trim(&topic("t"), 1);
    let mut stream = node.resume("topic=t", first.to_string()).await;
    let (ready, _) = stream.control("ready").await;
    drop(stream);
    let mut stream = node.resume("topic=t", ready.id).await;
    assert_eq!(stream.ready().await, "gap");
    assert_eq!(stream.control("gap").await.1["missed"], 2);
}

#[tokio::test]
async fn a_cursor_of_a_log_that_was_wiped_is_reset() {
    let node = Node::start().await;
    let last = node.log.publish("t", "before").await;
    node.log.flush();
    let mut stream = node.resume("topic=t", last.to_string()).await;
    assert_eq!(stream.ready().await, "reset");
    assert_eq!(stream.control("gap").await.1["reason"], "reset");
    node.log.publish("t", "after").await;
    assert_eq!(stream.data(1).await, ["after"]);
}

#[tokio::test]
async fn an_open_connection_is_told_of_a_reset_and_goes_on() {
    let node = Node::start().await;
    node.log.publish_numbers("t", 0..3).await;
    let mut stream = node.subscribe("topic=t&from=-1").await;
    stream.ready().await;
    assert_eq!(stream.data(1).await, ["2"]);
    node.log.flush();
    let (_, gap) = stream.control("gap").await;
    assert_eq!((&gap["reason"], &gap["missed"]), (&"reset".into(), &Value::Null));
    node.log.publish("t", "after").await;
    let event = stream.event().await;
    assert_eq!(event.data, "after");
    assert!(event.id.ends_with("-1"), "{}", event.id);
}

#[tokio::test]
async fn a_cursor_ahead_of_the_log_is_rewound() {
    let node = Node::start().await;
    let last = node.log.publish("t", "kept").await;
    let mut stream = node.resume("topic=t", format!("{}-{}", last.ms + 5, last.n + 5)).await;
    assert_eq!(stream.ready().await, "rewound");
    let (event, gap) = stream.control("gap").await;
    assert_eq!(gap["reason"], "rewound");
    assert_eq!(event.id, last.to_string());
    node.log.publish("t", "after").await;
    assert_eq!(stream.data(1).await, ["after"]);
}

#[tokio::test]
async fn an_invalid_cursor_gets_a_live_stream_and_a_gap() {
    let node = Node::start().await;
    node.log.publish("t", "before").await;
    let other = node.subscribe("topic=x&topic=y").await.control("ready").await.0.id;
    let garbage: [Vec<u8>; 8] = [
        b"garbage".into(),
        b"\xff\xfe\x80 not UTF-8".into(),
        "\u{1f980}".into(),
        other.into(),
        b"1-2-3".into(),
        b"99999999999999999999-1".into(),
        b"data: forged".into(),
        vec![b'x'; 10 * 1024],
    ];
    for cursor in garbage {
        let mut stream = node.resume("topic=t", &cursor).await;
        assert_eq!(stream.status, 200);
        assert_eq!(stream.ready().await, "invalid");
        let (event, gap) = stream.control("gap").await;
        assert_eq!((&gap["reason"], &gap["missed"]), (&"invalid".into(), &Value::Null));
        let requested = gap["requested"].as_str().unwrap();
        assert!(requested.chars().count() <= 128);
        assert!(String::from_utf8_lossy(&cursor).starts_with(requested));
        assert_eq!(gap["newest"], Value::from(&*event.id));
        let data = format!("after {}", cursor.len());
        node.log.publish("t", &data).await;
        assert_eq!(stream.data(1).await, [data]);
    }
}

#[tokio::test]
async fn each_of_several_topics_has_its_own_gap() {
    let node = Node::start().await;
    for name in ["a", "b"] {
        node.log.publish(name, "0").await;
    }
    let query = "topic=a&topic=b";
    let cursor = node.subscribe(query).await.control("ready").await.0.id;
    for name in ["a", "b"] {
        node.log.publish_numbers(name, 1..4).await;
    }
    node.log.trim(&topic("a"), 1);
    let mut stream = node.resume(query, cursor).await;
    assert_eq!(stream.ready().await, "gap");
    let (event, gap) = stream.control("gap").await;
    assert_eq!((&gap["topic"], &gap["missed"]), (&"a".into(), &2.into()));
    let mut data = stream.data(4).await;
    data.sort();
    assert_eq!(data, ["1", "2", "3", "3"]);
    let mut stream = node.resume(query, event.id).await;
    assert_eq!(stream.ready().await, "exact");
    assert_eq!(stream.data(4).await.len(), 4);
}

#[tokio::test]
async fn from_a_time_whose_events_may_be_trimmed_reports_a_gap() {
    let node = Node::start().await;
    node.log.publish_numbers("t", 0..4).await;
    node.log.trim(&topic("t"), 2);
    let mut stream = node.subscribe("topic=t&from=2020-01-01T00:00:00Z").await;
    assert_eq!(stream.ready().await, "gap");
    let (_, gap) = stream.control("gap").await;
    assert_eq!((&gap["reason"], &gap["requested"]), (&"trimmed".into(), &Value::Null));
    assert_eq!(stream.data(2).await, ["2", "3"]);
    let resumed: f64 = ["exact", "gap"]
        .map(|outcome| node.metric(&format!("tailwater_resumes_total{{outcome=\"{outcome}\"}}")))
        .iter()
        .sum();
    assert!(resumed < 0.5, "nobody brought a cursor");
}

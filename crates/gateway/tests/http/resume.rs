//! The start of a subscription: after a cursor, or where `from` says.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::Value;
use tokio::time::sleep;

use crate::log::Publish as _;
use crate::node::Node;

#[tokio::test]
async fn the_cursor_comes_by_header_or_by_either_query_and_the_header_wins() {
    let node = Node::start().await;
    let mut at = Vec::new();
    for data in ["a", "b", "c", "d"] {
        at.push(node.log.publish("t", data).await.to_string());
    }
    let query = |name: &str, n: usize| format!("topic=t&{name}={}", at[n]);
    let cases = [
        (String::from("topic=t"), Some(&*at[1]), vec!["c", "d"]),
        (query("last_event_id", 2), None, vec!["d"]),
        (query("lastEventId", 0), None, vec!["b", "c", "d"]),
        (query("lastEventId", 0), Some(&*at[2]), vec!["d"]),
        (query("last_event_id", 1), Some(""), vec!["c", "d"]),
        (format!("{}&from=earliest", query("lastEventId", 2)), None, vec!["d"]),
    ];
    for (query, header, expected) in cases {
        let mut stream = match header {
            Some(cursor) => node.resume(&query, cursor).await,
            None => node.subscribe(&query).await,
        };
        assert_eq!(stream.ready().await, "exact", "{query}");
        assert_eq!(stream.data(expected.len()).await, expected, "{query}");
    }
}

#[tokio::test]
async fn an_empty_header_is_no_cursor() {
    let node = Node::start().await;
    node.log.publish("t", "before").await;
    let mut stream = node.resume("topic=t", "").await;
    assert_eq!(stream.ready().await, "live");
    node.log.publish("t", "after").await;
    assert_eq!(stream.data(1).await, ["after"]);
}

#[tokio::test]
async fn a_cursor_resumes_exactly_on_another_gateway() {
    let (one, mut stream, last);
    one = Node::start().await;
    one.log.publish_numbers("t", 0..5).await;
    stream = one.subscribe("topic=t&from=earliest").await;
    stream.ready().await;
    stream.data(2).await;
    last = stream.event().await.id;
    let two = one.sibling().await;
    one.log.publish_numbers("t", 5..8).await;
    let mut stream = two.resume("topic=t", last).await;
    let (_, ready) = stream.control("ready").await;
    assert_eq!((&ready["outcome"], &ready["node"]), (&"exact".into(), &"sibling".into()));
    two.log.publish("t", "live").await;
    assert_eq!(stream.data(6).await, ["3", "4", "5", "6", "7", "live"]);
}

#[tokio::test]
async fn the_id_of_ready_is_a_cursor_already() {
    let node = Node::start().await;
    node.log.publish("t", "before").await;
    let mut stream = node.subscribe("topic=t").await;
    let (ready, json) = stream.control("ready").await;
    assert_eq!(json["cursor"], Value::from(&*ready.id));
    drop(stream);
    node.log.publish("t", "meanwhile").await;
    let mut stream = node.resume("topic=t", ready.id).await;
    assert_eq!(stream.ready().await, "exact");
    assert_eq!(stream.data(1).await, ["meanwhile"]);
}

#[tokio::test]
async fn from_says_where_a_client_without_a_cursor_begins() {
    let node = Node::start().await;
    let mut at = Vec::new();
    for data in ["a", "b", "c"] {
        at.push(node.log.publish("t", data).await);
        sleep(Duration::from_millis(3)).await;
    }
    let time = jiff::Timestamp::from_millisecond(at[1].ms.cast_signed()).unwrap().to_string();
    let cases: [(&str, &[&str]); 7] = [
        ("latest", &[]),
        ("earliest", &["a", "b", "c"]),
        ("-2", &["b", "c"]),
        ("-0", &[]),
        ("-99", &["a", "b", "c"]),
        (&time, &["b", "c"]),
        ("2999-01-01T00:00:00Z", &[]),
    ];
    let mut streams = Vec::new();
    for (from, _) in cases {
        let mut stream = node.subscribe(&format!("topic=t&from={from}")).await;
        assert_eq!(stream.ready().await, "live", "{from}");
        streams.push(stream);
    }
    node.log.publish("t", "live").await;
    for (mut stream, (from, expected)) in streams.into_iter().zip(cases) {
        let expected = [expected, &["live"]].concat();
        assert_eq!(stream.data(expected.len()).await, expected, "{from}");
    }
}

#[tokio::test]
async fn every_id_of_several_topics_resumes_exactly_there() {
    const EACH: usize = 8;
    let node = Node::start().await;
    for number in 0..EACH {
        for name in ["a", "b", "c"] {
            node.log.publish(name, &format!("{name}{number}")).await;
        }
    }
    let query = "topic=b&topic=a&topic=c";
    let mut stream = node.subscribe(&format!("{query}&from=earliest")).await;
    stream.ready().await;
    let mut seen: HashMap<String, usize> = HashMap::new();
    let other = node.sibling().await;
    for count in 1..=3 * EACH {
        let event = stream.event().await;
        let (name, number) = event.data.split_at(1);
        assert_eq!(seen.entry(name.to_owned()).or_default(), &number.parse::<usize>().unwrap());
        *seen.get_mut(name).unwrap() += 1;
        assert!(event.id.len() <= 128, "{}", event.id);

        let mut resumed = other.resume(query, event.id).await;
        assert_eq!(resumed.ready().await, "exact");
        let mut rest = resumed.data(3 * EACH - count).await;
        rest.sort();
        let mut expected = Vec::new();
        for name in ["a", "b", "c"] {
            let from = seen.get(name).copied().unwrap_or(0);
            expected.extend((from..EACH).map(|number| format!("{name}{number}")));
        }
        assert_eq!(rest, expected, "after {count}");
    }
}

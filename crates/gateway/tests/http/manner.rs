//! Streams in the manner that a client asks for.

use std::time::Duration;

use ::metrics::Registry;
use event_log::{Mark, NewEvent};
use gateway::Config;
use limits::{AddressShare, Proxies, Rules};

use crate::log::{Publish as _, topic};
use crate::node::Node;

fn brisk() -> Config {
    Config { heartbeat: Duration::from_millis(50), ..Config::default() }
}

#[tokio::test]
async fn without_control_events_a_stream_holds_the_publishers_events_alone() {
    let node = Node::start().await;
    let first = node.log.publish("t", "before").await;
    let mut stream = node.resume("topic=t&control=off", first.to_string()).await;
    assert_eq!(stream.header("tailwater-outcome"), Some("exact"));
    assert_eq!(stream.header("tailwater-cursor"), Some(&*first.to_string()));
    assert_eq!(stream.header("tailwater-node"), Some("tailwater"));
    assert_eq!(stream.header("tailwater-gap"), None);
    let one = node.log.publish("t", "one").await;
    assert_eq!(stream.data(1).await, ["one"]);
    let end = NewEvent { data: "two".into(), mark: Mark::Last, ..NewEvent::default() };
    let two = node.log.put("t", end).await;
    let text = stream.text().await;
    let retry = stream.retry().expect("the first event brings it").as_millis();
    assert!((2000..=4000).contains(&retry), "{retry}");
    let expected = format!(":\ndata: one\nretry: {retry}\nid: {one}\n\ndata: two\nid: {two}\n\n");
    assert_eq!(text, expected);
}

#[tokio::test]
async fn a_client_without_control_events_that_has_everything_is_stopped() {
    let node = Node::start().await;
    let last = node.log.publish("t", "last").await;
    let first = node.log.publish("u", "first").await;
    node.log.end("t").await;
    // The end has a position of its own, which no event has brought to such a client.
    let cursor = last.to_string();
    for control in ["off", "comment"] {
        assert_eq!(node.resume(&format!("topic=t&control={control}"), &cursor).await.status, 204);
    }
    assert_eq!(node.get("topic=t&control=off").await.status, 204, "nothing follows for anybody");
    assert_eq!(node.resume("topic=t", &cursor).await.status, 200, "it is told of the end");
    // Another topic goes on.
    let both =
        format!("topic=t&topic=u&control=off&last_event_id=t@{last}&last_event_id=u@{first}");
    let mut stream = node.subscribe(&both).await;
    node.log.publish("u", "second").await;
    let second = stream.event().await;
    assert_eq!(second.data, "second");
    node.log.end("u").await;
    stream.ends().await;
    assert_eq!(node.resume("topic=t&topic=u&control=off", second.id).await.status, 204);
}

#[tokio::test]
async fn a_gap_at_the_opening_is_in_the_head_of_a_stream_without_control_events() {
    let node = Node::start().await;
    let first = node.log.publish("t", "0").await;
    node.log.publish_numbers("t", 1..9).await;
    node.log.trim(&topic("t"), 2);
    let mut stream = node.resume("topic=t&control=off", first.to_string()).await;
    assert_eq!(stream.header("tailwater-outcome"), Some("gap"));
    assert_eq!(stream.header("tailwater-gap"), Some("\"t\";reason=trimmed;missed=6"));
    assert_eq!(stream.data(2).await, ["7", "8"]);
    let gaps = node.metric("tailwater_gaps_total{kind=\"trimmed\"}");
    assert!((gaps - 1.0).abs() < 0.1, "{gaps}");
}

#[tokio::test]
async fn a_gap_in_mid_stream_ends_a_stream_without_control_events_and_the_next_head_tells_it() {
    let node = Node::start().await;
    let seen = node.log.publish("t", "seen").await;
    let mut stream = node.resume("topic=t&control=off&from=earliest", "").await;
    assert_eq!(stream.data(1).await, ["seen"]);
    node.log.flush();
    node.log.publish("t", "after").await;
    stream.ends().await;
    let mut again = node.resume("topic=t&control=off", seen.to_string()).await;
    assert_eq!(again.header("tailwater-outcome"), Some("reset"));
    assert_eq!(again.data(1).await, ["after"]);
    node.until("tailwater_connections_closed_total{reason=\"gap\"}", 1.0).await;
}

#[tokio::test]
async fn a_refused_client_without_control_events_is_told_by_a_status() {
    let node = Node::with(Config { max_connections: 1, ..Config::default() }).await;
    let mut first = node.subscribe("topic=t").await;
    first.ready().await;
    for control in ["off", "comment"] {
        let mut refused = node.get(&format!("topic=t&control={control}")).await;
        assert_eq!((refused.status, refused.header("retry-after")), (429, Some("2")));
        assert_eq!(refused.json().await["error"]["code"], "overload");
    }
}

#[tokio::test]
async fn control_events_can_be_comments() {
    let node = Node::start().await;
    let first = node.log.publish("t", "0").await;
    node.log.publish_numbers("t", 1..4).await;
    node.log.trim(&topic("t"), 1);
    let mut stream = node.resume("topic=t&control=comment", first.to_string()).await;
    assert_eq!(stream.header("tailwater-outcome"), Some("gap"));
    assert_eq!(stream.data(1).await, ["3"]);
    node.log.end("t").await;
    let text = stream.text().await;
    let lines: Vec<_> = text.lines().filter(|line| line.starts_with(": ")).collect();
    let words: Vec<_> = lines.iter().map(|line| line.split(' ').nth(1).unwrap()).collect();
    assert_eq!(words, ["tailwater.ready", "tailwater.gap", "tailwater.end"], "{text}");
    let ready = lines[0].splitn(3, ' ').nth(2).unwrap();
    let ready: serde_json::Value = serde_json::from_str(ready).unwrap();
    assert_eq!(ready["outcome"], "gap");
    assert!(ready["retry"].as_u64().is_some_and(|retry| retry >= 2000), "{ready}");
}

#[tokio::test]
async fn heartbeats_can_be_events_or_none() {
    let node = Node::with(brisk()).await;
    let at = node.log.publish("t", "0").await;
    let mut stream = node.subscribe("topic=t&heartbeat=event").await;
    let (_, ready) = stream.control("ready").await;
    assert_eq!(ready["heartbeat"], 0.05);
    for _ in 0..2 {
        let (event, json) = stream.control("heartbeat").await;
        assert_eq!((event.id, &json["cursor"]), (at.to_string(), &at.to_string().into()));
    }
    let mut silent = node.subscribe("topic=t&heartbeat=off").await;
    assert_eq!(silent.control("ready").await.1["heartbeat"], serde_json::Value::Null);
    let mut bare = node.subscribe("topic=t&heartbeat=off&control=off").await;
    for _ in 0..3 {
        stream.control("heartbeat").await;
    }
    node.log.publish("t", "1").await;
    for stream in [&mut silent, &mut bare] {
        assert_eq!(stream.data(1).await, ["1"]);
        let text = String::from_utf8(stream.body.clone()).unwrap();
        assert!(!text.contains("\n:") && !text.starts_with(':'), "{text}");
    }
}

#[tokio::test]
async fn a_body_breaks_off_if_the_client_is_to_come_back_and_asks_for_that() {
    let node = Node::with(Config { max_connections: 2, ..Config::default() }).await;
    let mut stream = node.subscribe("topic=t&close=abort").await;
    stream.ready().await;
    let mut ended = node.subscribe("topic=over&close=abort").await;
    ended.ready().await;
    let mut refused = node.subscribe("topic=t&close=abort").await;
    let events = refused.breaks_off().await;
    assert_eq!(events.last().unwrap().event_type(), "tailwater.reconnect");
    node.log.end("over").await;
    ended.control("end").await;
    ended.ends().await;
    let none = Duration::ZERO;
    node.gateway.drain(none, none, Duration::from_secs(5)).await;
    let events = stream.breaks_off().await;
    assert_eq!(events.last().unwrap().event_type(), "tailwater.reconnect");
}

#[tokio::test]
async fn a_page_that_changes_its_topics_misses_nothing() {
    let node = Node::start().await;
    let one = node.log.publish("a", "a1").await;
    let mut stream = node.subscribe("topic=a&topic=b").await;
    let (ready, _) = stream.control("ready").await;
    node.log.publish("a", "a2").await;
    node.log.publish("c", "c1").await;
    let mut others = node.resume("topic=a&topic=c&from=earliest", &ready.id).await;
    let (_, json) = others.control("ready").await;
    assert_eq!((&json["outcome"], &json["new"]), (&"exact".into(), &serde_json::json!(["c"])));
    let mut data = others.data(2).await;
    data.sort();
    assert_eq!(data, ["a2", "c1"]);
    let mut fewer = node.resume("topic=a", &ready.id).await;
    let (_, json) = fewer.control("ready").await;
    assert_eq!((&json["outcome"], &json["new"]), (&"exact".into(), &serde_json::Value::Null));
    assert_eq!(fewer.data(1).await, ["a2"]);
    // A client of one topic adds another: it names the topic of its cursor.
    let mut more = node.subscribe(&format!("topic=a&topic=b&last_event_id=a@{one}")).await;
    let (_, json) = more.control("ready").await;
    assert_eq!((&json["outcome"], &json["new"]), (&"exact".into(), &serde_json::json!(["b"])));
    assert_eq!(more.data(1).await, ["a2"]);
}

#[tokio::test]
async fn a_post_subscribes_as_a_get() {
    let node = Node::start().await;
    node.log.publish("a", "one").await;
    node.log.publish("b", "two").await;
    let line = "POST /v1/subscriptions?control=off";
    let body = r#"{"topic":["a","b"],"from":"earliest"}"#;
    let mut stream = node.send(line, &[("content-type", b"application/json")], body).await;
    assert_eq!((stream.status, stream.header("tailwater-outcome")), (200, Some("live")));
    assert_eq!(stream.data(2).await, ["one", "two"]);
    let mut poll = node.send(line, &crate::client::ACCEPT_JSON, body).await;
    assert_eq!(poll.json().await["events"].as_array().unwrap().len(), 2);
    for (body, code) in [
        ("{", "bad_body"),
        (r#"{"topics":"a"}"#, "bad_parameter"),
        ("{\"topic\":[]}", "missing_topic"),
    ] {
        let mut refused = node.send(line, &[], body).await;
        assert_eq!(refused.status, 400);
        assert_eq!(refused.json().await["error"]["code"], code);
    }
    let large = format!("{{\"topic\":\"{}\"}}", "x".repeat(70_000));
    assert_eq!(node.send(line, &[], &large).await.status, 413);
}

#[tokio::test]
async fn an_address_that_does_not_wait_after_a_refusal_is_answered_late() {
    let rules = Rules::new(Proxies::none(), AddressShare::ALL, 1 << 30, &Registry::new());
    let node = Node::with(Config { max_connections: 1, rules, ..Config::default() }).await;
    let mut first = node.subscribe("topic=t").await;
    first.ready().await;
    for _ in 0..20 {
        node.subscribe("topic=t").await.control("reconnect").await;
    }
    let before = node.metric("tailwater_refusals_held_total");
    let start = tokio::time::Instant::now();
    for _ in 0..5 {
        node.subscribe("topic=t").await.control("reconnect").await;
    }
    let held = node.metric("tailwater_refusals_held_total") - before;
    assert!(held >= 3.0 && start.elapsed() >= Duration::from_millis(200), "{held}");
    // Nobody waits for a gateway that leaves.
    let none = Duration::ZERO;
    node.gateway.drain(none, none, Duration::from_secs(5)).await;
    let before = node.metric("tailwater_refusals_held_total");
    for _ in 0..5 {
        node.subscribe("topic=t").await.control("reconnect").await;
    }
    assert_eq!(node.metric("tailwater_refusals_held_total").to_bits(), before.to_bits());
}

//! Subscriptions to topics and patterns that share a log.

use std::sync::Arc;
use std::time::Duration;

use ::access::{Access, Machines, Patterns, Rights, Settings, TicketKeys, Tickets, machine_hash};
use ::metrics::Registry;
use event_log::{BreakReason, LogName, Mark, NewEvent, Position};
use gateway::Config;
use serde_json::{Value, json};

use crate::client::{ACCEPT_JSON, Response};
use crate::log::Publish as _;
use crate::node::Node;

async fn start() -> Node {
    Node::in_spaces(Config::default(), &["orders/"]).await
}

fn space() -> LogName {
    LogName::parse("orders/**").unwrap()
}

/// Publishes an event to each topic, with the topic as its data.
async fn publish(node: &Node, topics: &[&str]) -> Vec<Position> {
    let mut positions = Vec::new();
    for topic in topics {
        positions.push(node.log.publish(topic, topic).await);
    }
    positions
}

/// The code of a refusal, with its status and its message.
async fn refusal(mut answer: Response) -> (u16, String, String) {
    let error = answer.json().await["error"].clone();
    let text = |name: &str| error[name].as_str().unwrap().to_owned();
    (answer.status, text("code"), text("message"))
}

/// Queries, and the topics that each selects of all.
const ALL: [&str; 5] = ["orders/1", "orders/2", "orders/1/lines", "orders/2/lines/7", "news"];
const SELECTED: [(&str, &[&str]); 9] = [
    ("topic=orders/1", &["orders/1"]),
    ("topic=orders/1&topic=orders/2", &["orders/1", "orders/2"]),
    ("topic=orders/*", &["orders/1", "orders/2"]),
    ("topic=orders/1&topic=orders/*", &["orders/1", "orders/2"]),
    ("topic=orders/*/lines", &["orders/1/lines"]),
    ("topic=orders/*/lines/**", &["orders/2/lines/7"]),
    ("topic=orders/**", &["orders/1", "orders/2", "orders/1/lines", "orders/2/lines/7"]),
    (
        "topic=orders/%2A%2A&topic=orders/1",
        &["orders/1", "orders/2", "orders/1/lines", "orders/2/lines/7"],
    ),
    ("topic=orders/2&topic=orders/*/lines&topic=news", &["orders/2", "orders/1/lines", "news"]),
];

#[tokio::test]
async fn a_subscriber_gets_what_it_selects_from_the_history_and_live() {
    let node = start().await;
    publish(&node, &ALL).await;
    let mut streams = Vec::new();
    for (query, wanted) in SELECTED {
        let mut stream = node.subscribe(&format!("{query}&from=earliest")).await;
        assert_eq!(stream.ready().await, "live");
        let mut data = stream.data(wanted.len()).await;
        // Two logs have no common order.
        data.sort_by_key(|topic| ALL.iter().position(|other| other == topic));
        assert_eq!(data, *wanted, "{query}");
        streams.push(stream);
    }
    publish(&node, &ALL).await;
    for ((query, wanted), stream) in SELECTED.iter().zip(&mut streams) {
        let mut data = stream.data(wanted.len()).await;
        data.sort_by_key(|topic| ALL.iter().position(|other| other == topic));
        assert_eq!(data, *wanted, "{query}");
    }
}

#[tokio::test]
async fn a_frame_has_the_position_in_the_space_as_its_id() {
    let node = start().await;
    let at = publish(&node, &["orders/1", "orders/2", "orders/3/lines", "orders/1"]).await;
    assert_eq!(at.iter().map(|position| position.n).collect::<Vec<_>>(), [1, 2, 3, 4]);
    let query = "topic=orders/*&control=off&heartbeat=off";
    let mut stream = node.resume(query, at[0].to_string()).await;
    assert_eq!(stream.data(2).await, ["orders/2", "orders/1"]);
    let retry = stream.retry().unwrap().as_millis();
    let text = String::from_utf8(stream.body.clone()).unwrap();
    let (two, four) = (at[1], at[3]);
    let expected =
        format!("data: orders/2\nretry: {retry}\nid: {two}\n\ndata: orders/1\nid: {four}\n\n");
    assert_eq!(text, expected);
}

#[tokio::test]
async fn the_envelope_names_the_topic_of_each_event() {
    let node = start().await;
    let mut stream = node.subscribe("topic=orders/**&envelope=json").await;
    stream.ready().await;
    let at = publish(&node, &["orders/1", "orders/2/lines"]).await;
    for (topic, at) in ["orders/1", "orders/2/lines"].into_iter().zip(at) {
        let event = stream.event().await;
        assert_eq!((event.event_type(), &event.id), ("message", &at.to_string()));
        let envelope: Value = serde_json::from_str(&event.data).unwrap();
        assert_eq!((&envelope["topic"], &envelope["data"]), (&topic.into(), &topic.into()));
        assert_eq!(envelope["id"], at.to_string());
    }
}

#[tokio::test]
async fn a_position_goes_on_with_any_selection_on_any_gateway() {
    let node = start().await;
    let other = node.sibling().await;
    let at = publish(&node, &["orders/1", "orders/2", "orders/1/lines", "orders/1"]).await;
    // It is the same position whoever got it: with each event of a topic, one may select others from there.
    for (after, query, rest) in [
        (0, "topic=orders/1", &["orders/1"][..]),
        (0, "topic=orders/*", &["orders/2", "orders/1"]),
        (1, "topic=orders/**", &["orders/1/lines", "orders/1"]),
        (2, "topic=orders/2&topic=orders/1/*", &[]),
    ] {
        for node in [&node, &other] {
            let mut stream = node.resume(query, at[after].to_string()).await;
            let (_, ready) = stream.control("ready").await;
            assert_eq!((&ready["outcome"], &ready["new"]), (&"exact".into(), &Value::Null));
            assert_eq!(stream.data(rest.len()).await, rest, "{query}");
        }
    }
    // Put together by a client, with the topic of its last event.
    let named = format!("topic=orders/**&topic=news&last_event_id=orders/2@{}", at[1]);
    let mut stream = node.subscribe(&named).await;
    let (_, ready) = stream.control("ready").await;
    assert_eq!((&ready["outcome"], &ready["new"]), (&"exact".into(), &json!(["news"])));
    assert_eq!(stream.data(2).await, ["orders/1/lines", "orders/1"]);
    // A cursor of two logs goes on with one of them, and with other topics of the space.
    let mut both = node.subscribe("topic=orders/1&topic=news").await;
    let (ready, _) = both.control("ready").await;
    publish(&node, &["orders/2", "news"]).await;
    let mut stream = node.resume("topic=orders/*", &ready.id).await;
    assert_eq!(stream.ready().await, "exact");
    assert_eq!(stream.data(1).await, ["orders/2"]);
}

#[tokio::test]
async fn a_quiet_selection_gets_checkpoints_at_heartbeats_only() {
    let config = Config { heartbeat: Duration::from_millis(50), ..Config::default() };
    let node = Node::in_spaces(config, &["orders/"]).await;
    let mut stream = node.subscribe("topic=orders/1").await;
    stream.ready().await;
    let last = *publish(&node, &["orders/2", "orders/3"]).await.last().unwrap();
    // The two events may fall on both sides of a heartbeat.
    let (mut event, mut json) = stream.control("cursor").await;
    if event.id != last.to_string() {
        (event, json) = stream.control("cursor").await;
    }
    assert_eq!((&event.id, &json["cursor"]), (&last.to_string(), &last.to_string().into()));
    // Nothing else has passed, so the next is the event.
    let next = node.log.publish("orders/1", "mine").await;
    let event = stream.event().await;
    assert_eq!((event.data, event.id), ("mine".into(), next.to_string()));
    // The events that it has passed by are not read again, and are no gap after they have gone.
    node.log.publish("orders/2", "more").await;
    node.log.trim(&space(), 1);
    let mut again = node.resume("topic=orders/1", last.to_string()).await;
    assert_eq!(again.ready().await, "gap");
    let mut again = node.resume("topic=orders/1", next.to_string()).await;
    assert_eq!(again.ready().await, "exact");
}

#[tokio::test]
async fn a_gap_of_a_selection_has_an_upper_bound() {
    let node = start().await;
    let first = node.log.publish("orders/1", "0").await;
    node.log.publish_numbers("orders/2", 1..9).await;
    node.log.publish("orders/1", "9").await;
    node.log.trim(&space(), 2);
    for (query, topic, missed, most) in [
        ("topic=orders/1", "orders/1", None, Some(7)),
        ("topic=orders/*", "orders/*", None, Some(7)),
        ("topic=orders/1&topic=orders/3/*", "orders/**", None, Some(7)),
        ("topic=orders/**", "orders/**", Some(7), None),
    ] {
        let mut stream = node.resume(query, first.to_string()).await;
        assert_eq!(stream.ready().await, "gap");
        let (_, gap) = stream.control("gap").await;
        assert_eq!((&gap["topic"], &gap["reason"]), (&topic.into(), &"trimmed".into()));
        assert_eq!(gap["missed"].as_u64(), missed, "{gap}");
        assert_eq!(gap.get("missed_at_most").and_then(Value::as_u64), most, "{gap}");
        assert!(gap.get("missed").is_some(), "{gap}");
        let wants_both = topic.starts_with("orders/*") && !query.contains('&');
        assert_eq!(stream.event().await.data, if wants_both { "8" } else { "9" });
        let mut bare = node.resume(&format!("{query}&control=off"), first.to_string()).await;
        let bound = most.map_or("missed=7".to_owned(), |most| format!("missed-at-most={most}"));
        let told = format!("\"{topic}\";reason=trimmed;{bound}");
        assert_eq!(bare.header("tailwater-gap"), Some(&*told));
        bare.event().await;
        let answer = node.poll(&format!("{query}&last_event_id={first}")).await.json().await;
        assert_eq!(answer["gaps"][0]["missed_at_most"].as_u64(), most, "{answer}");
    }
}

#[tokio::test]
async fn types_filter_what_a_pattern_selects() {
    let node = start().await;
    node.log.publish_as("orders/1", "paid", "1").await;
    node.log.publish_as("orders/2", "sent", "2").await;
    node.log.publish_as("orders/3/lines", "paid", "3").await;
    node.log.publish_as("orders/4", "paid", "4").await;
    let mut stream = node.subscribe("topic=orders/*&types=paid&from=earliest").await;
    stream.ready().await;
    assert_eq!(stream.data(2).await, ["1", "4"]);
}

#[tokio::test]
async fn a_break_is_told_to_those_who_select_its_topic() {
    let node = start().await;
    let first = node.log.publish("orders/3", "3").await.to_string();
    let mut one = node.subscribe("topic=orders/1").await;
    let mut all = node.resume("topic=orders/*&control=off", &first).await;
    let mut other = node.subscribe("topic=orders/2").await;
    one.ready().await;
    other.ready().await;
    let mark = Mark::Broken(BreakReason::Disconnected);
    node.log.put("orders/1", NewEvent { mark, ..NewEvent::default() }).await;
    node.log.publish("orders/2", "2").await;
    let (_, told) = one.control("broken").await;
    assert_eq!(told, json!({ "topic": "orders/1", "reason": "disconnected" }));
    assert_eq!(all.try_event().await, None, "it is to come back and hear of it in the head");
    assert_eq!(other.data(1).await, ["2"]);
    // The head tells it to those who select the topic, and the stream goes on behind it.
    for (query, told) in [
        ("topic=orders/*", Some("\"orders/1\";reason=disconnected")),
        ("topic=orders/1&topic=orders/2", Some("\"orders/1\";reason=disconnected")),
        ("topic=orders/2", None),
    ] {
        let mut again = node.resume(&format!("{query}&control=off"), &first).await;
        assert_eq!(again.header("tailwater-broken"), told, "{query}");
        assert_eq!(again.data(1).await, ["2"], "{query}");
    }
}

#[tokio::test]
async fn a_long_poll_waits_for_what_it_selects() {
    let node = start().await;
    let at = publish(&node, &["orders/1", "orders/2/lines", "orders/2"]).await;
    let answer = node.poll("topic=orders/*&from=earliest&limit=1").await.json().await;
    assert_eq!(answer["events"][0]["topic"], "orders/1");
    assert_eq!(answer["cursor"], at[0].to_string());
    let next = format!("topic=orders/*/lines&last_event_id={}&wait=30", at[0]);
    let answer = node.poll(&next).await.json().await;
    assert_eq!(answer["events"].as_array().unwrap().len(), 1);
    assert_eq!(answer["events"][0]["topic"], "orders/2/lines");
    assert_eq!(answer["cursor"], at[2].to_string(), "what follows is not wanted");
    let cursor = answer["cursor"].as_str().unwrap().to_owned();
    let waiting = format!("topic=orders/*/lines&last_event_id={cursor}&wait=30");
    let (mut poll, last) = tokio::join!(node.poll(&waiting), async {
        node.until("tailwater_connections", 1.0).await;
        publish(&node, &["orders/3", "orders/3/lines"]).await[1]
    });
    let answer = poll.json().await;
    assert_eq!(answer["events"][0]["topic"], "orders/3/lines");
    assert_eq!(
        (answer["cursor"].clone(), &answer["ended"]),
        (last.to_string().into(), &false.into())
    );
}

#[tokio::test]
async fn a_post_subscribes_to_patterns() {
    let node = start().await;
    publish(&node, &ALL).await;
    let body = r#"{"topic":["orders/*","orders/1/lines"],"from":"earliest"}"#;
    let poll = node.send("POST /v1/subscriptions", &ACCEPT_JSON, body);
    let answer = poll.await.json().await;
    let events = answer["events"].as_array().unwrap();
    let topics: Vec<_> = events.iter().map(|event| event["topic"].as_str().unwrap()).collect();
    assert_eq!(topics, ["orders/1", "orders/2", "orders/1/lines"]);
}

#[tokio::test]
async fn a_pattern_that_cannot_be_served_is_refused_with_the_reason() {
    let node = start().await;
    for (topic, code, said) in [
        ("users/*", "no_space", "there are orders/"),
        ("**", "no_space", "--space PREFIX/"),
        ("*/1", "no_space", "there are orders/"),
        ("orders/4*", "bad_pattern", "* is a whole segment"),
        ("orders/**/lines", "bad_pattern", "** the last one"),
        ("tailwater.revocations/*", "bad_pattern", "reserved"),
        ("orders/a b/*", "bad_pattern", "must not contain ' '"),
    ] {
        let escaped = topic.replace(' ', "%20");
        let (status, found, message) = refusal(node.get(&format!("topic={escaped}")).await).await;
        assert_eq!((status, &*found), (400, code), "{topic}");
        assert!(message.contains(said), "{message}");
        let body = json!({ "topic": topic }).to_string();
        let posted = refusal(node.send("POST /v1/subscriptions", &[], &body).await).await;
        assert_eq!(posted, (400, found, message));
    }
    let none = Node::start().await;
    let (status, code, message) = refusal(none.get("topic=orders/*").await).await;
    assert_eq!((status, &*code), (400, "no_space"));
    assert!(message.contains("there is none"), "{message}");
    let many: String = (0..64).map(|i| format!("topic=orders/{i}&")).collect();
    let (status, code, _) = refusal(node.get(&format!("{many}topic=orders/*")).await).await;
    assert_eq!((status, &*code), (400, "too_many_topics"));
}

const ANN: &str = "token-of-ann";

/// A closed node on which ann may read `orders/ann/**`.
async fn closed() -> Node {
    let everybody = Arc::new(Rights {
        subscribe: Patterns::new(["orders/public/*"]).unwrap(),
        ..Rights::default()
    });
    let hash = machine_hash(ANN);
    let line = format!("{hash} ann {{\"subscribe\":[\"orders/{{sub}}/**\"]}}\n");
    let settings = Settings {
        machines: Machines::parse(&line, &everybody).unwrap(),
        tickets: Some(Tickets::new(TicketKeys::random(), Arc::clone(&everybody))),
        everybody,
        ..Settings::default()
    };
    let access = Access::closed(settings, &Registry::new());
    Node::in_spaces(Config { access, ..Config::default() }, &["orders/"]).await
}

#[tokio::test]
async fn a_pattern_needs_a_right_that_covers_it() {
    let node = closed().await;
    let bearer = format!("Bearer {ANN}");
    let ask = async |topic: &str| {
        let line = format!("GET /v1/events?topic={topic}&wait=0");
        node.request(&line, &[("authorization", bearer.as_bytes()), ACCEPT_JSON[0]]).await
    };
    for covered in ["orders/ann/**", "orders/ann/*", "orders/ann/*/lines", "orders/public/*"] {
        assert_eq!(ask(covered).await.status, 200, "{covered}");
    }
    for wider in ["orders/**", "orders/*", "orders/*/lines", "orders/bob/*", "orders/public/**"] {
        let (status, code, message) = refusal(ask(wider).await).await;
        assert_eq!((status, &*code), (403, "forbidden"), "{wider}");
        assert!(message.contains(wider), "{message}");
    }
}

#[tokio::test]
async fn a_ticket_is_for_the_patterns_that_it_was_made_for() {
    let node = closed().await;
    let bearer = format!("Bearer {ANN}");
    let ask = async |topics: Value| {
        let body = json!({ "topics": topics }).to_string();
        node.send("POST /v1/tickets", &[("authorization", bearer.as_bytes())], &body).await
    };
    let answer = ask(json!(["orders/ann/*", "orders/ann/1/lines"])).await.json().await;
    let ticket = answer["ticket"].as_str().expect("a ticket").to_owned();
    let mut stream = node.subscribe(&format!("topic=orders/ann/*&ticket={ticket}")).await;
    let (_, ready) = stream.control("ready").await;
    node.log.publish("orders/ann/1", "mine").await;
    assert_eq!(stream.data(1).await, ["mine"]);
    // The next ticket is for the same pattern, and a ticket for a pattern is one for its topics.
    let next = ready["ticket"].as_str().expect("the next ticket");
    for (topic, status) in [
        ("orders/ann/*", 200),
        ("orders/ann/1", 200),
        ("orders/ann/**", 403),
        ("orders/bob/1", 403),
    ] {
        let answer = node.get(&format!("topic={topic}&ticket={next}")).await;
        assert_eq!(answer.status, status, "{topic}");
    }
    for (topic, expected) in [
        ("orders/*", (403, "forbidden")),
        ("users/*", (400, "no_space")),
        ("orders/*x", (400, "bad_pattern")),
    ] {
        let (status, code, _) = refusal(ask(json!([topic])).await).await;
        assert_eq!((status, &*code), expected, "{topic}");
    }
}

//! Long polls, which use the same cursors as streams.

use std::time::Duration;

use event_log::{Mark, NewEvent};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::client::ACCEPT_JSON;
use crate::log::{Mood, Publish as _, Remote, topic};
use crate::node::Node;

/// Returns the data of the events in a response.
fn data(answer: &Value) -> Vec<&str> {
    let events = answer["events"].as_array().unwrap();
    events.iter().map(|event| event["data"].as_str().unwrap()).collect()
}

fn cursor(answer: &Value) -> &str {
    answer["cursor"].as_str().unwrap()
}

#[tokio::test]
async fn stored_events_are_returned_at_once() {
    let node = Node::start().await;
    let at = node.log.publish_as("t", "kind", "a \"b\"\n").await;
    let mut poll = node.poll("topic=t&from=earliest&wait=30").await;
    assert_eq!(poll.header("content-type"), Some("application/json"));
    assert_eq!(poll.header("cache-control"), Some("no-store"));
    let answer = poll.json().await;
    let time = answer["events"][0]["time"].clone();
    assert_eq!(
        answer,
        json!({
            "events": [{
                "id": at.to_string(), "topic": "t", "type": "kind", "data": "a \"b\"\n", "time": time,
            }],
            "cursor": at.to_string(),
            "gaps": [],
            "broken": [],
            "ended": false,
        })
    );
}

#[tokio::test]
async fn an_event_during_the_wait_ends_the_wait() {
    let node = Node::start().await;
    let publisher = async {
        sleep(Duration::from_millis(50)).await;
        node.log.publish("t", "late").await;
    };
    let start = Instant::now();
    let (mut poll, ()) = tokio::join!(node.poll("topic=t&wait=30"), publisher);
    assert_eq!(data(&poll.json().await), ["late"]);
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_wait_without_an_event_returns_an_empty_list_and_a_cursor() {
    let node = Node::start().await;
    let at = node.log.publish("t", "before").await;
    for wait in ["", "&wait=0", "&wait=1"] {
        let answer = node.poll(&format!("topic=t{wait}")).await.json().await;
        let nothing = json!({
            "events": [], "cursor": at.to_string(), "gaps": [], "broken": [], "ended": false,
        });
        assert_eq!(answer, nothing, "{wait:?}");
    }
}

#[tokio::test]
async fn polls_one_after_another_lose_nothing_and_repeat_nothing() {
    let node = Node::start().await;
    node.log.publish_numbers("a", 0..20).await;
    node.log.publish_numbers("b", 0..7).await;
    let query = "topic=a&topic=b&limit=4";
    let mut answer = node.poll(&format!("{query}&from=earliest")).await.json().await;
    let mut got: Vec<(String, String)> = Vec::new();
    for round in 0.. {
        let events = answer["events"].as_array().unwrap();
        assert!(events.len() <= 4);
        let text = |event: &Value, name: &str| event[name].as_str().unwrap().to_owned();
        got.extend(events.iter().map(|event| (text(event, "topic"), text(event, "data"))));
        if events.is_empty() {
            break;
        }
        if round == 2 {
            node.log.publish_numbers("b", 7..9).await;
        }
        answer =
            node.poll(&format!("{query}&last_event_id={}", cursor(&answer))).await.json().await;
    }
    for (name, count) in [("a", 20), ("b", 9)] {
        let of: Vec<_> = got.iter().filter(|(topic, _)| topic == name).map(|(_, d)| d).collect();
        let expected: Vec<_> = (0..count).map(|number| number.to_string()).collect();
        assert_eq!(of, expected.iter().collect::<Vec<_>>(), "{name}");
    }
}

#[tokio::test]
async fn a_poll_with_no_wait_still_reads_events_that_are_only_in_the_log() {
    let remote = Remote::new();
    remote.publish_numbers("t", 0..10).await;
    let node = Node::on(gateway::Config::default(), remote.memory.clone(), remote).await;
    let answer = node.poll("topic=t&from=earliest&limit=6").await.json().await;
    assert_eq!(data(&answer), ["0", "1", "2", "3", "4", "5"]);
    let answer = node.poll(&format!("topic=t&lastEventId={}", cursor(&answer))).await.json().await;
    assert_eq!(data(&answer), ["6", "7", "8", "9"]);
}

#[tokio::test]
async fn events_that_a_filter_keeps_out_move_the_cursor_and_do_not_end_the_wait() {
    let node = Node::start().await;
    let publisher = async {
        sleep(Duration::from_millis(30)).await;
        node.log.publish_as("t", "other", "0").await;
        sleep(Duration::from_millis(30)).await;
        node.log.publish_as("t", "wanted", "1").await
    };
    let (mut poll, at) = tokio::join!(node.poll("topic=t&wait=30&types=wanted"), publisher);
    let answer = poll.json().await;
    assert_eq!((data(&answer), cursor(&answer)), (vec!["1"], &*at.to_string()));

    let at = node.log.publish_as("t", "other", "2").await;
    let query = format!("topic=t&types=wanted&last_event_id={}", cursor(&answer));
    let answer = node.poll(&query).await.json().await;
    assert_eq!((data(&answer), cursor(&answer)), (vec![], &*at.to_string()));
}

#[tokio::test]
async fn a_gap_comes_with_the_events_behind_it() {
    let node = Node::start().await;
    let first = node.log.publish("t", "0").await;
    node.log.publish_numbers("t", 1..5).await;
    node.log.trim(&topic("t"), 2);
    let answer = node.poll(&format!("topic=t&last_event_id={first}")).await.json().await;
    assert_eq!(data(&answer), ["3", "4"]);
    assert_eq!(answer["gaps"].as_array().unwrap().len(), 1);
    assert_eq!(answer["gaps"][0]["missed"], 2);
    let answer = node.poll("topic=t&last_event_id=garbage&wait=30").await.json().await;
    assert_eq!((data(&answer), &answer["gaps"][0]["reason"]), (vec![], &"invalid".into()));
    assert_eq!(answer["gaps"][0]["requested"], "garbage");
}

#[tokio::test]
async fn the_end_is_reported_after_all_events_before_it() {
    let node = Node::start().await;
    node.log.publish_numbers("t", 0..3).await;
    node.log.put("t", NewEvent { data: "3".into(), mark: Mark::Last, ..NewEvent::default() }).await;
    let answer = node.poll("topic=t&from=earliest&limit=2").await.json().await;
    assert_eq!((data(&answer), &answer["ended"]), (vec!["0", "1"], &false.into()));
    let query = format!("topic=t&wait=30&last_event_id={}", cursor(&answer));
    let answer = node.poll(&query).await.json().await;
    assert_eq!((data(&answer), &answer["ended"]), (vec!["2", "3"], &true.into()));
    let query = format!("topic=t&wait=30&last_event_id={}", cursor(&answer));
    let answer = node.poll(&query).await.json().await;
    assert_eq!((data(&answer), &answer["ended"]), (vec![], &true.into()));
}

#[tokio::test]
async fn a_waiting_poll_loses_nothing_when_the_log_is_unreachable() {
    let remote = Remote::new();
    let at = remote.publish("t", "before").await;
    let node = Node::on(gateway::Config::default(), remote.memory.clone(), remote.clone()).await;
    let trouble = async {
        sleep(Duration::from_millis(50)).await;
        remote.goes_away(Mood::Fails);
        remote.memory.publish_numbers("t", 0..8).await;
    };
    let (mut poll, ()) = tokio::join!(node.poll("topic=t&wait=1"), trouble);
    let answer = poll.json().await;
    assert_eq!((data(&answer), cursor(&answer)), (vec![], &*at.to_string()));
    remote.comes_back().await;
    let answer = node.poll(&format!("topic=t&last_event_id={at}")).await.json().await;
    assert_eq!(data(&answer).len(), 8);
}

#[tokio::test]
async fn a_waiting_poll_counts_as_a_connection_until_its_client_leaves() {
    let node = Node::start().await;
    let poll = tokio::spawn({
        let address = node.address;
        async move {
            crate::client::Response::of(address, "GET /v1/events?topic=t&wait=60", &ACCEPT_JSON)
                .await
        }
    });
    node.until("tailwater_connections", 1.0).await;
    poll.abort();
    node.until("tailwater_connections", 0.0).await;
}

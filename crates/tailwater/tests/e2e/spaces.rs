//! Topics that share a log: subscribers by topic and by pattern, on real nodes.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use loadtest::client::http;
use loadtest::machine::{Redis, Tailwater, TailwaterBuilder};
use reqwest::{Client, Response};
use serde_json::Value;

use crate::access::Mint;
use crate::cli::{Cli, tailwater};
use crate::reader::Reader;
use crate::support::{gateway, ingest, metric, publish, serve, status, until};

/// The topics to which the numbers of a test go in turn.
const TOPICS: [&str; 5] = ["orders/1", "orders/2", "orders/1/lines", "orders/2", "news"];

/// A query, and whether it selects a topic.
type Selected = (&'static str, fn(&str) -> bool);

const QUERIES: [Selected; 6] = [
    ("topic=orders/1", |topic| topic == "orders/1"),
    ("topic=orders/*", |topic| topic == "orders/1" || topic == "orders/2"),
    ("topic=orders/**", |topic| topic.starts_with("orders/")),
    ("topic=orders/1&topic=orders/*/lines", |topic| topic.starts_with("orders/1")),
    ("topic=orders/1&topic=news", |topic| topic == "orders/1" || topic == "news"),
    ("topic=news", |topic| topic == "news"),
];

fn in_spaces(node: TailwaterBuilder) -> TailwaterBuilder {
    node.flag("--space", "orders/")
}

/// Publishes each number to the topic whose turn it is.
async fn publish_in_turn(to: &Tailwater, numbers: RangeInclusive<usize>) {
    for number in numbers {
        publish(to.addr(), TOPICS[number % TOPICS.len()], &number.to_string()).await;
    }
}

/// Reads as many events as a query selects of these numbers, and asserts that they are these.
async fn expect(reader: &mut Reader, (query, selects): Selected, numbers: RangeInclusive<usize>) {
    let wanted: Vec<_> = numbers.filter(|n| selects(TOPICS[n % TOPICS.len()])).collect();
    let mut told = BTreeMap::<String, Vec<usize>>::new();
    for _ in &wanted {
        let event = reader.event().await;
        let envelope: Value = serde_json::from_str(&event.data).unwrap();
        let number: usize = envelope["data"].as_str().unwrap().parse().unwrap();
        let topic = envelope["topic"].as_str().unwrap();
        assert_eq!(topic, TOPICS[number % TOPICS.len()], "{query}");
        let log = if topic.starts_with("orders/") { "orders/**" } else { topic };
        told.entry(log.to_owned()).or_default().push(number);
    }
    // The topics of a space come in the order in which they were published to, however many there are.
    assert!(told.values().all(|numbers| numbers.is_sorted()), "{query}: {told:?}");
    let mut all: Vec<_> = told.into_values().flatten().collect();
    all.sort_unstable();
    assert_eq!(all, wanted, "{query}");
    assert!(reader.gaps().is_empty(), "{query}: {:?}", reader.controls);
}

#[tokio::test]
async fn every_selection_of_a_space_goes_on_exactly_when_its_gateway_is_killed() {
    let redis = Redis::start().await.unwrap();
    let ingest = in_spaces(ingest(&redis)).start().await.unwrap();
    let mut gateways = Vec::new();
    for node in ["one", "two", "three"] {
        gateways.push(in_spaces(gateway(&redis, node)).start().await.unwrap());
    }
    let mut readers = Vec::new();
    for selected in QUERIES {
        let query = format!("{}&envelope=json", selected.0);
        readers.push((Reader::open(gateways[0].addr(), &query).await, query, selected));
    }
    publish_in_turn(&ingest, 1..=20).await;
    for (reader, _, selected) in &mut readers {
        expect(reader, *selected, 1..=20).await;
    }
    gateways[0].kill_nine().unwrap();
    // Nobody is there to hear of these.
    publish_in_turn(&ingest, 21..=40).await;
    for (index, (reader, query, selected)) in readers.iter_mut().enumerate() {
        let next = &gateways[1 + index % 2];
        *reader = Reader::resume(next.addr(), query, reader.last_event_id()).await;
        assert_eq!(reader.ready().outcome, "exact", "{query}");
        expect(reader, *selected, 21..=40).await;
    }
    publish_in_turn(&ingest, 41..=60).await;
    for (reader, _, selected) in &mut readers {
        expect(reader, *selected, 41..=60).await;
    }
    // The position of a space is good for any selection of it: the rest comes to whoever asks.
    let whole = QUERIES[2];
    publish_in_turn(&ingest, 61..=61).await;
    expect(&mut readers[2].0, whole, 61..=61).await;
    let after = readers[2].0.last_event_id().to_owned();
    publish_in_turn(&ingest, 62..=80).await;
    for selected in &QUERIES[..4] {
        let query = format!("{}&envelope=json", selected.0);
        let mut reader = Reader::resume(gateways[2].addr(), &query, &after).await;
        assert_eq!(reader.ready().outcome, "exact", "{query}");
        expect(&mut reader, *selected, 62..=80).await;
    }
}

fn client() -> Client {
    let _first = rustls::crypto::ring::default_provider().install_default();
    Client::new()
}

async fn get(node: &Tailwater, query: &str, headers: &[(&str, &str)]) -> Response {
    let url = format!("http://{}/v1/events?{query}", node.addr());
    let request =
        headers.iter().fold(client().get(url), |r, (name, value)| r.header(*name, *value));
    request.send().await.unwrap()
}

async fn json(response: Response) -> Value {
    serde_json::from_str(&response.text().await.unwrap()).unwrap()
}

const JSON: (&str, &str) = ("accept", "application/json");

#[tokio::test]
async fn a_token_covers_patterns_inside_its_own() {
    let (redis, mint) = (Redis::start().await.unwrap(), Mint::new("one"));
    let gateway = mint.close(in_spaces(gateway(&redis, "gateway"))).start().await.unwrap();
    let ingest = mint.close(in_spaces(ingest(&redis))).start().await.unwrap();
    let bearer = format!("Bearer {}", mint.token("orders/{sub}/**"));
    let token = ("authorization", &*bearer);
    let to = http::Client::new(ingest.addr())
        .post("/v1/events?topic=orders/ann/1/lines", &[token], "mine".to_owned())
        .await
        .unwrap();
    assert_eq!(to.status, 200, "{}", to.text());
    for covered in ["orders/ann/**", "orders/ann/*/lines", "orders/ann/1/*", "orders/ann/1/lines"] {
        let query = format!("topic={covered}&from=earliest");
        let answer = json(get(&gateway, &query, &[token, JSON]).await).await;
        assert_eq!(answer["events"][0]["data"], "mine", "{covered}: {answer}");
    }
    for wider in ["orders/**", "orders/*", "orders/*/1/lines", "orders/bob/**", "orders/bob/1"] {
        for accept in [JSON, ("accept", "text/event-stream")] {
            let answer = get(&gateway, &format!("topic={wider}"), &[token, accept]).await;
            assert_eq!(answer.status(), 403, "{wider}");
            let error = json(answer).await["error"].clone();
            assert_eq!(error["code"], "forbidden");
            assert!(error["message"].as_str().unwrap().contains(wider), "{error}");
        }
    }
}

#[tokio::test]
async fn a_long_poll_of_a_pattern_goes_on_at_another_gateway() {
    let redis = Redis::start().await.unwrap();
    let ingest = in_spaces(ingest(&redis)).start().await.unwrap();
    let one = in_spaces(gateway(&redis, "one")).start().await.unwrap();
    let two = in_spaces(gateway(&redis, "two")).start().await.unwrap();
    publish_in_turn(&ingest, 1..=20).await;
    let (mut cursor, mut told) = (String::new(), Vec::new());
    for node in [&one, &two, &one, &two] {
        let query = format!("topic=orders/*&from=earliest&limit=4&last_event_id={cursor}");
        let answer = json(get(node, &query, &[JSON]).await).await;
        let events = answer["events"].as_array().unwrap();
        told.extend(events.iter().map(|event| event["data"].as_str().unwrap().to_owned()));
        cursor = answer["cursor"].as_str().unwrap().to_owned();
    }
    let is_selected = |n: &usize| matches!(TOPICS[n % TOPICS.len()], "orders/1" | "orders/2");
    let wanted: Vec<_> = (1..=20).filter(is_selected).map(|n| n.to_string()).collect();
    assert_eq!(told, wanted);
    // One that waits is woken by what it selects.
    let query = format!("topic=orders/*/lines&wait=30&last_event_id={cursor}");
    let (answer, ()) = tokio::join!(get(&one, &query, &[JSON]), async {
        until("it waits", async || {
            let text = one.metrics().await.unwrap_or_default();
            metric(&text, "tailwater_connections") == Some(1.0)
        })
        .await;
        publish(ingest.addr(), "orders/7", "other").await;
        publish(ingest.addr(), "orders/7/lines", "mine").await;
    });
    let answer = json(answer).await;
    assert_eq!(answer["events"].as_array().unwrap().len(), 1, "{answer}");
    assert_eq!(answer["events"][0]["topic"], "orders/7/lines");
}

#[tokio::test]
async fn a_node_with_other_spaces_serves_nothing_and_says_why() {
    let redis = Redis::start().await.unwrap();
    let mut first = in_spaces(serve().redis(&redis)).node("first").start().await.unwrap();
    publish(first.addr(), "orders/1", "x").await;
    let other = gateway(&redis, "other").spawn().unwrap();
    let said = "the store has --space orders/, and this node has no space";
    until("it says so in its log", async || other.log().contains(said)).await;
    until("it answers", async || status(other.admin_addr(), "/livez").await == Some(200)).await;
    assert_eq!(status(other.admin_addr(), "/readyz").await, Some(503));
    let refused = get(&other, "topic=orders/1", &[JSON]).await;
    assert_eq!(refused.status(), 503, "{:?}", refused.text().await);
    let url = redis.url();
    tailwater(&["check", "--redis", &url]).await.failure(&[said]);

    // The cluster gets another space. The new node waits beside the old one, and takes its place.
    let spaces = async |more: &[&str]| {
        tailwater(&[&["spaces", "--redis", &url], more].concat()).await.success().stdout
    };
    assert_eq!(spaces(&[]).await, "orders/\n");
    let second = serve().redis(&redis).flag("--space", "users/,orders/").node("second");
    let second = second.spawn().unwrap();
    let waits = "the store has --space orders/, and this node has --space orders/ --space users/";
    until("the new one waits", async || second.log().contains(waits)).await;
    assert!(first.is_ready().await && !second.is_ready().await);
    assert_eq!(spaces(&["--set", "users/,orders/"]).await, "orders/\nusers/\n");
    until("the new one is ready", async || second.is_ready().await).await;
    until("the old one is not", async || !first.is_ready().await).await;
    let now = "the store has --space orders/ --space users/, and this node has --space orders/";
    until("it says so in its log", async || first.log().contains(now)).await;
    first.terminate().await.unwrap();
    publish(second.addr(), "users/ann", "y").await;
    let answer = json(get(&second, "topic=users/*&topic=orders/*&from=earliest", &[JSON]).await);
    let answer = answer.await;
    let data: Vec<_> = answer["events"].as_array().unwrap().iter().map(|e| &e["data"]).collect();
    assert_eq!(data, ["x", "y"]);
    tailwater(&["spaces", "--redis", &url, "--set", "a"]).await.failure(&["does not end with"]);
    assert_eq!(spaces(&["--clear"]).await, "no spaces\n");
}

#[tokio::test]
async fn an_operator_sees_a_space_as_one_log_and_erases_in_it() {
    let redis = Redis::start().await.unwrap();
    let node = in_spaces(serve().redis(&redis)).start().await.unwrap();
    publish(node.addr(), "orders/1", "a").await;
    let secret = publish(node.addr(), "orders/2", "secret").await;
    publish(node.addr(), "orders/1", "b").await;
    let url = redis.url();
    let list = tailwater(&["topics", "list", "--redis", &url]).await.success().stdout;
    let rows: Vec<_> = list.lines().map(str::trim).filter(|row| row.contains("orders/")).collect();
    assert!(
        rows.len() == 1 && rows[0].starts_with("3 ") && rows[0].ends_with("orders/**"),
        "{list}"
    );
    tailwater(&["topics", "delete", "--redis", &url, "orders/1"])
        .await
        .failure(&["topic orders/1 lies in a space, and cannot be deleted by itself"]);
    let erase = ["topics", "erase", "--redis", &url, "orders/2", &secret];
    assert!(tailwater(&erase).await.success().stdout.contains(&format!("erased {secret}")));
    let answer = json(get(&node, "topic=orders/*&from=earliest", &[JSON]).await).await;
    let data: Vec<_> = answer["events"].as_array().unwrap().iter().map(|e| &e["data"]).collect();
    assert_eq!(data, ["a", "b"], "{answer}");
    // Nobody can tell whether the pattern would have matched it.
    assert_eq!(answer["gaps"][0]["missed_at_most"], 1, "{answer}");
}

#[tokio::test]
async fn tail_follows_a_pattern_and_prints_the_topic_of_each_event() {
    let node = in_spaces(serve()).start().await.unwrap();
    let url = format!("http://{}", node.addr());
    publish_in_turn(&node, 1..=5).await;
    let tail = ["tail", "--url", &url, "--from", "earliest", "--quiet"];
    let print = async |more: &[&str]| {
        let outcome = tailwater(&[&tail[..], more].concat()).await.success();
        outcome.stdout.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    // 1, 3 and 5 are those of orders/2 and orders/1.
    let text = print(&["--count", "3", "orders/*"]).await;
    let ends = ["Z orders/2 1", "Z orders/2 3", "Z orders/1 5"];
    assert!(text.len() == 3 && text.iter().zip(ends).all(|(l, end)| l.ends_with(end)), "{text:?}");
    let json = print(&["--count", "4", "--format", "json", "orders/**"]).await;
    let topic = |line: &String| serde_json::from_str::<Value>(line).unwrap()["topic"].clone();
    let topics: Vec<_> = json.iter().map(topic).collect();
    assert_eq!(topics, ["orders/2", "orders/1/lines", "orders/2", "orders/1"]);
    // Several selectors, one of them outside the space, and a position that is saved.
    let state = tempfile::NamedTempFile::new().unwrap();
    let state = state.path().to_str().unwrap();
    let first = ["--state", state, "--count", "2", "--format", "data", "orders/*/lines", "news"];
    let mut data = print(&first).await;
    data.sort();
    assert_eq!(data, ["2", "4"]);
    publish_in_turn(&node, 6..=10).await;
    let mut data = print(&first).await;
    data.sort();
    assert_eq!(data, ["7", "9"], "after the position in the file");
}

#[tokio::test]
async fn tail_says_how_many_events_of_a_selection_may_be_missing() {
    let node = in_spaces(serve()).flag("--space-history-events", "2").start().await.unwrap();
    let url = format!("http://{}", node.addr());
    let first = publish(node.addr(), "orders/1", "first").await;
    for n in 0..5 {
        publish(node.addr(), "orders/2", &n.to_string()).await;
    }
    publish(node.addr(), "orders/1", "last").await;
    let args = ["tail", "--url", &url, "--after", &first, "--count", "1", "--format", "data"];
    let outcome = tailwater(&[&args[..], &["orders/1"]].concat()).await.success();
    assert_eq!(outcome.stdout, "last\n");
    let gap = "GAP in orders/1: at most 4 events are missing (trimmed)";
    assert!(outcome.stderr.contains(gap), "{}", outcome.stderr);
    let whole = tailwater(&[&args[..], &["orders/**"]].concat()).await.success();
    let gap = "GAP in orders/**: 4 events are missing (trimmed)";
    assert!(whole.stderr.contains(gap), "{}", whole.stderr);
    tailwater(&["tail", "--url", &url, "users/*"]).await.failure(&[
        "users/*",
        "lies in no space",
        "there are orders/",
    ]);
}

#[tokio::test]
async fn tail_follows_a_pattern_through_the_death_of_its_node() {
    let redis = Redis::start().await.unwrap();
    let ingest = in_spaces(ingest(&redis)).start().await.unwrap();
    let mut gateway = in_spaces(gateway(&redis, "gateway")).start().await.unwrap();
    let url = format!("http://{}", gateway.addr());
    let args = ["tail", "--url", &url, "--from", "earliest", "--format", "data", "orders/*"];
    let mut tail = Cli::start(&args);
    publish_in_turn(&ingest, 1..=5).await;
    for data in ["1", "3", "5"] {
        assert_eq!(tail.line().await, data);
    }
    gateway.kill_nine().unwrap();
    publish_in_turn(&ingest, 6..=10).await;
    gateway.restart().await.unwrap();
    for data in ["6", "8", "10"] {
        assert_eq!(tail.line().await, data);
    }
}

#[tokio::test]
async fn a_relay_refuses_a_space_that_has_its_topics() {
    let relay = ["relay", "--upstream", "http://127.0.0.1:1", "--space", "orders/,relay/"];
    tailwater(&relay).await.failure(&["--space has the topics relay/"]);
}

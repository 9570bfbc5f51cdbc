//! `tailwater publish --input sse`: copies of event streams, complete ones and others.

use loadtest::machine::Tailwater;
use serde_json::Value;
use tokio::process::Command;

use crate::cli::{Cli, Outcome, tailwater, tailwater_reading};
use crate::reader::Reader;
use crate::support::{TAILWATER, publish, serve};

/// A target, and the stream that is copied to a topic of its own with `--end`.
struct Copies {
    node: Tailwater,
    url: String,
}

const READY: &str =
    "event: tailwater.ready\ndata: {\"cursor\":\"7-1\",\"outcome\":\"live\"}\nid: 7-1\n\n";
const GAP: &str =
    "event: tailwater.gap\ndata: {\"topic\":\"t\",\"missed\":3,\"reason\":\"trimmed\"}\n\n";
const END: &str = "event: tailwater.end\ndata: {\"topic\":\"t\"}\n\n";
const LEFT: &str = "event: tailwater.reconnect\ndata: {\"reason\":\"drain\"}\nretry: 10\n\n";
const ONE: &str = "data: one\nid: 7-2\n\n";
const TWO: &str = "data: two\nid: 7-3\n\n";

impl Copies {
    async fn start() -> Self {
        let node = serve().start().await.unwrap();
        let url = format!("http://{}", node.addr());
        Self { node, url }
    }

    async fn copy(&self, topic: &str, stream: &[&str], more: &[&str]) -> Outcome {
        let args = ["publish", "--url", &self.url, "--topic", topic, "--input", "sse", "--end"];
        tailwater_reading(stream.concat(), &[&args[..], more].concat()).await
    }

    /// Returns the data of all events of a topic, and whether it has ended.
    async fn topic(&self, topic: &str) -> (Vec<String>, bool) {
        let path = format!("/v1/events?topic={topic}&from=earliest");
        let mut http = loadtest::client::http::Client::new(self.node.addr());
        let json = [("accept", "application/json")];
        let answer = http.request("GET".parse().unwrap(), &path, &json, "".into()).await.unwrap();
        let answer: Value = answer.json().unwrap();
        let data = |event: &Value| event["data"].as_str().unwrap().to_owned();
        let events = answer["events"].as_array().unwrap().iter().map(data).collect();
        (events, answer["ended"] == true)
    }
}

#[tokio::test]
async fn an_event_that_the_end_cuts_off_is_refused_and_the_topic_does_not_end() {
    let copies = Copies::start().await;
    let last = "data: {\"finish_reason\":\"stop\"}\n";
    let words = ["1 events were refused; the topic was not ended", "finish_reason", "1 refused"];
    copies.copy("sse", &["data: one\n\n", last], &[]).await.failure(&words);
    assert_eq!(copies.topic("sse").await, (vec!["one".to_owned()], false));
    // Ingest does the same with such a body.
    let ingest = loadtest::client::http::Client::new(copies.node.addr())
        .post(
            "/v1/events?topic=http&end=true",
            &[("content-type", "text/event-stream")],
            format!("data: one\n\n{last}"),
        )
        .await
        .unwrap();
    assert!(ingest.text().contains("bad_body"), "{}", ingest.text());
    assert_eq!(copies.topic("http").await, (vec!["one".to_owned()], false));

    let args = ["publish", "--url", &copies.url, "--topic", "lines", "-i", "ndjson", "--end"];
    let lines = "{\"data\":\"one\"}\n{\"data\":\"tw";
    let words = ["1 events were refused; the topic was not ended", "{\"data\":\"tw"];
    tailwater_reading(lines, &args).await.failure(&words);
    assert_eq!(copies.topic("lines").await, (vec!["one".to_owned()], false));
    // A whole line without its line end is an event, and the end of a topic needs no line end.
    tailwater_reading("{\"data\":\"two\"}", &args).await.success();
    let both = ["one", "two"].map(str::to_owned).to_vec();
    assert_eq!(copies.topic("lines").await, (both, true));
    let args = ["publish", "--url", &copies.url, "--topic", "sse", "--end"];
    tailwater(&args).await.success();
}

#[tokio::test]
async fn a_copy_ends_only_with_its_source() {
    let copies = Copies::start().await;
    let several = "event: tailwater.ready\ndata: {\"cursor\":\"2.AAAA\",\"outcome\":\"live\"}\n\n";
    let checkpoint = "event: tailwater.cursor\ndata: {\"cursor\":\"7-2\"}\nid: 7-2\n\n";
    let again =
        "event: tailwater.ready\ndata: {\"cursor\":\"7-2\",\"outcome\":\"exact\"}\nid: 7-2\n\n";
    let comment = ": tailwater.reconnect {\"reason\":\"drain\",\"retry\":10}\n";
    for (number, stream, fault) in [
        (1, &[READY, ONE, END][..], ""),
        (2, &[ONE], ""),
        (3, &[ONE, LEFT, again, END], ""),
        (4, &[ONE, LEFT, READY.replace("7-1", "7-2").as_str(), END], ""),
        (5, &[READY, ONE, LEFT], "closed the stream (drain); it goes on after the id 7-2"),
        (6, &[READY, ONE, comment], "closed the stream (drain)"),
        (7, &[READY, ONE], "the source broke off; it goes on after the id 7-2"),
        (8, &[READY, ONE, checkpoint], "the source broke off"),
        (9, &[several, ONE, END], "the source has several topics"),
        (10, &[ONE, LEFT, READY, END], "the source had 1 gaps"),
        (11, &[READY, GAP, ONE], "the source had 1 gaps; the source broke off"),
        (12, &[ONE, "id: 7-3\n"], "1 events were refused"),
        (13, &[ONE, "{\"error\":{\"code\":\"no_token\"}}"], "1 events were refused"),
    ] {
        let topic = number.to_string();
        let outcome = copies.copy(&topic, stream, &[]).await;
        match fault {
            "" => drop(outcome.success()),
            fault => drop(outcome.failure(&[fault, "; the topic was not ended"])),
        }
        assert_eq!(
            copies.topic(&topic).await,
            (vec!["one".to_owned()], fault.is_empty()),
            "{number}"
        );
    }
}

#[tokio::test]
async fn a_gap_of_the_source_is_reported_and_the_flag_says_what_follows() {
    let copies = Copies::start().await;
    let told = "GAP in t: 3 events are missing (trimmed)";
    let stream = [READY, ONE, GAP, TWO, END];
    let (one, both) = (vec!["one".to_owned()], ["one", "two"].map(str::to_owned).to_vec());
    let words = [told, "the source had 1 gaps; the topic was not ended"];
    copies.copy("fail", &stream, &[]).await.failure(&words);
    assert_eq!(copies.topic("fail").await, (both.clone(), false));
    let words = [told, "stopped at a gap of the source; the topic was not ended"];
    copies.copy("stop", &stream, &["--on-gap", "stop"]).await.failure(&words);
    assert_eq!(copies.topic("stop").await, (one, false));
    let outcome =
        copies.copy("accept", &stream, &["--on-gap", "accept", "--quiet"]).await.success();
    assert_eq!(outcome.stderr, format!("tailwater: {told}\n"));
    assert_eq!(copies.topic("accept").await, (both, true));
    // A gap is told as soon as it is there, although no event follows.
    let args = ["publish", "--url", &copies.url, "--topic", "now", "-i", "sse", "--on-gap", "stop"];
    let mut cli = Cli::start(&args);
    cli.write(format!(
        "{READY}: tailwater.gap {{\"topic\":\"u\",\"missed\":null,\"reason\":\"reset\"}}\n"
    ))
    .await;
    cli.exit().await.failure(&["GAP in u: an unknown number of events are missing (reset)"]);
}

#[tokio::test]
async fn the_copy_of_a_gateway_goes_on_after_a_drain_and_tells_of_a_gap() {
    let copies = Copies::start().await;
    let mut source = serve().flag("--history-events", "3").start().await.unwrap();
    let mut reader = Reader::open(copies.node.addr(), "topic=copy").await;
    let first = publish(source.addr(), "original", "0").await;
    let mirror = |at: std::net::SocketAddr, id: &str| {
        let mut shell = Command::new("sh");
        let script = "curl -sN -H \"Last-Event-ID: $3\" \"$0\" | \"$1\" publish --url \"$2\" --topic copy -i sse --end";
        let from = format!("http://{at}/v1/events?topic=original");
        shell.args(["-c", script, &from, TAILWATER, &copies.url, id]);
        Cli::start_command(shell)
    };
    let copy = mirror(source.addr(), &first);
    let last = publish(source.addr(), "original", "1").await;
    assert_eq!(reader.event().await.data, "1");
    source.terminate().await.unwrap();
    let words = ["closed the stream (drain)", &last, "the topic was not ended"];
    copy.exit().await.failure(&words);
    assert_eq!(copies.topic("copy").await, (vec!["1".to_owned()], false));

    // The history holds three of the six events.
    let source = serve().flag("--history-events", "3").start().await.unwrap();
    let first = publish(source.addr(), "original", "0").await;
    for n in 1..=5 {
        publish(source.addr(), "original", &n.to_string()).await;
    }
    publish(source.addr(), "original&end=true", "the end").await;
    let outcome = mirror(source.addr(), &first).exit().await;
    outcome
        .failure(&["GAP in original: 3 events are missing (trimmed)", "the topic was not ended"]);
    assert_eq!(reader.data(3).await, ["4", "5", "the end"]);
    assert!(!copies.topic("copy").await.1);
}

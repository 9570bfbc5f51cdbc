//! `tailwater publish`: its input formats, its receipts, and its retries.

use std::path::Path;
use std::time::Duration;

use loadtest::machine::{Port, Tailwater};
use serde_json::Value;
use tokio::process::Command;
use tokio::time::sleep;

use crate::cli::{Cli, Outcome, tailwater, tailwater_reading};
use crate::reader::Reader;
use crate::support::{TAILWATER, serve, until};

async fn node() -> (Tailwater, String) {
    let node = serve().start().await.unwrap();
    let url = format!("http://{}", node.addr());
    (node, url)
}

fn receipts(outcome: &Outcome) -> Vec<Value> {
    outcome.stdout.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

#[tokio::test]
async fn each_argument_becomes_an_event() {
    let (node, url) = node().await;
    let mut reader = Reader::open(node.addr(), "topic=t").await;
    let args = ["publish", "--url", &url, "--topic", "t", "--type", "greeting", "--receipts"];
    let outcome = tailwater(&[&args[..], &["hello", "", "two\nlines"]].concat()).await.success();
    for expected in ["hello", "", "two\nlines"] {
        let event = reader.event().await;
        assert_eq!((event.data.as_str(), event.event_type()), (expected, "greeting"));
    }
    let receipts = receipts(&outcome);
    assert_eq!(receipts.len(), 3);
    assert_eq!(receipts[2]["id"], reader.last_event_id());
    assert!(outcome.stderr.contains("3 events acknowledged"), "{}", outcome.stderr);
}

#[tokio::test]
async fn each_line_becomes_an_event_even_a_last_one_without_a_line_end() {
    let (node, url) = node().await;
    let mut reader = Reader::open(node.addr(), "topic=t").await;
    let args = ["publish", "--url", &url, "--topic", "t", "--quiet"];
    let outcome = tailwater_reading("one\r\n\ntwo \u{fc}\nthree", &args).await.success();
    assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("", ""));
    for expected in ["one", "", "two \u{fc}", "three"] {
        assert_eq!(reader.event().await.data, expected);
    }
}

#[tokio::test]
async fn lines_that_are_not_utf8_are_repaired_and_reported() {
    let (node, url) = node().await;
    let mut reader = Reader::open(node.addr(), "topic=t").await;
    let args = ["publish", "--url", &url, "--topic", "t"];
    let outcome = tailwater_reading(b"caf\xe9\ngood\n", &args).await.success();
    assert_eq!(reader.data(2).await, ["caf\u{fffd}", "good"]);
    assert!(outcome.stderr.contains("UTF-8"), "{}", outcome.stderr);
}

#[tokio::test]
async fn a_line_is_published_at_once_even_if_no_other_follows() {
    let (node, url) = node().await;
    let mut reader = Reader::open(node.addr(), "topic=t").await;
    let mut cli = Cli::start(&["publish", "--url", &url, "--topic", "t", "--receipts"]);
    for n in 1..=3 {
        cli.write(format!("{n}\n")).await;
        let receipt: Value = serde_json::from_str(&cli.line().await).unwrap();
        assert_eq!(receipt["topic"], "t");
        reader.numbers(n, n).await;
    }
    cli.write("half a ").await;
    cli.write("line\n").await;
    assert_eq!(reader.event().await.data, "half a line");
    cli.finish().await.success();
}

#[tokio::test]
async fn thousands_of_lines_arrive_in_order() {
    // A history that holds all events, because the publisher does not wait for the reader.
    let node = serve().flag("--history-events", "5000").start().await.unwrap();
    let url = format!("http://{}", node.addr());
    let mut reader = Reader::open(node.addr(), "topic=t").await;
    let lines: String = (1..=5000).map(|n| format!("{n}\n")).collect();
    let args = ["publish", "--url", &url, "--topic", "t"];
    let outcome = tailwater_reading(lines, &args).await.success();
    assert!(outcome.stderr.contains("5000 events acknowledged"), "{}", outcome.stderr);
    reader.numbers(1, 5000).await;
}

#[tokio::test]
async fn lines_of_json_name_topic_type_and_key() {
    let (node, url) = node().await;
    let mut reader = Reader::open(node.addr(), "topic=a&envelope=json").await;
    let mut other = Reader::open(node.addr(), "topic=b").await;
    let lines = [
        r#"{"topic":"a","type":"x","data":{"n":1},"key":"k"}"#,
        r#"{"key":"k","data":{"n":1},"type":"x","topic":"a"}"#,
        "",
        r#"{"data":"two"}"#,
    ];
    let args = ["publish", "--url", &url, "-i", "ndjson", "--topic", "b", "--receipts"];
    let outcome = tailwater_reading(lines.join("\n"), &args).await.success();
    let event: Value = serde_json::from_str(&reader.event().await.data).unwrap();
    assert_eq!((&event["type"], &event["data"]), (&"x".into(), &r#"{"n":1}"#.into()));
    assert_eq!(other.event().await.data, "two");
    let duplicates: Vec<_> = receipts(&outcome).iter().map(|r| r["duplicate"].clone()).collect();
    assert_eq!(duplicates, [false, true, false]);
    assert!(outcome.stderr.contains("1 duplicates"), "{}", outcome.stderr);
}

#[tokio::test]
async fn a_malformed_line_is_refused_and_the_rest_is_published() {
    let (node, url) = node().await;
    let mut reader = Reader::open(node.addr(), "topic=t").await;
    let lines = "{\"data\":\"one\"}\nnonsense\n{\"data\":\"two\",\"topic\":\"no topic\"}\n[1]\n{\"data\":\"three\"}\n";
    let args = ["publish", "--url", &url, "-i", "ndjson", "--topic", "t"];
    let outcome = tailwater_reading(lines, &args).await;
    let outcome = outcome.failure(&["3 events were refused", "nonsense", "no topic"]);
    assert!(outcome.stderr.contains("2 events acknowledged"), "{}", outcome.stderr);
    assert_eq!(reader.data(2).await, ["one", "three"]);
}

#[tokio::test]
async fn an_event_stream_is_published_while_it_arrives() {
    let (node, url) = node().await;
    let mut reader = Reader::open(node.addr(), "topic=t").await;
    let mut cli = Cli::start(&["publish", "--url", &url, "--topic", "t", "--input", "sse"]);
    cli.write(":hello\n\nid: 7\nretry: 10\ndata: one\n\n").await;
    assert_eq!(reader.event().await.data, "one");
    cli.write("event: x\ndata: a\ndata: b\n\ndata: cut o").await;
    let event = reader.event().await;
    assert_eq!((event.event_type(), event.data.as_str()), ("x", "a\nb"));
    let outcome = cli.finish().await.failure(&["1 events were refused", "cut o"]);
    assert!(outcome.stderr.contains("2 events acknowledged"), "{}", outcome.stderr);
}

#[tokio::test]
async fn a_byte_order_mark_is_no_part_of_the_input() {
    let (node, url) = node().await;
    let mut reader = Reader::open(node.addr(), "topic=t").await;
    for (input, text) in [
        ("lines", "\u{feff}one\n\u{feff}two\n"),
        ("ndjson", "\u{feff}{\"data\":\"one\"}\n{\"data\":\"\u{feff}two\"}\n"),
        ("sse", "\u{feff}data: one\n\ndata: \u{feff}two\n\n"),
    ] {
        let args = ["publish", "--url", &url, "--topic", "t", "--input", input];
        tailwater_reading(text, &args).await.success();
        assert_eq!(reader.data(2).await, ["one", "\u{feff}two"], "{input}");
    }
}

#[tokio::test]
async fn a_gateways_own_events_are_not_published_again() {
    let (source, _) = node().await;
    let (target, url) = node().await;
    let mut reader = Reader::open(target.addr(), "topic=copy").await;
    let from = format!("http://{}/v1/events?topic=original", source.addr());
    let mut shell = Command::new("sh");
    let script = "curl -sN \"$0\" | \"$1\" publish --url \"$2\" --topic copy --input sse";
    shell.args(["-c", script, &from, TAILWATER, &url]);
    let mirror = Cli::start_command(shell);
    // Published until the mirror has its first event, because a mirror starts at the tail.
    let mut first = None;
    let addr = source.addr();
    let publishing = tokio::spawn(async move {
        for n in 1.. {
            crate::support::publish(addr, "original", &n.to_string()).await;
            sleep(Duration::from_millis(50)).await;
        }
    });
    for _ in 0..5 {
        let event = reader.event().await;
        let n: u32 = event.data.parse().unwrap();
        assert!(first.is_none_or(|last| n == last + 1), "{n} after {first:?}");
        first = Some(n);
    }
    publishing.abort();
    crate::support::publish(source.addr(), "original&end=true", "the end").await;
    let outcome = mirror.finish().await.success();
    assert!(outcome.stderr.contains("(0 duplicates, 0 refused)"), "{}", outcome.stderr);
}

#[tokio::test]
async fn the_topic_can_be_ended_after_the_last_event() {
    let (node, url) = node().await;
    let mut reader = Reader::open(node.addr(), "topic=t").await;
    let args = ["publish", "--url", &url, "--topic", "t", "--end", "--receipts"];
    tailwater_reading("one\ntwo\n", &args).await.success();
    assert_eq!(reader.data(2).await, ["one", "two"]);
    reader.ended().await;
    // A second end changes nothing; a further event is refused.
    tailwater(&args).await.success();
    let late = ["publish", "--url", &url, "--topic", "t", "late"];
    tailwater(&late).await.failure(&["1 events were refused", "ended"]);
}

#[tokio::test]
async fn refused_events_are_reported_and_give_exit_code_1() {
    let node = serve().flag("--event-bytes-max", "1KiB").start().await.unwrap();
    let url = format!("http://{}", node.addr());
    let large = "x".repeat(2000);
    let args = ["publish", "--url", &url, "--topic", "t", "small", &large, "small too"];
    let outcome = tailwater(&args).await.failure(&["1 events were refused", "2000", "1024"]);
    assert!(outcome.stderr.contains("2 events acknowledged"), "{}", outcome.stderr);
    tailwater(&["publish", "--url", &url, "x"]).await.failure(&["--topic"]);
}

#[tokio::test]
async fn an_unreachable_server_is_named_after_the_time_to_retry() {
    let port = Port::reserve().unwrap();
    let url = format!("http://{}", port.addr());
    let args = ["publish", "--url", &url, "--topic", "t", "--retry-for", "1s", "x"];
    let words = ["gave up after 1s", "refused", &port.addr().to_string()];
    tailwater(&args).await.failure(&words);
    // A request that can never succeed is not retried.
    let node = serve().start().await.unwrap();
    let url = format!("http://{}", node.admin_addr());
    let args = ["publish", "--url", &url, "--topic", "t", "--retry-for", "1h", "x"];
    tailwater(&args).await.failure(&[&url, "404"]);
    for bad in ["nonsense", "ftp://example.com", "http://"] {
        let args = ["publish", "--url", bad, "--topic", "t", "--retry-for", "1h", "x"];
        tailwater(&args).await.failure(&["--url", bad]);
    }
}

#[tokio::test]
async fn publish_waits_for_a_restart_of_ingest_and_doubles_nothing() {
    let redis = loadtest::machine::Redis::start().await.unwrap();
    let mut node = serve().redis(&redis).start().await.unwrap();
    let url = format!("http://{}", node.addr());
    let mut reader = Reader::open(node.addr(), "topic=t").await;
    let mut cli = Cli::start(&["publish", "--url", &url, "--topic", "t"]);
    for n in 1..=300 {
        cli.write(format!("{n}\n")).await;
        if n == 100 {
            reader.numbers(1, 50).await;
            node.kill_nine().unwrap();
        }
        if n == 200 {
            node.restart().await.unwrap();
        }
        sleep(Duration::from_millis(5)).await;
    }
    let outcome = cli.finish().await.success();
    assert!(outcome.stderr.contains("300 events acknowledged"), "{}", outcome.stderr);
    reader.numbers(51, 300).await;
}

#[tokio::test]
async fn publish_goes_on_when_the_reader_of_its_receipts_leaves() {
    let (node, url) = node().await;
    let mut shell = Command::new("sh");
    let script = "seq 1 2000 | \"$0\" publish --url \"$1\" --topic t --receipts | head -1";
    shell.args(["-c", script, TAILWATER, &url]);
    let outcome = Cli::start_command(shell).finish().await.success();
    assert!(!outcome.stderr.contains("panicked"), "{}", outcome.stderr);
    assert_eq!(outcome.stdout.lines().count(), 1);
    assert!(outcome.stderr.contains("2000 events acknowledged"), "{}", outcome.stderr);
    let topic = loadtest::client::http::get(node.addr(), "/v1/topics/t").await.unwrap();
    let head = topic.json::<Value>().unwrap()["head"].clone();
    assert_eq!(crate::support::number(head.as_str().unwrap()), 2000);
}

#[tokio::test]
async fn the_example_publishes_this_machines_statistics() {
    let (node, url) = node().await;
    let topics = ["machine/cpu", "machine/memory", "machine/network", "machine/tasks"];
    let mut readers = Vec::new();
    for topic in topics {
        readers.push(Reader::open(node.addr(), &format!("topic={topic}")).await);
    }
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/machine.sh");
    let mut shell = Command::new("sh");
    let script = "\"$0\" | \"$1\" publish --url \"$2\" --input ndjson";
    shell.env("SECONDS_BETWEEN", "0.2").arg("-c").arg(script).arg(example).args([TAILWATER, &url]);
    // The pipeline is a process group of its own, so the test can kill all of it.
    let pipeline = shell.process_group(0).kill_on_drop(true).spawn().unwrap();
    let group = i32::try_from(pipeline.id().unwrap()).unwrap();
    for reader in &mut readers {
        for _ in 0..2 {
            let event = reader.event().await;
            assert_eq!(event.event_type(), "sample");
            let values: Value = serde_json::from_str(&event.data).expect("JSON");
            let values = values.as_object().expect("an object");
            assert!(values.len() >= 2 && values.values().all(Value::is_number), "{values:?}");
        }
    }
    let killed = nix::sys::signal::killpg(
        nix::unistd::Pid::from_raw(group),
        nix::sys::signal::Signal::SIGKILL,
    );
    killed.unwrap();
    drop(pipeline);
    until("the node still serves", async || node.is_ready().await).await;
}

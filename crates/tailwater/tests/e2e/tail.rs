//! `tailwater tail`: its output formats, its state file, and its end.

use loadtest::machine::{Redis, Tailwater};
use nix::sys::signal::Signal;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::cli::{Cli, tailwater};
use crate::support::{PATIENCE, gateway, ingest, publish, publish_numbers, serve, until};

async fn node() -> (Tailwater, String) {
    let node = serve().start().await.unwrap();
    let url = format!("http://{}", node.addr());
    (node, url)
}

/// Waits until as many subscriptions without a cursor have opened since the node started. An open subscription
/// gets every event that is published from then on.
async fn until_subscribed(node: &Tailwater, count: f64) {
    until("the subscriptions are open", async || {
        let text = node.metrics().await.unwrap_or_default();
        let opened = "tailwater_connections_opened_total{resume=\"none\"}";
        crate::support::metric(&text, opened).is_some_and(|opened| opened >= count)
    })
    .await;
}

async fn until_connections(node: &Tailwater, count: f64) {
    until("the connections are open", async || {
        let text = node.metrics().await.unwrap_or_default();
        crate::support::metric(&text, "tailwater_connections") == Some(count)
    })
    .await;
}

#[tokio::test]
async fn tail_prints_text_json_or_data() {
    let (node, url) = node().await;
    publish(node.addr(), "a&type=x", "one").await;
    let id = publish(node.addr(), "b", "two").await;
    let base = ["tail", "--url", &url, "--from", "earliest", "--count", "2", "--quiet", "a", "b"];
    let print = async |format: &str| {
        let outcome = tailwater(&[&base[..], &["--format", format]].concat()).await.success();
        assert_eq!(outcome.stderr, "");
        let mut lines: Vec<_> = outcome.stdout.lines().map(str::to_owned).collect();
        lines.sort_by_key(|line| line.contains("two"));
        lines
    };
    let text = print("text").await;
    assert!(text[0].ends_with("Z a x one") && text[1].ends_with("Z b two"), "{text:?}");
    assert_eq!(print("data").await, ["one", "two"]);
    let json = print("json").await;
    let event: Value = serde_json::from_str(&json[1]).unwrap();
    assert_eq!((&event["topic"], &event["data"]), (&"b".into(), &"two".into()));
    assert_eq!(event["id"], id.as_str());
}

#[tokio::test]
async fn tail_says_on_standard_error_that_a_publisher_broke_off() {
    let (node, url) = node().await;
    let tail = Cli::start(&["tail", "--url", &url, "--format", "data", "--count", "2", "t"]);
    until_subscribed(&node, 1.0).await;
    let mut publisher = TcpStream::connect(node.addr()).await.unwrap();
    let head = format!(
        "POST /v1/events?topic=t HTTP/1.1\r\nhost: {}\r\ncontent-type: text/event-stream\r\n\
         transfer-encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n",
        node.addr()
    );
    publisher.write_all(head.as_bytes()).await.unwrap();
    until("the event is stored", async || {
        crate::support::metric(
            &node.metrics().await.unwrap_or_default(),
            "tailwater_events_published_total{outcome=\"stored\"}",
        ) == Some(1.0)
    })
    .await;
    drop(publisher);
    until("the break is stored", async || {
        crate::support::metric(
            &node.metrics().await.unwrap_or_default(),
            "tailwater_publish_breaks_total{outcome=\"stored\"}",
        ) == Some(1.0)
    })
    .await;
    publish(node.addr(), "t", "2").await;
    let outcome = tail.finish().await.success();
    assert_eq!(outcome.stdout, "1\n2\n");
    let told = "the publisher of t broke off (disconnected)";
    assert!(outcome.stderr.contains(told), "{}", outcome.stderr);
}

/// Sets the clipboard and the title, clears the screen, and begins a line that looks like another event.
const HOSTILE: &str = "\u{1b}]52;c;ZXZpbA==\u{7}\u{1b}]0;root\u{1b}\\\u{1b}[2J\u{9b}H\r \n\
                       2026-01-31T12:00:00.000Z bank paid";

#[tokio::test]
async fn a_publisher_cannot_command_the_terminal_or_forge_a_line() {
    let (node, url) = node().await;
    publish(node.addr(), "t&type=%E2%80%AEtxt.exe", HOSTILE).await;
    let args = ["tail", "--url", &url, "--from", "earliest", "--count", "1", "--quiet", "t"];
    let outcome = tailwater(&args).await.success();
    let lines: Vec<_> = outcome.stdout.lines().collect();
    let shown = "t \\u{202e}txt.exe \\x1b]52;c;ZXZpbA==\\x07\\x1b]0;root\\x1b\\\\x1b[2J\\x9bH\\r \\n\
                 2026-01-31T12:00:00.000Z bank paid";
    assert!(lines.len() == 1 && lines[0].ends_with(shown), "{lines:?}");
    // The data alone is for programs, which need every byte.
    let raw = tailwater(&[&args[..], &["--format", "data"]].concat()).await.success();
    assert_eq!(raw.stdout, format!("{HOSTILE}\n"));
    let json = tailwater(&[&args[..], &["--format", "json"]].concat()).await.success();
    assert_eq!(json.stdout.lines().count(), 1);
    assert!(!json.stdout.contains('\u{1b}'), "{}", json.stdout);
}

/// Answers each connection once with the same bytes. Returns the URL.
async fn server_that_answers(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            assert!(stream.read(&mut request).await.unwrap() > 0);
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    url
}

#[tokio::test]
async fn a_server_cannot_command_the_terminal() {
    let url = server_that_answers(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n\
         event: tailwater.ready\ndata: {\"node\":\"\\u001b[2Jnode\",\"outcome\":\"\\u009bx\"}\n\n\
         event: tailwater.gap\ndata: {\"topic\":\"t\\nnone\",\"missed\":1,\"reason\":\"\\u001b[8m\"}\n\n\
         id: \u{1b}]0;x\u{7}\ndata: not \u{1b}[2J JSON\n\n",
    )
    .await;
    let outcome = tailwater(&["tail", "--url", &url, "--count", "1", "t"]).await.success();
    assert_eq!(outcome.stdout, "not \\x1b[2J JSON\n");
    for shown in [
        "connected to \\x1b[2Jnode: \\x9bx\n",
        "GAP in t\\nnone: 1 events are missing (\\x1b[8m)\n",
        "resume with --after \\x1b]0;x\\x07\n",
    ] {
        assert!(outcome.stderr.contains(shown), "{shown:?} is not in {:?}", outcome.stderr);
    }
    assert!(!outcome.stderr.contains('\u{1b}'), "{:?}", outcome.stderr);

    let refusal = "HTTP/1.1 403 Forbidden\r\ncontent-length: 12\r\nconnection: close\r\n\r\n\u{1b}[2J\nforged\n";
    let url = server_that_answers(refusal).await;
    for args in [["tail", "--url", &url, "t"], ["publish", "--url", &url, "--topic=t"]] {
        let args = [&args[..], &["x"]].concat();
        let outcome = tailwater(&args).await;
        outcome.failure(&["403", "\\x1b[2J\\nforged"]);
    }
}

#[tokio::test]
async fn tail_starts_where_its_flags_say_and_stops_after_a_count() {
    let (node, url) = node().await;
    let ids = publish_numbers(node.addr(), "t", 1..=20, 0).await;
    let base = ["tail", "--url", &url, "--format", "data", "t"];
    let tail = async |args: &[&str]| {
        let outcome = tailwater(&[&base[..], args].concat()).await.success();
        outcome.stdout.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(tail(&["--from", "-5", "--count", "3"]).await, ["16", "17", "18"]);
    assert_eq!(tail(&["--from=-2", "-c", "2"]).await, ["19", "20"]);
    assert_eq!(tail(&["--from", "earliest", "-c", "1"]).await, ["1"]);
    assert_eq!(tail(&["--from", "2020-01-01T00:00:00Z", "-c", "2"]).await, ["1", "2"]);
    assert_eq!(tail(&["--after", &ids[9], "-c", "2"]).await, ["11", "12"]);
    publish(node.addr(), "t&type=rare", "21").await;
    assert_eq!(tail(&["--from", "earliest", "--types", "rare", "-c", "1"]).await, ["21"]);
    let both = tailwater(&["tail", "--from", "-1", "--after", &ids[0], "t"]).await;
    assert_eq!(both.code, Some(2), "{both:?}");
    let bad = tailwater(&["tail", "--url", &url, "--from", "yesterday", "t"]).await;
    bad.failure(&["400", "yesterday"]);
}

#[tokio::test]
async fn tail_ends_when_the_topic_ends() {
    let (node, url) = node().await;
    let mut tail = Cli::start(&["tail", "--url", &url, "--format", "data", "t"]);
    until_subscribed(&node, 1.0).await;
    publish(node.addr(), "t", "one").await;
    assert_eq!(tail.line().await, "one");
    publish(node.addr(), "t&end=true", "two").await;
    assert_eq!(tail.line().await, "two");
    let outcome = tail.finish().await.success();
    assert!(outcome.stderr.contains("t has ended"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("2 events, 0 gaps"), "{}", outcome.stderr);
}

#[tokio::test]
async fn a_state_file_resumes_the_next_run_without_loss_or_duplicates() {
    let (node, url) = node().await;
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("place.txt");
    let state = state.to_str().unwrap();
    let base =
        ["tail", "--url", &url, "--format", "data", "--from", "earliest", "--state", state, "t"];
    publish_numbers(node.addr(), "t", 1..=20, 0).await;
    let mut seen = Vec::new();
    for count in ["7", "1", "6"] {
        let outcome = tailwater(&[&base[..], &["--count", count]].concat()).await.success();
        seen.extend(outcome.stdout.split_whitespace().map(str::to_owned));
    }
    // This run ends by a signal, not after a count.
    let mut tail = Cli::start(&base);
    for _ in 0..6 {
        seen.push(tail.line().await.trim().to_owned());
    }
    tail.signal(Signal::SIGINT);
    let outcome = tail.finish().await.success();
    let kept = std::fs::read_to_string(state).unwrap();
    assert!(outcome.stderr.contains(&format!("--after {}", kept.trim())), "{}", outcome.stderr);
    publish_numbers(node.addr(), "t", 21..=22, 0).await;
    let outcome = tailwater(&[&base[..], &["--count", "2"]].concat()).await.success();
    seen.extend(outcome.stdout.split_whitespace().map(str::to_owned));
    let expected: Vec<_> = (1..=22).map(|n| n.to_string()).collect();
    assert_eq!(seen, expected);
    assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 1, "nothing is left beside it");
    let args = ["tail", "--url", &url, "--from", "-1", "--state", "/no/such/place", "t"];
    tailwater(&args).await.failure(&["--state /no/such/place"]);
}

#[tokio::test]
async fn tail_reports_gaps() {
    let node = serve().flag("--history-events", "10").start().await.unwrap();
    let url = format!("http://{}", node.addr());
    let ids = publish_numbers(node.addr(), "t", 1..=100, 0).await;
    let args = ["tail", "--url", &url, "--quiet", "--after", &ids[0], "--count", "1", "t"];
    let outcome = tailwater(&args).await.success();
    let missed: u32 = outcome.stdout.split_whitespace().last().unwrap().parse().unwrap();
    let told = format!("GAP in t: {} events are missing (trimmed)", missed - 2);
    assert!(outcome.stderr.contains(&told), "{told:?} is not in {:?}", outcome.stderr);
}

#[tokio::test]
async fn tail_survives_a_restart_of_its_gateway() {
    let redis = Redis::start().await.unwrap();
    let ingest = ingest(&redis).start().await.unwrap();
    let mut gateway = gateway(&redis, "gateway").start().await.unwrap();
    let url = format!("http://{}", gateway.addr());
    let mut tail = Cli::start(&["tail", "--url", &url, "--format", "data", "--count", "30", "t"]);
    until_subscribed(&gateway, 1.0).await;
    publish_numbers(ingest.addr(), "t", 1..=10, 0).await;
    let mut seen = vec![tail.line().await];
    gateway.kill_nine().unwrap();
    publish_numbers(ingest.addr(), "t", 11..=20, 0).await;
    gateway.restart().await.unwrap();
    publish_numbers(ingest.addr(), "t", 21..=30, 0).await;
    let outcome = tail.finish().await.success();
    seen.extend(outcome.stdout.lines().map(str::to_owned));
    let numbers: Vec<u32> = seen.iter().map(|line| line.trim().parse().unwrap()).collect();
    assert_eq!(numbers, (1..=30).collect::<Vec<_>>());
    assert!(outcome.stderr.contains("gateway: exact"), "{}", outcome.stderr);
}

#[tokio::test]
async fn tail_waits_for_a_server_that_has_not_started() {
    let redis = Redis::start().await.unwrap();
    let mut node = serve().redis(&redis).start().await.unwrap();
    publish(node.addr(), "t", "one").await;
    node.kill_nine().unwrap();
    let url = format!("http://{}", node.addr());
    let args = ["tail", "--url", &url, "--format", "data", "--from", "earliest", "-c", "1", "t"];
    let tail = Cli::start(&args);
    node.restart().await.unwrap();
    let outcome = tail.finish().await.success();
    assert_eq!(outcome.stdout, "one\n");
}

#[tokio::test]
async fn tail_stops_when_its_output_pipe_is_closed() {
    let (node, url) = node().await;
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("place");
    let args = ["tail", "--url", &url, "--format", "data", "--state", state.to_str().unwrap(), "t"];
    let mut tail = Cli::start(&args);
    until_subscribed(&node, 1.0).await;
    let id = publish(node.addr(), "t", "one").await;
    assert_eq!(tail.line().await, "one");
    until("the position is saved", async || {
        std::fs::read_to_string(&state).is_ok_and(|kept| kept.trim() == id)
    })
    .await;
    let (mut child, stderr) = tail.hang_up();
    publish(node.addr(), "t", "two").await;
    let status = timeout(PATIENCE, child.wait()).await.expect("tail ends").unwrap();
    assert_eq!(status.code(), Some(0));
    assert!(!stderr.await.unwrap().contains("panicked"));
    // The state file is not past the lines that the reader of the pipe did not take.
    assert_eq!(std::fs::read_to_string(&state).unwrap().trim(), id);
}

#[tokio::test]
async fn tail_prints_its_cursor_when_it_is_told_to_stop() {
    let (node, url) = node().await;
    for (signal, count) in [(Signal::SIGINT, 1.0), (Signal::SIGTERM, 2.0)] {
        let mut tail = Cli::start(&["tail", "--url", &url, "--format", "data", "t"]);
        until_subscribed(&node, count).await;
        let id = publish(node.addr(), "t", "one").await;
        assert_eq!(tail.line().await, "one");
        tail.signal(signal);
        let outcome = tail.finish().await.success();
        assert!(outcome.stderr.contains(&format!("--after {id}")), "{}", outcome.stderr);
        until_connections(&node, 0.0).await;
    }
}

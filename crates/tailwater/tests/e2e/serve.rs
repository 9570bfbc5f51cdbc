//! `tailwater serve` as the README shows it, and the features of every node.

use std::process::Stdio;

use loadtest::client::http;
use loadtest::client::sse::Connection;
use serde_json::Value;
use tokio::process::Command;

use crate::cli::Cli;
use crate::reader::Reader;
use crate::support::{metric, publish, publish_numbers, serve, until};

/// Starts `curl` with `args`, without its configuration file, buffering or progress output.
fn curl(args: &[&str]) -> Cli {
    let mut command = Command::new("curl");
    command.args(["-q", "-sS", "-N", "--noproxy", "*"]).args(args).stdin(Stdio::null());
    Cli::start_command(command)
}

async fn lines(cli: &mut Cli, count: usize) -> Vec<String> {
    let mut lines = Vec::new();
    while lines.len() < count {
        lines.push(cli.line().await);
    }
    lines
}

#[tokio::test]
async fn the_two_curls_of_the_readme_show_an_event_framed_as_documented() {
    let node = serve().start().await.unwrap();
    let url = format!("http://{}/v1/events?topic=demo", node.addr());
    let mut subscriber = curl(&["-i", &url]);
    let head = lines(&mut subscriber, 1).await.remove(0);
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let mut headers = Vec::new();
    loop {
        let line = subscriber.line().await;
        match line.trim_end() {
            "" => break,
            header => headers.push(header.to_ascii_lowercase()),
        }
    }
    for expected in [
        "content-type: text/event-stream",
        "cache-control: no-cache, no-transform",
        "x-accel-buffering: no",
    ] {
        assert!(headers.iter().any(|header| header == expected), "{expected}: {headers:?}");
    }

    let ready = lines(&mut subscriber, 6).await;
    assert_eq!((ready[0].as_str(), ready[1].as_str()), (":", "event: tailwater.ready"));
    let data: Value = serde_json::from_str(ready[2].strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!((&data["outcome"], &data["node"]), (&"live".into(), &"serve".into()));
    let retry: u64 = ready[3].strip_prefix("retry: ").unwrap().parse().unwrap();
    assert!((500..=1000).contains(&retry), "{retry}");
    assert_eq!(ready[4], format!("id: {}", data["cursor"].as_str().unwrap()));
    assert_eq!(ready[5], "");

    let receipt = curl(&["-d", "hello", &url]).finish().await.success().stdout;
    let receipt: Value = serde_json::from_str(&receipt).unwrap();
    let id = receipt["id"].as_str().unwrap();
    assert_eq!((&receipt["topic"], &receipt["duplicate"]), (&"demo".into(), &false.into()));
    assert_eq!(lines(&mut subscriber, 3).await, ["data: hello", &format!("id: {id}"), ""]);

    curl(&["--data-binary", "a\r\nb\rc\n", &format!("{url}&type=letters")])
        .finish()
        .await
        .success();
    let framed = lines(&mut subscriber, 5).await;
    assert_eq!(framed[..5], ["event: letters", "data: a", "data: b", "data: c", "data: "]);
}

#[tokio::test]
async fn http_2_by_prior_knowledge_carries_streams_and_receipts() {
    let node = serve().start().await.unwrap();
    let url = format!("http://{}/v1/events?topic=demo", node.addr());
    let mut subscriber = curl(&["--http2-prior-knowledge", "-i", &url]);
    assert!(subscriber.line().await.starts_with("HTTP/2 200"));
    while !subscriber.line().await.starts_with("id: ") {}
    let post = ["--http2-prior-knowledge", "-w", " %{http_version}", "-d", "hello", &url];
    let answer = curl(&post).finish().await.success().stdout;
    assert!(answer.trim_end().ends_with("} 2"), "{answer}");
    assert_eq!(lines(&mut subscriber, 2).await, ["", "data: hello"]);
}

#[tokio::test]
async fn a_long_poll_continues_after_the_cursor_of_a_stream() {
    let node = serve().start().await.unwrap();
    let mut reader = Reader::open(node.addr(), "topic=news").await;
    publish(node.addr(), "news", "one").await;
    let id = reader.event().await.id;
    publish(node.addr(), "news", "two").await;
    let path = format!("/v1/events?topic=news&wait=30&last_event_id={id}");
    let mut http = http::Client::new(node.addr());
    let json = [("accept", "application/json")];
    let answer = http.request("GET".parse().unwrap(), &path, &json, Default::default()).await;
    let answer: Value = answer.unwrap().json().unwrap();
    assert_eq!(answer["events"][0]["data"], "two");
    assert_eq!(answer["events"].as_array().unwrap().len(), 1);
    let mut resumed =
        Reader::resume(node.addr(), "topic=news", answer["cursor"].as_str().unwrap()).await;
    assert_eq!(resumed.ready().outcome, "exact");
    publish(node.addr(), "news", "three").await;
    assert_eq!(resumed.event().await.data, "three");
}

#[tokio::test]
async fn an_ended_topic_stops_an_event_source() {
    let node = serve().start().await.unwrap();
    let mut reader = Reader::open(node.addr(), "topic=film").await;
    publish(node.addr(), "film", "the").await;
    publish(node.addr(), "film&end=true", "end").await;
    assert_eq!(reader.data(2).await, ["the", "end"]);
    reader.ended().await;
    assert_eq!(reader.stats().refused, 0);
    let id = reader.last_event_id();
    let cursor = [("Last-Event-ID", id)];
    let again = Connection::open(node.addr(), "/v1/events?topic=film", &cursor).await.unwrap();
    assert_eq!(again.status(), 204);
}

#[tokio::test]
async fn the_metrics_exist_and_move() {
    let node = serve().start().await.unwrap();
    let ids = publish_numbers(node.addr(), "numbers", 1..=10, 0).await;
    let mut live = Reader::open(node.addr(), "topic=numbers").await;
    let mut resumed = Reader::resume(node.addr(), "topic=numbers", &ids[3]).await;
    resumed.numbers(5, 10).await;
    publish_numbers(node.addr(), "numbers", 11..=11, 0).await;
    live.numbers(11, 11).await;
    resumed.numbers(11, 11).await;

    let text = node.metrics().await.unwrap();
    for family in [
        "connections",
        "connections_opened_total",
        "connections_closed_total",
        "connections_rejected_total",
        "connection_age_seconds",
        "resumes_total",
        "replayed_events_total",
        "replay_seconds",
        "events_published_total",
        "events_delivered_total",
        "delivery_latency_seconds",
        "gaps_total",
        "topics",
        "tail_lag_seconds",
        "feed_probe_age_seconds",
        "slow_readers",
        "draining",
    ] {
        assert!(text.contains(&format!("# TYPE tailwater_{family} ")), "{family} in\n{text}");
    }
    let value = |name: &str| metric(&text, &format!("tailwater_{name}")).unwrap_or(f64::NAN);
    assert_eq!(value("connections"), 2.0);
    assert_eq!(value("topics"), 1.0);
    assert_eq!(value("events_delivered_total"), 8.0);
    assert_eq!(value("replayed_events_total"), 6.0);
    assert_eq!(value("resumes_total{outcome=\"exact\"}"), 1.0);
    assert_eq!(value("connections_opened_total{resume=\"header\"}"), 1.0);
    assert_eq!(value("events_published_total{outcome=\"stored\"}"), 11.0);
    assert!(!text.contains("numbers"), "topics are never labels");

    drop((live, resumed));
    until("the connections are closed", async || {
        let text = node.metrics().await.unwrap();
        metric(&text, "tailwater_connections") == Some(0.0)
    })
    .await;
}

#[tokio::test]
async fn the_admin_port_lists_the_connections_that_lag() {
    let node = serve().start().await.unwrap();
    let _reader = Reader::open(node.addr(), "topic=numbers").await;
    let path = "/debug/connections?limit=5";
    let listed: Value = http::get(node.admin_addr(), path).await.unwrap().json().unwrap();
    assert_eq!(listed.as_array().expect("a list").len(), 1, "{listed}");
    // The public port does not serve these paths.
    for path in ["/metrics", "/readyz", "/livez", path] {
        let response = http::get(node.addr(), path).await.unwrap();
        assert_eq!(response.status, 404, "{path}");
    }
}

#[tokio::test]
async fn pages_of_an_allowed_origin_may_subscribe() {
    let node = serve().flag("--cors-origin", "https://app.example").start().await.unwrap();
    let stream = |origin: &'static str| {
        let headers = [("Origin", origin)];
        let addr = node.addr();
        async move { Connection::open(addr, "/v1/events?topic=t", &headers).await.unwrap() }
    };
    let allowed = stream("https://app.example").await;
    assert_eq!(allowed.header("access-control-allow-origin"), Some("https://app.example"));
    let other = stream("https://evil.example").await;
    assert_ne!(other.header("access-control-allow-origin"), Some("https://evil.example"));
    assert_ne!(other.header("access-control-allow-origin"), Some("*"));
}

#[tokio::test]
async fn pages_of_an_allowed_origin_may_subscribe_publish_and_send_a_preflight() {
    let node = serve().flag("--cors-origin", "https://app.example").start().await.unwrap();
    let mut http = http::Client::new(node.addr());
    let origin = [("origin", "https://app.example")];
    for (method, path, status) in [
        ("POST", "/v1/events?topic=t", 200),
        ("GET", "/v1/topics/t", 200),
        ("GET", "/v1/events", 400),
        ("HEAD", "/v1/events?topic=t", 200),
        ("OPTIONS", "/v1/events", 200),
        ("OPTIONS", "/v1/topics/t", 200),
    ] {
        let body = if method == "POST" { "x" } else { "" };
        let answer = http.request(method.parse().unwrap(), path, &origin, body.into()).await;
        let answer = answer.unwrap();
        assert_eq!(answer.status, status, "{method} {path}");
        let allowed: Vec<_> =
            answer.headers.get_all("access-control-allow-origin").iter().collect();
        assert_eq!(allowed, ["https://app.example"], "{method} {path}");
    }
}

#[tokio::test]
async fn a_full_node_tells_an_event_source_to_reconnect_and_others_the_reason() {
    let node = serve().flag("--max-connections", "1").start().await.unwrap();
    let first = Reader::open(node.addr(), "topic=t").await;
    let path = "/v1/events?topic=t";
    let mut second =
        Connection::open(node.addr(), path, &[("Last-Event-ID", "1-1")]).await.unwrap();
    assert_eq!(second.status(), 200);
    let told = second.next_event().await.unwrap();
    assert_eq!((told.event_type(), told.id.as_str()), ("tailwater.reconnect", "1-1"));
    assert!(told.data.contains("overload"), "{}", told.data);
    assert!(second.retry().is_some() && second.next_event().await.is_none());
    let json = [("accept", "application/json")];
    let mut http = http::Client::new(node.addr());
    let answer = http.request("GET".parse().unwrap(), path, &json, Default::default()).await;
    let answer = answer.unwrap();
    assert_eq!(answer.status, 429);
    assert!(answer.headers.contains_key("retry-after"));
    drop(first);
    until("a connection slot is free again", async || {
        let mut stream = Connection::open(node.addr(), path, &[]).await.unwrap();
        stream.next_event().await.unwrap().event_type() == "tailwater.ready"
    })
    .await;
}

#[tokio::test]
async fn curl_streams_events_in_and_receipts_out() {
    let node = serve().start().await.unwrap();
    let mut reader = Reader::open(node.addr(), "topic=tokens").await;
    let mut command = Command::new("curl");
    let url = format!("http://{}/v1/events?topic=tokens", node.addr());
    command.args(["-q", "-sS", "-N", "--noproxy", "*", "-T", "."]);
    command.args(["-H", "Content-Type: text/event-stream", &url]);
    let mut upload = Cli::start_command(command);
    for token in ["Once", " upon", " a time"] {
        upload.write(format!("data: {token}\n\n")).await;
        let receipt: Value = serde_json::from_str(&upload.line().await).unwrap();
        let event = reader.event().await;
        assert_eq!((event.data.as_str(), &receipt["id"]), (token, &event.id.into()));
    }
    upload.finish().await.success();
}

//! Logs: one line for each connection, levels that change at run time, and no secrets.

use loadtest::client::http;
use loadtest::client::sse::Connection;
use loadtest::machine::Tailwater;
use serde_json::Value;
use tokio::process::Command;

use crate::cli::Cli;
use crate::support::{metric, patient_serve, publish, serve, until};
use crate::traces::receiver::Receiver;

/// Returns the lines of a JSON log that have this message.
fn lines(node: &Tailwater, message: &str) -> Vec<Value> {
    let log = node.log();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["message"] == message).collect()
}

async fn subscribe(node: &Tailwater, query: &str, headers: &[(&str, &str)]) -> Connection {
    let path = format!("/v1/events?{query}");
    let mut stream = Connection::open(node.addr(), &path, headers).await.unwrap();
    assert_eq!(stream.next_event().await.unwrap().event_type(), "tailwater.ready");
    stream
}

async fn closed(node: &Tailwater, count: f64) {
    let name = "tailwater_connections_closed_total{reason=\"client\"}";
    until("the connections are closed", async || {
        metric(&node.metrics().await.unwrap(), name) == Some(count)
    })
    .await;
}

async fn put_levels(node: &Tailwater, levels: &'static str) -> (u16, String) {
    let mut http = http::Client::new(node.admin_addr());
    let put = "PUT".parse().unwrap();
    let response = http.request(put, "/debug/log", &[], levels.into()).await.unwrap();
    (response.status, response.text())
}

#[tokio::test]
async fn each_connection_has_one_log_line() {
    let mut node = serve().flag("--log-format", "json").start().await.unwrap();
    let first = publish(node.addr(), "t", "1").await;
    publish(node.addr(), "t", "2").await;
    let headers = [("last-event-id", first.as_str()), ("x-forwarded-for", "203.0.113.7")];
    let mut stream = subscribe(&node, "topic=t", &headers).await;
    stream.next_event().await.unwrap();
    let last = publish(node.addr(), "t", "3").await;
    stream.next_event().await.unwrap();
    drop(stream);
    // A stream that the router serves has its line too.
    let url = format!("http://{}/v1/events?topic=t&topic=u", node.addr());
    let mut curl = Command::new("curl");
    curl.args(["-q", "-sS", "-N", "--noproxy", "*", "--http2-prior-knowledge", "-m", "1", &url]);
    Cli::start_command(curl).finish().await;
    closed(&node, 2.0).await;
    assert!(node.terminate().await.unwrap().success());

    let closed = lines(&node, "connection closed");
    assert_eq!(closed.len(), 2, "{}", node.log());
    let line = &closed[0];
    let expected = [
        ("target", Value::from("tailwater::connection")),
        ("level", "INFO".into()),
        ("reason", "client".into()),
        ("outcome", "exact".into()),
        ("events", 2.into()),
        ("topics", 1.into()),
        ("from", first.into()),
        ("to", last.into()),
        ("forwarded_for", "203.0.113.7".into()),
    ];
    for (field, value) in expected {
        assert_eq!(line[field], value, "{field} in {line}");
    }
    assert!(line["connection"].is_u64() && line["age_ms"].is_u64(), "{line}");
    assert!(line["bytes"].as_u64().unwrap() > 100, "{line}");
    assert_eq!((&closed[1]["topics"], &closed[1]["outcome"]), (&2.into(), &"live".into()));
    for line in &closed {
        assert!(line["client"].as_str().unwrap().starts_with("127.0.0.1:"), "{line}");
    }
    assert!(lines(&node, "connection opened").is_empty(), "that is for debug");
}

#[tokio::test]
async fn levels_change_without_a_restart() {
    let node = serve().flag("--log-format", "json").start().await.unwrap();
    let shown = async || http::get(node.admin_addr(), "/debug/log").await.unwrap().text();
    assert_eq!(shown().await, "info\n");
    assert_eq!(put_levels(&node, "debug\n").await, (200, "debug\n".to_owned()));
    drop(subscribe(&node, "topic=t", &[]).await);
    closed(&node, 1.0).await;
    until("there are two lines", async || {
        lines(&node, "connection opened").len() + lines(&node, "connection closed").len() == 2
    })
    .await;

    for (bad, named) in [("gateway=loud", "\"gateway=loud\""), ("inof", "\"inof\"")] {
        let (status, message) = put_levels(&node, bad).await;
        assert!(status == 400 && message.contains(named), "{status} {message}");
    }
    assert_eq!(shown().await, "debug\n");

    put_levels(&node, "tailwater::connection=off,debug").await;
    drop(subscribe(&node, "topic=t", &[]).await);
    closed(&node, 2.0).await;
    put_levels(&node, "info").await;
    until("the change is logged", async || lines(&node, "log levels changed").len() == 3).await;
    assert_eq!(lines(&node, "connection closed").len(), 1);
    // The public port does not serve the levels.
    assert_eq!(http::get(node.addr(), "/debug/log").await.unwrap().status, 404);
}

#[tokio::test]
async fn no_secret_reaches_a_log_or_a_trace() {
    const SECRET: &str = "s3cr3t-f0r-n0b0dy";
    let receiver = Receiver::start().await;
    let mut node = serve()
        .flag("--log-level", "trace")
        .flag("--otlp-endpoint", receiver.endpoint())
        .arg("--mercure")
        .start()
        .await
        .unwrap();
    let bearer = format!("Bearer {SECRET}");
    let cookie = format!("session={SECRET}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("cookie", cookie.as_str()),
        ("x-forwarded-for", SECRET),
        ("tracestate", "vendor=s3cr3t-f0r-n0b0dy"),
        ("traceparent", SECRET),
    ];
    let json: Vec<_> = headers.iter().copied().chain([("accept", "application/json")]).collect();
    let names = ["ticket", "token", "access_token", "authorization", "last_event_id", "from", "_t"];
    for name in names {
        let path = format!("/v1/events?topic=t&{name}={SECRET}");
        let mut stream = Connection::open(node.addr(), &path, &headers).await.unwrap();
        stream.next_event().await;
        let mut http = http::Client::new(node.addr());
        http.request("GET".parse().unwrap(), &path, &json, Default::default()).await.unwrap();
        http.post(&path, &headers, "data").await.unwrap();
        let url = format!("http://{}{path}", node.addr());
        let mut curl = Command::new("curl");
        curl.args(["-q", "-sS", "-N", "--noproxy", "*", "--http2-prior-knowledge", "-m", "0.3"]);
        for (name, value) in headers {
            curl.args(["-H", &format!("{name}: {value}")]);
        }
        curl.arg(&url);
        Cli::start_command(curl).finish().await;
    }
    // A secret in the path or in a cursor header must not be logged either.
    let cursor = [("last-event-id", SECRET)];
    drop(Connection::open(node.addr(), "/v1/events?topic=t", &cursor).await.unwrap());
    // At the Mercure hub any text may be a cursor.
    for parameter in ["authorization", "access_token", "lastEventID", "_t"] {
        let hub = format!("/.well-known/mercure?topic=t&{parameter}={SECRET}");
        for headers in [&headers[..], &cursor] {
            drop(Connection::open(node.addr(), &hub, headers).await);
        }
    }
    http::get(node.addr(), &format!("/{SECRET}")).await.unwrap();
    crate::support::publish(node.addr(), "t", "x").await;
    assert!(node.terminate().await.unwrap().success());

    let log = node.log();
    for line in ["connection opened", "connection closed", "TRACE"] {
        assert!(log.contains(line), "{line} in\n{log}");
    }
    assert!(!receiver.spans("connect").is_empty() && !receiver.spans("publish").is_empty());
    let told: Vec<_> = log.lines().filter(|line| line.contains(SECRET)).collect();
    assert!(told.is_empty(), "{told:#?}");
    let raw = receiver.raw();
    assert!(!raw.windows(SECRET.len()).any(|bytes| bytes == SECRET.as_bytes()));
}

#[tokio::test]
async fn a_drain_logs_its_progress() {
    let node = patient_serve().flag("--drain-delay", "0s").flag("--log-format", "json");
    let node = node.start().await.unwrap();
    let _stream = subscribe(&node, "topic=t", &[]).await;
    node.begin_termination().unwrap();
    // One line at the beginning of the drain, then one every few seconds.
    until("the progress is logged", async || lines(&node, "handing connections away").len() >= 2)
        .await;
    for line in lines(&node, "handing connections away") {
        assert_eq!(line["left"], 1, "{line}");
    }
}

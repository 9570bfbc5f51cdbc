//! The load balancer of docker-compose.yml.

use std::net::SocketAddr;

use bytes::Bytes;
use hyper::Method;
use loadtest::client::http;
use loadtest::machine::{Haproxy, Redis};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::{PATIENCE, gateway, ingest, until};

/// Sends a GET for an event stream, and returns the head of the answer and its body up to the first blank line, or
/// else in an answer of known length up to an empty comment.
async fn stream(of: SocketAddr, query: &str, headers: &str) -> (String, String) {
    let mut socket = TcpStream::connect(of).await.unwrap();
    let request = format!(
        "GET /v1/events?{query} HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n{headers}\r\n"
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = async {
        loop {
            let text = String::from_utf8_lossy(&answer).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n")
                && let end = if head.contains("content-length") { "\n:\n" } else { "\n\n" }
                && let Some(end) = body.find("\n\n").or_else(|| body.find(end))
            {
                return (head.to_lowercase(), body[..end + 2].to_owned());
            }
            assert!(socket.read_buf(&mut answer).await.unwrap() > 0, "closed after {text:?}");
        }
    };
    timeout(PATIENCE, read).await.expect("an answer in time")
}

#[tokio::test]
async fn without_a_gateway_the_load_balancer_gives_a_cursor_back_only_as_the_header_brought_it() {
    let redis = Redis::start().await.unwrap();
    let ingest = ingest(&redis).start().await.unwrap();
    let mut nodes = Vec::new();
    for name in ["gateway-1", "gateway-2", "gateway-3"] {
        nodes.push(gateway(&redis, name).start().await.unwrap());
    }
    let [one, two, three] = &nodes[..] else { panic!("three gateways") };
    let haproxy = Haproxy::deployed([one, two, three], &ingest).await.unwrap();
    let (head, body) = stream(haproxy.addr(), "topic=t&control=on", "").await;
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert!(body.contains("event: tailwater.ready"), "{body}");
    // Publishers and clients that subscribe by POST come the same way.
    let mut client = http::Client::new(haproxy.addr());
    let published = client.post("/v1/events?topic=t", &[], "x".to_owned()).await.unwrap();
    assert_eq!(published.status, 200, "{}", published.text());
    let json = [("content-type", "application/json"), ("accept", "application/json")];
    let body = json!({ "topic": "t", "from": "earliest" }).to_string();
    let polled = client.post("/v1/subscriptions", &json, body).await.unwrap();
    assert!(polled.text().contains("\"data\":\"x\""), "{}", polled.text());

    nodes.iter_mut().for_each(|node| node.kill_nine().unwrap());
    until("no gateway is up", async || {
        let (_, body) = stream(haproxy.addr(), "topic=t", "").await;
        body.contains("tailwater.reconnect")
    })
    .await;
    for (query, header, id) in [
        ("topic=t", "last-event-id: 5-1\r\n", Some("5-1")),
        ("topic=t", "last-event-id: a@5-1,b@6-2\r\n", Some("a@5-1,b@6-2")),
        ("topic=t&last_event_id=6-2", "last-event-id: 5-1\r\n", Some("5-1")),
        // An id line here, even an empty one, would take a cursor away that stands in the query.
        ("topic=t&last_event_id=6-2", "", None),
        ("topic=t&last_event_id=6-2%0Adata:x", "", None),
        ("topic=t", "last-event-id:\r\n", None),
        ("topic=t", "", None),
    ] {
        let (head, body) = stream(haproxy.addr(), query, header).await;
        assert!(head.starts_with("http/1.1 200") && head.contains("text/event-stream"), "{head}");
        assert!(!head.contains("charset"), "{head}");
        let lines: Vec<_> = body.lines().collect();
        let retry = lines[2].strip_prefix("retry: ").unwrap().parse::<u64>().unwrap();
        assert!((2000..=4000).contains(&retry), "{body}");
        let mut expected = vec![
            "event: tailwater.reconnect".to_owned(),
            "data: {\"reason\":\"unavailable\"}".to_owned(),
            format!("retry: {retry}"),
        ];
        expected.push(id.map_or_else(|| ": ".to_owned(), |id| format!("id: {id}")));
        expected.push(String::new());
        assert_eq!(lines, expected, "{query} {header:?}");
    }
    // A client without control events would take the answer for the publisher's event.
    for control in ["off", "comment"] {
        let query = format!("topic=t&control={control}");
        let (head, body) = stream(haproxy.addr(), &query, "last-event-id: 5-1\r\n").await;
        assert!(head.starts_with("http/1.1 503") && head.contains("retry-after: 2"), "{head}");
        // eventsource-client 1.2.0 (npm) reads the events of any status. Before an empty line httpx-sse 0.4.3 takes a
        // time for a message, and Symfony 5.4 an id.
        let is_silent = |line: &str| line.starts_with([':', 'r']);
        assert!(body.lines().all(is_silent) && body.contains("\nretry: "), "{body}");
    }
}

#[tokio::test]
async fn without_a_node_publishers_and_long_polls_get_an_error_as_a_node_gives_it() {
    let redis = Redis::start().await.unwrap();
    let mut nodes = vec![ingest(&redis).start().await.unwrap()];
    for name in ["gateway-1", "gateway-2", "gateway-3"] {
        nodes.push(gateway(&redis, name).start().await.unwrap());
    }
    let [of_publishers, one, two, three] = &nodes[..] else { panic!("four nodes") };
    let haproxy = Haproxy::deployed([one, two, three], of_publishers).await.unwrap();
    let mut client = http::Client::new(haproxy.addr());
    let published = client.post("/v1/events?topic=t", &[], "x".to_owned()).await.unwrap();
    assert_eq!(published.status, 200, "{}", published.text());
    nodes.iter_mut().for_each(|node| node.kill_nine().unwrap());
    until("no node is up", async || {
        let mut client = http::Client::new(haproxy.addr());
        let refused = client.post("/v1/events?topic=t", &[], "x".to_owned()).await.unwrap();
        let body: Value = serde_json::from_str(&refused.text()).unwrap();
        assert_eq!(body["error"]["code"], "unavailable", "{body}");
        assert!(refused.status >= 502, "{}", refused.status);
        assert_eq!(refused.headers["retry-after"], "2");
        refused.status == 503
    })
    .await;
    let json = [("accept", "application/json")];
    let mut client = http::Client::new(haproxy.addr());
    let poll = client.request(Method::GET, "/v1/events?topic=t", &json, Bytes::new());
    let polled = poll.await.unwrap();
    let body: Value = serde_json::from_str(&polled.text()).unwrap();
    assert_eq!(body["error"]["code"], "unavailable", "{body}");
    assert_eq!(polled.status, 503);
    assert_eq!(polled.headers["retry-after"], "2");
}

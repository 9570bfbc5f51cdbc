//! Request heads byte by byte. The bare socket and the router give the same responses.

use std::time::Duration;

use gateway::Config;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::client::PATIENCE;
use crate::log::Publish as _;
use crate::node::{BARE, HEAD_MAX, Node};

const GET: &str = "GET /v1/events?topic=t HTTP/1.1\r\nhost: x\r\n";

/// Sends `bytes` and reads until `until` has arrived. Returns all that was read, in lower case.
async fn exchange(node: &Node, bytes: &str, until: &str) -> String {
    let mut socket = TcpStream::connect(node.address).await.unwrap();
    socket.write_all(bytes.as_bytes()).await.unwrap();
    read_until(&mut socket, until).await
}

async fn read_until(socket: &mut TcpStream, until: &str) -> String {
    let mut read = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&read).to_lowercase();
        if text.contains(until) {
            return text;
        }
        let count = timeout(PATIENCE, socket.read_buf(&mut read)).await;
        assert!(matches!(count, Ok(Ok(1..))), "{count:?} before {until:?}: {text}");
    }
}

/// Returns the header names of a response, sorted.
fn names(answer: &str) -> Vec<&str> {
    let head = answer.split("\r\n\r\n").next().unwrap();
    let mut names: Vec<_> = head.lines().skip(1).filter_map(|l| l.split(": ").next()).collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn the_router_and_the_bare_socket_send_the_same_headers() {
    let node = Node::start().await;
    let answer = exchange(&node, &format!("{GET}\r\n"), "tailwater.ready").await;
    assert!(answer.starts_with("http/1.1 200 ok\r\n"), "{answer}");
    let expected = [
        "cache-control",
        "connection",
        "content-type",
        "date",
        "incremental",
        "transfer-encoding",
        "x-accel-buffering",
    ];
    assert_eq!(names(&answer), expected);
}

#[tokio::test]
async fn a_head_may_come_byte_by_byte() {
    let node = Node::start().await;
    let mut socket = TcpStream::connect(node.address).await.unwrap();
    socket.set_nodelay(true).unwrap();
    for byte in format!("{GET}aCcEpT: text/event-stream\r\n\r\n").bytes() {
        socket.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    read_until(&mut socket, "tailwater.ready").await;
}

#[tokio::test]
async fn bytes_after_the_request_do_not_disturb_the_stream() {
    let node = Node::start().await;
    let mut socket = TcpStream::connect(node.address).await.unwrap();
    let early = format!("{GET}\r\nGET / HTTP/1.1\r\nhost: x\r\n\r\n");
    socket.write_all(early.as_bytes()).await.unwrap();
    read_until(&mut socket, "tailwater.ready").await;
    socket.write_all(&[b'x'; 3000]).await.unwrap();
    node.log.publish("t", "undisturbed").await;
    read_until(&mut socket, "data: undisturbed").await;
    assert!((node.metric("tailwater_connections") - 1.0).abs() < 0.1);
}

#[tokio::test]
async fn a_head_that_is_too_large_is_431() {
    let node = Node::start().await;
    let padding = "x".repeat(9_000);
    let large = format!("{GET}cookie: {padding}\r\n\r\n");
    assert!(exchange(&node, &large, "\r\n\r\n").await.contains("200 ok"), "9 kB is not");
    let headers: String = (0..150).map(|n| format!("x-{n}: y\r\n")).collect();
    let answer = exchange(&node, &format!("{GET}{headers}\r\n"), "\r\n\r\n").await;
    assert!(answer.starts_with("http/1.1 431"), "{answer}");
}

#[tokio::test]
async fn a_head_that_never_ends_closes_the_connection() {
    let node = Node::start().await;
    if !BARE {
        return; // The server that only these tests use has no time limit for heads.
    }
    let mut socket = TcpStream::connect(node.address).await.unwrap();
    let start = Instant::now();
    socket.write_all(GET.as_bytes()).await.unwrap();
    let closed = timeout(PATIENCE, socket.read_u8()).await.unwrap();
    assert!(closed.is_err() && start.elapsed() >= HEAD_MAX, "{closed:?}");
}

#[tokio::test]
async fn a_client_of_http_1_0_gets_a_stream_without_chunks() {
    let node = Node::start().await;
    let request = "GET /v1/events?topic=t HTTP/1.0\r\nhost: x\r\n\r\n";
    let answer = exchange(&node, request, "tailwater.ready").await;
    assert!(answer.contains(" 200 ok\r\n") && !answer.contains("chunked"), "{answer}");
}

#[tokio::test]
async fn unusual_but_valid_requests_are_answered() {
    let node = Node::start().await;
    for request in [
        "GET http://x/v1/events?topic=t HTTP/1.1\r\nhost: x\r\n\r\n",
        "GET /v1/events?topic=t HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n",
        "GET /v1/events?topic=t HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nbody",
        "GET /v1/events?topic=t HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET /v1/events?topic=t HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\n\r\n",
        "GET /v1/events?topic=t HTTP/1.1\r\nHOST:x\r\nACCEPT:text/event-stream\r\n\r\n",
    ] {
        let answer = exchange(&node, request, "tailwater.ready").await;
        assert!(answer.contains("200 ok"), "{answer}");
    }
    let head = "HEAD /v1/events?topic=t HTTP/1.1\r\nhost: x\r\n\r\n";
    let answer = exchange(&node, head, "\r\n\r\n").await;
    assert!(answer.starts_with("http/1.1 200 ok") && answer.ends_with("\r\n\r\n"), "{answer}");
    for (request, status) in [
        ("GET /v1/events HTTP/1.1\r\nhost: x\r\n\r\n", "400"),
        ("GET /v1/events?topic= HTTP/1.1\r\nhost: x\r\n\r\n", "400"),
        ("GET /v1/events?topic=t HTTP/1.1\r\nbad header\r\n\r\n", "400"),
        ("DELETE /v1/events?topic=t HTTP/1.1\r\nhost: x\r\n\r\n", "405"),
        ("GET /v1/nothing?topic=t HTTP/1.1\r\nhost: x\r\n\r\n", "404"),
    ] {
        let answer = exchange(&node, request, "\r\n\r\n").await;
        assert!(answer.starts_with(&format!("http/1.1 {status}")), "{request} {answer}");
    }
}

#[tokio::test]
async fn a_connection_may_carry_other_requests_before_the_stream() {
    let node = Node::start().await;
    let mut socket = TcpStream::connect(node.address).await.unwrap();
    let poll = "GET /v1/events?topic=t HTTP/1.1\r\nhost: x\r\naccept: application/json\r\n\r\n";
    socket.write_all(poll.as_bytes()).await.unwrap();
    read_until(&mut socket, "\"ended\":false}").await;
    socket.write_all(format!("{GET}\r\n").as_bytes()).await.unwrap();
    read_until(&mut socket, "tailwater.ready").await;
}

#[tokio::test]
async fn a_client_that_leaves_an_idle_stream_is_noticed_at_once() {
    let node = Node::with(Config { heartbeat: Duration::from_secs(60), ..Config::default() }).await;
    let stream = node.subscribe("topic=t").await;
    node.until("tailwater_connections", 1.0).await;
    sleep(Duration::from_millis(20)).await;
    let start = Instant::now();
    drop(stream);
    node.until("tailwater_connections", 0.0).await;
    assert!(start.elapsed() < Duration::from_secs(5));
}

/// A general HTTP server that has read the beginning of another request waits for the rest of it.
#[tokio::test]
async fn a_client_that_sends_more_bytes_is_noticed_when_it_leaves_and_told_of_a_drain() {
    let node = Node::with(Config { heartbeat: Duration::from_secs(60), ..Config::default() }).await;
    let mut sockets = Vec::new();
    for _ in 0..2 {
        let mut socket = TcpStream::connect(node.address).await.unwrap();
        socket.write_all(format!("{GET}\r\n").as_bytes()).await.unwrap();
        read_until(&mut socket, "tailwater.ready").await;
        for _ in 0..3 {
            socket.write_all(b"x").await.unwrap();
            sleep(Duration::from_millis(20)).await;
        }
        sockets.push(socket);
    }
    let mut stays = sockets.pop().unwrap();
    if BARE {
        drop(sockets);
        node.until("tailwater_connections", 1.0).await;
    }
    let drained = node.gateway.drain(Duration::ZERO, Duration::ZERO, Duration::ZERO);
    tokio::join!(drained, read_until(&mut stays, "tailwater.reconnect"));
}

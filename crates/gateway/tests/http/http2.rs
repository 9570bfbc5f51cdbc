//! HTTP/2 without TLS, which load balancers use.

use std::sync::Arc;
use std::time::Duration;

use ::metrics::Registry;
use axum::body::{Body, Bytes};
use gateway::Config;
use http_body_util::BodyExt as _;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper::{Request, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use limits::{AddressShare, Proxies, Rules};
use sse::Parser;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::client::PATIENCE;
use crate::log::Publish as _;
use crate::node::Node;

/// The client's flow-control window, in bytes: the gateway may send this much before the client reads.
const WINDOW: u32 = 64 * 1024;

async fn connect(node: &Node) -> SendRequest<Body> {
    connect_with(node, WINDOW).await
}

async fn connect_with(node: &Node, window: u32) -> SendRequest<Body> {
    let socket = TokioIo::new(TcpStream::connect(node.address).await.unwrap());
    let mut builder = Builder::new(TokioExecutor::new());
    let builder = builder.initial_stream_window_size(window);
    let (client, connection) = builder.handshake(socket).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn get(
    client: &mut SendRequest<Body>,
    query: &str,
) -> hyper::Response<hyper::body::Incoming> {
    let request = Request::get(format!("http://test/v1/events?{query}")).body(Body::empty());
    timeout(PATIENCE, client.send_request(request.unwrap())).await.unwrap().unwrap()
}

/// Returns the data of the next `count` events. Control events are skipped.
async fn data(body: &mut hyper::body::Incoming, parser: &mut Parser, count: usize) -> Vec<String> {
    let mut data = Vec::new();
    while data.len() < count {
        let frame = timeout(PATIENCE, body.frame()).await.unwrap().unwrap().unwrap();
        let bytes: Bytes = frame.into_data().unwrap();
        parser.feed(&bytes, &mut |event| {
            if !event.is_control() {
                data.push(event.data);
            }
        });
    }
    data
}

#[tokio::test]
async fn many_streams_share_a_connection_and_each_closes_alone() {
    let node = Node::start().await;
    let mut client = connect(&node).await;
    let mut streams = Vec::new();
    for number in 0..20 {
        let response = get(&mut client, &format!("topic=t{number}&topic=all")).await;
        assert_eq!((response.status().as_u16(), response.version()), (200, Version::HTTP_2));
        assert_eq!(response.headers().get("connection"), None);
        streams.push((response.into_body(), Parser::default()));
    }
    node.until("tailwater_connections", 20.0).await;
    for number in 0..20 {
        node.log.publish(&format!("t{number}"), &format!("for {number}")).await;
    }
    for (number, (body, parser)) in streams.iter_mut().enumerate() {
        assert_eq!(data(body, parser, 1).await, [format!("for {number}")]);
    }
    streams.truncate(5);
    node.until("tailwater_connections", 5.0).await;
    node.log.publish("all", "x").await;
    for (body, parser) in &mut streams {
        assert_eq!(data(body, parser, 1).await, ["x"]);
    }
    drop((streams, client));
    node.until("tailwater_connections", 0.0).await;
}

#[tokio::test]
async fn a_stalled_stream_does_not_delay_others_on_its_connection() {
    let node = Node::start().await;
    let mut client = connect(&node).await;
    let stalled = get(&mut client, "topic=t").await;
    let mut other = get(&mut client, "topic=u").await.into_body();
    let large = "x".repeat(64 * 1024);
    for _ in 0..100 {
        node.log.publish("t", &large).await;
        tokio::task::yield_now().await;
    }
    node.log.publish("u", "small").await;
    assert_eq!(data(&mut other, &mut Parser::default(), 1).await, ["small"]);
    let reports = node.gateway.laggards(1);
    assert!(reports[0].bytes < 800_000, "{reports:?}");
    drop(stalled);
}

/// Opens streams on one connection that takes `window` bytes of each.
async fn stuck(
    node: &Node,
    streams: usize,
    window: u32,
) -> (SendRequest<Body>, Vec<hyper::Response<hyper::body::Incoming>>) {
    let mut client = connect_with(node, window).await;
    let mut answers = Vec::new();
    for number in 0..streams {
        answers.push(get(&mut client, &format!("topic=t{number}")).await);
    }
    (client, answers)
}

#[tokio::test]
async fn streams_that_take_nothing_do_not_outlive_the_window_of_a_drain() {
    const STREAMS: usize = 50;
    let node = Node::start().await;
    let _stuck = stuck(&node, STREAMS, 0).await;
    node.until("tailwater_connections", STREAMS as f64).await;
    let (window, grace) = (Duration::from_millis(500), Duration::from_secs(20));
    let start = Instant::now();
    assert_eq!(node.gateway.drain(Duration::ZERO, window, grace).await, 0);
    assert!(start.elapsed() < grace / 2, "{:?}", start.elapsed());
    node.until("tailwater_connections_closed_total{reason=\"drain\"}", STREAMS as f64).await;
}

#[tokio::test]
async fn a_connection_whose_stream_is_overdue_is_closed() {
    let node =
        Node::with(Config { max_age: Duration::from_millis(200), ..Config::default() }).await;
    let _stuck = stuck(&node, 3, 0).await;
    node.until("tailwater_connections_closed_total{reason=\"max_age\"}", 3.0).await;
    node.until("tailwater_connections", 0.0).await;
}

#[tokio::test]
async fn frames_that_a_stream_does_not_take_are_counted_and_those_that_do_not_fit_end_it() {
    const EVENT: usize = 40 * 1024;
    let rules = Rules::new(Proxies::none(), AddressShare::ALL, 10 * EVENT as u64, &Registry::new());
    let memory = Arc::clone(&rules.memory);
    let node = Node::with(Config { rules, ..Config::default() }).await;
    // One connection gets a quarter, two events. A stream takes `ready` and stops in the event.
    let (client, mut answers) = stuck(&node, 3, 1024).await;
    for number in 0..3 {
        node.log.publish(&format!("t{number}"), &"x".repeat(EVENT)).await;
    }
    node.until("tailwater_connections_closed_total{reason=\"memory\"}", 1.0).await;
    assert!((2 * EVENT..3 * EVENT).contains(&(memory.used() as usize)), "{}", memory.used());
    let mut broken = 0;
    for answer in answers.drain(..) {
        let body = timeout(Duration::from_secs(2), answer.into_body().collect()).await;
        broken += usize::from(matches!(body, Ok(Err(_))));
    }
    assert_eq!(broken, 1, "streams that fit take their event when their client does");
    drop(client);
    node.until("tailwater_connections", 0.0).await;
    assert_eq!(memory.used(), 0);
}

#[tokio::test]
async fn a_stream_is_reset_behind_its_last_event_if_its_client_asks_for_that() {
    let node = Node::start().await;
    let mut client = connect(&node).await;
    let mut body = get(&mut client, "topic=t&close=abort").await.into_body();
    let mut other = get(&mut client, "topic=t").await.into_body();
    node.until("tailwater_connections", 2.0).await;
    node.gateway.drain(Duration::ZERO, Duration::ZERO, PATIENCE).await;
    let (mut parser, mut kinds) = (Parser::default(), Vec::new());
    let error = loop {
        match timeout(PATIENCE, body.frame()).await.unwrap() {
            Some(Ok(frame)) => {
                let bytes = frame.into_data().unwrap();
                parser.feed(&bytes, &mut |event| kinds.push(event.event_type().to_owned()));
            }
            Some(Err(error)) => break error,
            None => panic!("the body has an end, after {kinds:?}"),
        }
    };
    assert_eq!(kinds, ["tailwater.ready", "tailwater.reconnect"], "{error}");
    while let Some(frame) = timeout(PATIENCE, other.frame()).await.unwrap() {
        frame.expect("the other stream ends cleanly");
    }
}

//! A node on several cores. Each core has a worker, which is a runtime that serves connections.
//!
//! On a machine with one core the node has one worker, and the claims hold too.

use std::num::NonZero;
use std::thread::available_parallelism;

use axum::body::Body;
use http_body_util::BodyExt as _;
use hyper::Request;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use loadtest::client::sse::Connection;
use loadtest::machine::{Redis, Tailwater};
use tokio::net::TcpStream;

use crate::reader::Reader;
use crate::support::{metric, publish, publish_numbers, serve, until};

fn cores() -> usize {
    available_parallelism().map_or(1, NonZero::get)
}

/// Returns the number of open connections of each worker.
async fn open(node: &Tailwater) -> Vec<usize> {
    let text = node.metrics().await.unwrap();
    let workers = (0..).map(|worker| {
        metric(&text, &format!("tailwater_worker_connections{{worker=\"{worker}\"}}"))
    });
    workers.map_while(|count| count.map(|count| count as usize)).collect()
}

async fn settled(node: &Tailwater, expected: &[usize]) {
    until(&format!("{expected:?} connections"), async || open(node).await == expected).await;
}

async fn readers(node: &Tailwater, count: usize) -> Vec<Reader> {
    let mut readers = Vec::with_capacity(count);
    for _ in 0..count {
        readers.push(Reader::open(node.addr(), "topic=t").await);
    }
    readers
}

#[tokio::test]
async fn a_connection_goes_to_the_worker_with_the_fewest_open_ones() {
    let node = serve().start().await.unwrap();
    assert_eq!(open(&node).await, vec![0; cores()]);
    let mut all = readers(&node, 4 * cores()).await;
    settled(&node, &vec![4; cores()]).await;

    // The connections of the first worker end, so it gets all of the next connections.
    let mut turn = 0..;
    all.retain(|_| turn.next().is_some_and(|turn| turn % cores() != 0));
    let mut expected = vec![4; cores()];
    expected[0] = 0;
    settled(&node, &expected).await;
    all.extend(readers(&node, 4).await);
    settled(&node, &vec![4; cores()]).await;

    publish(node.addr(), "t", "to all").await;
    for mut reader in all {
        assert_eq!(reader.event().await.data, "to all");
    }
    settled(&node, &vec![0; cores()]).await;
}

#[tokio::test]
async fn readers_on_all_workers_get_every_event_of_a_topic_in_redis() {
    let redis = Redis::start().await.unwrap();
    let node = serve().redis(&redis).start().await.unwrap();
    let all = readers(&node, 70 * cores()).await;
    let reading = all.into_iter().map(|mut reader| {
        tokio::spawn(async move {
            reader.numbers(1, 2_000).await;
            assert!(reader.gaps().is_empty(), "{:?}", reader.gaps());
        })
    });
    let reading: Vec<_> = reading.collect();
    publish_numbers(node.addr(), "t", 1..=2_000, 0).await;
    for reader in reading {
        reader.await.unwrap();
    }
}

#[tokio::test]
async fn the_maximum_number_of_connections_applies_to_the_whole_node() {
    let limit = 2 * cores() + 1;
    let node = serve().flag("--max-connections", limit.to_string()).start().await.unwrap();
    let _all = readers(&node, limit).await;
    // One connection for each worker, so that no worker has a free slot.
    for _ in 0..cores() {
        let mut more = Connection::open(node.addr(), "/v1/events?topic=t", &[]).await.unwrap();
        let told = more.next_event().await.unwrap();
        assert_eq!(told.event_type(), "tailwater.reconnect");
        assert!(told.data.contains("overload"), "{}", told.data);
    }
    let text = node.metrics().await.unwrap();
    assert_eq!(metric(&text, "tailwater_connections"), Some(limit as f64));
}

#[tokio::test]
async fn a_drain_closes_the_connections_of_all_workers() {
    let mut node = serve().start().await.unwrap();
    let count = 3 * cores();
    let all = readers(&node, count).await;
    let leaving = all.into_iter().map(|mut reader| {
        tokio::spawn(async move {
            while reader.reconnects().is_empty() {
                reader.control().await;
            }
            reader.reconnects().join(" ")
        })
    });
    let leaving: Vec<_> = leaving.collect();
    assert_eq!(node.terminate().await.unwrap().code(), Some(0));
    for reader in leaving {
        assert_eq!(reader.await.unwrap(), "drain");
    }
    assert!(node.log().contains("handed connections away"), "{}", node.log());
}

#[tokio::test]
async fn the_streams_of_an_http2_connection_are_on_one_worker() {
    let node = serve().start().await.unwrap();
    let socket = TokioIo::new(TcpStream::connect(node.addr()).await.unwrap());
    let handshake = http2::handshake::<_, _, Body>(TokioExecutor::new(), socket);
    let (mut client, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    let mut streams = Vec::new();
    for _ in 0..10 {
        let uri = format!("http://{}/v1/events?topic=t", node.addr());
        let request = Request::get(uri).body(Body::empty()).unwrap();
        let mut stream = client.send_request(request).await.unwrap().into_body();
        assert!(stream.frame().await.unwrap().is_ok(), "ready");
        streams.push(stream);
    }
    let mut expected = vec![0; cores()];
    expected[0] = 1;
    settled(&node, &expected).await;
    publish(node.addr(), "t", "to all").await;
    for mut stream in streams {
        let bytes = stream.frame().await.unwrap().unwrap().into_data().unwrap();
        assert!(bytes.starts_with(b"data: to all\n"), "{bytes:?}");
    }
}

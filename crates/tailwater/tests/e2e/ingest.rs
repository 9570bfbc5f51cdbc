//! Ingest is killed after the log has stored an event and before the publisher gets the answer.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use loadtest::client::http;
use loadtest::client::publisher::Publisher;
use loadtest::machine::{Redis, Tailwater};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::reader::Reader;
use crate::support::{PATIENCE, TAILWATER, gateway, ingest, publish, status, until};

#[tokio::test]
async fn a_publisher_that_has_closed_its_half_of_the_connection_gets_its_receipt() {
    let redis = Redis::start().await.unwrap();
    let ingest = ingest(&redis).start().await.unwrap();
    for number in 0..20 {
        let mut socket = TcpStream::connect(ingest.addr()).await.unwrap();
        let request = format!(
            "POST /v1/events?topic=t HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\n\r\n{number:02}"
        );
        socket.write_all(request.as_bytes()).await.unwrap();
        socket.shutdown().await.unwrap();
        let mut answer = String::new();
        timeout(PATIENCE, socket.read_to_string(&mut answer)).await.unwrap().unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{number}: {answer:?}");
    }
}

/// A relay to Redis that can withhold the answer to an append.
#[derive(Debug)]
struct Relay {
    addr: SocketAddr,
    armed: Arc<AtomicBool>,
    caught: Arc<Notify>,
}

impl Relay {
    async fn start(redis: SocketAddr) -> Relay {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let relay = Relay {
            addr: listener.local_addr().unwrap(),
            armed: Arc::default(),
            caught: Arc::default(),
        };
        let (armed, caught) = (Arc::clone(&relay.armed), Arc::clone(&relay.caught));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(redis).await.unwrap();
                tokio::spawn(pass(client, server, Arc::clone(&armed), Arc::clone(&caught)));
            }
        });
        relay
    }

    /// Waits until the relay has withheld the answer to an append.
    async fn caught(&self) {
        timeout(PATIENCE, self.caught.notified()).await.expect("an append is answered");
    }
}

async fn pass(client: TcpStream, server: TcpStream, armed: Arc<AtomicBool>, caught: Arc<Notify>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let up = async { tokio::io::copy(&mut from_client, &mut to_server).await.map(drop) };
    let down = async {
        let mut bytes = vec![0; 64 * 1024];
        loop {
            let length = from_server.read(&mut bytes).await?;
            let answer = &bytes[..length];
            // The script answers an append with 0, for "not a duplicate", and a position.
            let line = answer.split(|byte| *byte == b'\n').nth(1).unwrap_or_default();
            let is_append = line.starts_with(b"0 ") && line.ends_with(b"-1\r");
            if is_append && armed.swap(false, Ordering::SeqCst) {
                caught.notify_one();
                std::future::pending::<()>().await;
            }
            if length == 0 {
                return Ok(());
            }
            to_client.write_all(answer).await?;
        }
    };
    // The end of either side ends the other.
    let _ended: std::io::Result<()> = tokio::select! { ended = up => ended, ended = down => ended };
}

#[tokio::test]
async fn an_ingest_killed_between_append_and_answer_stores_one_event_for_two_attempts() {
    let redis = Redis::start().await.unwrap();
    let relay = Relay::start(redis.addr()).await;
    let gateway = gateway(&redis, "gateway").start().await.unwrap();
    let ingest = Tailwater::ingest(TAILWATER).flag("--redis", format!("redis://{}", relay.addr));
    let mut ingest = ingest.start().await.unwrap();
    let mut reader = Reader::open(gateway.addr(), "topic=orders").await;

    relay.armed.store(true, Ordering::SeqCst);
    let mut publisher = Publisher::new(ingest.addr(), PATIENCE);
    let publishing = tokio::spawn(async move {
        let first = publisher.publish("orders", "order-1", "first").await.unwrap();
        (first, publisher.publish("orders", "order-2", "second").await.unwrap())
    });
    relay.caught().await;
    ingest.kill_nine().unwrap();
    ingest.restart().await.unwrap();

    let (first, second) = publishing.await.unwrap();
    assert!(first.duplicate && first.attempts > 1, "{first:?}");
    assert_eq!((first.at.n, second.at.n, second.duplicate), (1, 2, false));
    let event = reader.event().await;
    assert_eq!((event.data.as_str(), event.id), ("first", first.at.to_string()));
    assert_eq!(reader.event().await.data, "second");
}

#[tokio::test]
async fn an_ingest_that_stops_tells_a_stream_of_lines_to_send_the_rest_elsewhere() {
    let redis = Redis::start().await.unwrap();
    let mut ingest = Tailwater::ingest(TAILWATER)
        .redis(&redis)
        .flag("--drain-delay", "2s")
        .start()
        .await
        .unwrap();
    let mut stream = TcpStream::connect(ingest.addr()).await.unwrap();
    let head = "POST /v1/events?topic=t HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n\
                Transfer-Encoding: chunked\r\n\r\n";
    let line = "{\"data\":\"one\",\"key\":\"k-1\"}\n";
    let chunk = format!("{head}{:x}\r\n{line}\r\n", line.len());
    stream.write_all(chunk.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let read = async |stream: &mut TcpStream, answer: &mut String, what: &str| {
        while !answer.contains(what) {
            let mut bytes = [0; 4096];
            let length = stream.read(&mut bytes).await.unwrap();
            assert_ne!(length, 0, "ingest closed after {answer}");
            answer.push_str(std::str::from_utf8(&bytes[..length]).unwrap());
        }
    };
    let receipt = read(&mut stream, &mut answer, "\"duplicate\":false");
    timeout(PATIENCE, receipt).await.expect("a receipt for each line as it arrives");
    ingest.begin_termination().unwrap();
    let admin = ingest.admin_addr();
    until("ingest is not ready", async || status(admin, "/readyz").await == Some(503)).await;
    publish(ingest.addr(), "t", "while load balancers learn of it").await;
    let told = read(&mut stream, &mut answer, "\"draining\"");
    timeout(PATIENCE, told).await.expect("ingest tells the publisher to go elsewhere");
    drop(stream);
    assert_eq!(ingest.wait_exit().await.unwrap().code(), Some(0));
}

#[tokio::test]
async fn ingest_reports_the_bounds_of_a_topic() {
    let node = crate::support::serve().start().await.unwrap();
    let ids = crate::support::publish_numbers(node.addr(), "orders/42", 1..=3, 0).await;
    let response = http::get(node.addr(), "/v1/topics/orders/42").await.unwrap();
    let topic: Value = response.json().unwrap();
    assert_eq!(topic["head"], ids[2].as_str());
    assert_eq!(topic["oldest"], ids[0].as_str());
    assert_eq!((&topic["length"], &topic["ended"]), (&3.into(), &false.into()));
    assert_eq!(http::get(node.addr(), "/v1/topics/none").await.unwrap().status, 404);
}

//! A delivery on the bare socket allocates nothing.

#![allow(
    clippy::unwrap_used,
    reason = "clippy.toml allows it in tests, but does not see that helpers are"
)]

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use event_log::{Append, Log as _, MemoryLog, NewEvent, Retention, Topic};
use gateway::{Accepted, Config, Gateway, Patience};
use metrics::Registry;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

/// A gateway on this thread. Only the allocations of this thread are counted.
struct Node {
    runtime: Runtime,
    log: Arc<MemoryLog>,
    readers: Vec<tokio::net::TcpStream>,
}

impl Node {
    fn start(readers: usize) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let log = Arc::new(MemoryLog::new(Retention::default()));
        let gateway = Gateway::new(Config::default(), log.clone(), &Registry::new());
        let readers = runtime.block_on(async {
            let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
            let mut all = Vec::new();
            for _ in 0..readers {
                all.push(connect(&listener, &gateway).await);
            }
            all
        });
        Self { runtime, log, readers }
    }

    /// Publishes an event and waits until every reader has received it.
    fn publish(&self) {
        self.runtime.block_on(async {
            let event = NewEvent { data: "x".repeat(200).into(), ..NewEvent::default() };
            let topic = Topic::new("orders").unwrap();
            let stored = self.log.append(vec![Append::new(topic, event)]).await;
            assert!(stored[0].is_ok());
            for reader in &self.readers {
                read_until(reader, &[b'x'; 200]).await;
            }
        });
    }
}

async fn connect(listener: &TcpListener, gateway: &Gateway) -> tokio::net::TcpStream {
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client.write_all(b"GET /v1/events?topic=orders HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    client.set_nonblocking(true).unwrap();
    let (socket, peer) = listener.accept().await.unwrap();
    let patience = Patience { head: Duration::from_secs(5), stall: Duration::from_secs(5) };
    let door = gateway.door(Router::new());
    let accepted =
        door.accept(socket, limits::Peer::new(peer), patience, std::future::pending()).await;
    let Accepted::Stream(stream) = accepted else { panic!("no event stream") };
    let task = allocation_counter::measure(|| drop(tokio::spawn(stream.run())));
    assert!(task.bytes_total <= TASK_BYTES_MAX, "a task takes {} bytes", task.bytes_total);
    let client = tokio::net::TcpStream::from_std(client).unwrap();
    read_until(&client, b"tailwater.ready").await;
    client
}

/// Largest size of a reader's task, which is the largest part of an idle connection's memory. Tokio
/// rounds the size up to a multiple of 128 bytes.
const TASK_BYTES_MAX: u64 = 512;

async fn read_until(client: &tokio::net::TcpStream, expected: &[u8]) {
    let mut buffer = [0; 2048];
    loop {
        client.readable().await.unwrap();
        // The gateway writes so little that each write arrives in one piece.
        match client.try_read(&mut buffer) {
            Ok(0) => panic!("the stream ended"),
            Ok(count) if buffer[..count].windows(expected.len()).any(|w| w == expected) => return,
            Ok(_) | Err(_) => {}
        }
    }
}

/// Events during which allocations are counted.
const EVENTS: usize = 100;

/// Returns the number of allocations while `EVENTS` events are delivered to `readers` each.
fn allocations(readers: usize) -> u64 {
    const WARM_UP: usize = 50;
    let node = Node::start(readers);
    (0..WARM_UP).for_each(|_| node.publish());
    let counted = allocation_counter::measure(|| (0..EVENTS).for_each(|_| node.publish()));
    counted.count_total
}

#[test]
fn another_reader_of_an_event_allocates_nothing() {
    let one = allocations(1);
    assert!(one > 0, "publishing allocates, or nothing was counted");
    assert_eq!(allocations(50), one);
    // A wake-up of many readers is spread over waves; the task of a wave is one allocation an event.
    assert_eq!(allocations(200), one + EVENTS as u64);
}

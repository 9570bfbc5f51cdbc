//! The writer on a transport that holds bytes back, as TLS does while its socket is full.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::task::{Context, Poll, Waker, ready};

use async_trait::async_trait;
use axum::Router;
use bytes::{Buf as _, Bytes, BytesMut};
use event_log::{
    Append, AppendError, Bookmark, Bounds, Key, Limit, Log, LogName, Mark, MemoryLog, NewEvent,
    Page, Position, ReadError, Receipt, Retention, Seek, Sought, Tail, Topic,
};
use metrics::Registry;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf, duplex};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::*;
use crate::{Config, Gateway};

const STALL: Duration = Duration::from_secs(600);
/// Bytes that the pipe to the client holds.
const PIPE_BYTES: usize = 256;

/// A transport that takes up to `most` bytes more than its pipe does.
#[derive(Debug)]
struct Holding {
    pipe: DuplexStream,
    held: BytesMut,
    most: usize,
    vanished: Arc<AtomicBool>,
}

impl Holding {
    /// Takes bytes until it holds as many as it may; returns how many.
    fn hold(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(self.most - self.held.len());
        self.held.extend_from_slice(&bytes[..count]);
        count
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            let count = ready!(Pin::new(&mut self.pipe).poll_write(cx, &self.held))?;
            self.held.advance(count);
        }
        Poll::Ready(Ok(()))
    }
}

impl Transport for Holding {
    fn try_send(&mut self, bytes: &mut Bytes) -> io::Result<bool> {
        loop {
            let count = self.hold(bytes);
            bytes.advance(count);
            match self.poll_drain(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(drained) => drained?,
                Poll::Pending => return Ok(false),
            }
            if bytes.is_empty() {
                return Ok(true);
            }
        }
    }

    fn has_vanished(&self) -> bool {
        self.vanished.load(Relaxed)
    }
}

impl AsyncRead for Holding {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_read(cx, buf)
    }
}

impl AsyncWrite for Holding {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.held.len() == self.most {
            ready!(self.poll_drain(cx))?;
        }
        Poll::Ready(Ok(self.hold(bytes)))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_drain(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.pipe).poll_shutdown(cx)
    }
}

/// A log whose tails hold no events and whose reads take time, as over a network.
#[derive(Debug)]
struct Distant {
    memory: MemoryLog,
    under_way: AtomicUsize,
    /// Reads that were begun.
    begun: AtomicUsize,
}

impl Distant {
    const fn new(memory: MemoryLog) -> Self {
        Self { memory, under_way: AtomicUsize::new(0), begun: AtomicUsize::new(0) }
    }
}

/// Counts a read as under way until it is dropped.
struct Read<'a>(&'a AtomicUsize);

impl Drop for Read<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

#[async_trait]
impl Log for Distant {
    async fn append(&self, batch: Vec<Append>) -> Vec<Result<Receipt, AppendError>> {
        self.memory.append(batch).await
    }

    async fn read(&self, log: &LogName, after: Position, limit: Limit) -> Result<Page, ReadError> {
        self.under_way.fetch_add(1, Relaxed);
        self.begun.fetch_add(1, Relaxed);
        let _read = Read(&self.under_way);
        sleep(Duration::from_millis(1)).await;
        self.memory.read(log, after, limit).await
    }

    async fn seek(&self, log: &LogName, seek: Seek) -> Result<Sought, ReadError> {
        self.memory.seek(log, seek).await
    }

    async fn bounds(&self, log: &LogName) -> Result<Option<Bounds>, ReadError> {
        self.memory.bounds(log).await
    }

    async fn bookmark(&self, topic: &Topic, source: &Key) -> Result<Option<Bookmark>, ReadError> {
        self.memory.bookmark(topic, source).await
    }

    async fn find(&self, log: &LogName, label: &Key) -> Result<Option<Position>, ReadError> {
        self.memory.find(log, label).await
    }

    async fn tail(&self, log: &LogName) -> Result<Arc<Tail>, ReadError> {
        let head = self.memory.tail(log).await?.head();
        Ok(Arc::new(Tail::new(head, false, Limit::ONE)))
    }

    async fn echo(&self, log: &LogName) -> Result<Duration, ReadError> {
        self.memory.echo(log).await
    }
}

/// A client with an open stream.
struct Opened {
    client: DuplexStream,
    /// The task that writes the stream.
    writing: JoinHandle<()>,
    gateway: Gateway,
    registry: Registry,
    /// Set when the client is to count as vanished.
    vanished: Arc<AtomicBool>,
}

/// A client with an open stream, and the task that writes it.
async fn open(log: &Arc<impl Log>, most: usize) -> (DuplexStream, JoinHandle<()>) {
    let config = Config { max_age: Duration::from_hours(1000), ..Config::default() };
    let Opened { client, writing, .. } =
        open_as(config, Arc::clone(log) as _, (PIPE_BYTES, most)).await;
    (client, writing)
}

/// Opens a stream over a pipe that holds `room` bytes and a transport that holds `most` bytes more.
async fn open_as(config: Config, log: Arc<dyn Log>, (room, most): (usize, usize)) -> Opened {
    let registry = Registry::new();
    let gateway = Gateway::new(config, log, &registry);
    let (mut client, pipe) = duplex(room);
    client
        .write_all(b"GET /v1/events?topic=t&from=earliest HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    let vanished = Arc::default();
    let holding = Holding { pipe, held: BytesMut::new(), most, vanished: Arc::clone(&vanished) };
    let patience = Patience { head: Duration::from_secs(9), stall: STALL };
    let (door, peer) = (gateway.door(Router::new()), Peer::new(([127, 0, 0, 1], 9).into()));
    let accepted = door.accept(holding, peer, patience, std::future::pending()).await;
    let Accepted::Stream(stream) = accepted else { panic!("no event stream") };
    let writing = tokio::spawn(stream.run());
    Opened { client, writing, gateway, registry, vanished }
}

async fn read_until(client: &mut DuplexStream, text: &str) -> String {
    let mut read = Vec::new();
    while !String::from_utf8_lossy(&read).contains(text) {
        assert!(client.read_buf(&mut read).await.unwrap() > 0, "the end before {text:?}");
    }
    String::from_utf8(read).unwrap()
}

async fn publish(log: &MemoryLog, data: &str, mark: Mark) {
    let event = NewEvent { data: data.into(), mark, ..NewEvent::default() };
    let topic = Topic::new("t").unwrap();
    assert!(log.append(vec![Append::new(topic, event)]).await[0].is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_gets_everything_in_order_and_then_the_end() {
    const EVENTS: usize = 300;
    // A flush is one step to the stall clock, so bytes held back must leave within it.
    for (most, pause) in [(1, STALL / 2), (100, STALL / 2), (64 * 1024, STALL / 200)] {
        let log = Arc::new(MemoryLog::new(Retention::default()));
        let (mut client, writing) = open(&log, most).await;
        read_until(&mut client, "tailwater.ready").await;
        for number in 0..EVENTS {
            publish(&log, &format!("{number:x>50}"), Mark::Open).await;
        }
        publish(&log, "last", Mark::Last).await;
        let mut read = Vec::new();
        while client.read_buf(&mut read).await.unwrap() > 0 {
            sleep(pause).await;
        }
        let text = String::from_utf8(read).unwrap();
        let numbers = text.lines().filter_map(|line| line.strip_prefix("data: x"));
        let numbers = numbers.map(|data| data.trim_start_matches('x').parse::<usize>().unwrap());
        assert!(numbers.eq(0..EVENTS), "with {most} bytes held back");
        assert!(text.contains("data: last\n") && text.ends_with("0\r\n\r\n"), "{text}");
        writing.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_nothing_is_given_up_even_if_the_transport_has_taken_everything() {
    for most in [1, 64 * 1024] {
        let log = Arc::new(MemoryLog::new(Retention::default()));
        let (mut client, writing) = open(&log, most).await;
        read_until(&mut client, "tailwater.ready").await;
        publish(&log, &"x".repeat(2 * PIPE_BYTES), Mark::Open).await;
        let start = Instant::now();
        writing.await.unwrap();
        assert!(start.elapsed() >= STALL, "with {most} bytes held back");
        assert!(start.elapsed() < 2 * STALL, "with {most} bytes held back");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_ends_the_writer() {
    let log = Arc::new(MemoryLog::new(Retention::default()));
    let (mut client, writing) = open(&log, 100).await;
    read_until(&mut client, "tailwater.ready").await;
    drop(client);
    writing.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_of_its_answer_holds_no_read_of_the_log() {
    let memory = MemoryLog::new(Retention::default());
    publish(&memory, "missed", Mark::Open).await;
    let log = Arc::new(Distant::new(memory));
    let (mut client, _writing) = open(&log, 1).await;
    sleep(STALL / 2).await;
    assert_eq!(log.under_way.load(Relaxed), 0);
    read_until(&mut client, "data: missed\n").await;
}

#[tokio::test(start_paused = true)]
async fn the_first_page_is_read_from_the_log_once() {
    const ROOM: usize = 64 * 1024;
    let memory = MemoryLog::new(Retention::default());
    publish(&memory, "missed", Mark::Open).await;
    let log = Arc::new(Distant::new(memory));
    let mut opened = open_as(Config::default(), Arc::clone(&log) as _, (ROOM, ROOM)).await;
    let opening = log.begun.load(Relaxed);
    read_until(&mut opened.client, "data: missed\n").await;
    assert_eq!(log.begun.load(Relaxed), opening + 1);
}

mod bounds;

//! The driver: one thread, one epoll, thousands of readers and one publisher.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use tokio::time::Instant;

use super::payload::{self, Stamp};
use super::reader::Reader;
use super::tally::Tally;

const PUBLISHER: Token = Token(usize::MAX);
/// Connections that are being made at a time: less than any server's backlog.
const CONNECTING_MAX: usize = 100;
const READ_BYTES: usize = 256 * 1024;
/// How long everything that was asked for may take to come.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where a server takes events and gives them.
#[derive(Debug, Clone)]
pub(super) struct Endpoint {
    pub(super) address: SocketAddr,
    pub(super) subscribe: String,
    pub(super) publish: String,
}

/// Drives one server.
#[derive(Debug)]
pub(super) struct Driver {
    endpoint: Endpoint,
    poll: Poll,
    events: Events,
    readers: Vec<Reader>,
    publisher: Publisher,
    buffer: Vec<u8>,
    event_bytes: usize,
    /// The number of the last event published.
    published: u64,
    pub(super) tally: Tally,
}

/// A keep-alive connection with pipelined requests.
#[derive(Debug)]
struct Publisher {
    stream: TcpStream,
    unwritten: Vec<u8>,
    refused: Option<String>,
}

impl Driver {
    pub(super) fn new(endpoint: Endpoint, event_bytes: usize, epoch: Instant) -> Result<Self> {
        let poll = Poll::new()?;
        let mut stream = connect(endpoint.address)?;
        stream.set_nodelay(true)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut stream, PUBLISHER, interest)?;
        Ok(Self {
            endpoint,
            poll,
            events: Events::with_capacity(1024),
            readers: Vec::new(),
            publisher: Publisher { stream, unwritten: Vec::new(), refused: None },
            buffer: vec![0; READ_BYTES],
            event_bytes,
            published: 0,
            tally: Tally::new(epoch),
        })
    }

    /// Begins a new phase; what the last one counted.
    pub(super) fn reset(&mut self) -> Tally {
        let fresh = Tally::new(self.tally.epoch());
        std::mem::replace(&mut self.tally, fresh)
    }

    pub(super) fn published(&self) -> u64 {
        self.published
    }

    /// Opens `count` streams, which expect event `next` first. With a cursor, they resume there.
    pub(super) fn open(&mut self, count: usize, cursor: Option<&str>, next: u64) -> Result<()> {
        let cursor = cursor.map(|id| format!("last-event-id: {id}\r\n")).unwrap_or_default();
        let request: Arc<[u8]> = format!(
            "GET {} HTTP/1.1\r\nhost: bench\r\naccept: text/event-stream\r\n{cursor}\r\n",
            self.endpoint.subscribe
        )
        .into_bytes()
        .into();
        let until = Instant::now() + PATIENCE;
        let first = self.readers.len();
        let mut open = 0;
        while open < count {
            while self.readers.len() < first + count
                && self.readers.len() - first - open < CONNECTING_MAX
            {
                let mut stream = connect(self.endpoint.address)?;
                let token = Token(self.readers.len());
                let interest = Interest::READABLE | Interest::WRITABLE;
                self.poll.registry().register(&mut stream, token, interest)?;
                self.readers.push(Reader::new(stream, Arc::clone(&request), next));
            }
            self.turn(Duration::from_millis(100))?;
            open = self.readers[first..].iter().filter(|reader| reader.is_open()).count();
            ensure!(Instant::now() < until, "only {open} of {count} streams opened");
        }
        Ok(())
    }

    /// Closes all streams.
    pub(super) fn close(&mut self) -> Result<()> {
        for mut reader in self.readers.drain(..) {
            self.poll.registry().deregister(reader.stream())?;
        }
        Ok(())
    }

    /// Publishes at a fixed rate, then waits until everybody has everything.
    pub(super) fn publish_at(&mut self, rate: f64, duration: Duration) -> Result<u64> {
        let start = Instant::now();
        let events = (rate * duration.as_secs_f64()).round() as u64;
        for event in 0..events {
            let due = start + Duration::from_secs_f64(event as f64 / rate);
            self.run_until(due)?;
            self.publish(1)?;
        }
        self.settle(events)?;
        Ok(events)
    }

    /// Publishes as fast as deliveries allow, with `window` events in flight, for a time.
    pub(super) fn publish_under_pressure(&mut self, window: u64, time: Duration) -> Result<u64> {
        let readers = self.readers.len() as u64;
        let until = Instant::now() + time;
        let mut events = 0;
        while Instant::now() < until {
            let through = (self.tally.delivered + self.tally.lost) / readers.max(1);
            let room = (through + window).saturating_sub(events);
            if room > 0 {
                self.publish(room)?;
                events += room;
            }
            self.turn(Duration::from_millis(10))?;
        }
        self.settle(events)?;
        Ok(events)
    }

    /// Waits until every reader has got `events` in this phase, or lost them.
    pub(super) fn settle(&mut self, events: u64) -> Result<()> {
        let all = events * self.readers.len() as u64;
        let until = Instant::now() + PATIENCE;
        while self.tally.delivered + self.tally.lost < all && Instant::now() < until {
            self.turn(Duration::from_millis(100))?;
        }
        let got = self.tally.delivered + self.tally.lost;
        // What never came and left no hole behind it is lost as well.
        self.tally.lost += all.saturating_sub(got);
        Ok(())
    }

    /// Lets things happen for a time.
    pub(super) fn idle(&mut self, time: Duration) -> Result<()> {
        self.run_until(Instant::now() + time)
    }

    /// Publishes `count` events at once.
    pub(super) fn publish(&mut self, count: u64) -> Result<()> {
        for _ in 0..count {
            self.published += 1;
            let stamp = Stamp { number: self.published, micros: self.tally.micros() };
            let payload = payload::encode(stamp, self.event_bytes);
            let request = format!(
                "POST {} HTTP/1.1\r\nhost: bench\r\ncontent-type: text/plain\r\n\
                 content-length: {}\r\n\r\n{payload}",
                self.endpoint.publish,
                payload.len(),
            );
            self.publisher.unwritten.extend_from_slice(request.as_bytes());
        }
        self.publisher.ready(&mut self.buffer)
    }

    fn run_until(&mut self, due: Instant) -> Result<()> {
        loop {
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            self.turn(left)?;
        }
    }

    /// Waits for something to happen and does it.
    fn turn(&mut self, timeout: Duration) -> Result<()> {
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            other => other?,
        }
        self.tally.tick();
        for event in &self.events {
            match event.token() {
                PUBLISHER => self.publisher.ready(&mut self.buffer)?,
                Token(index) => {
                    if let Some(reader) = self.readers.get_mut(index) {
                        reader
                            .ready(&mut self.buffer, &mut self.tally)
                            .with_context(|| format!("reader {index}"))?;
                    }
                }
            }
        }
        match self.publisher.refused.take() {
            Some(head) => anyhow::bail!("an event was refused: {head}"),
            None => Ok(()),
        }
    }
}

impl Publisher {
    fn ready(&mut self, buffer: &mut [u8]) -> Result<()> {
        while !self.unwritten.is_empty() {
            match self.stream.write(&self.unwritten) {
                Ok(count) => drop(self.unwritten.drain(..count)),
                Err(error) if is_not_yet(error.kind()) => break,
                Err(error) => return Err(error.into()),
            }
        }
        loop {
            match self.stream.read(buffer) {
                Ok(0) => anyhow::bail!("the server closed the publisher's connection"),
                Ok(count) => self.check(&buffer[..count]),
                Err(error) if is_not_yet(error.kind()) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Looks for answers that are no success, as far as one read shows them.
    fn check(&mut self, answers: &[u8]) {
        for at in memchr::memmem::find_iter(answers, b"HTTP/1.1 ") {
            if answers.get(at + 9).is_some_and(|digit| *digit != b'2') {
                self.refused = Some(String::from_utf8_lossy(&answers[at..]).into_owned());
            }
        }
    }
}

fn connect(address: SocketAddr) -> Result<TcpStream> {
    TcpStream::connect(address).with_context(|| format!("cannot connect to {address}"))
}

fn is_not_yet(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::NotConnected)
}

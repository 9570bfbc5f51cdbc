//! The driver: one thread, one epoll, thousands of readers and some publishers.
//!
//! It numbers the events of each topic and checks the numbers on every connection. It costs little,
//! so that one core drives a server on another to its end; it knows only its own payloads.

mod churn;
mod endpoint;
mod pace;
mod poller;
mod publisher;
mod reader;
mod stamp;
mod tally;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use tokio::time::Instant;

pub use self::endpoint::{Dialect, DriverEndpoint};
pub use self::pace::Pace;
use self::poller::Pollers;
pub use self::poller::Polling;
pub use self::publisher::PublishWire;
use self::publisher::PublishingConnection;
use self::reader::Ending;
pub(crate) use self::reader::Reader;
pub use self::tally::Tally;
use crate::cost::topic::{TOPICS, numbered};

/// The tokens of publishers, and of users that poll; those of readers are below.
const PUBLISHERS: usize = 2 << 32;
const POLLERS: usize = 1 << 32;
/// Connections that are being made at a time: less than any server's backlog.
const CONNECTING_MAX: usize = 100;
const READ_BYTES: usize = 256 * 1024;
/// The time limit for everything that was asked for.
const PATIENCE: Duration = Duration::from_secs(60);

/// Drives one server.
#[derive(Debug)]
pub struct Driver {
    endpoint: DriverEndpoint,
    poll: Poll,
    events: Events,
    readers: Vec<Reader>,
    publishers: Vec<PublishingConnection>,
    pollers: Pollers,
    topics: Vec<DriverTopic>,
    /// Readers that get the events of all topics.
    watchers: u64,
    buffer: Vec<u8>,
    event_bytes: usize,
    /// True if readers remember the ids of events, and come back with them.
    keeps_ids: bool,
    tally: Tally,
}

/// A topic and the number of its last event.
#[derive(Debug)]
struct DriverTopic {
    name: String,
    published: u64,
}

impl Driver {
    /// A driver with one topic and one publisher.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub fn new(endpoint: DriverEndpoint, event_bytes: usize, epoch: Instant) -> Result<Self> {
        let mut driver = Self::reading(endpoint, event_bytes, epoch)?;
        driver.publish_over(1, PublishWire::Posts)?;
        Ok(driver)
    }

    /// A driver that publishes nothing.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn reading(endpoint: DriverEndpoint, event_bytes: usize, epoch: Instant) -> Result<Self> {
        Ok(Self {
            endpoint,
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            readers: Vec::new(),
            publishers: Vec::new(),
            pollers: Pollers::default(),
            topics: vec![DriverTopic { name: "bench".to_owned(), published: 0 }],
            watchers: 0,
            buffer: vec![0; READ_BYTES],
            event_bytes,
            keeps_ids: false,
            tally: Tally::new(epoch),
        })
    }

    /// Publishes over so many connections from now on.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub fn publish_over(&mut self, connections: usize, wire: PublishWire) -> Result<()> {
        for mut publisher in self.publishers.drain(..) {
            self.poll.registry().deregister(publisher.stream())?;
        }
        for index in 0..connections {
            let mut stream = connect(self.endpoint.publish)?;
            stream.set_nodelay(true)?;
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut stream, Token(PUBLISHERS + index), interest)?;
            self.publishers.push(PublishingConnection::new(stream, wire, self.endpoint));
        }
        Ok(())
    }

    /// Publishes to so many new topics from now on.
    pub fn use_topics(&mut self, count: usize) {
        self.use_topics_under(TOPICS, count);
    }

    /// The same for topics with this prefix.
    pub fn use_topics_under(&mut self, prefix: &str, count: usize) {
        let topic = |index| DriverTopic { name: numbered(prefix, index), published: 0 };
        self.topics = (0..count).map(topic).collect();
    }

    /// Begins a new phase and returns the counts of the last one.
    pub fn reset(&mut self) -> Tally {
        let fresh = Tally::new(self.tally.epoch());
        std::mem::replace(&mut self.tally, fresh)
    }

    /// The bytes of the answers to this phase's readers, and of their requests.
    pub fn traffic(&self) -> (u64, u64) {
        (self.tally.bytes, self.tally.asked)
    }

    /// The number of the first topic's last event.
    pub fn published(&self) -> u64 {
        self.topics[0].published
    }

    /// The number of streams.
    pub fn readers(&self) -> usize {
        self.readers.len()
    }

    /// The request for a stream of the first topic.
    pub fn stream_request(&self) -> String {
        self.endpoint.stream_request(&self.topics[0].name, None, 0)
    }

    /// Opens `count` streams of the first topic, which expect event `next` first. With a cursor,
    /// they resume there.
    ///
    /// # Errors
    /// When the server refuses one.
    pub fn open(&mut self, count: usize, cursor: Option<&str>, next: u64) -> Result<()> {
        let (endpoint, topic) = (self.endpoint, self.topics[0].name.clone());
        let request = |client| -> Arc<[u8]> {
            endpoint.stream_request(&topic, cursor, client).into_bytes().into()
        };
        // With tokens each has its own; without, all share one.
        let shared = endpoint.mint.is_none().then(|| request(0));
        let (first, keeps_ids) = (self.readers.len(), self.keeps_ids);
        self.open_all((first..first + count).map(|client| {
            let request = shared.clone().unwrap_or_else(|| request(client));
            (Reader::new(0, next, keeps_ids, endpoint.dialect.mark()), request)
        }))
    }

    /// Opens a stream for each topic from the one with this number.
    ///
    /// # Errors
    /// When the server refuses one.
    pub fn open_topics(&mut self, first: usize) -> Result<()> {
        let mark = self.endpoint.dialect.mark();
        let wanted = self.topics.iter().enumerate().skip(first).map(|(index, topic)| {
            let request = self.endpoint.stream_request(&topic.name, None, index);
            let reader = Reader::new(index, topic.published + 1, self.keeps_ids, mark);
            (reader, request.into_bytes().into())
        });
        let wanted: Vec<(Reader, Arc<[u8]>)> = wanted.collect();
        self.open_all(wanted.into_iter())
    }

    /// Opens `count` streams of all topics that `pattern` selects, which are all of the driver's.
    ///
    /// # Errors
    /// When the server refuses one.
    pub fn open_watchers(&mut self, pattern: &str, count: usize) -> Result<()> {
        let endpoint = self.endpoint;
        let request: Arc<[u8]> = endpoint.stream_request(pattern, None, 0).into_bytes().into();
        let watcher = |_| (Reader::of_topics(endpoint.dialect.mark()), Arc::clone(&request));
        self.open_all((0..count).map(watcher))?;
        self.watchers += count as u64;
        Ok(())
    }

    fn open_all(
        &mut self,
        mut wanted: impl ExactSizeIterator<Item = (Reader, Arc<[u8]>)>,
    ) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        let (first, count) = (self.readers.len(), wanted.len());
        let mut open = 0;
        while open < count {
            while self.readers.len() - first - open < CONNECTING_MAX {
                let Some((reader, request)) = wanted.next() else { break };
                self.readers.push(reader);
                self.connect(self.readers.len() - 1, request)?;
            }
            self.turn(Duration::from_millis(100))?;
            open = self.readers[first..].iter().filter(|reader| reader.is_open()).count();
            ensure!(Instant::now() < until, "only {open} of {count} streams opened");
        }
        Ok(())
    }

    /// Gives a reader a new connection.
    fn connect(&mut self, index: usize, request: Arc<[u8]>) -> Result<()> {
        let mut stream = connect(self.endpoint.subscribe)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut stream, Token(index), interest)?;
        self.readers[index].connect(stream, request);
        Ok(())
    }

    /// Closes all streams.
    pub fn close(&mut self) {
        self.readers.clear();
        self.watchers = 0;
    }

    /// The deliveries of an event to a topic with one reader of its own.
    const fn copies(&self) -> u64 {
        1 + self.watchers
    }

    /// Waits until the readers have got as many deliveries in this phase, or the time is up.
    ///
    /// # Errors
    /// When a stream ends.
    pub fn wait_for(&mut self, deliveries: u64, patience: Duration) -> Result<()> {
        let until = Instant::now() + patience;
        while self.tally.delivered + self.tally.lost < deliveries && Instant::now() < until {
            self.turn(Duration::from_millis(100))?;
        }
        Ok(())
    }

    /// Waits until the readers have got as many deliveries in this phase, or lost them.
    ///
    /// # Errors
    /// When a stream ends.
    pub fn settle(&mut self, deliveries: u64) -> Result<()> {
        self.wait_for(deliveries, PATIENCE)?;
        let got = self.tally.delivered + self.tally.lost;
        // Events that never came and left no hole are lost as well.
        self.tally.lost += deliveries.saturating_sub(got);
        Ok(())
    }

    /// Serves the sockets for a time.
    ///
    /// # Errors
    /// When a stream ends.
    pub fn idle(&mut self, time: Duration) -> Result<()> {
        self.run_until(Instant::now() + time)
    }

    /// Publishes `count` events to the first topic at once.
    ///
    /// # Errors
    /// When one is refused.
    pub fn publish(&mut self, count: u64) -> Result<()> {
        for _ in 0..count {
            self.put(0);
        }
        self.publishers[0].ready(&mut self.buffer)
    }

    /// Gives the topic's next event to the topic's publisher.
    fn put(&mut self, topic: usize) {
        let publisher = topic % self.publishers.len();
        let topic = &mut self.topics[topic];
        topic.published += 1;
        let payload = self.tally.payload(topic.published, self.event_bytes);
        self.publishers[publisher].put(&topic.name, &payload);
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

    /// Waits until a socket is ready, and serves it.
    fn turn(&mut self, timeout: Duration) -> Result<()> {
        let timeout = self.ask_due(timeout)?;
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            other => other?,
        }
        let (mut closed, mut answered) = (Vec::new(), Vec::new());
        for event in &self.events {
            let Token(index) = event.token();
            if let Some(index) = index.checked_sub(PUBLISHERS) {
                if let Some(publisher) = self.publishers.get_mut(index) {
                    publisher.ready(&mut self.buffer)?;
                }
            } else if let Some(index) = index.checked_sub(POLLERS) {
                answered.push(index);
            } else if let Some(reader) = self.readers.get_mut(index) {
                let ending =
                    reader.ready(event.is_read_closed(), &mut self.buffer, &mut self.tally);
                if ending.with_context(|| format!("reader {index}"))? == Ending::Closed {
                    closed.push(index);
                }
            }
        }
        answered.into_iter().try_for_each(|index| self.answered(index))?;
        closed.into_iter().try_for_each(|index| self.closed(index))
    }

    /// A reader with a cursor comes back with it, like a browser.
    fn closed(&mut self, index: usize) -> Result<()> {
        ensure!(self.keeps_ids, "the server closed the stream of reader {index}");
        self.tally.closed += 1;
        self.come_back(index)
    }
}

fn connect(address: SocketAddr) -> Result<TcpStream> {
    TcpStream::connect(address).with_context(|| format!("cannot connect to {address}"))
}

fn is_not_yet(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::NotConnected)
}

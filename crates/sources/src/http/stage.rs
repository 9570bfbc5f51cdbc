//! A relay in this process, and raw HTTP servers at their worst.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use event_log::{Event, Key, Limit, Log as _, Mark, MemoryLog, Position, Retention, Topic};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::config::Config;
use crate::copier::{Copier, End};
use crate::stats::Stats;

pub(crate) struct Stage {
    pub(crate) log: Arc<MemoryLog>,
    pub(crate) stats: Stats,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let _first = rustls::crypto::ring::default_provider().install_default();
        Self { log: Arc::new(MemoryLog::new(Retention::default())), stats: Stats::default() }
    }

    /// Starts a relay that copies a source, of which this is the table, into the topic `t`. Relays of the same node take
    /// the lead from each other at once.
    pub(crate) fn relay(&self, table: &str) -> AbortOnDropHandle<End> {
        let config = Config::parse(&format!("[source.s]\ntopic = 't'\n{table}")).unwrap();
        let options = &config.sources["s"];
        let copier = Copier {
            log: Arc::<MemoryLog>::clone(&self.log),
            name: Key::new("s").unwrap(),
            kind: options.kind.name(),
            node: "a".to_owned(),
            source: options.kind.source(None),
            copying: options.copying.clone(),
            stats: self.stats.clone(),
            leaving: CancellationToken::new(),
        };
        AbortOnDropHandle::new(tokio::spawn(copier.run()))
    }

    /// Waits until the topic has so many entries, and returns them: data, or the mark of one without.
    pub(crate) async fn entries(&self, topic: &str, count: usize) -> Vec<String> {
        for _ in 0..3000 {
            let entries = self.now(topic).await;
            if entries.len() >= count {
                return entries;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let error = self.error();
        panic!("{topic} has not {count} entries: {:?}, {error:?}", self.now(topic).await);
    }

    pub(crate) async fn now(&self, topic: &str) -> Vec<String> {
        let text = |event: &Event| match event.mark() {
            Mark::Open => match event.kind() {
                Some(kind) => format!("{}: {}", kind.as_str(), event.data()),
                None => event.data().to_owned(),
            },
            mark => format!("{mark:?}"),
        };
        let all = Limit { events: 1000, bytes: usize::MAX };
        let topic = Topic::new(topic).unwrap();
        let page = self.log.read(&topic, Position::START, all).await.unwrap();
        page.events.iter().map(text).collect()
    }

    /// Waits for a failure of the source, and returns it.
    pub(crate) async fn failure(&self) -> String {
        for _ in 0..3000 {
            if let Some(error) = self.error() {
                return error;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the source has no failure");
    }

    pub(crate) fn error(&self) -> Option<String> {
        self.stats.snapshot("s", "", "a").error
    }
}

/// The head of a request.
#[derive(Debug, Clone)]
pub(crate) struct Request(String);

impl Request {
    /// The path with the query.
    pub(crate) fn path(&self) -> &str {
        self.0.split(' ').nth(1).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let named = |line: &'_ str| {
            line.split_once(": ").is_some_and(|(known, _)| known.eq_ignore_ascii_case(name))
        };
        self.0.lines().find(|line| named(line))?.split_once(": ").map(|(_, value)| value)
    }
}

/// A server that answers each request, of which it knows the number from 0, with bytes, and then closes the connection.
pub(crate) struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    _task: JoinHandle<()>,
}

/// The bytes of an answer, and true if the connection stays open behind them.
pub(crate) type Answer = (Vec<u8>, bool);

impl Server {
    pub(crate) async fn start(
        answer: impl Fn(usize, &Request) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::<Mutex<Vec<Request>>>::default();
        let seen = Arc::clone(&requests);
        let answer = Arc::new(answer);
        let task = tokio::spawn(async move {
            loop {
                let (mut socket, _) = listener.accept().await.unwrap();
                let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
                tokio::spawn(async move {
                    let Some(request) = head(&mut socket).await else { return };
                    let number = {
                        let mut seen = seen.lock().unwrap();
                        seen.push(request.clone());
                        seen.len() - 1
                    };
                    let (bytes, is_held) = answer(number, &request);
                    let _sent = socket.write_all(&bytes).await;
                    if is_held {
                        // Until the client goes.
                        let _end = socket.read(&mut [0; 1]).await;
                    }
                });
            }
        });
        Self { address, requests, _task: task }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self._task.abort();
    }
}

async fn head(socket: &mut TcpStream) -> Option<Request> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.ok()?);
    }
    Some(Request(String::from_utf8(head).unwrap()))
}

/// An answer whose body ends with the connection.
pub(crate) fn answer(kind: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\nconnection: close\r\n\r\n{body}").into()
}

/// An answer without a body.
pub(crate) fn status(status: &str, headers: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\n{headers}content-length: 0\r\nconnection: close\r\n\r\n").into()
}

pub(crate) fn numbers(from: usize, to: usize) -> Vec<String> {
    (from..=to).map(|n| n.to_string()).collect()
}

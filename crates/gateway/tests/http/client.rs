//! A minimal HTTP/1.1 client that shows the tests every byte.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use sse::{Event, Parser};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::node::SOCKET_BYTES;

/// A test fails when a single step takes longer than this.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// The headers of a client that does not speak SSE.
pub(crate) const ACCEPT_JSON: [(&str, &[u8]); 1] = [("accept", b"application/json")];

/// A response. Its body is read on demand.
pub(crate) struct Response {
    pub(crate) status: u16,
    /// The status line and the headers, in lower case.
    pub(crate) head: String,
    /// The cookie that the answer sets, as `name=value`, and its attributes.
    pub(crate) cookie: Option<(String, String)>,
    /// The bytes of the body so far, without the chunk framing.
    pub(crate) body: Vec<u8>,
    socket: TcpStream,
    /// Bytes from the socket that are not decoded yet.
    raw: Vec<u8>,
    rest: Rest,
    parsed: usize,
    parser: Parser,
    events: VecDeque<Event>,
}

/// The framing of the rest of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rest {
    Chunks,
    Bytes(usize),
}

impl Response {
    pub(crate) async fn of(address: SocketAddr, line: &str, headers: &[(&str, &[u8])]) -> Self {
        Self::with(address, line, headers, b"").await
    }

    /// Sends a request whose body is `body`. Without one the request says nothing of a body.
    pub(crate) async fn with(
        address: SocketAddr,
        line: &str,
        headers: &[(&str, &[u8])],
        body: &[u8],
    ) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(SOCKET_BYTES).unwrap();
        let mut socket = socket.connect(address).await.unwrap();
        let mut request = format!("{line} HTTP/1.1\r\nhost: test\r\n").into_bytes();
        for (name, value) in headers {
            request.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        if !body.is_empty() {
            request.extend(format!("content-length: {}\r\n", body.len()).into_bytes());
        }
        request.extend(b"\r\n");
        request.extend(body);
        socket.write_all(&request).await.unwrap();
        let mut raw = Vec::new();
        let end = loop {
            if let Some(at) = raw.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            assert!(socket.read_buf(&mut raw).await.unwrap() > 0, "closed before the head");
        };
        let head = String::from_utf8(raw.drain(..end).collect()).unwrap();
        let cookie = head.lines().find_map(|line| line.strip_prefix("set-cookie: "));
        let cookie = cookie.and_then(|cookie| cookie.split_once("; "));
        let cookie = cookie.map(|(pair, rest)| (pair.to_owned(), rest.to_owned()));
        let head = head.to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let rest = match length {
            Some(length) if !line.starts_with("HEAD") => Rest::Bytes(length.parse().unwrap()),
            None if head.contains("transfer-encoding: chunked") => Rest::Chunks,
            _ => Rest::Bytes(0),
        };
        Self {
            status: head[9..12].parse().unwrap(),
            head,
            cookie,
            body: Vec::new(),
            socket,
            raw,
            rest,
            parsed: 0,
            parser: Parser::default(),
            events: VecDeque::new(),
        }
    }

    /// Returns the value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// Returns the next event, which may be a control event, or `None` at the end of the stream.
    pub(crate) async fn try_event(&mut self) -> Option<Event> {
        loop {
            let Self { parser, body, parsed, events, .. } = self;
            parser.feed(&body[*parsed..], &mut |event| events.push_back(event));
            *parsed = body.len();
            if let Some(event) = events.pop_front() {
                return Some(event);
            }
            if !self.more().await {
                return None;
            }
        }
    }

    /// Returns the next event.
    pub(crate) async fn event(&mut self) -> Event {
        self.try_event().await.expect("the stream ended before the event")
    }

    /// Returns the next event, which must be the control event `word`, and its JSON.
    pub(crate) async fn control(&mut self, word: &str) -> (Event, Value) {
        let event = self.event().await;
        assert_eq!(event.event_type(), format!("tailwater.{word}"), "{event:?}");
        let json = serde_json::from_str(&event.data).unwrap();
        (event, json)
    }

    /// Reads `ready` and returns its outcome.
    pub(crate) async fn ready(&mut self) -> String {
        self.control("ready").await.1["outcome"].as_str().unwrap().to_owned()
    }

    /// Returns the data of the next `count` events.
    pub(crate) async fn data(&mut self, count: usize) -> Vec<String> {
        let mut data = Vec::new();
        for _ in 0..count {
            let event = self.event().await;
            assert!(!event.is_control(), "{event:?} after {data:?}");
            data.push(event.data);
        }
        data
    }

    /// Reads to the end of the stream, which must follow a blank line, and asserts that no event comes.
    pub(crate) async fn ends(&mut self) {
        assert_eq!(self.try_event().await, None);
        assert!(self.body.is_empty() || self.body.ends_with(b"\n\n"), "closed inside an event");
    }

    /// Reads until the stream breaks off, and returns the events before that. The stream must not end.
    pub(crate) async fn breaks_off(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        loop {
            let Self { parser, body, parsed, .. } = self;
            parser.feed(&body[*parsed..], &mut |event| events.push(event));
            *parsed = body.len();
            if self.decode() {
                assert_ne!(self.rest, Rest::Bytes(0), "the body has an end");
                continue;
            }
            let read = timeout(PATIENCE, self.socket.read_buf(&mut self.raw)).await.unwrap();
            if read.unwrap_or(0) == 0 {
                events.extend(self.events.drain(..));
                return events;
            }
        }
    }

    /// Returns the last `retry` that the stream has sent.
    pub(crate) fn retry(&self) -> Option<Duration> {
        self.parser.retry()
    }

    /// Reads the body to its end and returns it.
    pub(crate) async fn text(&mut self) -> String {
        while self.more().await {}
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub(crate) async fn json(&mut self) -> Value {
        let text = self.text().await;
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("no JSON: {} {text}", self.head))
    }

    /// Reads until the body has grown. Returns `false` at the end of the body.
    async fn more(&mut self) -> bool {
        let before = self.body.len();
        while self.body.len() == before {
            if self.rest == Rest::Bytes(0) {
                return false;
            }
            if !self.decode() {
                let read = timeout(PATIENCE, self.socket.read_buf(&mut self.raw)).await;
                let read = read.unwrap_or_else(|_| {
                    panic!("nothing in time after {:?}", String::from_utf8_lossy(&self.body));
                });
                assert!(read.unwrap() > 0, "closed without an end");
            }
        }
        true
    }

    /// Decodes bytes into the body. Returns `false` if it needs more bytes from the socket.
    fn decode(&mut self) -> bool {
        let (skip, take, after) = match self.rest {
            Rest::Bytes(left) => {
                let take = left.min(self.raw.len());
                self.rest = Rest::Bytes(left - take);
                (0, take, 0)
            }
            Rest::Chunks => {
                let Some(line) = self.raw.windows(2).position(|w| w == b"\r\n") else {
                    return false;
                };
                let size = std::str::from_utf8(&self.raw[..line]).unwrap();
                let size = usize::from_str_radix(size, 16).unwrap();
                if self.raw.len() < line + 2 + size + 2 {
                    return false;
                }
                if size == 0 {
                    self.rest = Rest::Bytes(0);
                }
                (line + 2, size, 2)
            }
        };
        self.body.extend_from_slice(&self.raw[skip..skip + take]);
        self.raw.drain(..skip + take + after);
        skip + take > 0
    }
}

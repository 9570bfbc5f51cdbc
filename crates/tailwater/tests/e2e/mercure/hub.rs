//! A node with a hub, its tokens, and a client that sees every byte of an answer.

use std::net::SocketAddr;
use std::time::SystemTime;

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use loadtest::client::http;
use loadtest::machine::{Tailwater, TailwaterBuilder};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::{PATIENCE, serve};

pub(super) const PATH: &str = "/.well-known/mercure";
pub(super) const BOOK: &str = "https://example.com/books/1";
const SECRET: &[u8] = b"a secret of at least thirty-two bytes";

/// A node that demands tokens.
pub(super) struct Hub {
    pub(super) node: Tailwater,
    _keys: Keys,
}

/// The key of tokens in a file.
pub(super) struct Keys(TempDir);

impl Keys {
    pub(super) fn new() -> Self {
        let directory = TempDir::new().unwrap();
        std::fs::write(directory.path().join("key"), SECRET).unwrap();
        Self(directory)
    }

    /// Makes a node a hub that demands tokens.
    pub(super) fn close(&self, node: TailwaterBuilder) -> TailwaterBuilder {
        node.arg("--mercure").flag("--auth-keys", self.0.path().join("key").display().to_string())
    }
}

impl Hub {
    pub(super) async fn start(arguments: &[&str]) -> Self {
        let keys = Keys::new();
        let node = arguments.iter().fold(keys.close(serve()), |node, argument| node.arg(*argument));
        Self { node: node.start().await.unwrap(), _keys: keys }
    }

    pub(super) async fn post(&self, token: Option<&str>, form: &str) -> http::Response {
        post(self.node.addr(), token, form).await
    }

    /// Publishes an update and returns its id.
    pub(super) async fn publish(&self, token: &str, fields: &[(&str, &str)]) -> String {
        publish(self.node.addr(), token, fields).await
    }

    pub(super) async fn open(&self, query: &str, headers: &[(&str, &str)]) -> Stream {
        Stream::open(self.node.addr(), &format!("{PATH}?{query}"), headers).await
    }
}

async fn post(to: SocketAddr, token: Option<&str>, form: &str) -> http::Response {
    let bearer = token.map(|token| format!("Bearer {token}"));
    let mut headers = vec![("content-type", "application/x-www-form-urlencoded")];
    headers.extend(bearer.as_deref().map(|bearer| ("authorization", bearer)));
    http::Client::new(to).post(PATH, &headers, form.to_owned()).await.unwrap()
}

pub(super) async fn publish(to: SocketAddr, token: &str, fields: &[(&str, &str)]) -> String {
    let answer = post(to, Some(token), &form(fields)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.text()
}

/// Encodes a form.
pub(super) fn form(fields: &[(&str, &str)]) -> String {
    let encode = |text: &str| -> String {
        text.bytes()
            .map(|byte| match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
                other => format!("%{other:02X}"),
            })
            .collect()
    };
    let pairs = fields.iter().map(|(name, value)| format!("{name}={}", encode(value)));
    pairs.collect::<Vec<_>>().join("&")
}

pub(super) fn sign(kind: &str, claims: &Value) -> String {
    let header = Header { typ: Some(kind.to_owned()), ..Header::new(Algorithm::HS256) };
    encode(&header, claims, &EncodingKey::from_secret(SECRET)).unwrap()
}

/// A token of 0.x, which has no end and names no subject.
pub(super) fn v0(publish: &[&str], subscribe: &[&str]) -> String {
    sign("JWT", &json!({ "mercure": { "publish": publish, "subscribe": subscribe } }))
}

/// A token of 1.0.
pub(super) fn v1(publish: &[&str], subscribe: &[&str]) -> String {
    sign("at+jwt", &v1_claims(publish, subscribe))
}

pub(super) fn v1_claims(publish: &[&str], subscribe: &[&str]) -> Value {
    let detail = |action, topics: &[&str]| {
        let topics: Vec<_> = topics.iter().map(|topic| json!({ "match": topic })).collect();
        json!({
            "type": "https://mercure.rocks/authorization-detail",
            "actions": [action], "topics": topics,
        })
    };
    let rights = [("publish", publish), ("subscribe", subscribe)];
    let details: Vec<_> = rights
        .into_iter()
        .filter(|(_, topics)| !topics.is_empty())
        .map(|(action, topics)| detail(action, topics))
        .collect();
    json!({
        "iss": "https://issuer.example", "aud": PATH, "exp": in_an_hour(), "sub": "ann",
        "authorization_details": details,
    })
}

/// Seconds since 1970.
pub(super) fn in_an_hour() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() + 3600
}

/// An event stream over HTTP/1.1, byte for byte.
pub(super) struct Stream {
    socket: TcpStream,
    head: String,
    /// Bytes of the body whose chunk is not complete.
    rest: Vec<u8>,
    text: String,
    parser: sse::Parser,
    events: std::collections::VecDeque<sse::Event>,
}

impl Stream {
    /// Opens a stream, and waits for its first bytes.
    pub(super) async fn open(at: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Self {
        let mut socket = TcpStream::connect(at).await.unwrap();
        let headers: String =
            headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let request = format!("GET {path} HTTP/1.1\r\nhost: {at}\r\n{headers}\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut read = Vec::new();
        let end = loop {
            if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
                break end;
            }
            let count = timeout(PATIENCE, socket.read_buf(&mut read)).await.unwrap().unwrap();
            assert!(count > 0, "{path}: {}", String::from_utf8_lossy(&read));
        };
        let rest = read.split_off(end + 4);
        let head = String::from_utf8(read).unwrap();
        assert!(head.starts_with("HTTP/1.1 200 "), "{path}: {head}");
        let mut stream = Self {
            socket,
            head,
            rest,
            text: String::new(),
            parser: sse::Parser::default(),
            events: std::collections::VecDeque::new(),
        };
        // Its cursor is open then.
        stream.until(":\n").await;
        stream
    }

    pub(super) fn header(&self, wanted: &str) -> Option<String> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(name, _)| *name == wanted).map(|(_, value)| value.to_owned())
    }

    /// Reads until the text of the stream so far has these words, and returns it.
    pub(super) async fn until(&mut self, words: &str) -> String {
        let wait = async {
            while !self.text.contains(words) {
                assert!(self.read().await, "the stream has ended: {}", self.text);
            }
        };
        timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("no {words:?}"));
        self.text.clone()
    }

    pub(super) async fn event(&mut self) -> sse::Event {
        let wait = async {
            loop {
                if let Some(event) = self.events.pop_front() {
                    return event;
                }
                assert!(self.read().await, "the stream has ended: {}", self.text);
            }
        };
        timeout(PATIENCE, wait).await.expect("an event comes")
    }

    /// Waits for the end of the stream.
    pub(super) async fn ends(&mut self) {
        let wait = async { while self.read().await {} };
        timeout(PATIENCE, wait).await.expect("the stream ends");
    }

    /// Reads what comes next. Returns false at the end.
    async fn read(&mut self) -> bool {
        loop {
            if let Some(chunk) = self.chunk() {
                self.text.push_str(str::from_utf8(&chunk).unwrap());
                self.parser.feed(&chunk, &mut |event| self.events.push_back(event));
                return !chunk.is_empty();
            }
            if self.socket.read_buf(&mut self.rest).await.unwrap_or(0) == 0 {
                return false;
            }
        }
    }

    /// Takes a complete chunk.
    fn chunk(&mut self) -> Option<Vec<u8>> {
        let line = self.rest.windows(2).position(|two| two == b"\r\n")?;
        let size = usize::from_str_radix(str::from_utf8(&self.rest[..line]).unwrap(), 16).unwrap();
        let (begin, end) = (line + 2, line + 2 + size);
        if self.rest.len() < end + 2 {
            return None;
        }
        let after = self.rest.split_off(end + 2);
        let chunk = std::mem::replace(&mut self.rest, after);
        Some(chunk[begin..end].to_vec())
    }
}

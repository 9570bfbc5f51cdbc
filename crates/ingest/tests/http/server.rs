//! A server on a socket of its own, and a minimal client.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use event_log::{Event, Limit, Log, LogName, MemoryLog, Position, Retention, Spaces};
use ingest::Config;
use metrics::Registry;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// Longest wait of a test, longer than any step takes.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Server {
    address: std::net::SocketAddr,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) registry: Registry,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

/// A client's connection that a test writes and reads byte by byte.
pub(crate) struct Connection {
    socket: TcpStream,
    /// Bytes that were read from the socket and not taken yet.
    ahead: Vec<u8>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with(Config::default()).await
    }

    pub(crate) async fn with(config: Config) -> Self {
        Self::on(config, Arc::new(MemoryLog::new(Retention::default()))).await
    }

    /// Starts a server on a log with spaces.
    pub(crate) async fn in_spaces(config: Config, prefixes: &[&str]) -> Self {
        let spaces = Spaces::new(prefixes.iter().copied()).unwrap();
        Self::on(config, Arc::new(MemoryLog::with_spaces(Retention::default(), spaces))).await
    }

    pub(crate) async fn on(config: Config, log: Arc<dyn Log>) -> Self {
        let registry = Registry::new();
        let router = ingest::router(config, Arc::clone(&log), &registry);
        Self::serve(router, log, registry).await
    }

    pub(crate) async fn serve(router: Router, log: Arc<dyn Log>, registry: Registry) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, log, registry }
    }

    pub(crate) async fn connect(&self) -> Connection {
        Connection { socket: TcpStream::connect(self.address).await.unwrap(), ahead: Vec::new() }
    }

    /// Sends a whole request with its body, and reads the answer.
    pub(crate) async fn send(
        &self,
        request: &str,
        headers: &[(&str, &str)],
        body: impl AsRef<[u8]>,
    ) -> Answer {
        let body = body.as_ref();
        let mut connection = self.connect().await;
        let length = body.len().to_string();
        let headers = [headers, &[("content-length", &length), ("connection", "close")]].concat();
        connection.head(request, &headers).await;
        connection.write(body).await;
        connection.answer().await
    }

    pub(crate) async fn post(&self, query: &str, body: impl AsRef<[u8]>) -> Answer {
        self.send(&format!("POST /v1/events?{query}"), &[], body).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(&format!("GET {path}"), &[], "").await
    }

    /// Returns the events that a log holds: that of a topic, or that of a space.
    pub(crate) async fn events(&self, log: &str) -> Vec<Event> {
        let limit = Limit { events: usize::MAX, bytes: usize::MAX };
        let log = LogName::parse(log).unwrap();
        self.log.read(&log, Position::START, limit).await.unwrap().events
    }

    /// Returns the data of the events that the log holds of a topic.
    pub(crate) async fn data(&self, topic: &str) -> Vec<String> {
        self.events(topic).await.iter().map(|event| event.data().to_owned()).collect()
    }

    /// Returns the value of one metric.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let text = self.registry.expose();
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| {
            panic!("{name} is not exposed:\n{text}");
        });
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }
}

impl Connection {
    /// Writes the request line and the headers.
    pub(crate) async fn head(&mut self, request: &str, headers: &[(&str, &str)]) {
        let mut head = format!("{request} HTTP/1.1\r\nhost: test\r\n");
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        self.write(head + "\r\n").await;
    }

    pub(crate) async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        // The server may have answered and closed already. The test looks at the answer.
        let _may_be_closed = self.socket.write_all(bytes.as_ref()).await;
    }

    /// Writes one chunk of a body of unknown length; an empty chunk ends the body.
    pub(crate) async fn chunk(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        self.write([format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()).await;
    }

    /// Reads until `text` arrives, and returns everything up to the end of `text`.
    pub(crate) async fn until(&mut self, text: &str) -> String {
        timeout(PATIENCE, self.find(text)).await.unwrap_or_else(|_| {
            panic!("no {text:?} in time, but {:?}", String::from_utf8_lossy(&self.ahead));
        })
    }

    /// Reads the next line of a chunked body. A chunk may end anywhere.
    pub(crate) async fn line(&mut self) -> String {
        loop {
            let line = self.until("\n").await;
            let is_chunk_head = line.ends_with("\r\n");
            if !is_chunk_head {
                return line;
            }
        }
    }

    /// Reads the answer until the server closes the connection.
    pub(crate) async fn answer(&mut self) -> Answer {
        let head = self.until("\r\n\r\n").await;
        let status = head[9..12].parse().unwrap();
        let mut body = std::mem::take(&mut self.ahead);
        timeout(PATIENCE, self.socket.read_to_end(&mut body)).await.unwrap().unwrap();
        let mut body = String::from_utf8(body).unwrap();
        if head.contains("transfer-encoding: chunked") {
            body = body.split("\r\n").skip(1).step_by(2).collect();
        }
        Answer { status, head, body }
    }

    async fn find(&mut self, text: &str) -> String {
        loop {
            if let Some(at) = self.ahead.windows(text.len()).position(|w| w == text.as_bytes()) {
                let rest = self.ahead.split_off(at + text.len());
                return String::from_utf8(std::mem::replace(&mut self.ahead, rest)).unwrap();
            }
            let read = self.socket.read_buf(&mut self.ahead).await.unwrap();
            assert!(read > 0, "closed before {text:?}");
        }
    }
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// Returns the lines of the body.
    pub(crate) fn lines(&self) -> Vec<Value> {
        self.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Returns status, code and message.
    pub(crate) fn refusal(&self) -> String {
        let error = &self.json()["error"];
        let text = |name: &str| error[name].as_str().unwrap().to_owned();
        format!("{} {}: {}", self.status, text("code"), text("message"))
    }
}

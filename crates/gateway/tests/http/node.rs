//! A gateway on a socket of its own.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ::metrics::Registry;
use axum::Router;
use event_log::{Log, MemoryLog, Retention, Spaces};
use gateway::{Accepted, Config, Door, Gateway, Patience};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use limits::Peer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::client::{ACCEPT_JSON, PATIENCE, Response};

/// Kernel buffer of a socket on either side, in bytes. Small, so that a stalled reader soon blocks
/// the gateway's writes.
pub(crate) const SOCKET_BYTES: u32 = 32 * 1024;

/// Cargo builds these tests twice. In the target `http` the router serves the event streams; in the
/// target `bare`, whose directory is a link, the bare socket serves them.
pub(crate) const BARE: bool = env!("CARGO_CRATE_NAME").len() == "bare".len()
    && env!("CARGO_CRATE_NAME").as_bytes()[0] == b'b';
/// Longest time that a client may take to send a request head.
pub(crate) const HEAD_MAX: Duration = Duration::from_secs(1);

pub(crate) struct Node {
    pub(crate) gateway: Gateway,
    pub(crate) log: Arc<MemoryLog>,
    pub(crate) address: SocketAddr,
    registry: Registry,
    serving: JoinHandle<()>,
}

impl Node {
    pub(crate) async fn start() -> Self {
        Self::with(Config::default()).await
    }

    pub(crate) async fn with(config: Config) -> Self {
        let log = Arc::new(MemoryLog::new(Retention::default()));
        Self::on(config, Arc::clone(&log), log).await
    }

    /// Starts a gateway on a log with spaces.
    pub(crate) async fn in_spaces(config: Config, prefixes: &[&str]) -> Self {
        let spaces = Spaces::new(prefixes.iter().copied()).unwrap();
        let log = Arc::new(MemoryLog::with_spaces(Retention::default(), spaces));
        Self::on(config, Arc::clone(&log), log).await
    }

    /// Starts another gateway on the same log.
    pub(crate) async fn sibling(&self) -> Self {
        let config = Config { node: "sibling".to_owned(), ..Config::default() };
        Self::on(config, Arc::clone(&self.log), Arc::clone(&self.log) as Arc<dyn Log>).await
    }

    /// Starts a gateway that reads `log`, a wrapper of `memory`.
    pub(crate) async fn on(config: Config, memory: Arc<MemoryLog>, log: Arc<dyn Log>) -> Self {
        let registry = Registry::new();
        let gateway = Gateway::new(config, log, &registry);
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_send_buffer_size(SOCKET_BYTES).unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let listener: TcpListener = socket.listen(1024).unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(serve(listener, gateway.door(Router::new())));
        Self { gateway, log: memory, address, registry, serving }
    }

    /// Sends a request and reads the head of its response.
    pub(crate) async fn request(&self, line: &str, headers: &[(&str, &[u8])]) -> Response {
        timeout(PATIENCE, Response::of(self.address, line, headers)).await.unwrap()
    }

    /// Opens an event stream and asserts that the response is one.
    pub(crate) async fn subscribe(&self, query: &str) -> Response {
        let response = self.get(query).await;
        assert_eq!(response.status, 200, "{}", response.head);
        response
    }

    /// Opens an event stream that resumes after a cursor.
    pub(crate) async fn resume(&self, query: &str, cursor: impl AsRef<[u8]>) -> Response {
        self.request(&format!("GET /v1/events?{query}"), &[("last-event-id", cursor.as_ref())])
            .await
    }

    /// Sends a request with a body.
    pub(crate) async fn send(&self, line: &str, headers: &[(&str, &[u8])], body: &str) -> Response {
        let sent = Response::with(self.address, line, headers, body.as_bytes());
        timeout(PATIENCE, sent).await.unwrap()
    }

    pub(crate) async fn get(&self, query: &str) -> Response {
        self.request(&format!("GET /v1/events?{query}"), &[]).await
    }

    /// Sends a long poll.
    pub(crate) async fn poll(&self, query: &str) -> Response {
        self.request(&format!("GET /v1/events?{query}"), &ACCEPT_JSON).await
    }

    pub(crate) fn exposition(&self) -> String {
        self.registry.expose()
    }

    /// Returns the value of one metric. `name` is the text before the value, labels included.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let text = self.exposition();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("{name} is not exposed:\n{text}")).parse().unwrap()
    }

    /// Waits until a metric has a value.
    pub(crate) async fn until(&self, name: &str, value: f64) {
        let reached = async {
            while (self.metric(name) - value).abs() > f64::EPSILON {
                sleep(Duration::from_millis(5)).await;
            }
        };
        if timeout(PATIENCE, reached).await.is_err() {
            panic!("{name} is {} and not {value}", self.metric(name));
        }
    }
}

async fn serve(listener: TcpListener, door: Door) {
    while let Ok((socket, peer)) = listener.accept().await {
        let peer = Peer::new(peer);
        let door = door.clone();
        tokio::spawn(async move {
            if !BARE {
                return general(socket, peer, door).await;
            }
            let patience = Patience { head: HEAD_MAX, stall: PATIENCE };
            match door.accept(socket, peer, patience, std::future::pending()).await {
                Accepted::Stream(stream) => {
                    let run = stream.run();
                    let size = size_of_val(&run);
                    assert!(size <= 1024, "{size}: it is what an idle one costs");
                    run.await;
                }
                Accepted::Other(stream) => general(stream, peer, door).await,
                Accepted::Closed => {}
            }
        });
    }
}

async fn general<S>(stream: S, peer: Peer, door: Door)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let overdue = door.overdue(peer.connection);
    let service = service_fn(move |request| {
        let door = door.clone();
        async move { Ok::<_, Infallible>(door.answer(request, peer).await) }
    });
    let builder = Builder::new(TokioExecutor::new());
    // A client may end the connection in any way, so an error is no failure.
    tokio::select! {
        _ended = builder.serve_connection(TokioIo::new(stream), service) => {}
        () = overdue => {}
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

//! Clients of a router without sockets, so that a test may pause time and choose their addresses.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderName, Request, Response, StatusCode};
use event_log::{Log, MemoryLog, Retention};
use futures_util::stream::poll_fn;
use http_body_util::BodyExt as _;
use ingest::Config;
use limits::Peer;
use metrics::Registry;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tower::ServiceExt as _;

pub(crate) struct Local {
    router: Router,
    pub(crate) registry: Registry,
}

/// The publisher's end of a body. Dropping it ends the body.
pub(crate) struct Writer(mpsc::Sender<Bytes>);

/// Pieces that a test writes ahead of its server.
const AHEAD_MAX: usize = 256;

/// A request that is under way.
pub(crate) type Pending = JoinHandle<Response<Body>>;

impl Local {
    pub(crate) fn with(config: Config) -> Self {
        Self::on(config, Arc::new(MemoryLog::new(Retention::default())))
    }

    pub(crate) fn on(config: Config, log: Arc<dyn Log>) -> Self {
        let registry = Registry::new();
        Self { router: ingest::router(config, log, &registry), registry }
    }

    /// Sends a request of the peer at an address.
    pub(crate) async fn send(
        &self,
        peer: Peer,
        query: &str,
        headers: &[(&'static str, &str)],
        body: impl Into<Body>,
    ) -> Response<Body> {
        let mut request = Request::post(format!("/v1/events?{query}")).body(body.into()).unwrap();
        for (name, value) in headers {
            request.headers_mut().append(HeaderName::from_static(name), value.parse().unwrap());
        }
        request.extensions_mut().insert(peer);
        self.router.clone().oneshot(request).await.unwrap()
    }

    /// Publishes one event, and returns the status.
    pub(crate) async fn post(&self, peer: Peer, topic: &str) -> StatusCode {
        self.send(peer, &format!("topic={topic}"), &[], "x").await.status()
    }

    /// Begins a request whose body a test writes.
    pub(crate) fn open(&self, peer: Peer, query: &str, media: &str) -> (Writer, Pending) {
        self.open_with(peer, query, &[("content-type", media)])
    }

    /// Begins a request with any headers.
    pub(crate) fn open_with(
        &self,
        peer: Peer,
        query: &str,
        headers: &[(&'static str, &str)],
    ) -> (Writer, Pending) {
        let (sender, mut receiver) = mpsc::channel::<Bytes>(AHEAD_MAX);
        let body = Body::from_stream(poll_fn(move |context| {
            receiver.poll_recv(context).map(|chunk| chunk.map(Ok::<_, Infallible>))
        }));
        let router = self.router.clone();
        let mut request = Request::post(format!("/v1/events?{query}")).body(body).unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        request.extensions_mut().insert(peer);
        let pending = tokio::spawn(async move { router.oneshot(request).await.unwrap() });
        (Writer(sender), pending)
    }

    /// Returns the value of one metric.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let text = self.registry.expose();
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| {
            panic!("{name} is not exposed:\n{text}");
        });
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }

    /// Waits until a metric has a value.
    pub(crate) async fn until(&self, name: &str, value: u64) {
        for _ in 0..10_000 {
            if self.metric(name) == value {
                return;
            }
            tokio::task::yield_now().await;
        }
        panic!("{name} is {}, not {value}", self.metric(name));
    }
}

impl Writer {
    pub(crate) fn write(&self, bytes: impl Into<Bytes>) {
        // The server may have ended the request. The test looks at the answer.
        let sent = self.0.try_send(bytes.into());
        assert!(!matches!(sent, Err(mpsc::error::TrySendError::Full(_))), "the server reads");
    }
}

/// The peer at an address.
pub(crate) fn peer(address: [u8; 4]) -> Peer {
    Peer::new(SocketAddr::from((address, 4000)))
}

/// Returns status, code and message of a refusal.
pub(crate) async fn refusal(response: Response<Body>) -> String {
    let status = response.status().as_u16();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    let json: Value = serde_json::from_slice(&bytes).unwrap();
    let text = |name: &str| json["error"][name].as_str().unwrap().to_owned();
    format!("{status} {}: {}", text("code"), text("message"))
}

/// Returns the receipts to the end of the stream: the code of each error, or "stored".
pub(crate) async fn outcomes(response: Response<Body>) -> Vec<String> {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    let lines = str::from_utf8(&bytes).unwrap().lines();
    let outcome = |line| {
        let line: Value = serde_json::from_str(line).unwrap();
        line["error"]["code"].as_str().unwrap_or("stored").to_owned()
    };
    lines.map(outcome).collect()
}

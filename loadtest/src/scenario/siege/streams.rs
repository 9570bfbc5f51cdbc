//! Attacks over HTTP/2: many streams on few connections.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use h2::client::SendRequest;
use hyper::Request;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::raw;

/// One connection of the attacker.
struct Attacker {
    requests: SendRequest<Bytes>,
    _driver: AbortOnDropHandle<()>,
}

/// The longest wait for a stream that the node does not allow.
const OPEN_MAX: Duration = Duration::from_millis(200);

impl Attacker {
    /// Connects, with so many bytes of window for each stream.
    async fn connect(target: SocketAddr, window: u32) -> Result<Self> {
        let stream = raw::connect(target).await?;
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(window).max_concurrent_reset_streams(10);
        let (requests, connection) = builder.handshake(stream).await?;
        let driver = tokio::spawn(async move {
            connection.await.ok();
        });
        Ok(Self { requests, _driver: AbortOnDropHandle::new(driver) })
    }

    /// Opens a stream, if the node allows another one. It stays open while the result is kept.
    async fn open(
        &mut self,
        request: Request<()>,
        has_body: bool,
    ) -> Option<(h2::client::ResponseFuture, h2::SendStream<Bytes>)> {
        let ready = timeout(OPEN_MAX, self.requests.clone().ready()).await.ok()?.ok()?;
        self.requests = ready;
        self.requests.send_request(request, !has_body).ok()
    }
}

/// Opens so many streams on each of some connections, and takes nothing. Returns the streams that the node
/// allowed.
pub(super) async fn take_nothing(
    target: SocketAddr,
    query: &str,
    (connections, streams, window): (usize, usize, u32),
    time: Duration,
) -> Result<usize> {
    let request = || Request::get(format!("http://localhost/v1/events?{query}")).body(());
    hold(target, (connections, streams, window), false, time, request).await
}

/// Begins so many publishes on each of some connections, and sends no byte of a body.
pub(super) async fn send_nothing(
    target: SocketAddr,
    kind: &str,
    (connections, streams): (usize, usize),
    time: Duration,
) -> Result<usize> {
    let request = || {
        let request = Request::post("http://localhost/v1/events?topic=idle");
        request.header("content-type", kind).body(())
    };
    hold(target, (connections, streams, 65_535), true, time, request).await
}

async fn hold(
    target: SocketAddr,
    (connections, streams, window): (usize, usize, u32),
    has_body: bool,
    time: Duration,
    request: impl Fn() -> hyper::http::Result<Request<()>>,
) -> Result<usize> {
    let end = Instant::now() + time;
    let (mut attackers, mut open, mut most) = (Vec::new(), Vec::new(), 0);
    for _ in 0..connections {
        let mut attacker = Attacker::connect(target, window).await?;
        for _ in 0..streams {
            let Some(stream) = attacker.open(request()?, has_body).await else { break };
            open.push(stream);
        }
        most = open.len();
        attackers.push(attacker);
    }
    sleep(end.saturating_duration_since(Instant::now())).await;
    drop(open);
    Ok(most)
}

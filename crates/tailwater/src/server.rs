//! Accepts connections and serves a site on them: HTTP/1.1 and HTTP/2, in clear or over TLS.

mod connection;
#[cfg(target_os = "linux")]
mod deferred;
mod encrypted;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::X_CONTENT_TYPE_OPTIONS;
use axum::response::{IntoResponse as _, Response};
use axum::{Json, Router};
use cors::SiteRules;
use gateway::Door;
use hyper::Request;
use hyper::body::Incoming;
use limits::Peer;
use serde_json::json;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpSocket};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::tls::Tls;
use crate::workers::Workers;

/// The pause after a failed accept. The usual cause is a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The silence after which a peer is probed. Three probes of 10 s without an answer end the connection.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// Connections that may wait to be accepted. When the backlog is full, the kernel drops the SYN and the
/// client retries after a second. The kernel allows fewer, 4,096 by default (net.core.somaxconn).
const BACKLOG: u32 = 16 * 1024;

/// Opens a listening socket.
///
/// # Errors
/// The address is taken or not this machine's.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // Connections of an earlier process in TIME_WAIT do not keep the port.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Tells a server to end.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ending {
    /// Once cancelled, HTTP/2 clients are sent GOAWAY: a client that is told to come back then opens
    /// another connection, which a load balancer sends elsewhere. (Over HTTP/1.1 the responses close the
    /// connection.) New connections are accepted and served.
    pub(crate) last_requests: CancellationToken,
    /// Once cancelled, no further connection is accepted.
    pub(crate) stop: CancellationToken,
}

impl Ending {
    /// Ends the server.
    pub(crate) fn stop(&self) {
        self.last_requests.cancel();
        self.stop.cancel();
    }
}

/// The services behind a listening socket.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    pub(crate) entry: Entry,
    /// Encrypts the connections, if they are to be encrypted.
    pub(crate) tls: Option<Arc<Tls>>,
}

/// The way in for requests.
#[derive(Debug, Clone)]
pub(crate) enum Entry {
    /// A gateway's door, with everything else that the node serves behind it.
    Door(Door),
    /// Routes of a node without a gateway, and the requests that they answer at all.
    Routes(Router, SiteRules),
}

impl Entry {
    async fn answer(&self, mut request: Request<Incoming>, peer: Peer) -> Response {
        if let Err(refusal) = self.site().check(&request) {
            return refused(&refusal);
        }
        match self {
            Self::Door(door) => door.answer(request, peer).await,
            Self::Routes(routes, _) => {
                request.extensions_mut().insert(peer);
                let Ok(response) = routes.clone().oneshot(request.map(Body::new)).await;
                response
            }
        }
    }

    fn site(&self) -> &SiteRules {
        match self {
            Self::Door(door) => door.site(),
            Self::Routes(_, site) => site,
        }
    }
}

/// Answers a request that the node must not answer.
fn refused(refusal: &cors::Refusal) -> Response {
    let error = json!({ "code": refusal.code(), "message": refusal.to_string() });
    let nosniff = [(X_CONTENT_TYPE_OPTIONS, "nosniff")];
    (refusal.status(), nosniff, Json(json!({ "error": error }))).into_response()
}

/// Serves on `workers` until it is told to stop, then lets open requests finish for at most `grace`.
pub(crate) async fn serve(
    listener: TcpListener,
    site: Site,
    workers: Workers,
    ending: Ending,
    grace: Duration,
) {
    prepare(&listener);
    let mut turns = workers.turns();
    while let Some(accepted) = ending.stop.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((stream, peer)) => {
                let (site, ending) = (site.clone(), ending.clone());
                turns.next().serve(stream, move |stream, tasks| {
                    connection::serve(stream, Peer::new(peer), site, ending, tasks)
                });
            }
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    if timeout(grace, workers.all_closed()).await.is_err() {
        tracing::warn!(left = workers.open(), "closing connections that did not finish");
    }
}

/// Sets the options that the connections of a listener inherit: an event is small and must leave at once,
/// a peer that vanished must not be kept for ever, and a client speaks first.
fn prepare(listener: &TcpListener) {
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 3);
    let socket = SockRef::from(listener);
    let set = socket.set_tcp_nodelay(true).and_then(|()| socket.set_tcp_keepalive(&keepalive));
    #[cfg(target_os = "linux")]
    let set = set.and_then(|()| deferred::defer_accept(listener));
    if let Err(error) = set {
        tracing::warn!(%error, "the listening socket takes no options");
    }
}

//! Accepts connections and serves a site on them: HTTP/1.1 and HTTP/2, in clear or over TLS.

mod connection;
#[cfg(target_os = "linux")]
mod deferred;
mod encrypted;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use gateway::Door;
use hyper::Request;
use hyper::body::Incoming;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpSocket};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use crate::tls::Tls;

/// The pause after a failed accept, which is mostly for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// A peer that is gone without a word is noticed after this time and three probes of 10 s.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// Connections that may wait to be accepted: who comes when it is full is not refused, but tries again
/// after a second. The kernel takes less, 4,096 by itself (net.core.somaxconn).
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
    // What connections of an earlier process leave behind keeps nobody from the port.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// How a server is told to end.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ending {
    /// From now on HTTP/2 clients are sent GOAWAY, so that whoever is told to come back comes by a
    /// new connection, which a load balancer sends elsewhere. (On HTTP/1.1 the answers see to that.)
    /// New connections are accepted and served.
    pub(crate) last_requests: CancellationToken,
    /// No connection is accepted any more.
    pub(crate) stop: CancellationToken,
}

impl Ending {
    /// Ends what is left.
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
    /// Routes of a node without a gateway.
    Routes(Router),
}

impl Entry {
    async fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> Response {
        match self {
            Self::Door(door) => door.answer(request, Some(peer)).await,
            Self::Routes(routes) => {
                let Ok(response) = routes.clone().oneshot(request.map(Body::new)).await;
                response
            }
        }
    }
}

/// Serves until it is told to stop, then lets open requests finish for at most `grace`.
pub(crate) async fn serve(listener: TcpListener, site: Site, ending: Ending, grace: Duration) {
    let tasks = TaskTracker::new();
    prepare(&listener);
    while let Some(accepted) = ending.stop.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((stream, peer)) => {
                let (site, ending) = (site.clone(), ending.clone());
                tasks.spawn(connection::serve(stream, peer, site, ending, tasks.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    tasks.close();
    if timeout(grace, tasks.wait()).await.is_err() {
        tracing::warn!(left = tasks.len(), "closing connections that did not finish");
    }
}

/// Sets what the connections of a listener inherit from it: events are small and must leave at once,
/// a peer that vanished must not be kept for ever,
/// and whoever connects will speak first.
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

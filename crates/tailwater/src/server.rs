//! Accepts connections and serves a router on them: HTTP/1.1 and HTTP/2, in clear or over TLS.

#[cfg(target_os = "linux")]
mod deferred;
mod stall;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use bytes::Bytes;
use gateway::{Accepted, Gateway, Patience, Rewind};
use hyper::body::Incoming;
use hyper::service::{Service as _, service_fn};
use hyper::{Request, Version};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::tls::Tls;
use crate::workers::Workers;
use stall::Impatient;

/// The longest time until a client has sent the head of its request.
const HEAD_MAX: Duration = Duration::from_secs(30);
/// Bytes of one connection that may wait for its client: a page of events, not hyper's 400 KiB.
const BUFFER_BYTES: usize = 64 * 1024;
/// The same of one HTTP/2 stream, of which a connection has many (docs/performance.md).
const STREAM_BUFFER_BYTES: usize = 16 * 1024;
/// Streams of one HTTP/2 connection: a browser's tabs share one, a proxy's clients too.
const STREAMS_MAX: u32 = 1000;
/// The pause after a failed accept. The usual cause is a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The silence after which a peer is probed. Three probes of 10 s without an answer end the connection.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// The longest time that a peer may leave waiting bytes unread. Long, since a reader that stalls costs
/// little and resumes where it was.
const STALL_MAX: Duration = Duration::from_mins(10);

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
    /// Once cancelled, no connection is accepted any more.
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
    /// Everything.
    pub(crate) router: Router,
    /// The gateway whose event streams are taken off the router, if any: it serves them the same, but for
    /// the layers over the router.
    pub(crate) streams: Option<Gateway>,
    /// Encrypts the connections, if they are to be encrypted. Their event streams stay on the router.
    pub(crate) tls: Option<Arc<Tls>>,
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
                    connection(stream, peer, site, ending, tasks)
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

/// Serves one connection. Short for an event stream and by TLS, which go on as tasks of their own: this
/// one has room for everything that a connection may be.
async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    site: Site,
    ending: Ending,
    tasks: TaskTracker,
) {
    if let Some(tls) = &site.tls {
        let encrypted = ending.stop.run_until_cancelled(tls.accept(stream)).await;
        if let Some(Some(stream)) = encrypted {
            drop(tasks.spawn(general(stream, peer, site.router, ending)));
        }
        return;
    }
    let Some(gateway) = &site.streams else {
        return general(Rewind::new(stream, Bytes::new()), peer, site.router, ending).await;
    };
    let patience = Patience { head: HEAD_MAX, stall: STALL_MAX };
    // Who is silent until the end has no request to make.
    let stop = ending.stop.clone();
    match gateway.accept(stream, patience, stop.cancelled()).await {
        Accepted::Stream(stream) => drop(tasks.spawn(stream.run())),
        Accepted::Other(stream) => Box::pin(general(stream, peer, site.router, ending)).await,
        Accepted::Closed => {}
    }
}

/// Serves whatever HTTP there is.
async fn general<S>(stream: S, peer: SocketAddr, router: Router, ending: Ending)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_MAX)
        .max_buf_size(BUFFER_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_send_buf_size(STREAM_BUFFER_BYTES)
        .max_concurrent_streams(STREAMS_MAX)
        .keep_alive_interval(KEEPALIVE);
    let router = TowerToHyperService::new(router);
    let is_http2 = AtomicBool::new(false);
    let service = service_fn(|mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        is_http2.store(request.version() == Version::HTTP_2, Relaxed);
        router.call(request)
    });
    let connection =
        builder.serve_connection(TokioIo::new(Impatient::new(stream, STALL_MAX)), service);
    tokio::pin!(connection);
    // An HTTP/1.1 connection without a request would be closed at once, maybe under the very request
    // that is on its way: it is left alone until the end.
    let no_more_requests = async {
        ending.last_requests.cancelled().await;
        if !is_http2.load(Relaxed) {
            ending.stop.cancelled().await;
        }
    };
    let ended = tokio::select! {
        // First, so that a request that was read already is heard before the end is.
        biased;
        ended = &mut connection => ended,
        () = no_more_requests => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        // Clients come and go; that one broke off is its connection's end, not a fault of ours.
        tracing::debug!(%error, "connection failed");
    }
}

//! Serves one connection: event streams over HTTP/1.1 by the gateway's own writer, in clear and over
//! TLS; everything else by hyper.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use gateway::{Accepted, Impatient, Patience, Transport};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Version};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use limits::Peer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_util::task::TaskTracker;

use super::encrypted::Encrypted;
use super::{Ending, Entry, KEEPALIVE, Site};

/// The longest time until a client has sent the head of its request.
const HEAD_MAX: Duration = Duration::from_secs(30);
/// Write buffer of one connection, in bytes: a page of events, less than hyper's 400 KiB.
const BUFFER_BYTES: usize = 64 * 1024;
/// Write buffer of one HTTP/2 stream, of which a connection has many (docs/performance.md).
const STREAM_BUFFER_BYTES: usize = 16 * 1024;
/// Streams of one HTTP/2 connection. The tabs of a browser share a connection, like a proxy's clients.
const STREAMS_MAX: u32 = 1000;
/// The longest time that a peer may leave written bytes unacknowledged. Long, because a reader that
/// stalls costs little and resumes where it was.
const STALL_MAX: Duration = Duration::from_mins(10);

/// Serves one connection. An event stream goes on as a task of its own, because this future has room
/// for everything that a connection may be.
pub(super) async fn serve(
    stream: TcpStream,
    peer: Peer,
    site: Site,
    ending: Ending,
    tasks: TaskTracker,
) {
    let Some(tls) = &site.tls else {
        return enter(stream, peer, site.entry, ending, tasks).await;
    };
    let Some(Some(stream)) = ending.stop.run_until_cancelled(tls.accept(stream)).await else {
        return;
    };
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let stream = Encrypted::new(stream);
    // Spawned, so that the room for a handshake is free while the connection lives.
    match is_http2 {
        true => drop(tasks.spawn(general(stream, peer, site.entry, ending))),
        false => drop(tasks.spawn(enter(stream, peer, site.entry, ending, tasks.clone()))),
    }
}

/// Looks at the first request of a connection that may speak HTTP/1.1.
async fn enter<T: Transport>(
    stream: T,
    peer: Peer,
    entry: Entry,
    ending: Ending,
    tasks: TaskTracker,
) {
    let Entry::Door(door) = &entry else {
        return Box::pin(general(stream, peer, entry, ending)).await;
    };
    let patience = Patience { head: HEAD_MAX, stall: STALL_MAX };
    // A client that has sent no request by the end has no response to wait for.
    match door.accept(stream, peer, patience, ending.stop.cancelled()).await {
        Accepted::Stream(stream) => drop(tasks.spawn(stream.run())),
        Accepted::Other(stream) => Box::pin(general(stream, peer, entry, ending)).await,
        Accepted::Closed => {}
    }
}

/// Serves any HTTP.
async fn general<S>(stream: S, peer: Peer, entry: Entry, ending: Ending)
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
    let is_http2 = AtomicBool::new(false);
    let service = service_fn(|request: Request<Incoming>| {
        is_http2.store(request.version() == Version::HTTP_2, Relaxed);
        let entry = entry.clone();
        // Boxed, since hyper keeps room for this future in the task of each HTTP/2 stream.
        Box::pin(async move { Ok::<_, Infallible>(entry.answer(request, peer).await) })
    });
    let connection =
        builder.serve_connection(TokioIo::new(Impatient::new(stream, STALL_MAX)), service);
    tokio::pin!(connection);
    // Hyper would close an HTTP/1.1 connection without a request at once, maybe under the very request
    // that is on its way. Such a connection is left alone until the end.
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
        // A broken connection is the client's or the network's fault, so it is no error of the node.
        tracing::debug!(%error, "connection failed");
    }
}

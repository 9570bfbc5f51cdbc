//! Serves one connection: event streams over HTTP/1.1 by the gateway's own writer, in clear and over
//! TLS; everything else by hyper.

use std::convert::Infallible;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use gateway::{Accepted, Impatient, Patience, Transport};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Version};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use limits::{Held, Peer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_util::task::TaskTracker;

use super::activity::Activity;
use super::attentive::Attentive;
use super::encrypted::Encrypted;
use super::listen::KEEPALIVE;
use super::proxy_header;
use super::punctual::Punctual;
use super::{Ending, Entry, Site};

/// The longest time until a client has sent the head of its request.
const HEAD_MAX: Duration = Duration::from_secs(30);
/// Write buffer of one connection, in bytes: a page of events, less than hyper's 400 KiB.
const BUFFER_BYTES: usize = 64 * 1024;
/// Headers of one HTTP/2 request, in bytes: as many as of one over HTTP/1.1, whose head has to fit the buffer.
const HEADERS_BYTES_MAX: u32 = 64 * 1024;
/// Write buffer of one HTTP/2 stream, of which a connection has many (docs/performance.md).
const STREAM_BUFFER_BYTES: usize = 16 * 1024;
/// Bytes of a body that an HTTP/2 client may send before they are read: hyper keeps them, beside the
/// memory that is counted. A quarter of hyper's default; over 50 ms it carries 5 MB a second.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
/// The longest time that a peer may leave written bytes unacknowledged. Long, because a reader that
/// stalls costs little and resumes where it was.
const STALL_MAX: Duration = Duration::from_mins(10);

/// A connection that the gate let in.
struct Guest {
    peer: Peer,
    /// Held for as long as the connection is open.
    place: Held,
    site: Site,
    ending: Ending,
}

/// Serves one connection. An event stream goes on as a task of its own, because this future has room
/// for everything that a connection may be.
pub(super) async fn serve(
    stream: TcpStream,
    (peer, place): (Peer, Held),
    site: Site,
    ending: Ending,
    tasks: TaskTracker,
) {
    let guest = Guest { peer, place, site, ending };
    if !guest.site.gate.is_proxied() {
        return secure(stream, guest, tasks).await;
    }
    let introduced = Box::pin(introduce(stream, guest)).await;
    if let Some((stream, guest)) = introduced {
        secure(stream, guest, tasks).await;
    }
}

/// Reads the header by which a load balancer names its client, and counts the connection for the client.
async fn introduce(mut stream: TcpStream, mut guest: Guest) -> Option<(TcpStream, Guest)> {
    match proxy_header::read(&mut stream).await {
        Ok(None) => {}
        Ok(Some(address)) => {
            guest.peer.address = address;
            guest.place = guest.site.gate.admit_named(guest.peer, guest.place)?;
        }
        Err(error) => {
            tracing::debug!(%error, proxy = %guest.peer.address, "connection failed");
            return None;
        }
    }
    Some((stream, guest))
}

/// Encrypts the connection if the site does.
async fn secure(stream: TcpStream, guest: Guest, tasks: TaskTracker) {
    let Some(tls) = &guest.site.tls else {
        return enter(stream, guest, tasks).await;
    };
    let client = guest.site.gate.client(guest.peer);
    // Boxed: a handshake needs kilobytes, which a connection in clear should not move around.
    let handshake = Box::pin(tls.accept(stream, client));
    let accepted = guest.ending.stop.run_until_cancelled(handshake).await;
    let Some(Some(stream)) = accepted else {
        return;
    };
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let stream = Encrypted::new(stream);
    // Spawned, so that the room for a handshake is free while the connection lives.
    match is_http2 {
        true => drop(tasks.spawn(general(stream, guest))),
        false => drop(tasks.spawn(enter(stream, guest, tasks.clone()))),
    }
}

/// Looks at the first request of a connection that may speak HTTP/1.1.
async fn enter<T: Transport>(stream: T, guest: Guest, tasks: TaskTracker) {
    let Entry::Door(door) = &guest.site.entry else {
        return Box::pin(general(stream, guest)).await;
    };
    let patience = Patience { head: HEAD_MAX, stall: STALL_MAX };
    // A client that has sent no request by the end has no response to wait for.
    match door.accept(stream, guest.peer, patience, guest.ending.stop.cancelled()).await {
        Accepted::Stream(mut stream) => {
            stream.hold(guest.place);
            drop(tasks.spawn(stream.run()));
        }
        Accepted::Other(stream) => Box::pin(general(stream, guest)).await,
        Accepted::Closed => {}
    }
}

/// Serves any HTTP.
async fn general<S>(stream: S, guest: Guest)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Guest { peer, place: _place, site, ending } = guest;
    let Site { entry, gate, .. } = site;
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_MAX)
        // A client that has sent its last request still waits for the answer (RFC 9112, section 9.6).
        .half_close(true)
        .max_buf_size(BUFFER_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_send_buf_size(STREAM_BUFFER_BYTES)
        .max_header_list_size(HEADERS_BYTES_MAX)
        .max_concurrent_streams(gate.streams(peer))
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(2 * STREAM_WINDOW_BYTES)
        .keep_alive_interval(KEEPALIVE);
    let is_http2 = AtomicBool::new(false);
    let activity = Arc::<Activity>::default();
    let (stream, presence) =
        Attentive::new(Impatient::new(Punctual::new(stream, HEAD_MAX), STALL_MAX));
    let service = service_fn(|request: Request<Incoming>| {
        let is_multiplexed = request.version() == Version::HTTP_2;
        is_http2.store(is_multiplexed, Relaxed);
        let (entry, open) = (entry.clone(), activity.open());
        let presence = presence.clone();
        presence.set_streaming(false);
        // Boxed, since hyper keeps room for this future in the task of each HTTP/2 stream.
        Box::pin(async move {
            let response = entry.answer(request, peer).await;
            // The door knows its event streams, and a delivery should not pay for another body.
            let is_known = Entry::is_event_stream(&response);
            let is_stream = is_known || Entry::is_relayed(&response);
            presence.set_streaming(is_stream && !is_multiplexed);
            Ok::<_, Infallible>(if is_known { response } else { open.until_sent(response) })
        })
    });
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    // Boxed: most connections end otherwise.
    let mut overdue = entry.overdue(peer);
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
        () = poll_fn(|cx| presence.poll_left(cx)) => return,
        () = &mut overdue => return,
        () = no_more_requests => {
            connection.as_mut().graceful_shutdown();
            // In the end nobody waits for a client that takes nothing of its answers.
            let stopped = async {
                ending.stop.cancelled().await;
                activity.stopped(|| entry.has_streams(peer)).await;
            };
            tokio::select! {
                biased;
                ended = finish(connection, overdue) => ended,
                () = stopped => return,
            }
        }
        () = activity.idle(|| entry.has_streams(peer)) => {
            connection.as_mut().graceful_shutdown();
            // A client that takes nothing of its answers is idle once more.
            tokio::select! {
                biased;
                ended = finish(connection, overdue) => ended,
                () = activity.idle(|| entry.has_streams(peer)) => return,
            }
        }
    };
    if let Err(error) = ended {
        // A broken connection is the client's or the network's fault, so it is no error of the node.
        tracing::debug!(%error, "connection failed");
    }
}

/// Lets a connection finish its streams, but not those that are overdue.
async fn finish<E>(
    connection: impl Future<Output = Result<(), E>>,
    overdue: impl Future<Output = ()>,
) -> Result<(), E> {
    tokio::select! {
        biased;
        ended = connection => ended,
        () = overdue => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::response::Response;
    use axum::routing::get;
    use cors::SiteRules;
    use futures_util::stream;
    use hyper::client::conn::http2;
    use limits::Rules;
    use metrics::Registry;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
    use tokio::time::{Instant, sleep, timeout};

    use super::super::Gate;
    use super::*;

    /// Longer than any clock of the server, in paused time.
    const LONG: Duration = Duration::from_hours(1);

    async fn after(time: Duration, text: &'static str) -> &'static str {
        sleep(time).await;
        text
    }

    /// An event stream that says `over` at its end.
    fn event_stream(length: Duration) -> Response<Body> {
        let over = after(length, "over");
        let body = Body::from_stream(stream::once(async { Ok::<_, Infallible>(over.await) }));
        Response::builder().header("content-type", "text/event-stream").body(body).unwrap()
    }

    fn guest() -> Guest {
        let peer = Peer::new("192.0.2.1:1".parse().unwrap());
        let gate = Gate::admin(&Rules::default(), &Registry::new());
        let place = gate.admit(peer).unwrap();
        let routes = Router::new()
            .route("/large", get(async || "x".repeat(100_000)))
            .route("/late", get(async || after(Duration::from_secs(2), "late").await))
            .route("/stream", get(async || event_stream(LONG)))
            .route("/short-stream", get(async || event_stream(Duration::from_secs(5))))
            .route("/slow", get(std::future::pending::<()>));
        let entry = Entry::Routes(routes, SiteRules::default());
        let site = Site { entry, tls: None, gate: Arc::new(gate) };
        Guest { peer, place, site, ending: Ending::default() }
    }

    /// Asks for a path over HTTP/2, takes nothing of the answer, and answers pings. Returns true if the
    /// server closes the connection.
    async fn closes_on(path: &str) -> bool {
        let (ours, theirs) = duplex(64 * 1024);
        let served = tokio::spawn(general(ours, guest()));
        let (mut requests, connection) = http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(1000)
            .handshake::<_, Body>(TokioIo::new(theirs))
            .await
            .unwrap();
        tokio::spawn(connection);
        let request = Request::get(format!("http://localhost{path}")).body(Body::empty()).unwrap();
        let _untaken = tokio::spawn(requests.send_request(request));
        timeout(LONG, served).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_takes_nothing_of_its_answer_is_closed_although_it_answers_pings() {
        assert!(closes_on("/large").await);
    }

    #[tokio::test]
    async fn a_request_over_http_2_may_have_as_many_headers_as_one_over_http_1() {
        let (ours, theirs) = duplex(64 * 1024);
        tokio::spawn(general(ours, guest()));
        let (mut requests, connection) = http2::Builder::new(TokioExecutor::new())
            .handshake::<_, Body>(TokioIo::new(theirs))
            .await
            .unwrap();
        tokio::spawn(connection);
        let request =
            Request::get("http://localhost/large").header("cookie", "x".repeat(48 * 1024));
        let answer = requests.send_request(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(answer.status(), 200);
    }

    /// Sends a request over HTTP/1.1, ends the client's side, and returns the answer.
    async fn answer_to_half_closed(request: &str) -> String {
        let (ours, mut theirs) = duplex(64 * 1024);
        let served = tokio::spawn(general(ours, guest()));
        theirs.write_all(request.as_bytes()).await.unwrap();
        theirs.shutdown().await.unwrap();
        let mut answer = String::new();
        theirs.read_to_string(&mut answer).await.unwrap();
        timeout(LONG, served).await.expect("the connection is over").unwrap();
        answer
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_ends_its_side_gets_its_answer_but_has_left_an_event_stream() {
        let late = answer_to_half_closed("GET /late HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
        assert!(late.ends_with("late"), "{late}");
        for version in ["1.0", "1.1"] {
            let get = format!("GET /stream HTTP/{version}\r\nhost: localhost\r\n\r\n");
            let begin = Instant::now();
            answer_to_half_closed(&get).await;
            assert!(begin.elapsed() < Duration::from_secs(1), "HTTP/{version}");
            let after_another = format!("GET /late HTTP/1.1\r\nhost: localhost\r\n\r\n{get}");
            let begin = Instant::now();
            answer_to_half_closed(&after_another).await;
            assert!(begin.elapsed() < Duration::from_secs(3), "HTTP/{version}, second request");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_comes_under_an_event_stream_is_answered_after_it() {
        let (ours, mut theirs) = duplex(64 * 1024);
        tokio::spawn(general(ours, guest()));
        let get = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        theirs.write_all(get("/short-stream").as_bytes()).await.unwrap();
        let mut begin = [0; 12];
        theirs.read_exact(&mut begin).await.unwrap();
        theirs.write_all(get("/late").as_bytes()).await.unwrap();
        theirs.shutdown().await.unwrap();
        let mut rest = String::new();
        theirs.read_to_string(&mut rest).await.unwrap();
        assert!(rest.contains("over") && rest.ends_with("late"), "{rest}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_whose_request_the_node_still_serves_is_left_alone() {
        assert!(!closes_on("/slow").await);
    }
}

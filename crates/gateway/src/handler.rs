//! `GET /v1/events`: from a request to a stream or an answer.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Extension, RawQuery, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::{Bytes, BytesMut};
use event_log::{Cursor, Origin, Outcome, Topic};
use futures_util::stream;
use metrics::Label as _;
use tokio::time::timeout;
use tracing::Instrument as _;

use crate::client::Client;
use crate::connections::Admission;
use crate::drain::Phase;
use crate::error::{BadRequest, Refusal};
use crate::frame::{Framing, HEARTBEAT};
use crate::gateway::Shared;
use crate::metrics::Reject;
use crate::request::{Request, Transport};
use crate::subscriber::{CONNECTION, Subscriber};
use crate::{control, long_poll, trace};

/// The longest that a client waits for the log before it is told to come back.
const OPEN_MAX: Duration = Duration::from_secs(5);

/// The headers of an event stream.
pub(crate) const STREAM_HEADERS: [(&str, &str); 3] = [
    ("content-type", "text/event-stream; charset=utf-8"),
    ("cache-control", "no-cache, no-transform"),
    // nginx buffers whole streams without it.
    ("x-accel-buffering", "no"),
];

/// What a request is answered with.
#[derive(Debug)]
pub(crate) enum Answer {
    /// Events, for as long as they come.
    Stream(Subscriber),
    /// Something that is complete.
    Whole(Response),
}

/// The resource that is subscribed to.
pub(crate) const PATH: &str = "/v1/events";

pub(crate) fn router(gateway: Arc<Shared>) -> Router {
    Router::new().route(PATH, get(subscribe).head(describe)).with_state(gateway)
}

async fn subscribe(
    State(gateway): State<Arc<Shared>>,
    RawQuery(query): RawQuery,
    version: Version,
    peer: Option<Extension<ConnectInfo<SocketAddr>>>,
    headers: HeaderMap,
) -> Response {
    let request = match parse(&gateway, query, &headers) {
        Ok(request) => request,
        Err(bad) => return bad.into_response(),
    };
    let transport = request.transport;
    let client = Client::new(peer.map(|Extension(ConnectInfo(peer))| peer), &headers);
    let mut response = match answer(&gateway, request, client, Framing::None).await {
        Answer::Whole(response) => response,
        Answer::Stream(subscriber) => {
            let frames = stream::unfold(subscriber, async |mut subscriber| {
                let bytes = subscriber.next().await?;
                Some((Ok::<Bytes, Infallible>(bytes), subscriber))
            });
            event_stream(Body::from_stream(frames))
        }
    };
    // The client is to come back over a connection of its own, which may lead elsewhere: one that is
    // kept alive would bring it to this gateway again, most of all when this one is to stop.
    if matches!(transport, Transport::Sse { .. }) && version <= Version::HTTP_11 {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// What a GET would be answered with, without a subscription.
async fn describe(
    State(gateway): State<Arc<Shared>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    match parse(&gateway, query, &headers).map(|request| request.transport) {
        Ok(Transport::Sse { .. }) => event_stream(Body::empty()),
        Ok(Transport::LongPoll { .. }) => long_poll::HEADERS.into_response(),
        Err(bad) => bad.into_response(),
    }
}

fn parse(
    gateway: &Shared,
    query: Option<String>,
    headers: &HeaderMap,
) -> Result<Request, BadRequest> {
    let query = query.unwrap_or_default();
    Request::parse(&query, headers, gateway.config.max_topics)
        .inspect_err(|_| gateway.metrics.rejected.of(Reject::BadRequest).inc())
}

/// Answers a request that makes sense, over whichever connection it came.
pub(crate) async fn answer(
    gateway: &Arc<Shared>,
    request: Request,
    client: Client,
    framing: Framing,
) -> Answer {
    let span = trace::connect(&request);
    let brought = request.cursor().map(ToOwned::to_owned);
    let Request { topics, origin, resume, style, transport, .. } = request;
    let opened = open(gateway, topics, origin, client).instrument(span.clone()).await;
    trace::connected(&span, opened.as_ref().map(|opened| opened.outcome).map_err(|why| *why));
    drop(span);
    let Opened { admission, cursor, outcome } = match opened {
        Ok(opened) => opened,
        Err(refusal) => {
            return Answer::Whole(refuse(gateway, refusal, transport, brought.as_deref()));
        }
    };
    if brought.is_some() && outcome != Outcome::Live {
        gateway.metrics.resumes.of(outcome).inc();
        let missed = cursor.lag_most();
        if missed > 0 && outcome.is_continued() {
            gateway.metrics.resume_missed_events.observe(missed as f64);
        }
    }
    let heartbeat = match transport {
        Transport::LongPoll { wait, limit } => {
            return Answer::Whole(
                long_poll::answer(gateway, cursor, brought, style, wait, limit).await,
            );
        }
        // The client has it all: the one status that makes an EventSource stop.
        Transport::Sse { .. } if cursor.is_finished() => {
            let headers = [(header::CACHE_CONTROL, "no-store")];
            return Answer::Whole((StatusCode::NO_CONTENT, headers).into_response());
        }
        Transport::Sse { heartbeat } => heartbeat.unwrap_or(gateway.config.heartbeat),
    };
    gateway.metrics.opened.of(resume).inc();
    Answer::Stream(Subscriber::new(
        Arc::clone(gateway),
        admission,
        (cursor, outcome),
        brought,
        (style, framing),
        heartbeat,
    ))
}

/// A subscription that has found its place.
struct Opened {
    admission: Admission,
    cursor: Cursor,
    outcome: Outcome,
}

async fn open(
    gateway: &Arc<Shared>,
    topics: Vec<Topic>,
    origin: Origin,
    client: Client,
) -> Result<Opened, Refusal> {
    if matches!(*gateway.phase.borrow(), Phase::HandingAway { .. }) {
        return Err(Refusal::Drain);
    }
    let admission = gateway.connections.admit(&topics, client).ok_or(Refusal::Overload)?;
    let opening = async {
        admission.watch(&*gateway.log).await?;
        Cursor::open(Arc::clone(&gateway.log), topics, origin).await
    };
    match timeout(OPEN_MAX, opening).await {
        Ok(Ok((cursor, outcome))) => Ok(Opened { admission, cursor, outcome }),
        Ok(Err(_)) | Err(_) => Err(Refusal::Unavailable),
    }
}

/// Refuses in the client's own language: an error to those who speak JSON; to an `EventSource`,
/// which would die of one, a stream that tells it to come back.
fn refuse(
    gateway: &Shared,
    refusal: Refusal,
    transport: Transport,
    brought: Option<&str>,
) -> Response {
    let reason = Reject::from(refusal);
    gateway.metrics.rejected.of(reason).inc();
    tracing::debug!(target: CONNECTION, reason = reason.as_str(), "connection refused");
    if matches!(transport, Transport::LongPoll { .. }) {
        return refusal.into_response();
    }
    // Its cursor goes back as it came, because an event without an id makes some clients forget it.
    let cursor = brought.filter(|cursor| is_safe_id(cursor));
    let mut out = BytesMut::from(&HEARTBEAT[..]);
    let retry_ms = control::jittered(gateway.config.retry);
    control::put_reconnect(&mut out, reason, retry_ms, cursor);
    event_stream(Body::from(out.freeze()))
}

fn event_stream(body: Body) -> Response {
    let headers = STREAM_HEADERS
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
    (headers, body).into_response()
}

/// Whether a client's text may stand in an `id` line: what a cursor is written with, and no more of
/// it than the largest cursor.
fn is_safe_id(text: &str) -> bool {
    text.len() <= 2048 && text.bytes().all(|b| b.is_ascii_graphic())
}

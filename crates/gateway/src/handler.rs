//! `GET /v1/events`: from a request to a stream or an answer.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::{Bytes, BytesMut};
use event_log::{Cursor, Origin, Outcome};
use futures_util::stream;
use tokio::time::timeout;

use crate::control;
use crate::drain::Phase;
use crate::error::Refusal;
use crate::frame::HEARTBEAT;
use crate::gateway::Shared;
use crate::long_poll;
use crate::metrics::{Close, Reject, Resumed};
use crate::request::{Request, Transport, last_event_id, wants_json};
use crate::subscriber::Subscriber;

/// The longest that a client waits for the log before it is told to come back.
const OPEN_MAX: Duration = Duration::from_secs(5);

pub(crate) fn router(gateway: Arc<Shared>) -> Router {
    Router::new().route("/v1/events", get(subscribe)).with_state(gateway)
}

async fn subscribe(
    State(gateway): State<Arc<Shared>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let query = query.unwrap_or_default();
    let request = match Request::parse(&query, &headers, gateway.config.max_topics) {
        Ok(request) => request,
        Err(bad) => {
            gateway.metrics.rejected.of(Reject::BadRequest).inc();
            return bad.into_response();
        }
    };
    match open(&gateway, request).await {
        Ok(response) => response,
        Err(refusal) => refuse(&gateway, refusal, &headers),
    }
}

async fn open(gateway: &Arc<Shared>, request: Request) -> Result<Response, Refusal> {
    if matches!(*gateway.phase.borrow(), Phase::HandingAway { .. }) {
        return Err(Refusal::Drain);
    }
    let admission = gateway.connections.admit(&request.topics).ok_or(Refusal::Overload)?;
    let Request { topics, origin, resume, style, transport } = request;
    let brought = match &origin {
        Origin::Resume(cursor) => Some(cursor.clone()),
        Origin::Latest | Origin::Seek(_) => None,
    };
    let opening = Cursor::open(Arc::clone(&gateway.log), topics, origin);
    let (cursor, outcome) = match timeout(OPEN_MAX, opening).await {
        Ok(Ok(opened)) => opened,
        Ok(Err(_)) | Err(_) => return Err(Refusal::Unavailable),
    };
    if brought.is_some() {
        count_resume(gateway, outcome);
    }
    let heartbeat = match transport {
        Transport::LongPoll { wait, limit } => {
            let answer =
                long_poll::answer(Arc::clone(gateway), cursor, brought, style, wait, limit).await;
            drop(admission);
            return Ok(answer);
        }
        // The client has it all: the one status that makes an EventSource stop.
        Transport::Sse { .. } if cursor.is_finished() => {
            return Ok(StatusCode::NO_CONTENT.into_response());
        }
        Transport::Sse { heartbeat } => heartbeat.unwrap_or(gateway.config.heartbeat),
    };
    gateway.metrics.opened.of(resume).inc();
    let subscriber = Subscriber::new(
        Arc::clone(gateway),
        admission,
        (cursor, outcome),
        brought,
        style,
        heartbeat,
    );
    let frames = stream::unfold(subscriber, async |mut subscriber| {
        let bytes = subscriber.next().await?;
        Some((Ok::<Bytes, std::convert::Infallible>(bytes), subscriber))
    });
    Ok(event_stream(Body::from_stream(frames)))
}

fn count_resume(gateway: &Shared, outcome: Outcome) {
    if let Some(resumed) = Resumed::of(outcome) {
        gateway.metrics.resumes.of(resumed).inc();
    }
}

/// Refuses in the client's own language: an error to those who speak JSON; to an `EventSource`,
/// which would die of one, a stream that tells it to come back.
fn refuse(gateway: &Shared, refusal: Refusal, headers: &HeaderMap) -> Response {
    let (reject, close) = match refusal {
        Refusal::Overload => (Reject::Overload, Close::Overload),
        Refusal::Drain => (Reject::Drain, Close::Drain),
        Refusal::Unavailable => (Reject::Unavailable, Close::Unavailable),
    };
    gateway.metrics.rejected.of(reject).inc();
    if wants_json(headers) {
        return refusal.into_response();
    }
    // Its cursor goes back as it came, because an event without an id makes some clients forget it.
    let cursor = last_event_id(headers).filter(|cursor| is_safe_id(cursor));
    let mut out = BytesMut::from(&HEARTBEAT[..]);
    let retry_ms = control::jittered(gateway.config.retry);
    control::put_reconnect(&mut out, close, retry_ms, cursor.as_deref());
    event_stream(Body::from(out.freeze()))
}

fn event_stream(body: Body) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform")),
        // nginx buffers whole streams without it.
        (header::HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    (headers, body).into_response()
}

/// Whether a client's text may stand in an `id` line.
fn is_safe_id(text: &str) -> bool {
    text.len() <= 2048 && text.bytes().all(|b| b.is_ascii_graphic())
}

//! From a request for events to its answer, whichever front end has read it.
//!
//! Every header of an answer is chosen here: `http1.rs` and `door.rs` only write it.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use access::audit::{self, Action};
use access::{Carrier, Credentials, Denied, Grant, Page, Reason, Right, Timestamp};
use axum::body::{Body, HttpBody};
use axum::http::{HeaderName, HeaderValue, StatusCode, Version, header};
use axum::response::{IntoResponse as _, Response};
use bytes::{Bytes, BytesMut};
use event_log::{Cursor, Origin, Outcome, Topic};
use http_body::Frame;
use limits::{Client, ConnectionId, Full, Peer, SubjectId};
use metrics::Label as _;
use tokio::time::timeout;
use tracing::Instrument as _;

use crate::connections::{Admission, Extras};
use crate::drain::Phase;
use crate::ends::PlannedEnd;
use crate::error::{self, BadRequest, Refusal};
use crate::frame::{Framing, HEARTBEAT};
use crate::gateway::Shared;
use crate::head::SubscriptionHead;
use crate::metrics::Reject;
use crate::request::{Form, Renew, Request, Style};
use crate::subscriber::{CONNECTION, Subscriber};
use crate::whereabouts::Whereabouts;
use crate::{control, long_poll, tickets, trace};

/// The longest that a client waits for the log before the gateway tells it to come back.
const OPEN_MAX: Duration = Duration::from_secs(5);

/// Bytes that a subscription is counted for each topic beyond its first. It takes about 120 for a topic
/// that others read too, and 500 with the tail of a new topic.
const TOPIC_BYTES: usize = 1024;

/// The headers of an event stream.
const STREAM_HEADERS: [(HeaderName, HeaderValue); 3] = [
    (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8")),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform")),
    // nginx buffers whole streams without it.
    (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
];

/// A request for events that a front end has read.
#[derive(Debug)]
pub(crate) struct Asked {
    request: Result<Request, BadRequest>,
    client: Client,
    whereabouts: Whereabouts,
    cors: cors::Grant,
    credentials: Credentials,
    via: Via,
}

/// The connection that a request came over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Via {
    pub(crate) peer: Peer,
    pub(crate) version: Version,
    /// The form that a stream's bytes take on it.
    pub(crate) framing: Framing,
}

/// An answer: its status, all headers but those of its transfer, and its content.
pub(crate) type Reply = axum::http::Response<Content>;

/// The content of an answer.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "its receiver takes it apart at once")]
pub(crate) enum Content {
    /// Events, for as long as they come.
    Events(Subscriber),
    /// A body that is complete.
    Whole(Body),
}

impl Asked {
    pub(crate) fn parse(gateway: &Shared, head: &SubscriptionHead<'_>, via: Via) -> Self {
        let hops = (head.forwarded_for.iter().copied(), head.forwarded.iter().copied());
        let request = Request::parse(head, gateway.config.max_topics);
        let ticket = request.as_ref().ok().and_then(|request| request.ticket.as_deref());
        Self {
            client: gateway.config.rules.proxies.client(via.peer, hops.0, hops.1),
            credentials: credentials(gateway, head, ticket),
            request,
            whereabouts: Whereabouts::new(via.peer.address, head),
            cors: gateway.config.cors.grant(head.origin),
            via,
        }
    }

    #[cfg(test)]
    pub(crate) const fn request(&self) -> &Result<Request, BadRequest> {
        &self.request
    }

    /// Returns true if two front ends have read the same.
    #[cfg(test)]
    pub(crate) fn is_as(&self, other: &Self) -> bool {
        let seen = |asked: &Self| {
            let Self { request, client, whereabouts, cors, credentials, .. } = asked;
            let read = (request.clone(), credentials.clone());
            (read, *client, whereabouts.clone(), cors.clone())
        };
        seen(self) == seen(other)
    }

    /// Returns true if the request makes sense and asks for an event stream.
    pub(crate) fn is_for_stream(&self) -> bool {
        self.request.as_ref().is_ok_and(|request| matches!(request.form, Form::Stream { .. }))
    }
}

/// Answers a request.
pub(crate) async fn answer(gateway: &Arc<Shared>, asked: Asked) -> Reply {
    // The client is to come back over a connection of its own, which may lead to another gateway. A
    // connection that is kept alive would bring the client back here, even while this gateway stops.
    let closes = asked.is_for_stream() && asked.via.version <= Version::HTTP_11;
    let Asked { request, client, whereabouts, cors, credentials, via } = asked;
    let mut reply = match request {
        Ok(request) => match permit(gateway, &credentials, &request, whereabouts.peer()).await {
            Ok(grant) => match to_cookie(gateway, &request, &grant) {
                Some(redirect) => whole(redirect),
                None => {
                    subscribe(gateway, request, grant, (client, whereabouts), via.framing).await
                }
            },
            Err(denial) => deny(gateway, denial, request.form, request.cursor()),
        },
        Err(bad) => reject(gateway, bad),
    };
    if closes {
        reply.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    cors.put(reply.headers_mut());
    reply
}

/// Answers as [`answer`] would, without a subscription and without a body.
pub(crate) async fn describe(gateway: &Shared, asked: Asked) -> Reply {
    let Asked { request, cors, credentials, whereabouts, .. } = asked;
    let mut reply = match request {
        Err(bad) => reject(gateway, bad),
        Ok(request) => {
            let permitted = permit(gateway, &credentials, &request, whereabouts.peer()).await;
            match (permitted, request.form) {
                (Err(denial), form) => deny(gateway, denial, form, request.cursor()),
                (Ok(_), Form::Stream { .. }) => stream_of(Content::Whole(Body::empty())),
                (Ok(_), Form::LongPoll { .. }) => whole(long_poll::HEADERS.into_response()),
            }
        }
    };
    cors.put(reply.headers_mut());
    reply
}

/// Takes the credentials of a request from its head.
pub(crate) fn credentials(
    gateway: &Shared,
    head: &SubscriptionHead<'_>,
    ticket: Option<&str>,
) -> Credentials {
    let config = &gateway.config;
    let page = match config.cors.trusts(head.origin, head.sec_fetch_site) {
        true => Page::Allowed,
        false => Page::Foreign,
    };
    config.access.credentials(head.authorization, &head.cookie, ticket, page)
}

/// The redirect that takes a ticket out of the URL, if a stream with a ticket asks for it.
fn to_cookie(gateway: &Shared, request: &Request, grant: &Grant) -> Option<Response> {
    let Renew::Cookie { query, is_foreign } = &request.renew else { return None };
    if grant.carrier() != Carrier::Ticket {
        return None;
    }
    let topics: Vec<_> = request.topics.iter().map(Topic::as_str).collect();
    tickets::to_cookie(&gateway.config.access, grant, &topics, query, *is_foreign)
}

/// The reason why a party may not subscribe.
enum Denial {
    /// Its credentials are refused, or it has none.
    Credentials(Denied),
    /// It is known, and has no right to this topic.
    Topic(Topic),
}

/// Decides who asks, and if it may read all topics of the request.
async fn permit(
    gateway: &Shared,
    credentials: &Credentials,
    request: &Request,
    peer: SocketAddr,
) -> Result<Arc<Grant>, Denial> {
    let access = &gateway.config.access;
    let first = || &request.topics[0];
    let grant = access.admit(credentials).await.map_err(|denied| {
        audit::refused(Action::Subscribe, None, first(), denied.reason, peer);
        Denial::Credentials(denied)
    })?;
    for topic in &request.topics {
        let Err(denied) = grant.check(Right::Subscribe, topic.as_str()) else { continue };
        access.count(denied.reason);
        audit::refused(Action::Subscribe, Some(&grant), topic, denied.reason, peer);
        return Err(match denied.reason {
            Reason::Topic => Denial::Topic(topic.clone()),
            _ => Denial::Credentials(denied),
        });
    }
    Ok(grant)
}

/// The pause that a client is told whose ticket or cookie is over: it cannot come in with the same one.
const OVER_RETRY: Duration = Duration::from_mins(5);

/// Refuses a party. An `EventSource` whose ticket or cookie is over is told in its stream, so that the page
/// hears of it and can bring another one; the status of an error would say nothing.
fn deny(gateway: &Shared, denial: Denial, form: Form, brought: Option<&str>) -> Reply {
    let denied = match denial {
        Denial::Topic(topic) => {
            gateway.metrics.rejected.of(Reject::Denied).inc();
            return whole(error::forbidden(&topic, Right::Subscribe));
        }
        Denial::Credentials(denied) => denied,
    };
    let is_browser = matches!(denied.carrier, Carrier::Ticket | Carrier::Cookie);
    match (denied.reason, form) {
        (Reason::Expired, Form::Stream { .. }) if is_browser => {
            come_back(gateway, Reject::TokenExpired, OVER_RETRY, brought)
        }
        (Reason::KeysUnavailable, Form::Stream { .. }) => {
            come_back(gateway, Reject::Unavailable, gateway.config.retry, brought)
        }
        _ => {
            gateway.metrics.rejected.of(Reject::Denied).inc();
            whole(Refusal::Denied(denied).into_response())
        }
    }
}

fn reject(gateway: &Shared, bad: BadRequest) -> Reply {
    gateway.metrics.rejected.of(Reject::BadRequest).inc();
    whole(bad.into_response())
}

/// Answers a request that makes sense.
async fn subscribe(
    gateway: &Arc<Shared>,
    request: Request,
    grant: Arc<Grant>,
    (client, whereabouts): (Client, Whereabouts),
    framing: Framing,
) -> Reply {
    let span = trace::connect(&request);
    let brought = request.cursor().map(ToOwned::to_owned);
    let Request { topics, origin, resume, style, form, renew, .. } = request;
    let opened = open(gateway, topics, origin, &style, (client, whereabouts, &grant));
    let opened = opened.instrument(span.clone()).await;
    trace::connected(&span, opened.as_ref().map(|opened| opened.outcome).map_err(|why| *why));
    drop(span);
    let Opened { admission, cursor, outcome } = match opened {
        Ok(opened) => opened,
        Err(refusal) => return refuse(gateway, refusal, form, brought.as_deref()),
    };
    if brought.is_some() && outcome != Outcome::Live {
        gateway.metrics.resumes.of(outcome).inc();
        let missed = cursor.lag_most();
        if missed > 0 && outcome.is_continued() {
            gateway.metrics.resume_missed_events.observe(missed as f64);
        }
    }
    let heartbeat = match form {
        Form::LongPoll { wait, limit } => {
            return whole(
                long_poll::answer(
                    gateway,
                    client,
                    &admission,
                    cursor,
                    brought,
                    style,
                    (wait, limit),
                )
                .await,
            );
        }
        // The client has everything, and this is the one status that makes an EventSource stop.
        Form::Stream { .. } if cursor.is_finished() => {
            let headers = [(header::CACHE_CONTROL, "no-store")];
            return whole((StatusCode::NO_CONTENT, headers).into_response());
        }
        Form::Stream { heartbeat } => heartbeat.unwrap_or(gateway.config.heartbeat),
    };
    gateway.metrics.opened.of(resume).inc();
    let subscriber = Subscriber::new(
        Arc::clone(gateway),
        admission,
        (cursor, outcome),
        brought,
        (style, framing),
        heartbeat,
        (renew == Renew::Ticket && grant.carrier() == Carrier::Ticket).then_some(grant),
    );
    stream_of(Content::Events(subscriber))
}

/// A subscription whose cursor is open.
struct Opened {
    admission: Admission,
    cursor: Cursor,
    outcome: Outcome,
}

async fn open(
    gateway: &Arc<Shared>,
    topics: Vec<Topic>,
    origin: Origin,
    style: &Style,
    (client, whereabouts, grant): (Client, Whereabouts, &Grant),
) -> Result<Opened, Refusal> {
    if matches!(*gateway.phase.borrow(), Phase::HandingAway { .. }) {
        return Err(Refusal::Drain);
    }
    let memory = match (topics.len() - 1) * TOPIC_BYTES + style.weight() {
        0 => None,
        bytes => Some(gateway.config.rules.memory.take(client, bytes as u64)?),
    };
    let principal = grant.principal().clone();
    let quotas = grant.quotas();
    let (watched, stream) = match principal.subject_hash().map(SubjectId::new) {
        Some(subject) => {
            let count = u32::try_from(topics.len()).unwrap_or(u32::MAX);
            let watched = gateway.topics.watch(subject, count, quotas.topics)?;
            let asked = gateway.streams.admit(subject, quotas.streams);
            (Some(watched), Some(Box::pin(asked).await?))
        }
        None => (None, None),
    };
    let party = (client, whereabouts, principal);
    let extras = Extras { memory, stream, watched, replay_bytes: quotas.replay_bytes };
    let admission = gateway.connections.admit(&topics, party, extras)?;
    // Once more: a revocation that came before the subscription was recorded has not found it.
    if gateway.config.access.revocations().concern(grant.principal()) {
        return Err(Denied { reason: Reason::Revoked, carrier: grant.carrier() }.into());
    }
    let floor = grant.history_floor(Timestamp::now()).map(Timestamp::as_millis);
    let opening = async {
        admission.watch(&*gateway.log).await?;
        Cursor::open_above(Arc::clone(&gateway.log), topics, origin, floor).await
    };
    match timeout(OPEN_MAX, opening).await {
        Ok(Ok((cursor, outcome))) => Ok(Opened { admission, cursor, outcome }),
        Ok(Err(_)) | Err(_) => Err(Refusal::Unavailable),
    }
}

/// Refuses in the client's own language: a client that asks for JSON gets an error; an `EventSource`,
/// which an error would end for ever, gets a stream that tells it to come back.
fn refuse(gateway: &Shared, refusal: Refusal, form: Form, brought: Option<&str>) -> Reply {
    let reason = Reject::from(refusal);
    if matches!(form, Form::Stream { .. }) && reason != Reject::Denied {
        return come_back(gateway, reason, gateway.config.retry, brought);
    }
    gateway.metrics.rejected.of(reason).inc();
    tracing::debug!(target: CONNECTION, reason = reason.as_str(), "connection refused");
    whole(refusal.into_response())
}

/// A stream that tells its client to come back after a pause of `least` or more.
fn come_back(gateway: &Shared, reason: Reject, least: Duration, brought: Option<&str>) -> Reply {
    gateway.metrics.rejected.of(reason).inc();
    tracing::debug!(target: CONNECTION, reason = reason.as_str(), "connection refused");
    // The client's cursor goes back as it came, because an event without an id makes some clients
    // forget theirs.
    let cursor = brought.filter(|cursor| is_safe_id(cursor));
    let mut out = BytesMut::from(&HEARTBEAT[..]);
    control::put_reconnect(&mut out, reason, control::jittered(least), (cursor, None));
    stream_of(Content::Whole(Body::from(out.freeze())))
}

fn stream_of(content: Content) -> Reply {
    let mut reply = Reply::new(content);
    reply.headers_mut().extend(STREAM_HEADERS);
    reply
}

fn whole(response: Response) -> Reply {
    response.map(Content::Whole)
}

impl Content {
    /// A body that a general HTTP server sends over a connection.
    pub(crate) fn into_body(self, connection: ConnectionId) -> Body {
        let subscriber = match self {
            Self::Whole(body) => return body,
            Self::Events(subscriber) => subscriber,
        };
        let planned = subscriber.plan(connection);
        Body::new(EventBody { subscriber, _planned: planned })
    }
}

/// The body of an event stream.
struct EventBody {
    subscriber: Subscriber,
    _planned: Option<PlannedEnd>,
}

impl HttpBody for EventBody {
    type Data = Bytes;
    type Error = Full;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Full>>> {
        let next = self.subscriber.poll_next(cx);
        next.map(|bytes| bytes.map(|bytes| self.subscriber.count_bytes(bytes).map(Frame::data)))
    }
}

/// Returns true if a client's text may stand in an `id` line: only characters that a cursor is written with,
/// and no more of them than the largest cursor has.
fn is_safe_id(text: &str) -> bool {
    text.len() <= 2048 && text.bytes().all(|b| b.is_ascii_graphic())
}

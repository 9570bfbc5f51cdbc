//! From a request for events to its answer, whichever front end has read it.
//!
//! Every header of an answer is chosen here: `http1.rs` and `door.rs` only write it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use access::audit::{self, Action};
use access::{Carrier, Credentials, Denied, Grant, Page, Reason, Right, Timestamp};
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, Version, header};
use axum::response::{IntoResponse as _, Response};
use bytes::{Bytes, BytesMut};
use event_log::{Cursor, OpenOptions, Opened, Outcome, Part};
use limits::{Client, ConnectionId, Peer, SubjectId, WantedStream};
use metrics::Label as _;
use tokio::time::timeout;
use tracing::Instrument as _;

use crate::body::EventBody;
use crate::connections::{Admission, Extras, count_of};
use crate::control::{self, ControlEvent};
use crate::drain::Phase;
use crate::error::{self, BadRequest, Refusal};
use crate::frame::{Framing, HEARTBEAT, put_retry};
use crate::gateway::Shared;
use crate::head::SubscriptionHead;
use crate::hub::HubRequest;
use crate::metrics::Reject;
use crate::presence::Attendance;
use crate::request::{Control, Form, Heartbeat, Manner, Renew, Request, Style};
use crate::subscriber::{CONNECTION, Subscriber};
use crate::whereabouts::Whereabouts;
use crate::{hub, long_poll, tickets, trace};

/// The longest that a client waits for the log before the gateway tells it to come back.
const OPEN_MAX: Duration = Duration::from_secs(5);

/// Bytes that a subscription is counted for each topic beyond its first, and for each selection. A topic takes about
/// 120 that others read too, and 500 with the tail of a new topic.
const TOPIC_BYTES: usize = 1024;

/// The most gaps, or breaks of publishers, that a header tells.
const GAPS_MAX: usize = 16;

/// The headers of an event stream.
const STREAM_HEADERS: [(HeaderName, HeaderValue); 4] = [
    // Without a charset, which the type does not need: some clients compare the whole value.
    (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform")),
    // nginx buffers whole streams without it.
    (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    // The same for every intermediary (draft-ietf-httpbis-incremental).
    (HeaderName::from_static("incremental"), HeaderValue::from_static("?1")),
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
    /// The bytes of a stream that then breaks off.
    Cut(Bytes),
}

impl Asked {
    pub(crate) fn parse(gateway: &Shared, head: &SubscriptionHead<'_>, via: Via) -> Self {
        let hops = (head.forwarded_for.iter().copied(), head.forwarded.iter().copied());
        let spaces = gateway.log.spaces();
        let request = match gateway.config.mercure.as_deref().filter(|_| head.is_of_hub) {
            Some(settings) => Request::of_hub(head, page(gateway, head), settings, spaces),
            None => Request::parse(head, gateway.config.max_topics, spaces),
        };
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
        self.request.as_ref().is_ok_and(|request| matches!(request.form, Form::Stream(_)))
    }
}

/// Answers a request.
pub(crate) async fn answer(gateway: &Arc<Shared>, asked: Asked) -> Reply {
    // The client is to come back over a connection of its own, which may lead to another gateway. A
    // connection that is kept alive would bring the client back here, even while this gateway stops.
    let closes = asked.is_for_stream() && asked.via.version <= Version::HTTP_11;
    let Asked { request, client, whereabouts, cors, credentials, via } = asked;
    let mut reply = match request {
        Ok(mut request) => {
            match permit(gateway, &credentials, &mut request, whereabouts.peer()).await {
                Ok(grant) => match to_cookie(gateway, &request, &grant) {
                    Some(redirect) => whole(redirect),
                    None => match gateway.check_presence(&request) {
                        Ok(()) => {
                            let party = (client, whereabouts);
                            subscribe(gateway, request, grant, party, via.framing).await
                        }
                        Err(bad) => reject(gateway, bad),
                    },
                },
                Err(denial) => {
                    if denial.told(gateway, request.form).is_some() {
                        slow_down(gateway, client, None).await;
                    }
                    deny(gateway, denial, request.form, request.cursor.as_deref())
                }
            }
        }
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
        Ok(mut request) => {
            let permitted = permit(gateway, &credentials, &mut request, whereabouts.peer()).await;
            match (permitted, request.form) {
                (Err(denial), form) => deny(gateway, denial, form, request.cursor.as_deref()),
                (Ok(_), Form::Stream(_)) => stream_of(Content::Whole(Body::empty())),
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
    let page = page(gateway, head);
    gateway.config.access.credentials(head.authorization, &head.cookie, ticket, page)
}

/// The page that asks, as far as its cookies count.
fn page(gateway: &Shared, head: &SubscriptionHead<'_>) -> Page {
    match gateway.config.cors.trusts(head.origin, head.sec_fetch_site) {
        true => Page::Allowed,
        false => Page::Foreign,
    }
}

/// The redirect that takes a ticket out of the URL, if a stream with a ticket asks for it.
fn to_cookie(gateway: &Shared, request: &Request, grant: &Grant) -> Option<Response> {
    let Renew::Cookie { query, is_foreign } = &request.renew else { return None };
    if grant.carrier() != Carrier::Ticket {
        return None;
    }
    let topics: Vec<_> = request.texts().collect();
    tickets::to_cookie(&gateway.config.access, grant, &topics, query, *is_foreign)
}

/// The reason why a party may not subscribe.
pub(crate) enum Denial {
    /// Its credentials are refused, or it has none.
    Credentials(Denied),
    /// It is known, and has no right to this topic or pattern.
    Topic(Box<str>),
    /// The hub refuses it.
    Hub(hub::Refused),
}

impl Denial {
    /// The reason, the least pause and the manner of a stream that tells it: an `EventSource` whose ticket or cookie
    /// is over is told so that the page hears of it and can bring another one. The status of an error would say
    /// nothing.
    fn told(&self, gateway: &Shared, form: Form) -> Option<(Reject, Duration, Manner)> {
        let (Self::Credentials(denied), Form::Stream(manner)) = (self, form) else { return None };
        let is_browser = matches!(denied.carrier, Carrier::Ticket | Carrier::Cookie);
        let (reason, least) = match denied.reason {
            Reason::Expired if is_browser => (Reject::TokenExpired, OVER_RETRY),
            Reason::KeysUnavailable => (Reject::Unavailable, gateway.config.retry),
            _ => return None,
        };
        (!manner.takes_statuses()).then_some((reason, least, manner))
    }
}

/// Decides who asks, and if it may read any topic.
pub(crate) async fn permit_some(
    gateway: &Shared,
    credentials: &Credentials,
    peer: SocketAddr,
) -> Result<Arc<Grant>, Denial> {
    let access = &gateway.config.access;
    let admitted = access.admit(credentials).await;
    let permitted = admitted.and_then(|grant| match grant.check_some(Right::Subscribe) {
        Ok(()) => Ok(grant),
        Err(denied) => {
            access.count(denied.reason);
            Err(denied)
        }
    });
    permitted.map_err(|denied| {
        audit::refused(Action::Describe, None, "", denied.reason, peer);
        Denial::Credentials(denied)
    })
}

/// Decides who asks, and if it may read all topics of the request. A request for a hub gets its filter.
async fn permit(
    gateway: &Shared,
    credentials: &Credentials,
    request: &mut Request,
    peer: SocketAddr,
) -> Result<Arc<Grant>, Denial> {
    let access = &gateway.config.access;
    let texts: Vec<_> = request.texts().collect();
    if let (Some(wanted), Some(settings)) = (&request.hub, &gateway.config.mercure) {
        // The future of a verification is large, and hubs are rare.
        let permitted = Box::pin(hub::permit(wanted, access, settings, &texts, peer)).await;
        let (grant, filter) = permitted.map_err(|denial| match denial {
            hub::Lack::Refused(refused) => Denial::Hub(refused),
            hub::Lack::Passing(denied) => Denial::Credentials(denied),
        })?;
        request.style.hub = Some(Arc::new(filter));
        return Ok(grant);
    }
    permit_all(gateway, credentials, &texts, peer).await
}

/// Decides who asks, and if it may read all of these topics and patterns: at least one.
pub(crate) async fn permit_all(
    gateway: &Shared,
    credentials: &Credentials,
    texts: &[&str],
    peer: SocketAddr,
) -> Result<Arc<Grant>, Denial> {
    let access = &gateway.config.access;
    let first = || texts.first().copied().unwrap_or_default();
    let grant = access.admit(credentials).await.map_err(|denied| {
        audit::refused(Action::Subscribe, None, first(), denied.reason, peer);
        Denial::Credentials(denied)
    })?;
    for topic in texts.iter().copied() {
        let Err(denied) = grant.check(Right::Subscribe, topic) else { continue };
        access.count(denied.reason);
        audit::refused(Action::Subscribe, Some(&grant), topic, denied.reason, peer);
        return Err(match denied.reason {
            Reason::Topic => Denial::Topic(topic.into()),
            _ => Denial::Credentials(denied),
        });
    }
    Ok(grant)
}

/// The pause that a client is told whose ticket or cookie is over: it cannot come in with the same one.
const OVER_RETRY: Duration = Duration::from_mins(5);

/// Refuses a party, in a stream if that can tell it or else by a status.
fn deny(gateway: &Shared, denial: Denial, form: Form, brought: Option<&str>) -> Reply {
    if let Some((reason, least, manner)) = denial.told(gateway, form) {
        return come_back(gateway, reason, least, manner, brought);
    }
    gateway.metrics.rejected.of(Reject::Denied).inc();
    whole(match denial {
        Denial::Topic(topic) => error::forbidden(&topic, Right::Subscribe),
        Denial::Credentials(denied) => Refusal::Denied(denied).into_response(),
        Denial::Hub(refused) => refused.into_response(),
    })
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
    let now = Timestamp::now();
    let opening = OpenOptions {
        origin: request.origin(now.as_millis()),
        new_topics: request.begin.seek(now.as_millis()),
        skips_ends: matches!(request.form, Form::Stream(manner) if manner.takes_statuses()),
        floor: grant.history_floor(now).map(Timestamp::as_millis),
    };
    // Few topics have presence.
    let present = gateway.presence.is_some().then(|| request.topics().collect::<Vec<_>>());
    let Request { parts, cursor: brought, resume, style, form, renew, presence, hub, .. } = request;
    let shape = (&style, hub.as_deref());
    let opened = open(gateway, parts, opening, shape, (client, whereabouts, &grant));
    let opened = opened.instrument(span.clone()).await;
    let result = opened.as_ref().map(|(_, opened)| opened.outcome);
    trace::connected(&span, result.map_err(|why| *why));
    drop(span);
    let (admission, opened) = match opened {
        Ok(opened) => opened,
        Err(refusal) => {
            if !matches!(refusal, Refusal::Drain) {
                slow_down(gateway, client, subject_of(&grant)).await;
            }
            return refuse(gateway, refusal, form, brought.as_deref());
        }
    };
    let (cursor, outcome) = (&opened.cursor, opened.outcome);
    let brought = hub.as_ref().map_or(brought, |wanted| wanted.brought(outcome));
    if brought.is_some() && outcome != Outcome::Live {
        gateway.metrics.resumes.of(outcome).inc();
        let missed = cursor.lag_most();
        if missed > 0 && outcome.is_continued() {
            gateway.metrics.resume_missed_events.observe(missed as f64);
        }
    }
    let is_finished = cursor.is_finished();
    let part = match present {
        Some(topics) if !is_finished => {
            Box::pin(Attendance::take(gateway, &topics, (presence, form), &grant)).await
        }
        _ => None,
    };
    let manner = match form {
        Form::LongPoll { wait, limit } => {
            let _part = part;
            let bounds = (wait, limit);
            let cursor = opened.cursor;
            let answer =
                long_poll::answer(gateway, client, &admission, cursor, brought, style, bounds);
            return whole(Box::pin(answer).await);
        }
        // The client has everything, and this is the one status that makes an EventSource stop.
        Form::Stream(_) if is_finished => {
            let headers = [(header::CACHE_CONTROL, "no-store")];
            return whole((StatusCode::NO_CONTENT, headers).into_response());
        }
        Form::Stream(manner) => manner,
    };
    gateway.metrics.opened.of(resume).inc();
    let headers = (manner.control != Control::Event).then(|| told(gateway, &opened));
    let of_hub = hub.zip(gateway.config.mercure.as_ref());
    let of_hub = of_hub.map(|(wanted, settings)| wanted.headers(settings, &opened));
    let subscriber = Subscriber::new(
        Arc::clone(gateway),
        admission,
        opened,
        brought,
        (style, manner, framing),
        (renew == Renew::Ticket && grant.carrier() == Carrier::Ticket).then_some(grant),
        part,
    );
    let mut reply = stream_of(Content::Events(subscriber));
    reply.headers_mut().extend(headers.into_iter().flatten());
    reply.headers_mut().extend(of_hub.into_iter().flatten());
    reply
}

/// The headers that tell a client without control events of the opening.
fn told(
    gateway: &Shared,
    opened: &Opened,
) -> impl Iterator<Item = (HeaderName, HeaderValue)> + use<> {
    let gaps = opened.gaps.iter().take(GAPS_MAX).map(|(part, gap)| {
        let number = |name, number: Option<u64>| number.map(|n| format!(";{name}={n}"));
        let missed = number("missed", gap.missed);
        let missed = missed.or_else(|| number("missed-at-most", gap.missed_at_most));
        let (topic, missed) = (part.name(), missed.unwrap_or_default());
        format!("\"{topic}\";reason={}{missed}", gap.reason.as_str())
    });
    let gaps = gaps.collect::<Vec<_>>().join(", ");
    let broken = opened.broken.iter().take(GAPS_MAX);
    let broken = broken.map(|(topic, _, reason)| format!("\"{topic}\";reason={}", reason.as_str()));
    let headers = [
        ("tailwater-broken", broken.collect::<Vec<_>>().join(", ")),
        ("tailwater-outcome", opened.outcome.as_str().to_owned()),
        ("tailwater-cursor", opened.cursor.wire()),
        ("tailwater-node", gateway.config.node.clone()),
        ("tailwater-gap", gaps),
    ];
    headers.into_iter().filter_map(|(name, value)| {
        // A node's name may be any text.
        let value = HeaderValue::from_str(&value).ok().filter(|value| !value.is_empty())?;
        Some((HeaderName::from_static(name), value))
    })
}

/// Holds the refusal of a client that comes back too soon. Boxed, because few are refused.
async fn slow_down(gateway: &Shared, client: Client, subject: Option<SubjectId>) {
    Box::pin(gateway.haste.slow_down(&gateway.phase, client, subject)).await;
}

fn subject_of(grant: &Grant) -> Option<SubjectId> {
    grant.principal().subject_hash().map(SubjectId::new)
}

async fn open(
    gateway: &Arc<Shared>,
    parts: Vec<Part>,
    mut opening: OpenOptions,
    (style, hub): (&Style, Option<&HubRequest>),
    (client, whereabouts, grant): (Client, Whereabouts, &Grant),
) -> Result<(Admission, Opened), Refusal> {
    if matches!(*gateway.phase.borrow(), Phase::HandingAway { .. }) {
        return Err(Refusal::Drain);
    }
    let texts = || parts.iter().flat_map(Part::texts);
    let selections = parts.iter().filter(|part| part.selection.is_some()).count();
    let memory = match (texts().count() - 1 + selections) * TOPIC_BYTES + style.weight() {
        0 => None,
        bytes => Some(gateway.config.rules.memory.take(client, bytes as u64)?),
    };
    let principal = grant.principal().clone();
    let quotas = grant.quotas();
    let stream = match principal.subject_hash().map(SubjectId::new) {
        Some(subject) => {
            let wanted = WantedStream {
                topics: count_of(texts()),
                streams_max: quotas.streams,
                topics_max: quotas.topics,
            };
            Some(gateway.streams.admit(subject, wanted).await?)
        }
        None => None,
    };
    let party = (client, whereabouts, principal);
    let extras = Extras { memory, replay_bytes: quotas.replay_bytes };
    let admission = gateway.connections.admit(&parts, party, (stream, extras))?;
    // Once more: a revocation that came before the subscription was recorded has not found it.
    if gateway.config.access.revocations().concern(grant.principal()) {
        return Err(Denied { reason: Reason::Revoked, carrier: grant.carrier() }.into());
    }
    let opening = async {
        admission.watch(&*gateway.log).await?;
        if let (Some(wanted), [part, ..]) = (hub, &parts[..]) {
            opening.origin = wanted.origin(&*gateway.log, &part.log).await?;
        }
        Cursor::open_as(Arc::clone(&gateway.log), parts, opening).await
    };
    match timeout(OPEN_MAX, opening).await {
        Ok(Ok(opened)) => Ok((admission, opened)),
        Ok(Err(_)) | Err(_) => Err(Refusal::Unavailable),
    }
}

/// Refuses in the client's own language: a client that asks for JSON gets an error; an `EventSource`,
/// which an error would end for ever, gets a stream that tells it to come back.
fn refuse(gateway: &Shared, refusal: Refusal, form: Form, brought: Option<&str>) -> Reply {
    let reason = Reject::from(refusal);
    match form {
        Form::Stream(manner) if reason != Reject::Denied && !manner.takes_statuses() => {
            come_back(gateway, reason, gateway.config.retry, manner, brought)
        }
        _ => {
            count_refusal(gateway, reason);
            whole(refusal.into_response())
        }
    }
}

/// A stream that tells its client to come back after a pause of `least` or more.
fn come_back(
    gateway: &Shared,
    reason: Reject,
    least: Duration,
    manner: Manner,
    brought: Option<&str>,
) -> Reply {
    count_refusal(gateway, reason);
    // The client's cursor goes back as it came, because an event without an id makes some clients
    // forget theirs.
    let cursor = brought.filter(|cursor| is_safe_id(cursor));
    let mut out = BytesMut::new();
    if manner.heartbeat != Heartbeat::Off {
        out.extend_from_slice(&HEARTBEAT);
    }
    let retry_ms = control::jittered(least);
    match manner.control {
        Control::Mute => put_retry(&mut out, retry_ms),
        _ => ControlEvent::reconnect(reason, retry_ms, None).put(&mut out, cursor),
    }
    stream_of(match manner.aborts {
        true => Content::Cut(out.freeze()),
        false => Content::Whole(Body::from(out.freeze())),
    })
}

fn count_refusal(gateway: &Shared, reason: Reject) {
    gateway.metrics.rejected.of(reason).inc();
    tracing::debug!(target: CONNECTION, reason = reason.as_str(), "connection refused");
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
        match self {
            Self::Whole(body) => body,
            Self::Events(subscriber) => {
                let planned = subscriber.plan(connection);
                Body::new(EventBody::of(subscriber, planned))
            }
            Self::Cut(bytes) => Body::new(EventBody::cut(bytes)),
        }
    }
}

/// Returns true if a client's text may stand in an `id` line: only characters that a cursor is written with,
/// and no more of them than the largest cursor has.
fn is_safe_id(text: &str) -> bool {
    text.len() <= 2048 && text.bytes().all(|b| b.is_ascii_graphic())
}

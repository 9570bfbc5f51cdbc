//! `GET /v1/topics/{topic}/subscribers` and `GET /v1/subscribers`: the members of topics that have presence.

use std::net::SocketAddr;
use std::sync::Arc;

use access::Right;
use axum::Extension;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use event_log::Topic;
use limits::Peer;

use crate::error::{BadRequest, Refusal, forbidden, no_members, simple};
use crate::gateway::Shared;
use crate::handler::{self, Denial};
use crate::head::SubscriptionHead;
use crate::long_poll::HEADERS;
use crate::presence::{counted, present};

/// The resource that counts the members of several topics.
pub(crate) const PATH: &str = "/v1/subscribers";

/// The topic whose members a request asks for: the middle of its path, with slashes and escapes. The path of a topic
/// without presence is another resource: a topic's name may end as this one does.
pub(crate) fn topic_of(gateway: &Shared, method: &Method, path: &str) -> Option<Topic> {
    let name = path.strip_prefix("/v1/topics/")?.strip_suffix("/subscribers")?;
    let is_asked = [Method::GET, Method::HEAD, Method::OPTIONS].contains(method);
    let topic = is_asked.then(|| Topic::new(&unescaped(name)).ok())??;
    gateway.has_presence(&topic).then_some(topic)
}

/// Answers with the members of a topic.
pub(crate) async fn list(gateway: &Shared, parts: &Parts, topic: Topic, peer: Peer) -> Response {
    let head = SubscriptionHead::of(parts);
    answer(gateway, &head, of(gateway, &head, topic, peer.address).await)
}

/// Answers with the numbers of members of the topics of a pattern.
pub(crate) async fn count(
    State(gateway): State<Arc<Shared>>,
    Extension(peer): Extension<Peer>,
    request: Request,
) -> Response {
    let (parts, _no_body) = request.into_parts();
    let head = SubscriptionHead::of(&parts);
    answer(&gateway, &head, counts(&gateway, &head, peer.address).await)
}

fn answer(
    gateway: &Shared,
    head: &SubscriptionHead<'_>,
    result: Result<Response, Response>,
) -> Response {
    let mut response = result.unwrap_or_else(|refusal| refusal);
    gateway.config.cors.grant(head.origin).put(response.headers_mut());
    response
}

async fn of(
    gateway: &Shared,
    head: &SubscriptionHead<'_>,
    topic: Topic,
    peer: SocketAddr,
) -> Result<Response, Response> {
    if let Some((name, _)) = parameters(head).next() {
        return Err(BadRequest::NoParameter(name).into_response());
    }
    let credentials = handler::credentials(gateway, head, None);
    let grant = handler::permit_all(gateway, &credentials, &[topic.as_str()], peer).await;
    let grant = grant.map_err(Denial::into_response)?;
    let Some(presence) = &gateway.presence else { return Err(off()) };
    let view = presence.view(&topic).await.map_err(|_| no_members())?;
    let is_listed = grant.allows(Right::Presence, topic.as_str());
    Ok((HEADERS, present(&topic, &view, is_listed).to_string()).into_response())
}

async fn counts(
    gateway: &Shared,
    head: &SubscriptionHead<'_>,
    peer: SocketAddr,
) -> Result<Response, Response> {
    let mut wanted = None;
    for (name, value) in parameters(head) {
        if name != "topic" || wanted.is_some() {
            return Err(BadRequest::NoParameter(name).into_response());
        }
        wanted = Some(value);
    }
    let wanted = wanted.ok_or_else(|| BadRequest::NoTopic.into_response())?;
    let pattern = access::Pattern::new(&wanted).map_err(|bad| {
        BadRequest::value("topic", &wanted, &format!("a pattern ({bad})")).into_response()
    })?;
    let credentials = handler::credentials(gateway, head, None);
    let grant = handler::permit_some(gateway, &credentials, peer).await;
    let grant = grant.map_err(Denial::into_response)?;
    let Some(presence) = &gateway.presence else { return Err(off()) };
    let is_wanted = |topic: &Topic| {
        let topic = topic.as_str();
        pattern.matches(topic, grant.principal().subject()) && grant.allows(Right::Subscribe, topic)
    };
    let prefix = wanted.split(['*', '{']).next().unwrap_or_default();
    let counts = presence.counts(prefix, &is_wanted).await.map_err(|_| no_members())?;
    Ok((HEADERS, counted(&wanted, &counts)).into_response())
}

/// The parameters of a request, but for those that frameworks append to every URL.
fn parameters(head: &SubscriptionHead<'_>) -> impl Iterator<Item = (String, String)> {
    let all = form_urlencoded::parse(head.query.as_bytes()).into_owned();
    all.filter(|(name, _)| !name.starts_with('_'))
}

/// The text of a path's segments. What is no escape stays.
fn unescaped(path: &str) -> String {
    // A plus is a plus in a path, and a space in a query.
    let query = path.replace('+', "%2B").replace('&', "%26").replace('=', "%3D");
    let decoded = form_urlencoded::parse(query.as_bytes()).next();
    decoded.map(|(name, _)| name.into_owned()).unwrap_or_default()
}

fn off() -> Response {
    let message = "no topic of this node has presence: it needs --presence";
    simple(StatusCode::NOT_FOUND, "presence_off", message)
}

impl Denial {
    fn into_response(self) -> Response {
        match self {
            Self::Topic(topic) => forbidden(&topic, Right::Subscribe),
            Self::Credentials(denied) => Refusal::Denied(denied).into_response(),
            Self::Hub(refused) => refused.into_response(),
        }
    }
}

//! Tickets for pages: `/v1/tickets`, those that a stream carries for the stream after it, and the cookie that
//! takes the place of one.

use std::sync::Arc;
use std::time::Duration;

use access::audit::{self, Action};
use access::{Access, Form, Grant, NoTicket, Page, Right, Ticket, Timestamp};
use axum::Extension;
use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use event_log::{Part, Spaces};
use limits::Peer;
use serde::Deserialize;
use serde_json::json;

use crate::error::{BadRequest, NOSNIFF, Refusal, forbidden, simple};
use crate::gateway::Shared;
use crate::head::SubscriptionHead;
use crate::read_body::read_body;
use crate::request::Selectors;

/// The resource that gives out tickets.
pub(crate) const PATH: &str = "/v1/tickets";

/// The time until the first use of a ticket.
const FIRST_USE: Duration = Duration::from_mins(1);
/// The largest body, in bytes: 64 topics.
const BODY_BYTES_MAX: usize = 16 * 1024;
/// The prefix of a cookie's name that binds it to its host and to TLS (RFC 6265bis).
const HOST_PREFIX: &str = "__Host-";

/// The body of a request.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    topics: Vec<String>,
    /// True if the answer is to set the stream cookie, too.
    #[serde(default)]
    cookie: bool,
}

/// Answers a page that wants a ticket.
pub(crate) async fn give(
    State(gateway): State<Arc<Shared>>,
    Extension(peer): Extension<Peer>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let origin = parts.headers.get(header::ORIGIN).map(HeaderValue::as_bytes);
    let cors = gateway.config.cors.grant(origin);
    let mut response = answer(&gateway, &parts, body, peer).await;
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    cors.put(response.headers_mut());
    response
}

async fn answer(gateway: &Shared, parts: &Parts, body: Body, peer: Peer) -> Response {
    let access = &gateway.config.access;
    let head = SubscriptionHead::of(parts);
    let Some(tickets) = access.tickets() else {
        let message = "this node gives out no tickets: it needs --ticket-keys";
        return simple(StatusCode::NOT_FOUND, "tickets_off", message);
    };
    let page = match gateway.config.cors.trusts(head.origin, head.sec_fetch_site) {
        true => Page::Allowed,
        false => Page::Foreign,
    };
    let credentials = access.credentials(head.authorization, &head.cookie, None, page);
    let grant = match access.admit(&credentials).await {
        Ok(grant) => grant,
        Err(denied) => {
            audit::refused(Action::Ticket, None, "", denied.reason, peer.address);
            return Refusal::Denied(denied).into_response();
        }
    };
    let (wanted, parts) = match read(body, gateway.config.max_topics, gateway.log.spaces()).await {
        Ok(read) => read,
        Err(refusal) => return refusal,
    };
    let names: Vec<_> = parts.iter().flat_map(Part::texts).collect();
    for topic in names.iter().copied() {
        if let Err(denied) = grant.check(Right::Subscribe, topic) {
            access.count(denied.reason);
            audit::refused(Action::Ticket, Some(&grant), topic, denied.reason, peer.address);
            return match denied.reason {
                access::Reason::Topic => forbidden(topic, Right::Subscribe),
                _ => Refusal::Denied(denied).into_response(),
            };
        }
    }
    let issued = tickets.issue(&grant, &names, Form::Ticket, Some(FIRST_USE));
    let cookie = wanted.cookie.then(|| tickets.issue(&grant, &names, Form::Cookie, None));
    let (ticket, cookie) = match (issued, cookie.transpose()) {
        (Ok(ticket), Ok(cookie)) => (ticket, cookie),
        (Err(none), _) | (_, Err(none)) => return refuse(&none),
    };
    audit::allowed(Action::Ticket, &grant, names.join(","), peer.address);
    let json = json!({ "ticket": ticket.text, "expires": ticket.until.to_string() });
    let mut response = ([NOSNIFF], Json(json)).into_response();
    if let Some(cookie) = cookie {
        let is_foreign = head.sec_fetch_site == Some(b"cross-site");
        let cookie = set_cookie(access.cookie_name(), &cookie, is_foreign);
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

/// Reads the body, within its bounds.
async fn read(
    body: Body,
    topics_max: usize,
    spaces: &Spaces,
) -> Result<(Wanted, Vec<Part>), Response> {
    let bad = |message: &str| simple(StatusCode::BAD_REQUEST, "bad_body", message);
    let bytes = read_body(body, BODY_BYTES_MAX).await?;
    let wanted: Wanted = serde_json::from_slice(&bytes).map_err(|error| {
        bad(&format!("the body is not as {{\"topics\":[\"orders/42\"]}}: {error}"))
    })?;
    if wanted.topics.len() > topics_max {
        let count = wanted.topics.len();
        return Err(BadRequest::TooManyTopics { count, max: topics_max }.into_response());
    }
    let mut selectors = Selectors::default();
    let added = wanted.topics.iter().try_for_each(|topic| selectors.add(topic));
    match added.and_then(|()| selectors.parts(topics_max, spaces)) {
        Ok(parts) => Ok((wanted, parts)),
        Err(BadRequest::NoTopic) => Err(bad("the body names no topic")),
        Err(refused) => Err(refused.into_response()),
    }
}

fn refuse(none: &NoTicket) -> Response {
    match none {
        NoTicket::Anonymous => {
            let mut response = simple(StatusCode::UNAUTHORIZED, "no_token", &none.to_string());
            let bearer = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, bearer);
            response
        }
        NoTicket::TooManyTopics(_) | NoTicket::TooLong(_) => {
            simple(StatusCode::BAD_REQUEST, "too_many_topics", &none.to_string())
        }
    }
}

/// Returns a ticket for the stream after one that a ticket opened. It can be opened until a minute after `time`.
pub(crate) fn renew(
    access: &Access,
    grant: &Grant,
    topics: &[&str],
    time: Duration,
) -> Option<String> {
    let ticket = access.tickets()?.issue(grant, topics, Form::Ticket, Some(time + FIRST_USE));
    ticket.ok().map(|ticket| ticket.text)
}

/// Redirects to the same resource with another query, and sets the stream cookie. The address is relative,
/// because a proxy may serve this node under a path of its own.
pub(crate) fn to_cookie(
    access: &Access,
    grant: &Grant,
    topics: &[&str],
    query: &str,
    is_foreign: bool,
) -> Option<Response> {
    let cookie = access.tickets()?.issue(grant, topics, Form::Cookie, None).ok()?;
    let location = HeaderValue::from_str(&format!("events?{query}")).ok()?;
    let headers: [(HeaderName, HeaderValue); 3] = [
        (header::LOCATION, location),
        (header::SET_COOKIE, set_cookie(access.cookie_name(), &cookie, is_foreign)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Some((StatusCode::PERMANENT_REDIRECT, headers).into_response())
}

/// Takes the stream cookie out of a browser. It asks for no credentials: a page can do so only for its own user.
pub(crate) async fn take_back(State(gateway): State<Arc<Shared>>, request: Request) -> Response {
    let headers = request.headers();
    let is_foreign = headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site");
    let cors = gateway.config.cors.grant(headers.get(header::ORIGIN).map(HeaderValue::as_bytes));
    let cookie = cookie_header(gateway.config.access.cookie_name(), "", 0, is_foreign);
    let headers = [
        (header::SET_COOKIE, cookie),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    let mut response = (StatusCode::NO_CONTENT, headers).into_response();
    cors.put(response.headers_mut());
    response
}

fn set_cookie(name: &str, cookie: &Ticket, is_foreign: bool) -> HeaderValue {
    let seconds = cookie.until.after(Timestamp::now()).as_secs();
    cookie_header(name, &cookie.text, seconds, is_foreign)
}

/// The header of a stream cookie. A page of another site can keep it only for itself (`Partitioned`).
fn cookie_header(name: &str, value: &str, seconds: u64, is_foreign: bool) -> HeaderValue {
    // A name without the prefix is for trying out over plain HTTP.
    let secure = if name.starts_with(HOST_PREFIX) { "; Secure" } else { "" };
    let site = if is_foreign { "None; Partitioned" } else { "Lax" };
    let text =
        format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly{secure}; SameSite={site}");
    HeaderValue::from_str(&text).expect("a token and a name are ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_for_its_host_alone_and_for_other_sites_partitioned() {
        let until = Timestamp::now().later(Duration::from_secs(100));
        let ticket = Ticket { text: "a.b.c".to_owned(), until };
        let text = |name: &str, is_foreign: bool| {
            set_cookie(name, &ticket, is_foreign).to_str().unwrap().to_owned()
        };
        let own = text("__Host-tailwater", false);
        assert!(own.starts_with("__Host-tailwater=a.b.c; Path=/; Max-Age="), "{own}");
        assert!(own.ends_with("; HttpOnly; Secure; SameSite=Lax"), "{own}");
        let foreign = text("__Host-tailwater", true);
        assert!(foreign.ends_with("; HttpOnly; Secure; SameSite=None; Partitioned"), "{foreign}");
        assert!(!text("tw", false).contains("Secure"));
    }
}

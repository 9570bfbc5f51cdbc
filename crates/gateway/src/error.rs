//! The reasons to refuse a subscriber, and the HTTP status of each: no other file chooses one.
//!
//! An `EventSource` that is answered anything but 200 is dead for ever, so only a developer's
//! mistake is an error here; a browser that comes at a bad moment gets a stream that tells it
//! to come back (`handler.rs`).

use access::{Denied, Reason, Right};
use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use event_log::{BadEventType, BadPattern, BadTopic, NoSpace};
use limits::{Full, Part};
use serde_json::json;

use crate::hub::Refused;

/// The request makes no sense.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(crate) enum BadRequest {
    #[error("no topic: give at least one, as ?topic=NAME")]
    NoTopic,
    #[error(transparent)]
    Topic(#[from] BadTopic),
    #[error(transparent)]
    Pattern(#[from] BadPattern),
    #[error(transparent)]
    NoSpace(#[from] NoSpace),
    #[error("{count} topics in one subscription; the limit is {max}")]
    TooManyTopics { count: usize, max: usize },
    #[error("{count} types in one filter; the limit is {max}")]
    TooManyTypes { count: usize, max: usize },
    #[error(transparent)]
    EventType(#[from] BadEventType),
    #[error("topic {0:?} has no presence, which presence=1 asks for (--presence)")]
    NoPresence(Box<str>),
    #[error("parameter {0:?} is unknown here, or comes twice")]
    NoParameter(String),
    #[error("parameter {name} is {value:?}; it must be {allowed}")]
    Value { name: &'static str, value: String, allowed: String },
    #[error(
        "unknown parameter {0:?}; known are topic, from, last_event_id, types, envelope, heartbeat, \
         control, close, wait, limit, ticket, renew, presence and client"
    )]
    UnknownParameter(String),
    #[error(transparent)]
    Hub(#[from] Refused),
}

/// The request came at a bad moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error(transparent)]
    Overload(#[from] Full),
    #[error("this gateway is stopping")]
    Drain,
    #[error("the log cannot be reached")]
    Unavailable,
    #[error(transparent)]
    Denied(#[from] Denied),
}

/// Seconds after which a refused client may try again.
const RETRY_AFTER: u8 = 2;

impl BadRequest {
    pub(crate) fn value(name: &'static str, value: &str, allowed: &str) -> Self {
        Self::Value { name, value: value.to_owned(), allowed: allowed.to_owned() }
    }

    const fn code(&self) -> &'static str {
        match self {
            Self::NoTopic => "missing_topic",
            Self::Topic(_) => "bad_topic",
            Self::Pattern(_) => "bad_pattern",
            Self::NoSpace(_) => "no_space",
            Self::TooManyTopics { .. } => "too_many_topics",
            Self::TooManyTypes { .. } => "too_many_types",
            Self::EventType(_) => "bad_type",
            Self::NoPresence(_) => "no_presence",
            Self::Value { .. }
            | Self::UnknownParameter(_)
            | Self::NoParameter(_)
            | Self::Hub(_) => "bad_parameter",
        }
    }
}

impl IntoResponse for BadRequest {
    fn into_response(self) -> Response {
        if let Self::Hub(refused) = self {
            return refused.into_response();
        }
        (StatusCode::BAD_REQUEST, body(self.code(), &self.to_string())).into_response()
    }
}

/// An error with its own code and message.
pub(crate) fn simple(status: StatusCode, code: &'static str, message: &str) -> Response {
    (status, body(code, message)).into_response()
}

/// The members of other nodes cannot be reached.
pub(crate) fn no_members() -> Response {
    let message = "the members of other nodes cannot be reached";
    let (status, code) = (StatusCode::SERVICE_UNAVAILABLE, "presence_unavailable");
    let retry_after = [(header::RETRY_AFTER, RETRY_AFTER.to_string())];
    (status, retry_after, body(code, message)).into_response()
}

/// A topic or a pattern that a known party may not use.
pub(crate) fn forbidden(topic: &str, right: Right) -> Response {
    let message = format!("topic {topic:?}: no right to {}", right.as_str());
    (StatusCode::FORBIDDEN, body("forbidden", &message)).into_response()
}

/// Refuses credentials. Says no more than the reason's sentence.
fn denied(denied: Denied) -> Response {
    const BEARER: &str = "Bearer";
    const INVALID: &str = "Bearer error=\"invalid_token\"";
    let (status, code, challenge) = match denied.reason {
        Reason::NoToken => (StatusCode::UNAUTHORIZED, "no_token", Some(BEARER)),
        Reason::Expired => (StatusCode::UNAUTHORIZED, "token_expired", Some(INVALID)),
        Reason::Topic => (StatusCode::FORBIDDEN, "forbidden", None),
        Reason::Revoked => (StatusCode::FORBIDDEN, "revoked", None),
        Reason::CrossSite => (StatusCode::FORBIDDEN, "cross_site", None),
        Reason::KeysUnavailable => (StatusCode::SERVICE_UNAVAILABLE, "keys_unavailable", None),
        _ => (StatusCode::UNAUTHORIZED, "bad_token", Some(INVALID)),
    };
    let mut response = (status, body(code, denied.reason.message())).into_response();
    let headers = response.headers_mut();
    if let Some(challenge) = challenge {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(u16::from(RETRY_AFTER)));
    }
    response
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, code) = match self {
            Self::Denied(reason) => return denied(reason),
            Self::Overload(full) if full.part == Part::Subject => {
                (StatusCode::TOO_MANY_REQUESTS, "quota")
            }
            Self::Overload(_) => (StatusCode::TOO_MANY_REQUESTS, "overload"),
            Self::Drain => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "log_unavailable"),
        };
        let retry_after = [(header::RETRY_AFTER, RETRY_AFTER.to_string())];
        (status, retry_after, body(code, &self.to_string())).into_response()
    }
}

/// A message may quote the client; longer ones are cut to so many bytes.
const MESSAGE_BYTES_MAX: usize = 400;

/// Keeps browsers from guessing that JSON is something else.
pub(crate) const NOSNIFF: (HeaderName, &str) = (header::X_CONTENT_TYPE_OPTIONS, "nosniff");

fn body(code: &str, message: &str) -> impl IntoResponse + use<> {
    let cut = message.floor_char_boundary(MESSAGE_BYTES_MAX);
    let ellipsis = if cut < message.len() { "\u{2026}" } else { "" };
    let message = format!("{}{ellipsis}", &message[..cut]);
    ([NOSNIFF], Json(json!({ "error": { "code": code, "message": message } })))
}

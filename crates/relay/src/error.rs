//! The errors of the relay itself. This file chooses every HTTP status that is not the upstream's.

use access::{Denied, Reason};
use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use event_log::{AppendError, BadTopic, ReadError, Topic};

/// The reason why the relay has not passed a request on, or has no answer to it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// The path leaves the base of the upstream, or is no URL there.
    #[error("the path {0:?} leads out of the upstream's base")]
    BadPath(String),
    /// There is no connection to the upstream.
    #[error("the upstream cannot be reached")]
    Unreachable,
    /// The upstream has closed the connection before the head of an answer.
    #[error("the upstream broke off before it answered")]
    BrokenOff,
    /// The upstream was silent for too long.
    #[error("the upstream did not answer within {0} s")]
    Silent(u64),
    /// A body that has to be read as a whole is too large.
    #[error("the body has more bytes than the limit of {0}, which holds for this kind of request")]
    TooLarge(usize),
    /// The client broke its body off.
    #[error("the body of the request broke off")]
    BadBody,
    /// The client sends its body too slowly.
    #[error("the body of the request did not end within {0} s")]
    SlowBody(u64),
    /// There is no room for a body that has to be read as a whole.
    #[error("{0}")]
    Full(String),
    /// The idempotency key belongs to another request.
    #[error("the idempotency key was used with another request: its method, path or body differs")]
    KeyReused,
    /// The request with this key has no answer yet.
    #[error("the first request with this idempotency key has no answer yet; try again")]
    KeyBusy,
    /// The name is not a valid topic.
    #[error(transparent)]
    BadTopic(#[from] BadTopic),
    /// No answer has this topic.
    #[error("topic {0:?} is no stored answer of a relay")]
    Unknown(String),
    /// The query names no topic.
    #[error("the query must name one topic")]
    NoTopic,
    /// The party may not do this.
    #[error("{message}")]
    Denied {
        /// The reason.
        reason: Reason,
        /// The reason in words.
        message: String,
    },
    /// The log does not answer.
    #[error("the log is unavailable")]
    LogUnavailable,
}

impl Refusal {
    /// The cause, for programs.
    const fn code(&self) -> &'static str {
        match self {
            Self::BadPath(_) => "bad_path",
            Self::Unreachable => "upstream_unreachable",
            Self::BrokenOff => "upstream_broke_off",
            Self::Silent(_) => "upstream_silent",
            Self::TooLarge(_) => "too_large",
            Self::BadBody => "bad_body",
            Self::SlowBody(_) => "body_timeout",
            Self::Full(_) => "memory",
            Self::KeyReused => "key_reused",
            Self::KeyBusy => "key_busy",
            Self::BadTopic(_) => "bad_topic",
            Self::Unknown(_) => "unknown_topic",
            Self::NoTopic => "missing_topic",
            Self::Denied { reason, .. } => match reason {
                Reason::NoToken => "no_token",
                Reason::Expired => "token_expired",
                Reason::Topic => "forbidden",
                Reason::Revoked => "revoked",
                Reason::CrossSite => "cross_site",
                Reason::KeysUnavailable => "keys_unavailable",
                _ => "bad_token",
            },
            Self::LogUnavailable => "log_unavailable",
        }
    }

    const fn status(&self) -> StatusCode {
        match self {
            Self::BadPath(_) | Self::BadBody | Self::BadTopic(_) | Self::NoTopic => {
                StatusCode::BAD_REQUEST
            }
            Self::Unreachable | Self::BrokenOff => StatusCode::BAD_GATEWAY,
            Self::Silent(_) => StatusCode::GATEWAY_TIMEOUT,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::SlowBody(_) => StatusCode::REQUEST_TIMEOUT,
            Self::Full(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::KeyReused => StatusCode::UNPROCESSABLE_ENTITY,
            Self::KeyBusy => StatusCode::CONFLICT,
            Self::Unknown(_) => StatusCode::NOT_FOUND,
            Self::Denied { reason, .. } => match reason {
                Reason::Topic | Reason::Revoked | Reason::CrossSite => StatusCode::FORBIDDEN,
                Reason::KeysUnavailable => StatusCode::SERVICE_UNAVAILABLE,
                _ => StatusCode::UNAUTHORIZED,
            },
            Self::LogUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// A party that has no right to end a topic.
    pub(crate) fn forbidden(topic: &Topic) -> Self {
        let message = format!("topic {topic:?}: no right to end it, which cancels the answer");
        Self::Denied { reason: Reason::Topic, message }
    }

    /// Returns true if the same request may succeed a little later.
    const fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable | Self::Full(_) | Self::KeyBusy | Self::LogUnavailable => true,
            Self::Denied { reason, .. } => matches!(reason, Reason::KeysUnavailable),
            _ => false,
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let error = serde_json::json!({ "code": self.code(), "message": self.to_string() });
        let body = Json(serde_json::json!({ "error": error }));
        let mut response = (self.status(), body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if self.status() == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if self.is_transient() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

impl From<Denied> for Refusal {
    fn from(Denied { reason, .. }: Denied) -> Self {
        Self::Denied { reason, message: reason.message().to_string() }
    }
}

impl From<ReadError> for Refusal {
    fn from(error: ReadError) -> Self {
        tracing::debug!(%error, "read failed");
        Self::LogUnavailable
    }
}

impl From<AppendError> for Refusal {
    fn from(error: AppendError) -> Self {
        tracing::debug!(%error, "append failed");
        Self::LogUnavailable
    }
}

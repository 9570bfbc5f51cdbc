//! The errors that publishers receive. This file chooses every HTTP status of ingest.

use std::sync::atomic::{AtomicU32, Ordering};

use access::{Denied, Reason};
use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use event_log::{AppendError, BadEventType, BadKey, BadTopic, ReadError};
use limits::Full;
use serde::Serialize;

use crate::outcome::Outcome;

/// The cause of an error, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    /// Neither the query nor the event names a topic.
    MissingTopic,
    /// The name is not a valid topic, or the topic is reserved.
    BadTopic,
    /// The name is not a valid event type, or the type is reserved.
    BadType,
    /// The idempotency key is not valid.
    BadKey,
    /// The idempotency key belongs to another event.
    KeyReused,
    /// The body, or a part of it, does not match its content type.
    BadBody,
    /// A query parameter is unknown, repeated or malformed, or does not fit the body.
    BadParameter,
    /// The log does not know the topic.
    UnknownTopic,
    /// The body did not end in time.
    BodyTimeout,
    /// The publisher has ended the topic.
    TopicEnded,
    /// The topic shares its log, and has no end of its own.
    InSpace,
    /// The event or the body is larger than its limit.
    TooLarge,
    /// The body has an encoding or a content type that ingest cannot read.
    UnsupportedMediaType,
    /// There are too many concurrent requests or streams.
    TooManyRequests,
    /// Too many topics begin in a second.
    TooManyTopics,
    /// The subject has reached a bound of its own.
    Quota,
    /// The bodies of publishers hold too much memory.
    Memory,
    /// The log does not answer.
    LogUnavailable,
    /// The log has no room.
    LogFull,
    /// This node is about to stop.
    Draining,
    /// The request brought no credentials, and needs some.
    NoToken,
    /// The right has ended.
    TokenExpired,
    /// The credentials are refused.
    BadToken,
    /// The party has no right to do this.
    Forbidden,
    /// The right was revoked.
    Revoked,
    /// A page of another origin sent a cookie.
    CrossSite,
    /// The keys of an issuer cannot be loaded now.
    KeysUnavailable,
    /// Everybody may do everything here, so there is nothing to revoke.
    AccessOff,
    /// As many revocations hold as may.
    TooManyRevocations,
}

/// The reason why an event, or a whole request, was not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Error {
    code: Code,
    message: String,
}

/// Keeps a browser from taking an answer for a page, since errors quote the text of publishers.
pub(crate) const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");
/// Longest message, in bytes. A message may quote text from the publisher, which may be long.
pub(crate) const MESSAGE_BYTES_MAX: usize = 400;

impl Code {
    /// Returns the code as it stands in an answer.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::MissingTopic => "missing_topic",
            Self::BadTopic => "bad_topic",
            Self::BadType => "bad_type",
            Self::BadKey => "bad_key",
            Self::KeyReused => "key_reused",
            Self::BadBody => "bad_body",
            Self::BadParameter => "bad_parameter",
            Self::UnknownTopic => "unknown_topic",
            Self::BodyTimeout => "body_timeout",
            Self::TopicEnded => "topic_ended",
            Self::InSpace => "in_space",
            Self::TooLarge => "too_large",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::TooManyRequests => "too_many_requests",
            Self::TooManyTopics => "too_many_topics",
            Self::Quota => "quota",
            Self::Memory => "memory",
            Self::LogUnavailable => "log_unavailable",
            Self::LogFull => "log_full",
            Self::Draining => "draining",
            Self::NoToken => "no_token",
            Self::TokenExpired => "token_expired",
            Self::BadToken => "bad_token",
            Self::Forbidden => "forbidden",
            Self::Revoked => "revoked",
            Self::CrossSite => "cross_site",
            Self::KeysUnavailable => "keys_unavailable",
            Self::AccessOff => "access_off",
            Self::TooManyRevocations => "too_many_revocations",
        }
    }

    pub(crate) const fn status(self) -> StatusCode {
        match self {
            Self::MissingTopic
            | Self::BadTopic
            | Self::BadType
            | Self::BadKey
            | Self::BadBody
            | Self::BadParameter => StatusCode::BAD_REQUEST,
            Self::UnknownTopic | Self::AccessOff => StatusCode::NOT_FOUND,
            Self::NoToken | Self::TokenExpired | Self::BadToken => StatusCode::UNAUTHORIZED,
            Self::Forbidden | Self::Revoked | Self::CrossSite => StatusCode::FORBIDDEN,
            Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::TopicEnded | Self::InSpace => StatusCode::CONFLICT,
            Self::KeyReused => StatusCode::UNPROCESSABLE_ENTITY,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooManyRequests
            | Self::TooManyTopics
            | Self::TooManyRevocations
            | Self::Quota
            | Self::Memory => StatusCode::TOO_MANY_REQUESTS,
            Self::LogUnavailable | Self::LogFull | Self::Draining | Self::KeysUnavailable => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
    }

    /// Returns true if the same request may succeed a little later.
    pub(crate) const fn is_transient(self) -> bool {
        matches!(
            self,
            Self::TooManyRequests
                | Self::TooManyTopics
                | Self::Quota
                | Self::Memory
                | Self::LogUnavailable
                | Self::LogFull
                | Self::Draining
                | Self::KeysUnavailable
        )
    }

    /// Returns true if such an error ends a stream of events: one that asks for a retry, because later
    /// events would otherwise be stored before the one that is retried, a wait that was too long, and a right
    /// that has ended.
    pub(crate) const fn ends_stream(self) -> bool {
        self.is_transient()
            || matches!(self, Self::BodyTimeout | Self::TokenExpired | Self::Revoked)
    }

    /// Returns the outcome of the event for the metrics, or `None` if the request had no event.
    pub(crate) const fn outcome(self) -> Option<Outcome> {
        match self {
            Self::LogUnavailable | Self::LogFull => Some(Outcome::Unavailable),
            Self::UnknownTopic
            | Self::BodyTimeout
            | Self::Draining
            | Self::AccessOff
            | Self::TooManyRevocations => None,
            _ => Some(Outcome::Refused),
        }
    }
}

impl Error {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        let mut message = message.into();
        if message.len() > MESSAGE_BYTES_MAX {
            message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
            message.push('\u{2026}');
        }
        Self { code, message }
    }

    /// Data or a body over its limit. `bytes` is `None` if reading stopped at the limit.
    pub(crate) fn too_large(what: &str, bytes: Option<usize>, max: usize) -> Self {
        let message = match bytes {
            Some(bytes) => format!("{what} has {bytes} bytes; the limit is {max}"),
            None => format!("{what} has more bytes than the limit of {max}"),
        };
        Self::new(Code::TooLarge, message)
    }

    /// A limit that is reached.
    pub(crate) fn full(code: Code, full: Full) -> Self {
        Self::new(code, full.to_string())
    }

    /// The value of `WWW-Authenticate`, for an error of credentials. Never a scheme for which a browser would
    /// open a dialog.
    pub(crate) const fn challenge(&self) -> Option<HeaderValue> {
        match self.code {
            Code::NoToken => Some(HeaderValue::from_static("Bearer")),
            Code::TokenExpired | Code::BadToken => {
                Some(HeaderValue::from_static("Bearer error=\"invalid_token\""))
            }
            _ => None,
        }
    }

    /// The error of an event that follows one that must be retried.
    pub(crate) fn not_tried(before: &Self) -> Self {
        Self::new(before.code, "not tried, because an earlier event failed; send both again")
    }

    pub(crate) const fn code(&self) -> Code {
        self.code
    }

    /// Returns the error as it stands in an answer.
    pub(crate) fn body(&self) -> ErrorBody<'_> {
        ErrorBody { code: self.code.as_str(), message: &self.message }
    }

    /// Returns the value of `Retry-After`, if a retry makes sense.
    pub(crate) fn retry_after(&self) -> Option<HeaderValue> {
        // Taking turns spreads the publishers more evenly over three seconds than random numbers.
        static TURN: AtomicU32 = AtomicU32::new(0);
        self.code
            .is_transient()
            .then(|| HeaderValue::from(TURN.fetch_add(1, Ordering::Relaxed) % 3 + 1))
    }
}

/// An error in an answer.
#[derive(Debug, Serialize)]
pub(crate) struct ErrorBody<'a> {
    code: &'static str,
    message: &'a str,
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let body = serde_json::json!({ "error": self.body() });
        let mut response = (self.code.status(), Json(body)).into_response();
        response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, NOSNIFF);
        if let Some(challenge) = self.challenge() {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        if let Some(seconds) = self.retry_after() {
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        response
    }
}

impl From<Denied> for Error {
    fn from(Denied { reason, .. }: Denied) -> Self {
        let code = match reason {
            Reason::NoToken => Code::NoToken,
            Reason::Expired => Code::TokenExpired,
            Reason::Topic => Code::Forbidden,
            Reason::Revoked => Code::Revoked,
            Reason::CrossSite => Code::CrossSite,
            Reason::KeysUnavailable => Code::KeysUnavailable,
            _ => Code::BadToken,
        };
        Self::new(code, reason.message())
    }
}

impl From<BadTopic> for Error {
    fn from(bad: BadTopic) -> Self {
        Self::new(Code::BadTopic, bad.to_string())
    }
}

impl From<BadEventType> for Error {
    fn from(bad: BadEventType) -> Self {
        Self::new(Code::BadType, bad.to_string())
    }
}

impl From<BadKey> for Error {
    fn from(bad: BadKey) -> Self {
        Self::new(Code::BadKey, bad.to_string())
    }
}

impl From<AppendError> for Error {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Ended { .. } => Self::new(Code::TopicEnded, error.to_string()),
            AppendError::InSpace { .. } => Self::new(Code::InSpace, error.to_string()),
            // No request copies with a bookmark; a bookmark would be refused as a key is.
            AppendError::KeyReused { .. } | AppendError::Moved { .. } => {
                Self::new(Code::KeyReused, error.to_string())
            }
            AppendError::NewTopic { .. } => Self::new(Code::TooManyTopics, error.to_string()),
            // The causes contain the store's words and address, which the publisher must not see.
            AppendError::Full(cause) => {
                tracing::debug!(cause, "the log is full");
                Self::new(Code::LogFull, "the log has no room; the event was not stored")
            }
            AppendError::Unavailable(cause) => {
                tracing::debug!(cause, "append failed");
                Self::new(
                    Code::LogUnavailable,
                    "the log is unavailable; the event may have been stored, and a retry with the \
                     same idempotency key is safe",
                )
            }
        }
    }
}

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Self {
        let ReadError::Unavailable(cause) = error;
        tracing::debug!(cause, "read failed");
        Self::new(Code::LogUnavailable, "the log is unavailable")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_cut_between_two_characters() {
        let error = Error::new(Code::BadTopic, "\u{e9}".repeat(1000));
        assert_eq!(error.message.len(), MESSAGE_BYTES_MAX + '\u{2026}'.len_utf8());
        let odd = Error::new(Code::BadTopic, format!("x{}", "\u{e9}".repeat(1000)));
        assert!(odd.message.ends_with("\u{e9}\u{2026}"));
    }

    #[test]
    fn only_transient_errors_ask_for_a_retry_within_three_seconds() {
        let full = Error::new(Code::LogFull, "");
        for _ in 0..9 {
            let seconds = full.retry_after().unwrap();
            assert!(["1", "2", "3"].contains(&seconds.to_str().unwrap()), "{seconds:?}");
        }
        assert_eq!(Error::new(Code::BadBody, "").retry_after(), None);
    }

    #[test]
    fn a_message_contains_neither_the_words_nor_the_address_of_the_store() {
        let cause = "OOM command not allowed: 10.0.0.1:6379".to_owned();
        for error in [AppendError::Unavailable(cause.clone()), AppendError::Full(cause.clone())] {
            let error = Error::from(error);
            assert!(!error.message.contains("6379") && !error.message.contains("OOM"), "{error}");
        }
    }
}

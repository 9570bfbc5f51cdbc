//! The refusals that clients receive. This file chooses every HTTP status of a hub.

use crate::claims::BadClaims;
use crate::dialect::Dialect;
use crate::hub::Hub;
use crate::publication::BadPublication;
use crate::subscription::BadSubscription;
use crate::token::BadToken;

/// The media type of the body of a refusal, which is one sentence.
pub const BODY_TYPE: &str = "text/plain; charset=utf-8";

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    cause: Cause,
    message: String,
}

/// The cause of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// The request is malformed.
    Request,
    /// Something is larger than its limit.
    TooLarge,
    /// A token is needed, and there is none.
    NoToken,
    /// The token was brought in a wrong way.
    Presentation,
    /// The token is refused.
    Token,
    /// The token is not for this.
    Scope,
    /// There is no such subscription.
    Unknown,
}

impl Refusal {
    /// The request needs a token and has none.
    #[must_use]
    pub fn no_token() -> Self {
        Self::new(Cause::NoToken, "a token is needed")
    }

    /// The token is refused, for whatever reason: no answer tells an attacker which.
    #[must_use]
    pub fn bad_token() -> Self {
        Self::new(Cause::Token, "the token is not valid")
    }

    /// The token is valid, and not for this.
    #[must_use]
    pub fn scope() -> Self {
        Self::new(Cause::Scope, "the token does not allow this")
    }

    /// There is no such subscription.
    #[must_use]
    pub fn unknown() -> Self {
        Self::new(Cause::Unknown, "there is no such subscription")
    }

    /// A request that is malformed in another way.
    #[must_use]
    pub fn malformed(message: &str) -> Self {
        Self::new(Cause::Request, message)
    }

    /// Something is larger than its limit, which the message names.
    #[must_use]
    pub fn too_large(message: &str) -> Self {
        Self::new(Cause::TooLarge, message)
    }

    fn new(cause: Cause, message: &str) -> Self {
        Self { cause, message: message.to_owned() }
    }

    /// The HTTP status. 0.x has one for all that a token lacks.
    #[must_use]
    pub const fn status(&self, dialect: Dialect) -> u16 {
        match (self.cause, dialect) {
            (Cause::Request, _) | (Cause::Presentation, Dialect::V1) => 400,
            (Cause::NoToken | Cause::Token, _) => 401,
            (Cause::Presentation | Cause::Scope, Dialect::V0) => 401,
            (Cause::Scope, Dialect::V1) => 403,
            (Cause::Unknown, _) => 404,
            (Cause::TooLarge, _) => 413,
        }
    }

    /// The header `WWW-Authenticate`, for a refusal that a token could help (RFC 6750). 1.0 also names the metadata that
    /// tell where a token comes from (RFC 9728).
    #[must_use]
    pub fn challenge(&self, dialect: Dialect, hub: &Hub) -> Option<String> {
        let error = match self.cause {
            Cause::Request | Cause::TooLarge | Cause::Unknown => return None,
            Cause::NoToken => None,
            Cause::Presentation => Some("invalid_request"),
            Cause::Token => Some("invalid_token"),
            Cause::Scope => Some("insufficient_scope"),
        };
        let error = error.map(|code| format!("error=\"{code}\""));
        let metadata = format!("resource_metadata=\"{}\"", hub.metadata_url());
        match dialect {
            Dialect::V0 => Some("Bearer".to_owned()),
            Dialect::V1 => {
                let parts: Vec<_> = error.into_iter().chain([metadata]).collect();
                Some(format!("Bearer {}", parts.join(", ")))
            }
        }
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> String {
        format!("{}\n", self.message)
    }
}

impl From<BadSubscription> for Refusal {
    fn from(error: BadSubscription) -> Self {
        match error {
            BadSubscription::Token(error) => error.into(),
            other => Self::malformed(&other.to_string()),
        }
    }
}

impl From<BadPublication> for Refusal {
    fn from(error: BadPublication) -> Self {
        let cause = if error.is_too_large() { Cause::TooLarge } else { Cause::Request };
        Self::new(cause, &error.to_string())
    }
}

impl From<BadToken> for Refusal {
    fn from(error: BadToken) -> Self {
        Self::new(Cause::Presentation, &error.to_string())
    }
}

impl From<BadClaims> for Refusal {
    fn from(_: BadClaims) -> Self {
        Self::bad_token()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const METADATA: &str = "resource_metadata=\"https://example.com/.well-known/oauth-protected-resource/.well-known/mercure\"";

    #[track_caller]
    fn check(refusal: &Refusal, statuses: [u16; 2], error: Option<&str>) {
        let hub = Hub::new("https://example.com/.well-known/mercure").unwrap();
        assert_eq!(Dialect::ALL.map(|dialect| refusal.status(dialect)), statuses);
        let challenges = Dialect::ALL.map(|dialect| refusal.challenge(dialect, &hub));
        let expected = match error {
            None => [None, None],
            Some("") => [Some("Bearer".to_owned()), Some(format!("Bearer {METADATA}"))],
            Some(code) => {
                [Some("Bearer".to_owned()), Some(format!("Bearer error=\"{code}\", {METADATA}"))]
            }
        };
        assert_eq!(challenges, expected);
        assert!(refusal.body().ends_with('\n') && refusal.body().len() > 10);
    }

    #[test]
    fn each_cause_has_a_status_and_a_challenge() {
        check(&Refusal::no_token(), [401, 401], Some(""));
        check(&Refusal::bad_token(), [401, 401], Some("invalid_token"));
        check(&Refusal::scope(), [401, 403], Some("insufficient_scope"));
        check(&BadToken::Header.into(), [401, 400], Some("invalid_request"));
        check(&BadSubscription::Token(BadToken::Query).into(), [401, 400], Some("invalid_request"));
        check(&BadSubscription::NoSelector.into(), [400, 400], None);
        check(&BadClaims::TooMany.into(), [401, 401], Some("invalid_token"));
        check(&BadPublication::NoTopic.into(), [400, 400], None);
        check(&BadPublication::Reserved("a".to_owned()).into(), [400, 400], None);
        check(&BadPublication::TooLarge(2_000_000).into(), [413, 413], None);
        check(&Refusal::unknown(), [404, 404], None);
        check(&Refusal::malformed("the path is malformed"), [400, 400], None);
    }

    #[test]
    fn an_answer_does_not_tell_why_a_token_is_refused() {
        let refusal: Refusal = BadClaims::TooMany.into();
        assert_eq!(refusal, Refusal::bad_token());
    }
}

//! The reasons why a client is not let in.

use metrics::label;

label! {
    /// The reason why credentials were refused.
    pub enum Reason as "reason" {
        /// There were none, and nobody may do this without.
        NoToken => "no_token",
        /// The text is no JSON Web Token.
        NotJwt => "not_jwt",
        /// The text is longer than a token may be.
        TooLarge => "too_large",
        /// The key does not go with the token's algorithm, or nothing here supports it.
        Algorithm => "alg",
        /// No key has the id that the token names.
        UnknownKey => "unknown_kid",
        /// The signature is wrong.
        Signature => "signature",
        /// The token's time is over.
        Expired => "expired",
        /// The token's time has not begun.
        NotYet => "not_yet",
        /// No issuer of that name is configured.
        Issuer => "issuer",
        /// The token is for others.
        Audience => "audience",
        /// A claim has a wrong type or form.
        MalformedClaim => "malformed_claim",
        /// A claim that has to be there is not.
        MissingClaim => "missing_claim",
        /// A claim has another value than the configuration requires.
        RequiredValue => "required_value",
        /// The type in the token's header is another one.
        Type => "typ",
        /// The token's header demands an extension.
        Critical => "crit",
        /// The party or the token was revoked.
        Revoked => "revoked",
        /// Two valid credentials name two parties.
        Conflict => "conflict",
        /// A page of another origin sent a cookie.
        CrossSite => "cross_site",
        /// The keys have not been loaded yet: the key server is away.
        KeysUnavailable => "keys_unavailable",
        /// The party may not do this with this topic.
        Topic => "topic",
    }
}

/// The part of a request that carried the credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// Nothing was brought.
    Nothing,
    /// The header `Authorization`.
    Header,
    /// A cookie.
    Cookie,
    /// A ticket in the query.
    Ticket,
}

/// Credentials that were refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Denied {
    /// The reason.
    pub reason: Reason,
    /// The part of the request that carried them.
    pub carrier: Carrier,
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.message())
    }
}

impl Reason {
    /// The sentence for the client, which says nothing that an attacker could use.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::NoToken => "a token is needed: send Authorization: Bearer TOKEN",
            Self::NotJwt => {
                "the token is no JSON Web Token (ask its issuer for one with an audience)"
            }
            Self::TooLarge => "the token is larger than 16 KiB",
            Self::Algorithm => "the token's algorithm is not accepted",
            Self::UnknownKey => "no key is known for the token",
            Self::Signature => "the token's signature is wrong",
            Self::Expired => "the token has expired",
            Self::NotYet => "the token is not valid yet",
            Self::Issuer => "the token's issuer is not accepted",
            Self::Audience => "the token is for another audience",
            Self::MalformedClaim => "a claim of the token is malformed",
            Self::MissingClaim => "the token lacks a claim",
            Self::RequiredValue => "a claim of the token has another value than it must have",
            Self::Type => "the token is of another type",
            Self::Critical => "the token demands an extension that is not supported",
            Self::Revoked => "the right was revoked",
            Self::Conflict => "the credentials of the request name two parties",
            Self::CrossSite => "a page of another origin may not use this cookie",
            Self::KeysUnavailable => "the keys of the token's issuer cannot be loaded now",
            Self::Topic => "the topic is not among the rights of the token",
        }
    }
}

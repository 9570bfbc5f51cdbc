//! The two dialects of the protocol, and the table of their differences.

use serde_json::Value;

/// A dialect. A request speaks one: a subscription by the names of its parameters, a publication by the claims
/// of its token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dialect {
    /// The hubs of versions 0.x: draft 7.
    V0,
    /// The hubs of version 1.0: draft 8.
    V1,
}

/// The prefix of all parameters that 1.0 reserves.
const RESERVED: &str = "match";

impl Dialect {
    /// Both.
    pub const ALL: [Self; 2] = [Self::V0, Self::V1];

    /// The dialect's name, for a log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V0 => "0.x",
            Self::V1 => "1.0",
        }
    }

    /// The dialect to which a parameter of a subscription belongs: `topic`, or a name that begins with `match` in
    /// any case.
    #[must_use]
    pub fn of_parameter(name: &str) -> Option<Self> {
        let start = name.as_bytes().get(..RESERVED.len());
        match start.is_some_and(|start| start.eq_ignore_ascii_case(RESERVED.as_bytes())) {
            true => Some(Self::V1),
            false => (name == "topic").then_some(Self::V0),
        }
    }

    /// The dialect of a token. One with the claims of both speaks 1.0, whose rules are the stricter ones.
    #[must_use]
    pub fn of_claims(claims: &Value) -> Option<Self> {
        let has = |names: &[&str]| names.iter().any(|name| claims.get(name).is_some());
        match (has(Self::V1.claims()), has(Self::V0.claims())) {
            (true, _) => Some(Self::V1),
            (false, true) => Some(Self::V0),
            (false, false) => None,
        }
    }

    /// The names of the claim that holds the rights; the first that a token has counts.
    #[must_use]
    pub const fn claims(self) -> &'static [&'static str] {
        match self {
            Self::V0 => &["mercure", "https://mercure.rocks/"],
            Self::V1 => &["authorization_details"],
        }
    }

    /// The type that the header of a token must name, if it must.
    #[must_use]
    pub const fn token_type(self) -> Option<&'static str> {
        match self {
            Self::V0 => None,
            Self::V1 => Some("at+jwt"),
        }
    }

    /// The claims that a token must have, each of which the issuer's rules check.
    #[must_use]
    pub const fn required_claims(self) -> &'static [&'static str] {
        match self {
            Self::V0 => &[],
            Self::V1 => &["exp", "aud", "iss"],
        }
    }

    /// The name of the cookie that holds a token.
    #[must_use]
    pub const fn cookie(self) -> &'static str {
        match self {
            Self::V0 => "mercureAuthorization",
            Self::V1 => "__Secure-mercure_access_token",
        }
    }

    /// The parameters that hold a cursor. The first that a request has counts, and the header counts before.
    #[must_use]
    pub const fn cursor_parameters(self) -> &'static [&'static str] {
        match self {
            // The other two are names of other versions of 0.x.
            Self::V0 => &["lastEventID", "last_event_id", "Last-Event-ID"],
            Self::V1 => &["last_event_id"],
        }
    }

    /// The header of an answer that names the event before the first one sent. A page reads it only if CORS exposes it.
    #[must_use]
    pub const fn cursor_header(self) -> &'static str {
        match self {
            Self::V0 => "Last-Event-ID",
            Self::V1 => "Mercure-Last-Event-ID",
        }
    }

    /// The type of the events that report subscriptions.
    #[must_use]
    pub const fn presence_event(self) -> Option<&'static str> {
        match self {
            Self::V0 => None,
            Self::V1 => Some("mercure"),
        }
    }

    /// The media type of the answers about active subscriptions.
    #[must_use]
    pub const fn active_type(self) -> &'static str {
        match self {
            Self::V0 => "application/ld+json",
            Self::V1 => "application/mercure+json",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_parameter_belongs_to_a_dialect() {
        assert_eq!(Dialect::of_parameter("topic"), Some(Dialect::V0));
        for name in ["match", "match_exact", "match_urlpattern", "matchURLPattern", "MATCHES"] {
            assert_eq!(Dialect::of_parameter(name), Some(Dialect::V1), "{name}");
        }
        for name in ["", "Topic", "topics", "matc", "mat\u{e9}h", "last_event_id"] {
            assert_eq!(Dialect::of_parameter(name), None, "{name}");
        }
    }

    #[test]
    fn a_token_speaks_the_newest_dialect_of_its_claims() {
        let (old, new) = (json!({"mercure": {}}), json!({"authorization_details": []}));
        let both = json!({"mercure": {}, "authorization_details": []});
        assert_eq!(Dialect::of_claims(&old), Some(Dialect::V0));
        assert_eq!(Dialect::of_claims(&json!({"https://mercure.rocks/": {}})), Some(Dialect::V0));
        assert_eq!(Dialect::of_claims(&new), Some(Dialect::V1));
        assert_eq!(Dialect::of_claims(&both), Some(Dialect::V1));
        assert_eq!(Dialect::of_claims(&json!({"sub": "ann"})), None);
        assert_eq!(Dialect::of_claims(&json!("text")), None);
    }
}

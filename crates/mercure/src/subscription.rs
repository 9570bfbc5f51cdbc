//! A request to subscribe: a GET of the hub.

use crate::cursor::Cursor;
use crate::dialect::Dialect;
use crate::form::{self, BadField};
use crate::hub::Hub;
use crate::selector::{BadSelector, Kind, Selector};
use crate::token::{BadToken, Carriers, Token};

/// The parts of a request that a subscription looks at.
#[derive(Debug, Clone, Copy, Default)]
pub struct Head<'a> {
    /// The query, the header `Authorization` and the cookies.
    pub carriers: Carriers<'a>,
    /// The header `Last-Event-ID`.
    pub last_event_id: Option<&'a [u8]>,
}

/// A request to subscribe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// The dialect that the parameters speak.
    pub dialect: Dialect,
    /// At least one, each once, in the order of the query.
    pub selectors: Vec<Selector>,
    /// The place after which it begins; `None` is now.
    pub cursor: Option<Cursor>,
    /// True if the request names a cursor, even an empty one: then the answer has [`Dialect::cursor_header`].
    pub names_cursor: bool,
    /// The token, which nothing has proved yet.
    pub token: Option<Token>,
}

/// A request that is no subscription.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSubscription {
    /// A parameter is no UTF-8.
    #[error(transparent)]
    Field(#[from] BadField),
    /// There is no selector.
    #[error("missing \"topic\" or \"match\" parameter")]
    NoSelector,
    /// There are selectors of both dialects.
    #[error(
        "\"topic\" and \"match\" parameters are of two versions of the protocol; send one of them"
    )]
    BothDialects,
    /// A name that 1.0 reserves is not known.
    #[error("the parameter {0:?} is not supported; it is match, match_exact or match_urlpattern")]
    Parameter(String),
    /// There are more selectors than [`Selector::MAX`].
    #[error("more than {max} selectors in one subscription", max = Selector::MAX)]
    TooMany,
    /// A selector is malformed or too large.
    #[error(transparent)]
    Selector(#[from] BadSelector),
    /// The token was brought in a wrong way.
    #[error(transparent)]
    Token(#[from] BadToken),
}

impl Subscription {
    /// The dialect of a query, for the refusal of a request that cannot be parsed: that of the first parameter that has one.
    #[must_use]
    pub fn dialect_of(query: &str) -> Option<Dialect> {
        let mut fields = form::fields(query.as_bytes()).flatten();
        fields.find_map(|(name, _)| Dialect::of_parameter(&name))
    }

    /// Parses a request. A token in the query is taken only from a request of 0.x, and only if that is allowed.
    ///
    /// # Errors
    /// There is no selector or too many, one is malformed, the names are of both dialects or not known, or the token was
    /// brought in a wrong way.
    pub fn parse(
        head: &Head<'_>,
        hub: &Hub,
        is_query_token_allowed: bool,
    ) -> Result<Self, BadSubscription> {
        let mut parameters = Vec::new();
        let (mut dialect, mut selectors) = (None, Vec::new());
        for field in form::fields(head.carriers.query.as_bytes()) {
            let (name, value) = field?;
            let Some(speaks) = Dialect::of_parameter(&name) else {
                parameters.push((name, value));
                continue;
            };
            let kind = Kind::of_parameter(&name);
            let kind = kind.ok_or_else(|| BadSubscription::Parameter(shortened(&name)))?;
            if *dialect.get_or_insert(speaks) != speaks {
                return Err(BadSubscription::BothDialects);
            }
            if selectors.len() == Selector::MAX {
                return Err(BadSubscription::TooMany);
            }
            selectors.push((kind, value));
        }
        // Before anything is compiled, which costs more than a token.
        let dialect = dialect.ok_or(BadSubscription::NoSelector)?;
        let token = Token::find(Some(dialect), head.carriers, is_query_token_allowed)?;
        let mut known = std::collections::HashSet::new();
        selectors.retain(|selector| known.insert(selector.clone()));
        let compiled = selectors.iter().map(|(kind, text)| Selector::new(*kind, text, hub));
        let selectors = compiled.collect::<Result<_, _>>()?;
        let (cursor, names_cursor) = cursor(dialect, head.last_event_id, &parameters);
        Ok(Self { dialect, selectors, cursor, names_cursor, token })
    }
}

/// The cursor of a request, and whether the request names one. The header counts before the query; an empty text counts as none.
fn cursor(
    dialect: Dialect,
    header: Option<&[u8]>,
    parameters: &[(String, String)],
) -> (Option<Cursor>, bool) {
    let header = header.map(String::from_utf8_lossy);
    let named = |name: &&'static str| {
        parameters.iter().find(|(parameter, _)| parameter == name).map(|(_, value)| value.as_str())
    };
    let parameters = dialect.cursor_parameters().iter().filter_map(named);
    let texts: Vec<_> = header.as_deref().into_iter().chain(parameters).collect();
    let text = texts.iter().find(|text| !text.is_empty());
    (text.map(|text| Cursor::parse(text)), !texts.is_empty())
}

/// Shortens a client's text before it is echoed.
fn shortened(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Id;
    use crate::token::Carrier;

    fn hub() -> Hub {
        Hub::new("https://example.com/.well-known/mercure").unwrap()
    }

    fn with<'a>(query: &'a str, last_event_id: Option<&'a str>) -> Head<'a> {
        let carriers = Carriers { query, ..Carriers::default() };
        Head { carriers, last_event_id: last_event_id.map(str::as_bytes) }
    }

    fn parse(query: &str, header: Option<&str>) -> Subscription {
        Subscription::parse(&with(query, header), &hub(), false).unwrap()
    }

    #[test]
    fn parameters_become_selectors_each_once() {
        let read = parse("topic=a&topic=%2Fb%2F%7Bid%7D&topic=a&other=1", None);
        assert_eq!(format!("{:?}", read.selectors), r#"[Topic("a"), Topic("/b/{id}")]"#);
        assert_eq!((read.dialect, read.names_cursor), (Dialect::V0, false));
        let read =
            parse("match=a&match_exact=a&match_urlpattern=%2F%3Aid&match_urlpattern=*", None);
        assert_eq!(
            format!("{:?}", read.selectors),
            r#"[Exact("a"), UrlPattern("/:id"), UrlPattern("*")]"#
        );
        assert_eq!(read.dialect, Dialect::V1);
    }

    #[test]
    fn a_cursor_in_the_header_counts_before_the_query() {
        let after = |text| Some(Cursor::After(Id::new(text).unwrap()));
        for (query, header, expected) in [
            ("topic=a", None, None),
            ("topic=a", Some("x"), after("x")),
            ("topic=a&lastEventID=y", Some("x"), after("x")),
            ("topic=a&lastEventID=y", Some(""), after("y")),
            ("topic=a&last_event_id=z&lastEventID=y", None, after("y")),
            ("topic=a&last_event_id=z", None, after("z")),
            ("topic=a&Last-Event-ID=w", None, after("w")),
            ("topic=a&lastEventID=earliest", None, Some(Cursor::Earliest)),
            ("topic=a&lastEventID=%23x", None, Some(Cursor::Unknown)),
            ("match=a&last_event_id=z", None, after("z")),
            ("match=a&last_event_id=z", Some("x"), after("x")),
            ("match=a&lastEventID=y", None, None),
        ] {
            let read = parse(query, header);
            assert_eq!(read.cursor, expected, "{query} {header:?}");
            assert_eq!(read.names_cursor, expected.is_some(), "{query} {header:?}");
        }
        let empty = parse("match=a&last_event_id=", None);
        assert_eq!((empty.cursor, empty.names_cursor), (None, true));
    }

    #[test]
    fn a_query_that_cannot_be_parsed_has_a_dialect() {
        for (query, dialect) in [
            ("a=%ff&topic=a&match=b", Some(Dialect::V0)),
            ("Matches=a&topic=b", Some(Dialect::V1)),
            ("lastEventID=a", None),
        ] {
            assert!(Subscription::parse(&with(query, None), &hub(), false).is_err(), "{query}");
            assert_eq!(Subscription::dialect_of(query), dialect, "{query}");
        }
    }

    #[test]
    fn a_token_in_the_query_needs_the_permission() {
        let head = with("topic=a&authorization=t", None);
        let token = Subscription::parse(&head, &hub(), true).unwrap().token;
        assert_eq!(token.unwrap().carrier, Carrier::Query);
        let refused = Subscription::parse(&head, &hub(), false);
        assert_eq!(refused, Err(BadSubscription::Token(BadToken::Query)));
    }

    #[test]
    fn other_requests_are_refused_with_the_reason() {
        let many = vec!["topic=a"; 101].join("&");
        for (query, message) in [
            ("", "missing \"topic\" or \"match\" parameter"),
            ("lastEventID=x", "missing \"topic\" or \"match\" parameter"),
            (
                "topic=a&match=b",
                "\"topic\" and \"match\" parameters are of two versions of the protocol; send one of them",
            ),
            (
                "matchURLPattern=a",
                "the parameter \"matchURLPattern\" is not supported; it is match, match_exact or match_urlpattern",
            ),
            (
                "Match=a",
                "the parameter \"Match\" is not supported; it is match, match_exact or match_urlpattern",
            ),
            (
                "match_regexp=a",
                "the parameter \"match_regexp\" is not supported; it is match, match_exact or match_urlpattern",
            ),
            ("topic=", "a selector is empty"),
            ("match=a%0Ab", "a selector has U+000A, a control or format character"),
            ("match=%ff", "the field \"match\" is not UTF-8"),
            (&many, "more than 100 selectors in one subscription"),
        ] {
            let refused = Subscription::parse(&with(query, None), &hub(), false).unwrap_err();
            assert_eq!(refused.to_string(), message);
        }
        assert!(Subscription::parse(&with(&many[8..], None), &hub(), false).is_ok());
    }
}

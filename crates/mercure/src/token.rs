//! The token of a request, before anybody has verified it.

use std::fmt;

use crate::dialect::Dialect;
use crate::form;

/// The parts of a request that may carry a token.
#[derive(Clone, Copy, Default)]
pub struct Carriers<'a> {
    /// The header `Authorization`.
    pub authorization: Option<&'a [u8]>,
    /// The headers `Cookie`.
    pub cookies: &'a [&'a [u8]],
    /// The query without its `?`; empty if there is none.
    pub query: &'a str,
}

/// The part of a request that carried the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// The header `Authorization`.
    Header,
    /// A parameter of the query.
    Query,
    /// A cookie, which a browser sends unasked: the page that made the request has to be an allowed one.
    Cookie,
}

/// A token that nothing has proved yet. It is a secret: [`Debug`](fmt::Debug) prints its size only.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// The part of the request that carried it.
    pub carrier: Carrier,
    /// The text: visible characters of ASCII.
    pub text: Box<str>,
}

/// A token that was brought in a wrong way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadToken {
    /// The header is of another form.
    #[error("the header must be: Authorization: Bearer TOKEN")]
    Header,
    /// The query has a token, and may not.
    #[error(
        "a token in the query is refused, because URLs are logged: send it in a header or a cookie"
    )]
    Query,
}

/// The parameters of a query that hold a token: that of 0.x, and that of OAuth 2.0, which was one of drafts of 1.0.
const QUERY_V0: &str = "authorization";
const QUERY_OAUTH: &str = "access_token";

impl Token {
    /// Finds the token of a request. The header counts before the query, and the query before a cookie. Only 0.x has a token in
    /// the query, and only if it is allowed. `None` as the dialect is one that only the token will tell: then the
    /// cookies of both count, that of 1.0 first.
    ///
    /// # Errors
    /// The header is malformed, or the query has a token that it may not have.
    pub fn find(
        dialect: Option<Dialect>,
        carriers: Carriers<'_>,
        is_query_allowed: bool,
    ) -> Result<Option<Self>, BadToken> {
        if let Some(header) = carriers.authorization {
            let text = bearer(header).ok_or(BadToken::Header)?;
            return Ok(Some(Self { carrier: Carrier::Header, text }));
        }
        for (name, value) in form::fields(carriers.query.as_bytes()).flatten() {
            match &*name {
                QUERY_V0
                    if is_query_allowed && dialect != Some(Dialect::V1) && is_token(&value) =>
                {
                    return Ok(Some(Self { carrier: Carrier::Query, text: value.into() }));
                }
                QUERY_V0 | QUERY_OAUTH => return Err(BadToken::Query),
                _ => {}
            }
        }
        let names = Dialect::ALL.into_iter().rev().filter(|one| dialect.is_none_or(|d| d == *one));
        let found = names
            .map(Dialect::cookie)
            .find_map(|name| carriers.cookies.iter().find_map(|header| cookie(header, name)));
        Ok(found.map(|text| Self { carrier: Carrier::Cookie, text }))
    }
}

/// The token of an `Authorization` header.
fn bearer(header: &[u8]) -> Option<Box<str>> {
    let (scheme, token) = str::from_utf8(header).ok()?.split_once(' ')?;
    let token = token.trim_matches(' ');
    (scheme.eq_ignore_ascii_case("Bearer") && is_token(token)).then(|| token.into())
}

/// The value of a cookie in a `Cookie` header, without the quotes that may be around it.
fn cookie(header: &[u8], name: &str) -> Option<Box<str>> {
    let mut pairs = str::from_utf8(header).ok()?.split(';');
    let value = pairs.find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='))?;
    let value = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value);
    is_token(value).then(|| value.into())
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("carrier", &self.carrier)
            .field("bytes", &self.text.len())
            .finish()
    }
}

impl fmt::Debug for Carriers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cookies: Vec<_> = self.cookies.iter().map(|cookie| cookie.len()).collect();
        f.debug_struct("Carriers")
            .field("authorization_bytes", &self.authorization.map(<[u8]>::len))
            .field("cookie_bytes", &cookies)
            .field("query_bytes", &self.query.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COOKIES: &[&[u8]] =
        &[b"a=b; mercureAuthorization=old", b"__Secure-mercure_access_token=\"new\""];

    fn find(dialect: Option<Dialect>, carriers: Carriers<'_>) -> Option<(Carrier, String)> {
        let token = Token::find(dialect, carriers, true).unwrap();
        token.map(|token| (token.carrier, token.text.into()))
    }

    #[test]
    fn each_carrier_counts_before_the_next() {
        let all = Carriers {
            authorization: Some(b"bearer  head"),
            cookies: COOKIES,
            query: "topic=a&authorization=url",
        };
        let (v0, v1) = (Some(Dialect::V0), Some(Dialect::V1));
        for dialect in [v0, v1, None] {
            assert_eq!(find(dialect, all), Some((Carrier::Header, "head".to_owned())));
        }
        let all = Carriers { authorization: None, ..all };
        assert_eq!(find(v0, all), Some((Carrier::Query, "url".to_owned())));
        assert_eq!(find(None, all), Some((Carrier::Query, "url".to_owned())));
        let all = Carriers { query: "topic=a", ..all };
        assert_eq!(find(v0, all), Some((Carrier::Cookie, "old".to_owned())));
        assert_eq!(find(v1, all), Some((Carrier::Cookie, "new".to_owned())));
        assert_eq!(find(None, all), Some((Carrier::Cookie, "new".to_owned())));
        assert_eq!(find(v0, Carriers::default()), None);
    }

    #[test]
    fn a_token_in_the_query_is_for_0_x_and_only_if_it_is_allowed() {
        let refused = |dialect, query, allowed| {
            let carriers = Carriers { query, cookies: COOKIES, ..Carriers::default() };
            Token::find(dialect, carriers, allowed) == Err(BadToken::Query)
        };
        assert!(refused(Some(Dialect::V0), "authorization=x", false));
        assert!(refused(Some(Dialect::V1), "authorization=x", true));
        assert!(refused(Some(Dialect::V1), "access_token=x", true));
        assert!(refused(None, "access_token=x", true));
        assert!(refused(Some(Dialect::V0), "authorization=", true));
        assert!(!refused(Some(Dialect::V0), "authorization=x", true));
    }

    #[test]
    fn another_header_is_refused_and_another_cookie_is_none() {
        for header in
            [&b""[..], b"Bearer", b"Bearer ", b"Basic eA==", b"Bearer a b", b"Bearer \xff"]
        {
            let carriers = Carriers { authorization: Some(header), ..Carriers::default() };
            assert_eq!(Token::find(None, carriers, true), Err(BadToken::Header), "{header:?}");
        }
        for cookie in [
            &b"mercureAuthorization"[..],
            b"mercureAuthorization=",
            b"xmercureAuthorization=a",
            b"\xff",
        ] {
            let cookies = &[cookie][..];
            assert_eq!(find(None, Carriers { cookies, ..Carriers::default() }), None, "{cookie:?}");
        }
    }

    #[test]
    fn nothing_prints_a_token() {
        let carriers = Carriers {
            authorization: Some(b"Bearer secret"),
            cookies: &[b"a=secret"],
            query: "secret",
        };
        let token = Token::find(None, carriers, true).unwrap();
        let printed = format!("{carriers:?} {token:?}");
        assert!(!printed.contains("secret") && printed.contains("bytes: 6"), "{printed}");
    }
}

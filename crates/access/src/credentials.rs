//! The credentials of a request.

use std::fmt;

/// The page that sent a request, as far as its cookies count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Page {
    /// A page that may use cookies, or no page at all.
    Allowed,
    /// A page of an origin that may not.
    Foreign,
}

/// The credentials of a request: the texts that it brought, none of which is checked.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Credentials {
    /// The token of `Authorization: Bearer`; `Err` if the header is of another form.
    pub(crate) header: Option<Result<Box<str>, ()>>,
    /// The values of the cookie, in the order in which they came; a page of another origin sent none that counts.
    pub(crate) cookie: Option<Box<str>>,
    /// The ticket of the query.
    pub(crate) ticket: Option<Box<str>>,
    /// True if a page of another origin sent the cookie.
    pub(crate) is_foreign: bool,
}

impl Credentials {
    /// No credentials.
    pub const NONE: Self = Self { header: None, cookie: None, ticket: None, is_foreign: false };

    /// Takes the credentials from a request: the header `Authorization`, the headers `Cookie`, and the ticket of
    /// the query.
    #[must_use]
    pub fn new(
        authorization: Option<&[u8]>,
        cookies: &[&[u8]],
        cookie_name: &str,
        ticket: Option<&str>,
        page: Page,
    ) -> Self {
        let cookie = cookies.iter().find_map(|header| cookie(header, cookie_name));
        Self {
            header: authorization.map(|header| bearer(header).ok_or(())),
            is_foreign: cookie.is_some() && page == Page::Foreign,
            cookie,
            ticket: ticket.filter(|ticket| !ticket.is_empty()).map(Into::into),
        }
    }

    /// Returns true if the request brought nothing.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        self.header.is_none() && self.cookie.is_none() && self.ticket.is_none()
    }
}

/// The token of an `Authorization` header.
fn bearer(header: &[u8]) -> Option<Box<str>> {
    let (scheme, token) = header.split_at_checked("Bearer ".len())?;
    let token = str::from_utf8(token).ok()?.trim_matches(' ');
    (scheme.eq_ignore_ascii_case(b"Bearer ") && is_token(token)).then(|| token.into())
}

/// The value of a cookie in a `Cookie` header, without the quotes that may be around it.
fn cookie(header: &[u8], name: &str) -> Option<Box<str>> {
    let pairs = str::from_utf8(header).ok()?.split(';');
    let value = pairs.filter_map(|pair| pair.trim().split_once('=')).find(|pair| pair.0 == name)?.1;
    let value = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value);
    is_token(value).then(|| value.into())
}

/// Returns true if a text may be a token. Looks at every byte, because a loop without a way out is done on many
/// bytes at once.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().fold(true, |all, b| all & b.is_ascii_graphic())
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = |text: &Option<Box<str>>| text.as_ref().map(|text| text.len());
        let header =
            self.header.as_ref().map(|header| header.as_ref().map_or(0, |text| text.len()));
        f.debug_struct("Credentials")
            .field("header_bytes", &header)
            .field("cookie_bytes", &size(&self.cookie))
            .field("ticket_bytes", &size(&self.ticket))
            .finish_non_exhaustive()
    }
}

//! The head of a request for events: everything that a subscription looks at.
//!
//! Two front ends read requests: `http1.rs` from the bytes of a socket, `door.rs` from what hyper has
//! parsed. Each feeds all its headers to [`SubscriptionHead::collect`], so this file holds the only
//! list of header names.
//!
//! A head borrows from the request and ends when it is parsed. It is never logged: a query or a header
//! may hold a secret, so [`Debug`](std::fmt::Debug) prints sizes only.

use std::fmt;

use axum::http::HeaderMap;
use axum::http::request::Parts;

use crate::hub;

macro_rules! header_fields {
    ($($field:ident: $name:literal,)+) => {
        /// A header that a subscription looks at.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum HeaderField {
            $($field,)+
        }

        impl HeaderField {
            /// Every field.
            pub(crate) const ALL: &[Self] = &[$(Self::$field,)+];

            /// The header's name, in lower case.
            pub(crate) const fn name(self) -> &'static str {
                match self {
                    $(Self::$field => $name,)+
                }
            }
        }
    };
}

header_fields! {
    Host: "host",
    Accept: "accept",
    LastEventId: "last-event-id",
    Origin: "origin",
    SecFetchSite: "sec-fetch-site",
    Authorization: "authorization",
    Cookie: "cookie",
    ForwardedFor: "x-forwarded-for",
    Forwarded: "forwarded",
    TraceParent: "traceparent",
}

/// The parts of a request's head that a subscription looks at.
///
/// A list header keeps every value, in order: a client may split `accept`, HTTP/2 clients do split
/// `cookie`, each proxy may add a line of its own, and a second `host` makes a request odd. Of any other
/// header the first value counts.
#[derive(Default, PartialEq)]
pub(crate) struct SubscriptionHead<'a> {
    /// The query without its `?`; empty if there is none.
    pub(crate) query: &'a str,
    /// True if it is for the updates of the Mercure hub.
    pub(crate) is_of_hub: bool,
    /// HTTP/1.1 has one. HTTP/2 has an authority, which is not here.
    pub(crate) host: Vec<&'a [u8]>,
    pub(crate) accept: Vec<&'a [u8]>,
    pub(crate) last_event_id: Option<&'a [u8]>,
    /// The origin of the page that asks.
    pub(crate) origin: Option<&'a [u8]>,
    /// The relation of that page to this node, which no page can forge.
    pub(crate) sec_fetch_site: Option<&'a [u8]>,
    pub(crate) authorization: Option<&'a [u8]>,
    pub(crate) cookie: Vec<&'a [u8]>,
    /// `X-Forwarded-For`: addresses, as anybody may have written them.
    pub(crate) forwarded_for: Vec<&'a [u8]>,
    /// `Forwarded` (RFC 7239), as anybody may have written it.
    pub(crate) forwarded: Vec<&'a [u8]>,
    pub(crate) traceparent: Option<&'a [u8]>,
}

/// The place for the values of a header.
enum Values<'h, 'a> {
    List(&'h mut Vec<&'a [u8]>),
    First(&'h mut Option<&'a [u8]>),
}

impl HeaderField {
    fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|field| name.eq_ignore_ascii_case(field.name()))
    }
}

impl<'a> SubscriptionHead<'a> {
    /// Collects a head from a query and all headers of a request.
    pub(crate) fn collect(
        query: &'a str,
        headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    ) -> Self {
        let mut head = Self { query, ..Self::default() };
        for (name, value) in headers {
            let Some(field) = HeaderField::named(name) else { continue };
            let values = match field {
                HeaderField::Host => Values::List(&mut head.host),
                HeaderField::Accept => Values::List(&mut head.accept),
                HeaderField::Cookie => Values::List(&mut head.cookie),
                HeaderField::ForwardedFor => Values::List(&mut head.forwarded_for),
                HeaderField::Forwarded => Values::List(&mut head.forwarded),
                HeaderField::LastEventId => Values::First(&mut head.last_event_id),
                HeaderField::Origin => Values::First(&mut head.origin),
                HeaderField::SecFetchSite => Values::First(&mut head.sec_fetch_site),
                HeaderField::Authorization => Values::First(&mut head.authorization),
                HeaderField::TraceParent => Values::First(&mut head.traceparent),
            };
            match values {
                Values::List(list) => list.push(value),
                Values::First(first) => {
                    first.get_or_insert(value);
                }
            }
        }
        head
    }

    /// The head of a request that hyper has parsed.
    pub(crate) fn of(parts: &'a Parts) -> Self {
        let query = parts.uri.query().unwrap_or_default();
        let is_of_hub = parts.uri.path() == hub::PATH;
        Self { is_of_hub, ..Self::collect(query, pairs(&parts.headers)) }
    }

    /// The values of a field.
    pub(crate) fn values(&self, field: HeaderField) -> &[&'a [u8]] {
        match field {
            HeaderField::Host => &self.host,
            HeaderField::Accept => &self.accept,
            HeaderField::LastEventId => self.last_event_id.as_slice(),
            HeaderField::Origin => self.origin.as_slice(),
            HeaderField::SecFetchSite => self.sec_fetch_site.as_slice(),
            HeaderField::Authorization => self.authorization.as_slice(),
            HeaderField::Cookie => &self.cookie,
            HeaderField::ForwardedFor => &self.forwarded_for,
            HeaderField::Forwarded => &self.forwarded,
            HeaderField::TraceParent => self.traceparent.as_slice(),
        }
    }
}

fn pairs(headers: &HeaderMap) -> impl Iterator<Item = (&str, &[u8])> {
    headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()))
}

impl fmt::Debug for SubscriptionHead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut head = f.debug_struct("SubscriptionHead");
        head.field("query_bytes", &self.query.len());
        for field in HeaderField::ALL {
            let sizes: Vec<_> = self.values(*field).iter().map(|value| value.len()).collect();
            if !sizes.is_empty() {
                head.field(field.name(), &sizes);
            }
        }
        head.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_header_keeps_every_value_and_any_other_its_first() {
        let both = |field: &HeaderField| [(field.name(), &b"one"[..]), (field.name(), b"two")];
        let headers: Vec<_> = HeaderField::ALL.iter().flat_map(both).collect();
        let head = SubscriptionHead::collect("topic=t", headers);
        for field in HeaderField::ALL {
            let is_list = matches!(
                field,
                HeaderField::Host
                    | HeaderField::Accept
                    | HeaderField::Cookie
                    | HeaderField::ForwardedFor
                    | HeaderField::Forwarded
            );
            let expected = [&b"one"[..], b"two"];
            let expected = &expected[..if is_list { 2 } else { 1 }];
            assert_eq!(head.values(*field), expected, "{}", field.name());
        }
    }

    #[test]
    fn a_head_never_prints_what_it_holds() {
        let secret = |field: &HeaderField| (field.name(), &b"secret"[..]);
        let head = SubscriptionHead::collect("token=secret", HeaderField::ALL.iter().map(secret));
        let printed = format!("{head:?} {head:#?}");
        assert!(!printed.contains("secret"), "{printed}");
        assert!(printed.contains("authorization"), "{printed}");
    }
}

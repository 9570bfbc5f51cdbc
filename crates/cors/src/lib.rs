//! Cross-origin resource sharing: which pages of other origins may use a node.
//!
//! A [`Policy`] decides about an `Origin` header and gives the headers of the answer. Gateway and
//! ingest put them on their own answers, so no layer over a router does. [`SiteRules`] say which requests
//! a node answers at all.
//!
//! A page of a listed origin may send cookies. Then `*` means nothing, so methods and headers are named. A page
//! that only `*` allows may send a token in a header, but no cookie.

mod origin;
mod site;

use std::sync::Arc;

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, VARY,
};
use http::{HeaderMap, HeaderValue};

pub use origin::BadOrigin;
pub use site::{BadHost, Refusal, SiteRules};

/// The origins whose pages may use a node, besides the node's own. The default allows none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy(Allowed);

#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum Allowed {
    #[default]
    Nobody,
    Anybody,
    Listed(Arc<[HeaderValue]>),
}

/// The headers that one answer carries under a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// `None` if the policy allows nobody, so that the answer carries no header at all.
    allow_origin: Option<AllowOrigin>,
}

/// The value of `access-control-allow-origin`; `None` leaves the header out.
type AllowOrigin = Option<HeaderValue>;

/// Every method or origin, for requests without cookies.
const ANY: HeaderValue = HeaderValue::from_static("*");
/// Every header, for requests without cookies: `*` does not cover `Authorization`.
const ANY_HEADER: HeaderValue = HeaderValue::from_static("*, authorization");
/// The methods of a node.
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, DELETE");
/// The headers that clients of a node send.
const HEADERS: HeaderValue = HeaderValue::from_static(
    "accept, authorization, cache-control, ce-dataschema, ce-id, ce-source, ce-specversion, ce-subject, ce-time, \
     ce-type, content-type, idempotency-key, last-event-id, pragma, traceparent, tracestate, x-requested-with",
);
/// The headers of an answer that a page may read.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "retry-after, www-authenticate, tailwater-outcome, tailwater-cursor, tailwater-node, tailwater-gap, tailwater-broken, last-event-id, mercure-last-event-id, link",
);
/// Seconds for which a browser remembers a preflight; without it a reconnect after 5 s asks again.
const REMEMBERED: HeaderValue = HeaderValue::from_static("7200");
/// The value by which a page may send cookies.
const TRUE: HeaderValue = HeaderValue::from_static("true");
/// The request headers that an answer depends on, so that no cache gives it to another page.
const DEPENDS_ON: HeaderValue = HeaderValue::from_static(
    "origin, access-control-request-method, access-control-request-headers",
);

impl Policy {
    /// A policy that allows these origins, or every origin if the list is `*`. An empty list allows
    /// none.
    ///
    /// # Errors
    /// A text is no origin as a browser sends it, or `*` does not stand alone.
    pub fn allow(origins: &[String]) -> Result<Self, BadOrigin> {
        if origins.is_empty() {
            return Ok(Self::default());
        }
        if origins.iter().any(|origin| origin == "*") {
            let is_alone = origins.len() == 1;
            let beside = || BadOrigin::BesideAny(origins.to_vec());
            return is_alone.then_some(Self(Allowed::Anybody)).ok_or_else(beside);
        }
        let listed = origins.iter().map(|origin| origin::parse(origin));
        Ok(Self(Allowed::Listed(listed.collect::<Result<_, _>>()?)))
    }

    /// Returns whether pages of this origin, an `Origin` header, may use the node. The node's own origin is
    /// not listed.
    #[must_use]
    pub fn allows(&self, origin: &[u8]) -> bool {
        match &self.0 {
            Allowed::Nobody => false,
            Allowed::Anybody => true,
            Allowed::Listed(listed) => listed.iter().any(|allowed| allowed.as_bytes() == origin),
        }
    }

    /// Returns true if the page that sent a request may use cookies: a page of the node's own origin, one of an
    /// origin that is listed by its name, or no page at all. Browsers send no `Origin` for their own origin's
    /// streams; some send no `Sec-Fetch-Site`. `null` is the origin of pages that hide theirs.
    #[must_use]
    pub fn trusts(&self, origin: Option<&[u8]>, sec_fetch_site: Option<&[u8]>) -> bool {
        match (origin, sec_fetch_site) {
            (Some(b"null"), _) => false,
            (_, Some(b"same-origin" | b"none")) => true,
            (None, site) => site.is_none(),
            (Some(origin), _) => matches!(&self.0, Allowed::Listed(_)) && self.allows(origin),
        }
    }

    /// Decides about the request's `Origin` header, if the request has one.
    #[must_use]
    pub fn grant(&self, origin: Option<&[u8]>) -> Grant {
        let allow_origin = match &self.0 {
            Allowed::Nobody => None,
            Allowed::Anybody => Some(Some(ANY)),
            Allowed::Listed(listed) => {
                let is = |allowed: &&HeaderValue| Some(allowed.as_bytes()) == origin;
                Some(listed.iter().find(is).cloned())
            }
        };
        Grant { allow_origin }
    }

    /// Returns the headers of the answer to `OPTIONS`, by which a browser asks before it sends a
    /// request. The status is 200 and the body empty. `None` if the policy allows nobody: `OPTIONS` is
    /// then a method like any other.
    #[must_use]
    pub fn preflight(&self, origin: Option<&[u8]>) -> Option<HeaderMap> {
        let allow_origin = self.grant(origin).allow_origin?;
        let mut headers = HeaderMap::new();
        let (methods, allowed) = match self.0 {
            Allowed::Anybody => (ANY, ANY_HEADER),
            Allowed::Nobody | Allowed::Listed(_) => (METHODS, HEADERS),
        };
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, allowed);
        headers.insert(ACCESS_CONTROL_MAX_AGE, REMEMBERED);
        put(&mut headers, allow_origin);
        Some(headers)
    }
}

impl Grant {
    /// Adds the headers to an answer.
    pub fn put(self, headers: &mut HeaderMap) {
        if let Some(allow_origin) = self.allow_origin {
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
            put(headers, allow_origin);
        }
    }
}

fn put(headers: &mut HeaderMap, allow_origin: AllowOrigin) {
    if let Some(origin) = allow_origin {
        if origin != ANY {
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE);
        }
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    }
    headers.append(VARY, DEPENDS_ON);
}

#[cfg(test)]
mod tests {
    use super::*;

    const APP: &[u8] = b"https://app.example";

    fn policy(origins: &[&str]) -> Result<Policy, BadOrigin> {
        Policy::allow(&origins.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    /// The headers as `name: value`, sorted.
    fn lines(headers: &HeaderMap) -> Vec<String> {
        let line = |(name, value): (&http::HeaderName, &HeaderValue)| {
            format!("{name}: {}", value.to_str().expect("a header in ASCII"))
        };
        let mut lines: Vec<_> = headers.iter().map(line).collect();
        lines.sort();
        lines
    }

    fn granted(policy: &Policy, origin: Option<&[u8]>) -> Vec<String> {
        let mut headers = HeaderMap::new();
        policy.grant(origin).put(&mut headers);
        lines(&headers)
    }

    const EXPOSE: &str = "access-control-expose-headers: retry-after, www-authenticate, tailwater-outcome, \
                          tailwater-cursor, tailwater-node, tailwater-gap, tailwater-broken, last-event-id, mercure-last-event-id, link";
    const CREDENTIALS: &str = "access-control-allow-credentials: true";
    const VARY: &str =
        "vary: origin, access-control-request-method, access-control-request-headers";

    #[test]
    fn any_origin_is_allowed_with_and_without_the_header() {
        let any = policy(&["*"]).unwrap();
        for origin in [None, Some(APP)] {
            let expected = ["access-control-allow-origin: *", EXPOSE, VARY];
            assert_eq!(granted(&any, origin), expected);
        }
    }

    #[test]
    fn a_listed_origin_is_echoed_and_another_is_not() {
        let listed = policy(&["https://other.example", "https://app.example"]).unwrap();
        let origin = "access-control-allow-origin: https://app.example";
        let expected = [CREDENTIALS, origin, EXPOSE, VARY];
        assert_eq!(granted(&listed, Some(APP)), expected);
        let others = [
            None,
            Some(&b"https://evil.example"[..]),
            Some(b"https://app.example."),
            Some(b"\xff"),
        ];
        for origin in others {
            assert_eq!(granted(&listed, origin), [EXPOSE, VARY]);
        }
    }

    #[test]
    fn a_preflight_names_methods_and_headers_because_a_star_means_nothing_with_cookies() {
        let listed = policy(&["https://app.example"]).unwrap();
        let named = |origin: &[u8]| lines(&listed.preflight(Some(origin)).unwrap());
        let allowed = named(APP);
        assert!(allowed.contains(&CREDENTIALS.to_owned()), "{allowed:?}");
        assert!(allowed.contains(&"access-control-max-age: 7200".to_owned()), "{allowed:?}");
        assert!(allowed.iter().any(|line| line.contains("authorization")), "{allowed:?}");
        assert!(!allowed.iter().any(|line| line.contains('*')), "{allowed:?}");
        let refused = named(b"https://evil.example");
        assert!(!refused.iter().any(|line| line.contains("origin: ")), "{refused:?}");
        assert!(!refused.contains(&CREDENTIALS.to_owned()), "{refused:?}");
        let any = lines(&policy(&["*"]).unwrap().preflight(Some(APP)).unwrap());
        assert!(any.contains(&"access-control-allow-headers: *, authorization".to_owned()));
        assert!(!any.contains(&CREDENTIALS.to_owned()), "{any:?}");
    }

    #[test]
    fn no_policy_leaves_every_answer_as_it_was() {
        let nobody = policy(&[]).unwrap();
        assert_eq!(nobody, Policy::default());
        assert!(granted(&nobody, Some(APP)).is_empty());
        assert_eq!(nobody.preflight(Some(APP)), None);
    }

    #[test]
    fn another_reason_to_vary_is_kept() {
        let mut headers = HeaderMap::new();
        headers.insert(http::header::VARY, HeaderValue::from_static("accept"));
        policy(&["*"]).unwrap().grant(None).put(&mut headers);
        assert!(lines(&headers).contains(&"vary: accept".to_owned()), "{headers:?}");
        assert!(lines(&headers).contains(&VARY.to_owned()), "{headers:?}");
    }

    #[test]
    fn a_policy_allows_its_origins_byte_by_byte() {
        let listed = policy(&["https://other.example", "https://app.example"]).unwrap();
        assert!(listed.allows(APP));
        for other in [&b"https://app.example."[..], b"HTTPS://app.example", b"null", b"", b"\xff"] {
            assert!(!listed.allows(other), "{}", other.escape_ascii());
            assert!(policy(&["*"]).unwrap().allows(other), "{}", other.escape_ascii());
        }
        assert!(!Policy::default().allows(APP));
    }

    #[test]
    fn cookies_are_for_pages_of_the_node_and_of_listed_origins() {
        let (listed, any) = (policy(&["https://app.example"]).unwrap(), policy(&["*"]).unwrap());
        for (origin, site, is_trusted) in [
            (None, None, true),
            (None, Some(&b"same-origin"[..]), true),
            (None, Some(b"none"), true),
            (None, Some(b"cross-site"), false),
            (Some(APP), None, true),
            (Some(APP), Some(b"cross-site"), true),
            (Some(b"https://own.example"), Some(b"same-origin"), true),
            (Some(b"https://evil.example"), Some(b"same-site"), false),
            (Some(b"null"), Some(b"cross-site"), false),
            (Some(b"null"), Some(b"same-origin"), false),
            (Some(b"null"), None, false),
        ] {
            assert_eq!(listed.trusts(origin, site), is_trusted, "{origin:?} {site:?}");
        }
        assert!(!any.trusts(Some(APP), Some(b"cross-site")), "* names nobody");
        assert!(!Policy::default().trusts(Some(APP), None));
    }

    #[test]
    fn a_list_that_is_no_policy_names_its_fault() {
        let refused = policy(&["https://a.example", "https://B.example"]).unwrap_err().to_string();
        assert!(refused.contains(r#""https://B.example""#), "{refused}");
        let beside = policy(&["*", "https://a.example"]).unwrap_err().to_string();
        assert_eq!(beside, r#"["*", "https://a.example"] names origins beside *: * stands alone"#);
    }
}

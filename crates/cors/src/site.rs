//! The requests that a node answers at all: by the name that it is called by, and the page that asks.
//!
//! Against cross-site requests: a browser sends any page's POST, with or without a preflight, to every
//! node that its user can reach. A browser tells where a request is from in `Sec-Fetch-Site` and `Origin`,
//! which no page can forge. Other clients send neither and are not concerned.
//!
//! Against DNS rebinding: a page's own name may lead to the user's own machine, and the page is then of the
//! node's origin. A node that listens on a loopback address answers local names only.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use http::header::{HOST, HeaderName, ORIGIN};
use http::{HeaderMap, HeaderValue, Request, StatusCode, Version};

use crate::{Grant, Policy};

/// The rules by which a node answers a request. Cheap to clone. The default answers every host, and
/// changes of the node's own origin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SiteRules {
    policy: Policy,
    /// The names besides the local ones, if the node answers local names only.
    local: Option<Arc<[Box<str>]>>,
}

/// A text that is no name of a host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no name of a host, as tailwater.example; leave out scheme, port and path")]
pub struct BadHost(String);

/// A request that the node does not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// HTTP/1.1 requires the header, and HTTP/2 an authority.
    #[error("the request has no host")]
    NoHost,
    /// The hosts may lead a proxy and the node to different answers.
    #[error("the request has more than one Host header")]
    ManyHosts,
    /// A node on a loopback address is called by another name.
    #[error(
        "host {0:?} is not answered: this node listens on a loopback address, and answers local names \
         and those of --allow-host"
    )]
    ForeignHost(String),
    /// A page of another origin wants to change something.
    #[error(
        "a page of another origin ({0}) may not do this; name its origin in --cors-origin to allow it"
    )]
    CrossSite(String),
}

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// Longest text of a request that a refusal quotes, in bytes.
const QUOTE_BYTES_MAX: usize = 100;

impl SiteRules {
    /// Rules of a socket. Pages that `policy` allows may change things as well as the node's own pages.
    #[must_use]
    pub const fn new(policy: Policy) -> Self {
        Self { policy, local: None }
    }

    /// Answers requests to local names and to `names` only: for a socket that listens on a loopback
    /// address.
    ///
    /// # Errors
    /// A text is no name of a host.
    pub fn local(self, names: &[String]) -> Result<Self, BadHost> {
        let name = |text: &String| match split(text.as_bytes()) {
            Some((name, None)) if !name.is_empty() && !name.contains(['/', '*']) => Ok(name.into()),
            _ => Err(BadHost(text.clone())),
        };
        Ok(Self { local: Some(names.iter().map(name).collect::<Result<_, _>>()?), ..self })
    }

    /// Decides about the `Origin` header of a request that is refused: its page may read why.
    #[must_use]
    pub fn grant(&self, origin: Option<&[u8]>) -> Grant {
        self.policy.grant(origin)
    }

    /// Returns true if requests to a host, which may have a port, are answered.
    #[must_use]
    pub fn answer_host(&self, host: &[u8]) -> bool {
        let Some(names) = &self.local else {
            return true;
        };
        split(host).is_some_and(|(name, _)| {
            let is = |other: &str| name.eq_ignore_ascii_case(other);
            is_local(name) || names.iter().any(|allowed| is(allowed))
        })
    }

    /// Checks the host of a request and, if it may change something, the page that sent it.
    ///
    /// # Errors
    /// The node must not answer it.
    pub fn check<B>(&self, request: &Request<B>) -> Result<(), Refusal> {
        let headers = request.headers();
        let authority = request.uri().authority().map(|authority| authority.as_str().as_bytes());
        let mut hosts = headers.get_all(HOST).iter().map(HeaderValue::as_bytes);
        let host = hosts.next();
        if hosts.next().is_some() {
            return Err(Refusal::ManyHosts);
        }
        let may_lack_host = match request.version() {
            Version::HTTP_09 | Version::HTTP_10 => true,
            Version::HTTP_11 => false,
            _ => authority.is_some(),
        };
        if host.is_none() && !may_lack_host {
            return Err(Refusal::NoHost);
        }
        let foreign = [authority, host].into_iter().flatten().find(|host| !self.answer_host(host));
        if let Some(host) = foreign {
            return Err(Refusal::ForeignHost(quote(host)));
        }
        if request.method().is_safe() || self.may_change(headers, authority.or(host)) {
            return Ok(());
        }
        let origin = headers.get(ORIGIN).map(HeaderValue::as_bytes);
        Err(Refusal::CrossSite(origin.map_or_else(|| "no Origin".to_owned(), quote)))
    }

    /// Returns true if a request may change something.
    fn may_change(&self, headers: &HeaderMap, host: Option<&[u8]>) -> bool {
        let mut origins = headers.get_all(ORIGIN).iter().map(HeaderValue::as_bytes);
        let (origin, other) = (origins.next(), origins.next());
        if other.is_none() && self.policy.allows(origin.unwrap_or_default()) {
            return true;
        }
        let mut sites = headers.get_all(SEC_FETCH_SITE).iter().map(HeaderValue::as_bytes);
        match (sites.next(), sites.next()) {
            // A proxy may rewrite the host, but it leaves this header alone.
            (Some(b"same-origin" | b"none"), None) => true,
            (Some(_), _) => false,
            (None, _) => match (origin, host) {
                (None, _) => true,
                (Some(origin), Some(host)) => other.is_none() && is_own(origin, host),
                (Some(_), None) => false,
            },
        }
    }
}

impl Refusal {
    /// Returns the status of the answer.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::NoHost | Self::ManyHosts => StatusCode::BAD_REQUEST,
            Self::ForeignHost(_) | Self::CrossSite(_) => StatusCode::FORBIDDEN,
        }
    }

    /// Returns the cause as a program reads it.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoHost | Self::ManyHosts => "bad_host",
            Self::ForeignHost(_) => "foreign_host",
            Self::CrossSite(_) => "cross_site",
        }
    }
}

/// Splits a host into its name, of which brackets are a part, and its port.
fn split(host: &[u8]) -> Option<(&str, Option<&str>)> {
    let host = str::from_utf8(host).ok()?;
    let end = match host.starts_with('[') {
        true => host.find(']')? + 1,
        false => host.find(':').unwrap_or(host.len()),
    };
    let (name, rest) = host.split_at(end);
    match rest.strip_prefix(':') {
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => Some((name, Some(port))),
        None if rest.is_empty() => Some((name, None)),
        _ => None,
    }
}

/// Returns true for names that lead to no other machine, whatever a name server says.
fn is_local(name: &str) -> bool {
    if let Some(address) = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return address.parse().is_ok_and(|address: Ipv6Addr| address.to_canonical().is_loopback());
    }
    if let Ok(address) = name.parse::<Ipv4Addr>() {
        return address.is_loopback();
    }
    let last = name.strip_suffix('.').unwrap_or(name).rsplit('.').next();
    last.is_some_and(|label| label.eq_ignore_ascii_case("localhost"))
}

/// Returns true if an origin is that of a host, whatever the scheme: a proxy may end TLS.
fn is_own(origin: &[u8], host: &[u8]) -> bool {
    let Some((scheme, origin)) = str::from_utf8(origin).ok().and_then(|o| o.split_once("://"))
    else {
        return false;
    };
    let default = match scheme {
        "http" => Some("80"),
        "https" => Some("443"),
        _ => None,
    };
    let normal = |host| {
        let (name, port) = split(host)?;
        Some((name.to_ascii_lowercase(), port.filter(|port| Some(*port) != default)))
    };
    let (own, other) = (normal(host), normal(origin.as_bytes()));
    own.is_some() && own == other
}

/// Returns the beginning of a text that is not trusted.
fn quote(text: &[u8]) -> String {
    String::from_utf8_lossy(&text[..text.len().min(QUOTE_BYTES_MAX)]).into_owned()
}

#[cfg(test)]
mod tests;

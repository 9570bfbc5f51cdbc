//! The hub as its clients name it.

use std::sync::Arc;

use percent_encoding::percent_decode_str;
use url::Url;

/// The public URL of a hub. Relative topics and patterns are resolved against it, and topics under its path are the
/// hub's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hub(Arc<Url>);

/// A text that is no URL of a hub.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{url:?} is no URL of a hub, such as https://example.com/.well-known/mercure: {reason}")]
pub struct BadHub {
    url: String,
    reason: String,
}

/// The octets that RFC 3986 never needs to escape, beside letters and digits.
const MARKS: &[u8] = b"-._~";

impl Hub {
    /// The path that clients try without having been told one.
    pub const PATH: &'static str = "/.well-known/mercure";

    /// Parses the public URL: `http` or `https`, with a host and a path, and nothing after the path.
    ///
    /// # Errors
    /// It is no such URL.
    pub fn new(url: &str) -> Result<Self, BadHub> {
        let bad = |reason: String| BadHub { url: url.to_owned(), reason };
        let parsed = Url::parse(url).map_err(|error| bad(error.to_string()))?;
        let reason = match &parsed {
            url if !matches!(url.scheme(), "http" | "https") => "the scheme is not http or https",
            url if !url.username().is_empty() || url.password().is_some() => "it has a user",
            url if url.query().is_some() || url.fragment().is_some() => {
                "something follows the path"
            }
            // A hub at the root would own every topic of its origin.
            url if url.path().trim_end_matches('/').is_empty() => "it has no path",
            _ => return Ok(Self(Arc::new(parsed))),
        };
        Err(bad(reason.to_owned()))
    }

    /// The whole URL.
    #[must_use]
    pub fn url(&self) -> &str {
        self.0.as_str()
    }

    /// The path, without a slash at its end.
    #[must_use]
    pub fn path(&self) -> &str {
        self.0.path().trim_end_matches('/')
    }

    /// The scheme and the authority, without a slash at the end.
    #[must_use]
    pub fn origin(&self) -> String {
        self.0.origin().ascii_serialization()
    }

    /// The path at which the metadata of the protected resource is served.
    #[must_use]
    pub fn metadata_path(&self) -> String {
        format!("/.well-known/oauth-protected-resource{}", self.path())
    }

    /// The URL of the metadata of the protected resource.
    #[must_use]
    pub fn metadata_url(&self) -> String {
        format!("{}{}", self.origin(), self.metadata_path())
    }

    /// The base of relative topics and patterns.
    pub(crate) fn base(&self) -> &Url {
        &self.0
    }

    /// Returns true if a resolved path is that of the hub or of one of its own resources, however it is escaped.
    pub(crate) fn owns(&self, path: &str) -> bool {
        let (ours, path) = (normalized(self.path()), normalized(path));
        path.strip_prefix(&ours).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// A path in which no octet is escaped that need not be.
fn normalized(path: &str) -> String {
    let mut parts = path.split('%');
    let mut normal = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let escape = part.get(..2).map(|digits| format!("%{digits}"));
        let byte = escape.as_deref().and_then(|escape| percent_decode_str(escape).next());
        match byte {
            Some(byte) if byte.is_ascii_alphanumeric() || MARKS.contains(&byte) => {
                normal.push(char::from(byte));
                normal.push_str(&part[2..]);
            }
            _ => {
                normal.push('%');
                normal.push_str(part);
            }
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hub_has_a_path_of_its_own() {
        let hub = Hub::new("https://example.com:8443/live/hub/").unwrap();
        assert_eq!((hub.path(), hub.origin().as_str()), ("/live/hub", "https://example.com:8443"));
        assert_eq!(
            hub.metadata_url(),
            "https://example.com:8443/.well-known/oauth-protected-resource/live/hub"
        );
        for url in [
            "",
            "/.well-known/mercure",
            "ftp://example.com/hub",
            "https://example.com",
            "https://example.com//",
            "https://ann@example.com/hub",
            "https://example.com/hub?a",
            "https://example.com/hub#a",
        ] {
            assert!(Hub::new(url).is_err(), "{url}");
        }
    }

    #[test]
    fn the_paths_of_a_hub_are_its_own_however_they_are_escaped() {
        let hub = Hub::new("https://example.com/.well-known/mercure").unwrap();
        for path in [
            "/.well-known/mercure",
            "/.well-known/mercure/subscriptions/a",
            "/.well-known/%6Dercure/x",
            "/%2ewell-known/mercure/",
        ] {
            assert!(hub.owns(path), "{path}");
        }
        for path in ["/", "/.well-known/mercure2", "/.well-known/Mercure", "/x/.well-known/mercure"]
        {
            assert!(!hub.owns(path), "{path}");
        }
        assert_eq!(normalized("/%%41%4%e9%"), "/%A%4%e9%");
    }
}

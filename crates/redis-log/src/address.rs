//! The address of a server.

use std::fmt;
use std::sync::Arc;

use crate::plain::plain;

/// A host, by name or number, and a port. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Address(Arc<(String, u16)>);

impl Address {
    pub(crate) fn new(host: impl Into<String>, port: u16) -> Self {
        Self(Arc::new((host.into(), port)))
    }

    /// Parses `host`, `host:port` or `[v6]:port`.
    pub(crate) fn parse(text: &str, default_port: u16) -> Option<Self> {
        let (host, port) = match text.strip_prefix('[').map(|rest| rest.split_once(']')) {
            Some(parts) => {
                let (host, rest) = parts?;
                (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
            }
            None => match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        let port = match port {
            Some(port) => port.parse().ok().filter(|port| *port != 0)?,
            None => default_port,
        };
        let fits = |c: char| c.is_ascii_alphanumeric() || "-._:%".contains(c);
        (!host.is_empty() && host.chars().all(fits)).then(|| Self::new(host, port))
    }

    /// Parses the address of another server as this one reports it: `host:port`, where the host may be a
    /// bare IPv6 address, or empty for its own host.
    pub(crate) fn reported(&self, text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        Some(self.reported_parts(host, port.parse().ok()?))
    }

    /// The same, in parts.
    pub(crate) fn reported_parts(&self, host: &str, port: u16) -> Self {
        Self::new(if host.is_empty() { self.host() } else { host }, port)
    }

    pub(crate) fn host(&self) -> &str {
        &self.0.0
    }

    pub(crate) fn port(&self) -> u16 {
        self.0.1
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A server may have reported the host.
        let host = plain(self.host());
        match host.contains(':') {
            true => write!(f, "[{host}]:{}", self.port()),
            false => write!(f, "{host}:{}", self.port()),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_parsed_as_people_write_them() {
        let shown = |text| Address::parse(text, 6379).map(|address| address.to_string());
        for (text, expected) in [
            ("cache", "cache:6379"),
            ("cache:7000", "cache:7000"),
            ("10.0.0.1:7000", "10.0.0.1:7000"),
            ("[::1]", "[::1]:6379"),
            ("[::1]:7000", "[::1]:7000"),
        ] {
            assert_eq!(shown(text).as_deref(), Some(expected));
        }
        for text in ["", ":7000", "cache:", "cache:0", "cache:x", "a b", "[::1", "[::1]7000", "::1"]
        {
            assert_eq!(shown(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_reported_address_without_a_host_has_the_host_of_its_reporter() {
        let asked = Address::new("10.0.0.1", 7000);
        let reported = |text| asked.reported(text).map(|address| address.to_string());
        assert_eq!(reported("10.0.0.2:7001").as_deref(), Some("10.0.0.2:7001"));
        assert_eq!(reported(":7001").as_deref(), Some("10.0.0.1:7001"));
        assert_eq!(reported("fd00::1:7001").as_deref(), Some("[fd00::1]:7001"));
        assert_eq!(reported("x"), None);
    }
}

//! The choice of the servers that a node reads from.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::address::Address;

/// The servers that a node reads from. It writes to primaries in any case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ReadFrom {
    /// The primary of each partition.
    #[default]
    Primary,
    /// A replica of the primary, at random; the primary as long as no replica can be read.
    Replica,
    /// A replica near this node, or else a near primary, or else as [`Replica`](Self::Replica).
    Nearest(Vec<Near>),
}

/// Servers that are near: an address, a network such as `10.2.0.0/16`, or the end of a host name such as
/// `.eu.example`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Near(Vicinity);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Vicinity {
    Network { ip: IpAddr, bits: u8 },
    Name(String),
}

/// Most entries of a list of near servers.
const NEAR_MAX: usize = 64;

/// A text that names no servers to read from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} names no servers to read from: give primary, replica, or nearest: with 1 to {NEAR_MAX} addresses, \
     networks or ends of host names, as in nearest:10.2.0.0/16,.eu.example"
)]
pub struct BadReadFrom(String);

impl ReadFrom {
    /// Returns true if this server is near.
    pub(crate) fn is_near(&self, server: &Address) -> bool {
        match self {
            Self::Primary | Self::Replica => false,
            Self::Nearest(near) => near.iter().any(|near| near.holds(server.host())),
        }
    }

    /// Returns true if readers wait until this replica has an event that the source has. Where near servers are read,
    /// they do not wait for one that is far away.
    pub(crate) fn waits_for(&self, replica: &Address) -> bool {
        *self == Self::Replica || self.is_near(replica)
    }
}

impl FromStr for ReadFrom {
    type Err = BadReadFrom;

    fn from_str(text: &str) -> Result<Self, BadReadFrom> {
        let bad = || BadReadFrom(text.to_owned());
        match text.split_once(':') {
            None if text == "primary" => Ok(Self::Primary),
            None if text == "replica" => Ok(Self::Replica),
            Some(("nearest", list)) => {
                let near: Option<Vec<_>> = list.split(',').map(Near::parse).collect();
                let near = near.filter(|near| near.len() <= NEAR_MAX);
                near.map(Self::Nearest).ok_or_else(bad)
            }
            _ => Err(bad()),
        }
    }
}

impl fmt::Display for ReadFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Primary => f.write_str("primary"),
            Self::Replica => f.write_str("replica"),
            Self::Nearest(near) => {
                let near: Vec<_> = near.iter().map(ToString::to_string).collect();
                write!(f, "nearest:{}", near.join(","))
            }
        }
    }
}

impl Near {
    fn parse(text: &str) -> Option<Self> {
        let (ip, bits) = match text.split_once('/') {
            Some((ip, bits)) => (ip, Some(bits.parse().ok()?)),
            None => (text, None),
        };
        if let Ok(ip) = ip.parse::<IpAddr>() {
            let all = if ip.is_ipv4() { 32 } else { 128 };
            let bits = bits.unwrap_or(all);
            return (bits <= all).then_some(Self(Vicinity::Network { ip, bits }));
        }
        let is_name = !text.is_empty()
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
        is_name.then(|| Self(Vicinity::Name(text.to_ascii_lowercase())))
    }

    fn holds(&self, host: &str) -> bool {
        match &self.0 {
            Vicinity::Network { ip, bits } => {
                host.parse().is_ok_and(|host| first_bits(*ip, *bits) == first_bits(host, *bits))
            }
            Vicinity::Name(end) if end.starts_with('.') => host.to_ascii_lowercase().ends_with(end),
            Vicinity::Name(name) => host.eq_ignore_ascii_case(name),
        }
    }
}

/// The first bits of an address, and whether it is one of IPv4.
fn first_bits(ip: IpAddr, bits: u8) -> (u128, bool) {
    match ip {
        IpAddr::V4(ip) => {
            (u128::from(ip.to_bits().checked_shr(32 - u32::from(bits.min(32))).unwrap_or(0)), true)
        }
        IpAddr::V6(ip) => {
            (ip.to_bits().checked_shr(128 - u32::from(bits.min(128))).unwrap_or(0), false)
        }
    }
}

impl fmt::Display for Near {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Vicinity::Network { ip, bits } => write!(f, "{ip}/{bits}"),
            Vicinity::Name(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_reads_back_as_it_was_written() {
        for text in
            ["primary", "replica", "nearest:10.2.0.0/16,fd00::/8,redis-1.example,.eu.example"]
        {
            assert_eq!(text.parse::<ReadFrom>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "replicas",
            "nearest",
            "nearest:",
            "nearest:10.0.0.0/33",
            "nearest:a,,b",
            "nearest:a b",
        ] {
            let error = text.parse::<ReadFrom>().unwrap_err().to_string();
            assert!(error.contains("primary, replica, or nearest:"), "{error}");
        }
        let many = format!("nearest:{}", ["a"; NEAR_MAX + 1].join(","));
        assert!(many.parse::<ReadFrom>().is_err());
    }

    #[test]
    fn near_servers_are_known_by_address_network_and_name() {
        let near = |list: &str, host: &str| {
            let from: ReadFrom = format!("nearest:{list}").parse().unwrap();
            from.is_near(&Address::new(host, 6379))
        };
        assert!(near("10.2.0.0/16", "10.2.255.1") && !near("10.2.0.0/16", "10.3.0.1"));
        assert!(near("0.0.0.0/0", "192.0.2.1") && !near("0.0.0.0/0", "::1"));
        assert!(near("10.2.0.9", "10.2.0.9") && !near("10.2.0.9", "10.2.0.10"));
        assert!(near("fd00:1::/32", "fd00:1:2::3") && !near("fd00:1::/32", "fd00:2::3"));
        assert!(near(".eu.example", "Redis-1.EU.example") && !near(".eu.example", "eu.example"));
        assert!(near("redis-1", "redis-1") && !near("redis-1", "redis-12"));
        assert!(!ReadFrom::Replica.is_near(&Address::new("10.2.0.1", 1)));
    }
}

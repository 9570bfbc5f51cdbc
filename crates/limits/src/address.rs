//! The key by which an address counts.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU64;

/// A client's address as limits count it: an IPv4 address, or the /64 network of an IPv6 address, since
/// one host usually has a whole /64.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientAddress(NonZeroU64);

/// IPv4 addresses lie in a network from which no IPv6 packet comes (multicast).
const V4: u64 = 0xffff_ffff_0000_0000;
/// Stands for the network `::/64`, which has loopback, because zero is no key.
const LOOPBACK_V6: u64 = 0xffff_fffe_0000_0000;

impl From<IpAddr> for ClientAddress {
    fn from(address: IpAddr) -> Self {
        let key = match address.to_canonical() {
            IpAddr::V4(address) => V4 | u64::from(address.to_bits()),
            IpAddr::V6(address) => u64::try_from(address.to_bits() >> 64).unwrap_or_default(),
        };
        Self(NonZeroU64::new(key).unwrap_or(const { NonZeroU64::new(LOOPBACK_V6).unwrap() }))
    }
}

impl fmt::Display for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.0.get();
        if key >= V4 {
            let bits = u32::try_from(key & !V4).unwrap_or_default();
            return fmt::Display::fmt(&Ipv4Addr::from_bits(bits), f);
        }
        let network = if key == LOOPBACK_V6 { 0 } else { u128::from(key) << 64 };
        write!(f, "{}/64", Ipv6Addr::from_bits(network))
    }
}

impl fmt::Debug for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        ClientAddress::from(text.parse::<IpAddr>().unwrap()).to_string()
    }

    #[test]
    fn an_ipv4_address_counts_alone_and_an_ipv6_address_with_its_network() {
        for (text, expected) in [
            ("203.0.113.7", "203.0.113.7"),
            ("0.0.0.0", "0.0.0.0"),
            ("255.255.255.255", "255.255.255.255"),
            ("::ffff:203.0.113.7", "203.0.113.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("::1", "::/64"),
        ] {
            assert_eq!(shown(text), expected);
        }
    }
}

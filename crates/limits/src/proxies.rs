//! Trusted proxies: load balancers that name the address of their client.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::{Client, ClientAddress, Peer};

/// The networks of the load balancers whose headers are believed. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxies(Arc<[IpNet]>);

/// A text that is no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no address and no network, as 10.0.0.0/8")]
pub struct BadProxy(String);

/// Proxies that a client may have passed; a list with more is not read to its end.
const HOPS_MAX: usize = 32;

impl Proxies {
    /// No proxy is trusted.
    #[must_use]
    pub fn none() -> Self {
        Self(Arc::default())
    }

    /// The proxies of these networks, each an address or CIDR.
    ///
    /// # Errors
    /// A text is neither.
    pub fn new<'a>(networks: impl IntoIterator<Item = &'a str>) -> Result<Self, BadProxy> {
        let network = |text: &str| {
            let single = || IpAddr::from_str(text).map(IpNet::from);
            text.parse().or_else(|_| single()).map_err(|_| BadProxy(text.to_owned()))
        };
        Ok(Self(networks.into_iter().map(network).collect::<Result<_, _>>()?))
    }

    /// Returns true if an address is a trusted proxy's.
    #[must_use]
    pub fn trust(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Returns the party that a connection is counted for before it has sent a request.
    #[must_use]
    pub fn connected(&self, peer: Peer) -> Client {
        match self.trust(peer.address.ip()) {
            true => Client::TRUSTED,
            false => Client {
                address: Some(peer.address.ip().into()),
                connection: Some(peer.connection),
            },
        }
    }

    /// Returns the party that a request is counted for: the peer or, behind trusted proxies, the last
    /// hop that is not one. Headers are the values of `X-Forwarded-For` and `Forwarded`, in order.
    ///
    /// A list that cannot be read, or two headers that disagree, count for the proxy, whose share then
    /// bounds all clients that send such headers.
    #[must_use]
    pub fn client<'a>(
        &self,
        peer: Peer,
        x_forwarded_for: impl IntoIterator<Item = &'a [u8], IntoIter: DoubleEndedIterator>,
        forwarded: impl IntoIterator<Item = &'a [u8], IntoIter: DoubleEndedIterator>,
    ) -> Client {
        let connected = self.connected(peer);
        if connected != Client::TRUSTED {
            return connected;
        }
        let for_list = self.last_hop(x_forwarded_for, address_of);
        let elements = self.last_hop(forwarded, |element| address_of(node_of(element)?));
        let address = match (for_list, elements) {
            (None, None) => return Client::TRUSTED,
            (Some(Some(hop)), None) | (None, Some(Some(hop))) => hop,
            (Some(Some(one)), Some(Some(other))) if one == other => one,
            _ => peer.address.ip(),
        };
        Client { address: Some(ClientAddress::from(address)), connection: None }
    }

    /// Returns the last hop that is no trusted proxy, or the first hop if all are; `None` without
    /// header, and `Some(None)` if the hop cannot be read.
    fn last_hop<'a>(
        &self,
        values: impl IntoIterator<Item = &'a [u8], IntoIter: DoubleEndedIterator>,
        read: impl Fn(&str) -> Option<IpAddr>,
    ) -> Option<Option<IpAddr>> {
        let hops = values.into_iter().rev().flat_map(|value| value.rsplit(|byte| *byte == b','));
        let mut last = None;
        for hop in hops.take(HOPS_MAX) {
            let Some(address) = str::from_utf8(hop).ok().and_then(|hop| read(hop.trim())) else {
                return Some(None);
            };
            last = Some(Some(address));
            if !self.trust(address) {
                break;
            }
        }
        last
    }
}

impl Default for Proxies {
    /// Proxies on the same machine.
    fn default() -> Self {
        Self::new(["127.0.0.0/8", "::1"]).expect("constants of the right form")
    }
}

/// Reads `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:80`.
fn address_of(text: &str) -> Option<IpAddr> {
    let bare = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let with_port = || text.parse().ok().map(|address: SocketAddr| address.ip());
    text.parse().ok().or_else(with_port).or_else(bare).map(|address: IpAddr| address.to_canonical())
}

/// Returns the value of `for` in an element of `Forwarded` (RFC 7239), without quotes.
fn node_of(element: &str) -> Option<&str> {
    let pairs = element.split(';').filter_map(|pair| pair.trim().split_once('='));
    let (_, node) = pairs.into_iter().find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;
    let node = node.trim();
    Some(node.strip_prefix('"').and_then(|node| node.strip_suffix('"')).unwrap_or(node))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn peer(address: &str) -> Peer {
        Peer::new(SocketAddr::new(address.parse().unwrap(), 4000))
    }

    fn counted(peer_address: &str, list: &[&str], forwarded: &[&str]) -> String {
        let proxies = Proxies::new(["10.0.0.0/8", "2001:db8::/32"]).unwrap();
        let values = |texts: &[&'static str]| -> Vec<&'static [u8]> {
            texts.iter().map(|text| text.as_bytes()).collect()
        };
        // The texts of these tests are literals.
        let leak = |texts: &[&str]| -> Vec<&'static str> {
            texts.iter().map(|text| &*text.to_string().leak()).collect()
        };
        let client =
            proxies.client(peer(peer_address), values(&leak(list)), values(&leak(forwarded)));
        client.address.map_or_else(|| "trusted".to_owned(), |address| address.to_string())
    }

    #[test]
    fn only_a_trusted_proxy_is_believed() {
        assert_eq!(counted("192.0.2.9", &["203.0.113.7"], &[]), "192.0.2.9");
        assert_eq!(counted("10.0.0.1", &["203.0.113.7"], &[]), "203.0.113.7");
        assert_eq!(counted("::ffff:10.0.0.1", &["203.0.113.7"], &[]), "203.0.113.7");
        assert_eq!(counted("10.0.0.1", &[], &[]), "trusted");
    }

    #[test]
    fn the_last_hop_that_is_no_proxy_counts_so_that_nobody_chooses_an_address() {
        assert_eq!(counted("10.0.0.1", &["1.1.1.1, 203.0.113.7, 10.0.0.2"], &[]), "203.0.113.7");
        assert_eq!(counted("10.0.0.1", &["1.1.1.1", "203.0.113.7"], &[]), "203.0.113.7");
        assert_eq!(counted("10.0.0.1", &["10.0.0.9, 10.0.0.2"], &[]), "10.0.0.9");
        assert_eq!(counted("10.0.0.1", &["x, 203.0.113.7:4711"], &[]), "203.0.113.7");
        let forwarded = [r#"for=1.1.1.1, For="[2001:db9:cafe::17]:4711";proto=https"#];
        assert_eq!(counted("10.0.0.1", &[], &forwarded), "2001:db9:cafe::/64");
    }

    #[test]
    fn a_header_that_cannot_be_believed_counts_for_the_proxy() {
        assert_eq!(counted("10.0.0.1", &["203.0.113.7, unknown"], &[]), "10.0.0.1");
        assert_eq!(counted("10.0.0.1", &[""], &[]), "10.0.0.1");
        assert_eq!(counted("10.0.0.1", &[], &["for=_hidden"]), "10.0.0.1");
        assert_eq!(counted("10.0.0.1", &["203.0.113.7"], &["for=203.0.113.8"]), "10.0.0.1");
        assert_eq!(counted("10.0.0.1", &["203.0.113.7"], &["for=203.0.113.7"]), "203.0.113.7");
    }

    #[test]
    fn a_network_that_is_none_is_named() {
        assert_eq!(Proxies::new(["10.0.0.0/33"]), Err(BadProxy("10.0.0.0/33".to_owned())));
        assert!(Proxies::new(["10.0.0.1", "fd00::/8"]).is_ok());
        assert!(Proxies::default().trust("127.9.9.9".parse().unwrap()));
        assert!(!Proxies::none().trust("127.0.0.1".parse().unwrap()));
    }

    proptest! {
        #[test]
        fn no_header_panics(list: Vec<Vec<u8>>, forwarded: Vec<Vec<u8>>) {
            let proxies = Proxies::new(["10.0.0.0/8"]).unwrap();
            let values = |list: &'_ Vec<Vec<u8>>| list.clone();
            let (list, forwarded) = (values(&list), values(&forwarded));
            let list: Vec<_> = list.iter().map(Vec::as_slice).collect();
            let forwarded: Vec<_> = forwarded.iter().map(Vec::as_slice).collect();
            let client = proxies.client(peer("10.0.0.1"), list, forwarded);
            prop_assert!(client.connection.is_none());
        }
    }
}

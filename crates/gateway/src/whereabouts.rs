//! The whereabouts of a subscriber, for the logs: its peer, and the client that the peer speaks for.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use crate::head::SubscriptionHead;

/// The addresses of a subscriber.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Whereabouts {
    /// The other end of the socket, which may be a load balancer's: address and port. A `SocketAddr` would
    /// make every connection larger by what IPv6 may add to these.
    peer: (IpAddr, u16),
    /// The header `X-Forwarded-For`: addresses, as anybody may have written them.
    pub(crate) forwarded_for: Option<Box<str>>,
}

/// The name of a subject for a log: itself, or a hash by which its lines can be found together.
pub(crate) fn subject(subject: &str, is_hashed: bool) -> Cow<'_, str> {
    match is_hashed {
        true => access::hash_of_subject(subject).into(),
        false => subject.into(),
    }
}

/// The longest list of addresses that is kept: three of IPv6.
const FORWARDED_BYTES_MAX: usize = 128;

impl Whereabouts {
    pub(crate) fn new(peer: SocketAddr, head: &SubscriptionHead<'_>) -> Self {
        let peer = (peer.ip(), peer.port());
        Self { peer, forwarded_for: addresses(&head.forwarded_for) }
    }

    /// The other end of the socket.
    pub(crate) fn peer(&self) -> SocketAddr {
        self.peer.into()
    }
}

/// Takes only text that could be addresses, because it goes into logs.
fn addresses(values: &[&[u8]]) -> Option<Box<str>> {
    let is_address = |b: &u8| b.is_ascii_hexdigit() || b".:,[] ".contains(b);
    let is_short = values.iter().map(|value| value.len() + 2).sum::<usize>() <= FORWARDED_BYTES_MAX;
    let list = is_short.then(|| values.join(&b", "[..])).filter(|list| !list.is_empty())?;
    list.iter().all(is_address).then(|| String::from_utf8(list).ok().map(Into::into))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_are_taken_from_a_header_that_anybody_writes() {
        let taken = |text: &str| addresses(&[text.as_bytes()]).map(String::from);
        for good in ["203.0.113.7", "203.0.113.7, 10.0.0.1", "[2001:db8::1]:443"] {
            assert_eq!(taken(good).as_deref(), Some(good));
        }
        let two = [&b"203.0.113.7"[..], b"10.0.0.1"];
        assert_eq!(addresses(&two).as_deref(), Some("203.0.113.7, 10.0.0.1"));
        for bad in ["secret", "1.2.3.4 token=x", "\"1.2.3.4\"", &"1.1.1.1,".repeat(20)] {
            assert_eq!(taken(bad), None);
        }
    }
}

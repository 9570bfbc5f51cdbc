//! Where a subscriber is, for the logs: its peer, and who that says it speaks for.

use std::net::SocketAddr;

use axum::http::HeaderMap;

/// Where a subscriber is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Client {
    /// The other end of the socket, which may be a load balancer's.
    pub(crate) peer: Option<SocketAddr>,
    /// The header `X-Forwarded-For`: addresses, as anybody may have written them.
    pub(crate) forwarded_for: Option<Box<str>>,
}

/// The longest list of addresses that is kept: three of IPv6.
const FORWARDED_BYTES_MAX: usize = 128;

impl Client {
    pub(crate) fn new(peer: Option<SocketAddr>, headers: &HeaderMap) -> Self {
        Self { peer, forwarded_for: forwarded_for(headers) }
    }
}

/// Only what could be addresses: it goes into logs.
fn forwarded_for(headers: &HeaderMap) -> Option<Box<str>> {
    let text = headers.get("x-forwarded-for")?.to_str().ok()?;
    let is_address = |b: u8| b.is_ascii_hexdigit() || b".:,[] ".contains(&b);
    (text.len() <= FORWARDED_BYTES_MAX && text.bytes().all(is_address)).then(|| text.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn only_addresses_are_taken_from_a_header_that_anybody_writes() {
        let taken = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("x-forwarded-for", HeaderValue::from_str(text).unwrap());
            forwarded_for(&headers).map(String::from)
        };
        for good in ["203.0.113.7", "203.0.113.7, 10.0.0.1", "[2001:db8::1]:443"] {
            assert_eq!(taken(good).as_deref(), Some(good));
        }
        for bad in ["secret", "1.2.3.4 token=x", "\"1.2.3.4\"", &"1.1.1.1,".repeat(20)] {
            assert_eq!(taken(bad), None);
        }
    }
}

//! The gate of a port: the connections that may be open.

use std::sync::Arc;

use limits::{Client, Held, Peer, Proxies, Quota, Rules, Terms};
use metrics::Registry;

/// Lets connections in while there is room for them, and for their addresses.
#[derive(Debug)]
pub(crate) struct Gate {
    connections: Arc<Quota>,
    proxies: Proxies,
    /// True if each connection begins with a PROXY header, which only trusted proxies may send.
    is_proxied: bool,
    /// Concurrent HTTP/2 streams of a connection that is no trusted proxy's.
    streams: u32,
}

/// Most open connections of the operators' port.
const ADMIN_MAX: u64 = 64;
/// Concurrent streams of a trusted proxy's connection, which carries many clients.
const PROXY_STREAMS: u32 = 1000;
/// Concurrent streams of a connection to a node without subscribers, whose requests are short.
const PUBLISHER_STREAMS: u32 = 100;
/// The fewest streams of a connection, however small the memory: the tabs of a browser.
const STREAMS_MIN: u64 = 32;
/// Memory that a stream may hold, by which streams are counted, in bytes: a page.
const STREAM_BYTES: u64 = 64 * 1024;

impl Gate {
    /// The gate of `--listen`, for at most `max` connections.
    pub(crate) fn public(
        rules: &Rules,
        max: usize,
        is_proxied: bool,
        has_subscribers: bool,
        registry: &Registry,
    ) -> Self {
        let terms = Terms::new("connections", "open connections", max as u64, rules.share);
        let terms = Terms { flag: "--max-open, --address-share", ..terms };
        let memory = rules.memory.terms();
        let memory = memory.connection_max.unwrap_or(memory.address_max);
        let by_memory = (memory / STREAM_BYTES).clamp(STREAMS_MIN, PROXY_STREAMS.into());
        let streams = match has_subscribers {
            true => u32::try_from(by_memory).unwrap_or(PROXY_STREAMS),
            false => PUBLISHER_STREAMS,
        };
        let connections = Quota::new(terms, registry);
        Self { connections, proxies: rules.proxies.clone(), is_proxied, streams }
    }

    /// The gate of the operators' port, whose connections no client of `--listen` can take. Nobody is
    /// trusted with all of them: no load balancer serves this port.
    pub(crate) fn admin(rules: &Rules, registry: &Registry) -> Self {
        let things = "open connections to the admin port";
        let terms = Terms::new("admin_connections", things, ADMIN_MAX, rules.share);
        let connections = Quota::new(terms, registry);
        let streams = PUBLISHER_STREAMS;
        Self { connections, proxies: Proxies::none(), is_proxied: false, streams }
    }

    /// Lets a connection in, for as long as the place is held. `None` if it must be closed.
    ///
    /// It is closed without an answer: an `EventSource` tries again after a broken connection, and
    /// never after an error.
    pub(super) fn admit(&self, peer: Peer) -> Option<Held> {
        let client = self.client(peer);
        if self.is_proxied && client != Client::TRUSTED {
            tracing::debug!(peer = %peer.address, "no trusted proxy, so its PROXY header is not read");
            return None;
        }
        self.connections.take(client, 1).ok()
    }

    /// Lets a client in that a proxy has named, in the place of the proxy.
    pub(super) fn admit_named(&self, peer: Peer, place: Held) -> Option<Held> {
        drop(place);
        self.connections.take(self.client(peer), 1).ok()
    }

    pub(super) const fn is_proxied(&self) -> bool {
        self.is_proxied
    }

    /// The party that a connection counts for before it has sent a request.
    pub(super) fn client(&self, peer: Peer) -> Client {
        self.proxies.connected(peer)
    }

    /// Returns the concurrent HTTP/2 streams of a connection.
    pub(super) fn streams(&self, peer: Peer) -> u32 {
        match self.client(peer) {
            Client::TRUSTED => PROXY_STREAMS,
            _ => self.streams,
        }
    }
}

#[cfg(test)]
mod tests {
    use limits::AddressShare;

    use super::*;

    const MIB: u64 = 1 << 20;

    fn gate(memory: u64, is_proxied: bool, has_subscribers: bool) -> Gate {
        let registry = Registry::new();
        let proxies = Proxies::new(["10.0.0.0/8"]).unwrap();
        let rules = Rules::new(proxies, AddressShare::default(), memory, &registry);
        Gate::public(&rules, 10, is_proxied, has_subscribers, &registry)
    }

    fn peer(address: &str) -> Peer {
        Peer::new(address.parse().unwrap())
    }

    #[test]
    fn an_address_gets_half_of_the_places_and_a_proxy_all() {
        let gate = gate(MIB, false, true);
        let mut places: Vec<_> = (0..5).map(|_| gate.admit(peer("192.0.2.1:1")).unwrap()).collect();
        assert!(gate.admit(peer("192.0.2.1:2")).is_none());
        places.extend((0..5).map(|_| gate.admit(peer("10.0.0.1:1")).unwrap()));
        assert!(gate.admit(peer("10.0.0.1:1")).is_none());
    }

    #[test]
    fn no_address_takes_the_whole_admin_port() {
        let registry = Registry::new();
        let proxies = Proxies::new(["10.0.0.0/8"]).unwrap();
        let gate = Gate::admin(&Rules { proxies, ..Rules::default() }, &registry);
        let places: Vec<_> = (0..ADMIN_MAX).map(|_| gate.admit(peer("10.0.0.1:1"))).collect();
        assert_eq!(places.iter().flatten().count() as u64, ADMIN_MAX / 2);
        assert!(gate.admit(peer("10.0.0.2:1")).is_some());
    }

    #[test]
    fn behind_the_proxy_protocol_only_trusted_proxies_come_in_and_their_clients_count() {
        let gate = gate(MIB, true, true);
        assert!(gate.admit(peer("192.0.2.1:1")).is_none());
        let admit = || {
            let place = gate.admit(peer("10.0.0.1:1")).unwrap();
            gate.admit_named(peer("192.0.2.1:1"), place)
        };
        let places: Vec<_> = (0..6).map(|_| admit()).collect();
        assert_eq!(places.iter().flatten().count(), 5);
    }

    #[test]
    fn the_streams_of_a_connection_follow_from_its_memory() {
        let streams = |gate: Gate| gate.streams(peer("192.0.2.1:1"));
        assert_eq!(streams(gate(256 * MIB, false, true)), 512);
        assert_eq!(streams(gate(MIB, false, true)), 32);
        assert_eq!(streams(gate(u64::MAX, false, true)), 1000);
        assert_eq!(streams(gate(u64::MAX, false, false)), 100);
        assert_eq!(gate(MIB, false, true).streams(peer("10.0.0.1:1")), 1000);
    }
}

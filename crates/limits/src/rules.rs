//! The rules that all services of a node share.

use std::sync::Arc;

use metrics::Registry;

use crate::{AddressShare, Proxies, Quota, Terms};

/// The rules by which a node counts its clients, and its memory for them. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The load balancers whose clients count by the address that the balancer names.
    pub proxies: Proxies,
    /// The share of every bound that one address may take.
    pub share: AddressShare,
    /// Bytes for clients: pages that they do not take, bodies that they do not finish.
    pub memory: Arc<Quota>,
}

/// The part of an address's memory that one connection may take.
const CONNECTIONS_IN_ADDRESS: u64 = 4;

impl Rules {
    /// Rules with a budget of so many bytes for clients, whose metrics are registered in `registry`.
    #[must_use]
    pub fn new(proxies: Proxies, share: AddressShare, memory: u64, registry: &Registry) -> Self {
        let terms =
            Terms::new("memory", "bytes of unread pages and unfinished bodies", memory, share);
        let terms = Terms {
            flag: "--memory-budget, --address-share",
            connection_max: Some((terms.address_max / CONNECTIONS_IN_ADDRESS).max(1)),
            ..terms
        };
        Self { proxies, share, memory: Quota::new(terms, registry) }
    }
}

impl Default for Rules {
    /// Rules without a bound, for a service on its own.
    fn default() -> Self {
        Self::new(Proxies::default(), AddressShare::default(), u64::MAX, &Registry::new())
    }
}

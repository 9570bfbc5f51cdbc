//! The parties that limits count.

use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::ClientAddress;

/// Identifies a connection for the life of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnectionId(NonZeroU64);

impl ConnectionId {
    /// The next connection.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "each is another")]
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NonZeroU64::new(NEXT.fetch_add(1, Relaxed)).expect("2^64 connections do not come"))
    }
}

/// The other end of a connection, which may be a load balancer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Its address, or the one that a PROXY protocol header names.
    pub address: SocketAddr,
    /// The connection.
    pub connection: ConnectionId,
}

impl Peer {
    /// The other end of a new connection.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self { address, connection: ConnectionId::new() }
    }
}

/// The party that a request is counted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    /// `None` for a trusted proxy that names no client: no address limits it.
    pub address: Option<ClientAddress>,
    /// `None` for a connection of a trusted proxy, which carries many clients.
    pub connection: Option<ConnectionId>,
}

impl Client {
    /// The node itself, and whoever it trusts: only the bound of the whole node counts.
    pub const TRUSTED: Self = Self { address: None, connection: None };
}

//! Closed nodes: who is let in, over every route and transport, and how a right ends.

mod key_server;
mod mint;
mod origins;
mod revoked;
mod stalled;
mod start;
mod table;
mod tickets;

pub(crate) use mint::{AUDIENCE, Claims, ISSUER, Mint};

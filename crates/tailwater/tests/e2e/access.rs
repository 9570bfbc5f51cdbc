//! Closed nodes: who is let in, over every route and transport, and how a right ends.

mod clients;
mod explained;
mod key_server;
mod mint;
mod origins;
mod revoked;
mod rotation;
mod stalled;
mod start;
mod table;
mod tickets;

pub(crate) use mint::{AUDIENCE, Claims, ISSUER, Mint};

//! Subscribers of a gateway over real sockets.

#![allow(
    clippy::unwrap_used,
    reason = "clippy.toml allows it in tests, but does not see that helpers are"
)]

mod breaks;
mod client;
mod console;
mod cross_origin;
mod drain;
mod end;
mod gaps;
mod head;
mod http2;
mod hub;
mod log;
mod long_poll;
mod manner;
mod metrics;
mod node;
mod presence;
mod refusal;
mod requests;
mod resume;
mod slow;
mod spaces;
mod storm;
mod stream;
mod tickets;
mod time;
mod trouble;

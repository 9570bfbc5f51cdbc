//! Bounds on everything that a client can hold.
//!
//! A [`Quota`] bounds places or bytes, and [`Rates`] bound events a second. Both give a share to each
//! address and each connection, so that one client never takes everything. A [`Client`] is the party
//! that a request is counted for; [`Proxies`] find it behind load balancers.
//!
//! Knows neither HTTP nor Redis. Absent: limits over several nodes, limits for a user.

mod address;
mod bucket;
mod client;
mod full;
mod proxies;
mod quota;
mod rates;
mod rules;
mod share;

pub use address::ClientAddress;
pub use client::{Client, ConnectionId, Peer};
pub use full::{Full, Part};
pub use proxies::{BadProxy, Proxies};
pub use quota::{Held, Quota, Terms};
pub use rates::{Rate, Rates};
pub use rules::Rules;
pub use share::{AddressShare, BadShare};

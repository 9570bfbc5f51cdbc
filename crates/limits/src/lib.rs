//! Bounds on everything that a client can hold.
//!
//! A [`Quota`] bounds places or bytes, and [`Rates`] bound events a second. Both give a share to each
//! address and each connection, so that one client never takes everything. A [`Client`] is the party
//! that a request is counted for; [`Proxies`] find it behind load balancers.
//!
//! [`SubjectStreams`] bound the streams of a named party over all nodes, through [`Leases`], and the topics that they
//! watch on one. [`SubjectRates`] bound it on one node.
//!
//! Knows neither HTTP nor Redis.

mod address;
mod bucket;
mod client;
mod full;
mod leases;
mod proxies;
mod quota;
mod rates;
mod rules;
mod share;
mod streams;
mod subject;
mod subject_limit;
mod subject_rates;

pub use address::ClientAddress;
pub use client::{Client, ConnectionId, Peer};
pub use full::{Full, Part};
pub use leases::{Leases, LeasesAway, Standing, SubjectCount};
pub use proxies::{BadProxy, Proxies};
pub use quota::{Held, Quota, Terms};
pub use rates::{Rate, Rates};
pub use rules::Rules;
pub use share::{AddressShare, BadShare};
pub use streams::{SubjectPlace, SubjectStreams, WantedStream};
pub use subject::SubjectId;
pub use subject_limit::{SubjectLimit, SubjectTerms};
pub use subject_rates::SubjectRates;

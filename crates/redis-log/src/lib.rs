//! The log on Redis Streams: `event_log::Log` for any number of nodes over one Redis or Valkey.
//!
//! A topic is a stream, a head key and a channel. One script (`publish.lua`) writes them, on the primary
//! that serves the partition of the topic (`topology`: one server, the primary that sentinels name, or
//! the nodes of a cluster). Appends to a primary are gathered on one connection, and reads go over a
//! pool (`store`). New events arrive on one subscriber connection to each primary (`feed`) and extend
//! the tails of the watched topics (`watched`). A read of the stream fills a hole in a tail (`repair`),
//! and the heads of the tails are compared with the log at an interval (`audit`).
//!
//! The only crate that knows Redis. Knows no HTTP and no metrics. Absent on purpose: consumer groups,
//! blocking reads (their cost for the server grows with the topics), and any state of a client.

mod access;
mod address;
mod agreement;
mod audit;
mod config;
mod credentials;
mod durability;
mod echo;
mod entry;
mod error;
mod eviction;
mod feed;
mod feeds;
mod flight;
mod formats;
#[cfg(feature = "fuzz")]
#[doc(hidden)]
pub mod fuzz;
mod head;
mod keys;
mod leases;
mod life;
mod log;
mod pace;
mod pages;
mod plain;
mod presence;
mod publish;
mod read_from;
mod refusals;
mod repair;
mod scripts;
mod server;
mod sizes;
mod slot;
mod stats;
mod store;
mod tls;
mod topics;
mod topology;
mod unstored;
mod url;
mod watched;
mod wire;
mod witness;

pub use config::Config;
pub use durability::{BadDurability, Durability};
pub use error::ConnectError;
pub use keys::{BadKeyPrefix, KeyPrefix};
pub use leases::RedisLeases;
pub use log::RedisLog;
pub use presence::RedisPresence;
pub use read_from::{BadReadFrom, Near, ReadFrom};
pub use stats::{AppendFailure, Op, Stats, StoreMemory};
pub use store::StoredTopic;
pub use tls::BadTls;
pub use url::{BadUrl, RedisUrl};

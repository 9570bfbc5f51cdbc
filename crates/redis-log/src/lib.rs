//! The log on Redis Streams: `event_log::Log` for any number of nodes over one Redis or Valkey.
//!
//! A topic is a stream, a head key and a channel, written by one script (`publish.lua`) on the primary
//! that serves its partition (`topology`: one server, the one that sentinels name, or the nodes of a
//! cluster). Appends are gathered on one connection to each primary, reads go through a pool
//! (`store`); what is new comes by one subscriber connection from each (`feed`) into the tails of the
//! watched topics (`watched`), whose gaps are filled from the stream (`repair`) and whose heads are
//! compared with the log's from time to time (`audit`).
//!
//! The only crate that knows Redis. Knows no HTTP and no metrics. Absent on purpose: consumer groups,
//! blocking reads (they cost the server by the topic), and any state of a client.

mod access;
mod address;
mod audit;
mod config;
mod durability;
mod entry;
mod error;
mod feed;
mod flight;
mod head;
mod keys;
mod log;
mod node;
mod publish;
mod repair;
mod slot;
mod stats;
mod store;
mod tls;
mod topics;
mod topology;
mod url;
mod watched;
mod wire;
mod witness;

pub use config::Config;
pub use durability::{BadDurability, Durability};
pub use error::ConnectError;
pub use log::RedisLog;
pub use stats::{Op, Stats};
pub use url::{BadUrl, RedisUrl};

//! The relay: a reverse proxy that makes the streaming answers of an upstream resumable.
//!
//! An answer that is an event stream or JSON lines becomes a topic of its own, which any gateway serves. A task of
//! its own reads the upstream (`answer.rs`), so an answer goes on when its caller is gone. Every event is stored
//! (`store.rs`) before the caller gets it (`tee.rs`).
//!
//! `relay.rs` is the handler. `shared.rs` takes a request to the upstream and back, by the rules of a proxy
//! (`headers.rs`). `error.rs` chooses every status that is not the upstream's. `keys.rs` finds the answer to an
//! earlier request with the same key, in a ledger that all relays share (`ledger.rs`); `orders.rs` cancels an answer
//! that another relay reads, and `roll.rs` ends those of a relay that is gone. `resume.rs` has the ways of other
//! clients to resume.
//!
//! Serves no subscribers: a gateway on the same log does. Never touches Redis or the environment.

mod adapter;
mod answer;
mod cancel;
mod config;
mod decode;
mod demo;
mod error;
mod gateway;
mod headers;
mod keys;
mod ledger;
mod metrics;
mod names;
mod observer;
mod orders;
mod outcome;
mod relay;
mod replay;
mod resume;
mod roll;
mod running;
mod shared;
mod store;
mod tee;
mod upstream;
mod whole;

pub use adapter::{Adapter, BadAdapter};
pub use config::{Config, Detached};
pub use gateway::Gateway;
pub use names::PREFIX as TOPICS;
pub use relay::Relay;
pub use reqwest::Url;
pub use shared::Streamed;
pub use upstream::probe;

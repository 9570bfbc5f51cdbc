//! Sources: other systems whose events are copied into topics, each once.
//!
//! A [`Source`](source::Source) is read from a place that it names itself. A copier (`copier.rs`) reads it and appends
//! each event together with its place (`event_log::Advance`), so a copier that begins again, and a second one beside
//! it, store nothing twice and leave nothing out. Of several relays one leads (`lead.rs`); the log alone makes copies
//! exact, so a mistake about the leader costs work and nothing else.
//!
//! Readers are told of events that a source has lost: a break of the topic with the reason `missing`. A rule of the operator
//! (`copying.rs`) refuses a record that cannot be an event. Neither passes in silence.
//!
//! Serves nobody: gateways on the same log do. Never touches Redis or the environment.

mod backoff;
#[cfg(any(feature = "kafka", feature = "nats"))]
mod begin;
mod config;
mod copier;
mod copying;
mod guards;
mod http;
mod intake;
mod json_lines;
#[cfg(feature = "kafka")]
mod kafka;
mod kind;
mod lead;
#[cfg(feature = "mqtt")]
mod mqtt;
#[cfg(feature = "nats")]
mod nats;
mod place;
mod pointer;
mod poll;
#[cfg(feature = "postgres")]
mod postgres;
mod print;
#[cfg(test)]
mod script;
#[cfg(any(feature = "kafka", feature = "mqtt", feature = "nats", feature = "postgres"))]
mod secret;
mod source;
mod sources;
mod sse;
#[cfg(test)]
#[cfg(any(feature = "kafka", feature = "nats"))]
mod stage;
mod states;
mod stats;
mod template;
#[cfg(any(feature = "mqtt", feature = "nats", feature = "postgres"))]
mod tls;
mod trail;

pub use config::{BadConfig, Config};
pub use sources::Sources;
pub use states::{SourceState, states};

//! Subscribers' side of Tailwater: `GET /v1/events` as an event stream or a long-poll, and a Mercure hub (`hub.rs`).
//!
//! A connection is a [`event_log::Cursor`] and a way to write its steps. `door.rs` lets requests in,
//! `head.rs` is the part of one that counts, `request.rs` parses it, `handler.rs` opens the cursor,
//! `subscriber.rs` turns steps into bytes, `frame.rs` and `control.rs` form those bytes. Over HTTP/1.1
//! `http1.rs` writes them to the connection itself; axum and hyper serve the rest.
//!
//! Keeps no state that a client needs on another gateway: no sessions, no queue for a connection, no
//! list of clients. Never touches Redis.

mod alarm;
mod body;
mod chunk;
mod config;
mod connections;
mod console;
mod control;
mod door;
mod drain;
mod ends;
mod envelope;
mod error;
mod frame;
#[cfg(feature = "fuzz")]
#[doc(hidden)]
pub mod fuzz;
mod gateway;
mod handler;
mod haste;
mod head;
mod held_bytes;
mod http1;
mod hub;
mod impatient;
mod long_poll;
mod metrics;
mod presence;
mod probe;
mod read_body;
mod replay;
mod request;
mod subscriber;
mod subscribers;
mod subscriptions;
mod tcp_state;
mod tickets;
mod trace;
mod transport;
mod whereabouts;

pub use config::Config;
pub use connections::ConnectionReport;
pub use door::Door;
pub use gateway::{Gateway, NotReady};
pub use http1::{Accepted, EventStream, Patience, Rewind};
pub use impatient::Impatient;
pub use transport::{Transport, send_now};

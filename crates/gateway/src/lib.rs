//! Subscribers' side of Tailwater: `GET /v1/events` as an event stream or a long-poll.
//!
//! A connection is a [`event_log::Cursor`] and a way to write its steps: `request.rs` parses what a
//! client asks for, `handler.rs` opens the cursor, `subscriber.rs` turns steps into bytes,
//! `frame.rs` and `control.rs` are what those bytes look like. Over HTTP/1.1 `http1.rs` writes them to
//! the bare socket; all else is axum's.
//!
//! Keeps no state that a client needs on another gateway: no sessions, no queue for a connection, no
//! list of clients. Never touches Redis.

mod alarm;
mod chunk;
mod client;
mod config;
mod connections;
mod console;
mod control;
mod drain;
mod envelope;
mod error;
mod frame;
mod gateway;
mod handler;
mod http1;
mod long_poll;
mod metrics;
mod probe;
mod request;
mod subscriber;
mod trace;

pub use config::Config;
pub use connections::ConnectionReport;
pub use gateway::{Gateway, NotReady};
pub use http1::{Accepted, EventStream, Patience, Rewind};

//! An SSE client that trusts nothing: own socket, own HTTP/1.1. The parser is the crate `sse`.
//!
//! - [`Connection`] is one request and its stream, for tests that look at one response.
//! - [`EventSource`] behaves as a browser's `EventSource`: it comes back with `Last-Event-ID`.
//!
//! Thousands fit into one process: an idle connection holds a socket, a parser with empty buffers
//! and no read buffer (bytes are read into the stack of the task that polls). Absent: TLS, HTTP/2,
//! redirects, compression.

mod chunked;
mod client;
mod connection;
mod head;

pub use ::sse::{Event, Parser};
pub use client::{EventSource, OnRefusal, Signal, Stats};
pub use connection::{Connection, End};

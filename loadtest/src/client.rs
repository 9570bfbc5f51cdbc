//! The client's side of Tailwater's protocol: addresses, requests, streams and events.
//!
//! Depends on no other room. Absent: TLS to a gateway, HTTP/2.

pub mod control;
pub mod endpoint;
pub mod http;
pub mod load;
pub mod payload;
pub mod position;
pub mod publisher;
pub mod sse;

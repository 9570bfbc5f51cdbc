//! Ingest over a real socket, as publishers meet it.

#![allow(
    clippy::unwrap_used,
    reason = "clippy.toml allows it in tests, but does not see that helpers are"
)]

mod cloudevents;
mod cross_origin;
mod double;
mod limits;
mod server;
mod single;
mod streams;

//! Ingest over a real socket, as publishers use it.

#![allow(
    clippy::unwrap_used,
    reason = "clippy.toml allows it in tests, but clippy does not recognise helpers as tests"
)]

mod access;
mod breaks;
mod closed;
mod cloudevents;
mod cross_origin;
mod deletions;
mod double;
mod limits;
mod local;
mod quotas;
mod revocations;
mod rights_end;
mod server;
mod shares;
mod single;
mod spaces;
mod streams;
mod waits;

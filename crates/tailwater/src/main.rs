//! Tailwater: resumable Server-Sent Events from any node.
//!
//! This crate is the process: it reads arguments and the environment, chooses a log, handles signals and
//! assembles a node. The services are in `gateway` and `ingest`, the logs in `event-log` and `redis-log`.

mod access_sources;
mod admin;
mod args;
mod check;
mod client;
mod config;
mod debug_gate;
mod follow;
mod jwks;
mod log_metrics;
mod manual;
mod memory;
mod node;
mod redis_source;
mod revocation_feed;
mod run;
mod secret;
mod server;
mod signals;
mod sources_page;
mod spaces;
mod telemetry;
mod tls;
mod token;
mod topics;
mod workers;

use std::process::ExitCode;

use clap::Parser as _;

use crate::args::{Args, Command};

/// Fast for a process that allocates and frees thousands of objects of a few sizes (docs/adr/0007).
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    // For every user of TLS in this process: the server, the clients, and the exporter of traces.
    rustls::crypto::ring::default_provider()
        .install_default()
        .expect("nothing has installed a provider before main");
    let outcome = match Args::parse().command {
        Command::Serve(serve) => serve.try_into().and_then(run::node),
        Command::Gateway(gateway) => gateway.try_into().and_then(run::node),
        Command::Ingest(ingest) => ingest.try_into().and_then(run::node),
        Command::Relay(relay) => (*relay).try_into().and_then(run::node),
        Command::Check(check) => check::run(check),
        Command::Publish(publish) => client::run(client::publish::run(publish)),
        Command::Tail(tail) => client::run(client::tail::run(tail)),
        Command::Topics(topics) => topics::run(topics),
        Command::Spaces(args) => spaces::run(args),
        Command::Token(token) => token::run(token),
        Command::Completions { shell } => manual::completions(shell),
        Command::Man { dir } => manual::pages(&dir),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tailwater: {error:#}");
            ExitCode::FAILURE
        }
    }
}

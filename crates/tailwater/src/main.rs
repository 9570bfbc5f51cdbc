//! Tailwater: resumable Server-Sent Events from any node.
//!
//! This crate is the process: arguments, environment, the choice of a log, signals, assembly. The services
//! are in `gateway` and `ingest`, the logs in `event-log` and `redis-log`.

mod admin;
mod args;
mod check;
mod client;
mod config;
mod log_metrics;
mod node;
mod run;
mod server;
mod tls;
mod workers;

use std::process::ExitCode;

use clap::Parser as _;
use tikv_jemallocator::Jemalloc;

use crate::args::{Args, Command};

/// Thousands of small things of the same size, that come and go: docs/adr/0007.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    // For every user of TLS in this process: the server, the clients, and the exporter of traces.
    rustls::crypto::ring::default_provider()
        .install_default()
        .expect("nothing has installed a provider before main");
    let outcome = match Args::parse().command {
        Command::Serve(serve) => serve.try_into().and_then(run::node),
        Command::Gateway(gateway) => gateway.try_into().and_then(run::node),
        Command::Ingest(ingest) => ingest.try_into().and_then(run::node),
        Command::Check(check) => check::run(check),
        Command::Publish(publish) => client::run(client::publish::run(publish)),
        Command::Tail(tail) => client::run(client::tail::run(tail)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tailwater: {error:#}");
            ExitCode::FAILURE
        }
    }
}

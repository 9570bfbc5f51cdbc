//! As many connections as a machine holds: several gateways, several drivers, one network
//! namespace.

mod kernel;
mod summary;
pub mod worker;

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::time::{Instant, sleep};

use self::kernel::Kernel;
use self::worker::HoldSeen;
use super::Common;
use super::mixed::Cores;
use crate::cost::contender::{Cpu, Programs, Stack};
use crate::cost::driver::Driver;
use crate::machine::cluster::find_tailwater;
use crate::machine::{Memory, Namespace, Worker, pin};
use crate::report::Report;
use crate::report::progress::Progress;

const NAME: &str = "hold";
/// After a change, before memory is read.
const PAUSE: Duration = Duration::from_secs(3);
/// Connections of a gateway: the files that a process may open, less its own and some reserve.
const EACH_MAX: usize = 17_000;

/// Holds 100,000 connections on several gateways and counts the memory of kernel and processes.
///
/// The run has a network namespace of its own, which needs root and iproute2. Many systems let a
/// process open 20,000 files, so there are several gateways with a driver each. All gateways run on
/// one core, all drivers on another one. Exits with 1 if a connection is missing or an event is
/// lost.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    common: Common,

    #[command(flatten)]
    cores: Cores,

    /// Connections of all gateways together.
    #[arg(long, default_value_t = 100_000)]
    connections: usize,

    /// Events that every connection gets.
    #[arg(long, default_value_t = 10)]
    events: u64,

    /// Events a second.
    #[arg(long, default_value_t = 0.5)]
    rate: f64,

    /// Size of an event's data, in bytes.
    #[arg(long, default_value_t = 200)]
    event_bytes: usize,

    /// Runs in the network namespace of this process.
    #[arg(long, hide = true)]
    inside: bool,
}

/// The measurements of a run.
struct Held {
    gateways: usize,
    open: u64,
    /// Of all gateways.
    connect: Cpu,
    deliver: Cpu,
    /// Before the first connection and with all of them.
    memory: [Memory; 2],
    kernel: [Kernel; 2],
    seen: Vec<HoldSeen>,
}

/// Makes the namespace and runs this program in it.
///
/// # Errors
/// When there is no namespace to be had, a server does not start or refuses a driver.
pub async fn run(options: &Options) -> Result<Vec<String>> {
    if options.inside {
        return Ok(hold(options).await?.failures);
    }
    let namespace = Namespace::create()?;
    let arguments = std::env::args().skip(1).chain(["--inside".to_owned()]).collect::<Vec<_>>();
    let status = tokio::process::Command::from(namespace.command(&arguments)?).status().await?;
    match status.code() {
        Some(0) => Ok(Vec::new()),
        Some(1) => Ok(vec!["see above".to_owned()]),
        _ => anyhow::bail!("the run in the namespace left with {status}"),
    }
}

async fn hold(options: &Options) -> Result<Report> {
    ensure!(options.connections > 0);
    let directory = std::path::absolute(options.common.directory(NAME))?;
    let programs = Programs {
        tailwater: find_tailwater(options.common.tailwater.as_deref())?,
        before: None,
        cores: options.cores.server_cores.clone(),
        directory: directory.clone(),
    };
    let gateways = options.connections.div_ceil(EACH_MAX);
    let progress = Progress::new();
    progress.say(&format!("starting {gateways} gateways"));
    let server = programs.start_gateways(gateways).await?;
    let held = measure(options, &server, &progress).await;
    server.stop().await?;
    let report = summary::report(options, &held?);
    report.write(&directory)?;
    progress.report(&report.table(), &directory);
    Ok(report)
}

async fn measure(options: &Options, server: &Stack, progress: &Progress) -> Result<Held> {
    let gateways = server.gateways();
    let mut workers = Vec::new();
    for (index, gateway) in gateways.iter().enumerate() {
        let count = options.connections / gateways.len()
            + usize::from(index < options.connections % gateways.len());
        let words = [
            "hold-crowd".to_owned(),
            format!("--gateway={gateway}"),
            format!("--count={count}"),
            format!("--core={}", options.cores.driver_core),
        ];
        workers.push(Worker::start(&words)?);
    }
    // A topic that exists, and everything lazy made.
    let mut driver = Driver::new(server.endpoint(), options.event_bytes, Instant::now())?;
    driver.publish(1)?;
    sleep(PAUSE).await;
    let (cpu, memory, kernel) = (server.cpu()?, server.memory()?, Kernel::read()?);

    let mut open = 0;
    for (index, worker) in workers.iter_mut().enumerate() {
        worker.order("open").await?;
        open += worker.answer::<u64>().await?;
        progress.say(&format!("gateway {} of {}: {open} connections", index + 1, gateways.len()));
    }
    sleep(PAUSE).await;
    let (connected, full, filled) = (server.cpu()?, server.memory()?, Kernel::read()?);

    for worker in &mut workers {
        worker.order(&format!("read {}", options.events)).await?;
    }
    progress.say(&format!("{} events for every connection", options.events));
    let (rate, time) = (options.rate, options.events as f64 / options.rate);
    let core = options.cores.driver_core;
    let published = tokio::task::spawn_blocking(move || {
        pin(core)?;
        driver.publish_at(rate, Duration::from_secs_f64(time))?;
        driver.idle(PAUSE)
    });
    published.await.context("the publisher panicked")??;
    let mut seen = Vec::new();
    for worker in &mut workers {
        seen.push(worker.answer().await?);
    }
    Ok(Held {
        gateways: gateways.len(),
        open,
        connect: connected - cpu,
        deliver: server.cpu()? - connected,
        memory: [memory, full],
        kernel: [kernel, filled],
        seen,
    })
}

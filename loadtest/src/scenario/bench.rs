//! What a delivery costs, beside what it must cost and what it costs elsewhere.
//!
//! Each round starts every server in turn, alone on one core, and drives it from another. Machines
//! drift, so only ratios inside one run mean anything, and only CPU time: never the clock's.

mod outcome;
mod round;
mod topics;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use tokio::time::Instant;

use self::round::Measured;
use super::Common;
use crate::cluster::find_tailwater;
use crate::contender::{Contender, Programs};
use crate::progress::Progress;
use crate::report::Report;

const NAME: &str = "bench";

/// Measures what a connection, a delivery and a resume cost a server's processor, and its memory.
///
/// Runs the same phases against several servers in turn, each alone on one core, for several
/// interleaved rounds, and shows medians and their ratios to the floor: a program that does nothing
/// but send(). Checks the order of the events on every connection.
///
/// Exit code 1 if Tailwater lost or repeated an event; the costs decide nothing.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    common: Common,

    /// The servers, in the order in which they are run in a round.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Contender::Floor, Contender::Tailwater, Contender::Naive])]
    servers: Vec<Contender>,

    /// Another build of tailwater, to run as `before` or `before-redis` beside the one under test.
    #[arg(long, value_name = "PATH")]
    before: Option<PathBuf>,

    /// What is measured.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Phase::Idle, Phase::Fanout, Phase::Pressure, Phase::Resume])]
    phases: Vec<Phase>,

    /// Readers of the one topic.
    #[arg(long, default_value_t = 5000)]
    readers: usize,

    /// Events a second in the phase `fanout`.
    #[arg(long, default_value_t = 10.0)]
    rate: f64,

    /// Events in flight in the phases `pressure` and `topics`.
    #[arg(long, default_value_t = 64)]
    in_flight: u64,

    /// Events that a client has missed in the phase `resume`.
    #[arg(long, default_value_t = 100)]
    missed: u64,

    /// Topics in the phase `topics`, with a reader each.
    #[arg(long, default_value_t = 5000)]
    topics: usize,

    /// Connections that publish in the phase `topics`, by a request an event.
    #[arg(long, default_value_t = 64)]
    publishers: usize,

    /// Connections that publish in the phase `topics` by lines, where the server takes lines.
    #[arg(long, default_value_t = 4)]
    streams: usize,

    /// The size of an event's data, in bytes.
    #[arg(long, default_value_t = 200)]
    event_bytes: usize,

    /// How long a phase publishes.
    #[arg(long, default_value = "5s", value_parser = humantime::parse_duration)]
    duration: Duration,

    /// How often every server is started and measured.
    #[arg(long, default_value_t = 3)]
    rounds: usize,

    /// The core of the servers.
    #[arg(long, default_value_t = 0)]
    server_core: usize,

    /// The core of the driver.
    #[arg(long, default_value_t = 1)]
    driver_core: usize,
}

/// A part of a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Phase {
    /// Connections that are opened and get nothing.
    Idle,
    /// A fixed rate: one event a write.
    Fanout,
    /// As many events as the server can take.
    Pressure,
    /// Clients that come back and have missed some.
    Resume,
    /// Many topics with one reader each, from the publisher to the reader.
    Topics,
}

impl Options {
    fn runs(&self, phase: Phase) -> bool {
        self.phases.contains(&phase)
    }

    fn runs_any(&self, phases: &[Phase]) -> bool {
        phases.iter().any(|phase| self.runs(*phase))
    }
}

/// Runs the rounds, writes the report and prints the table.
///
/// # Errors
/// When a server does not start or refuses the driver.
pub async fn run(options: &Options) -> Result<Report> {
    ensure!(options.readers > 0 && options.rounds > 0 && options.rate > 0.0);
    let progress = Progress::new();
    let directory = std::path::absolute(options.common.directory(NAME))?;
    let programs = Programs {
        tailwater: find_tailwater(options.common.tailwater.as_deref())?,
        before: options.before.as_ref().map(std::path::absolute).transpose()?,
        core: options.server_core,
        directory: directory.clone(),
    };
    let epoch = Instant::now();
    let mut rounds: Vec<(Contender, Vec<Measured>)> =
        options.servers.iter().map(|contender| (*contender, Vec::new())).collect();
    for round in 1..=options.rounds {
        for (contender, measured) in &mut rounds {
            progress.say(&format!("round {round} of {}: {}", options.rounds, contender.name()));
            let one = once(*contender, &programs, options, epoch).await;
            measured.push(one.with_context(|| format!("measuring {}", contender.name()))?);
        }
    }
    let report = outcome::report(options, &rounds);
    report.write(&directory)?;
    progress.say(&report.table());
    progress.say(&format!("report: {}", directory.join("report.html").display()));
    Ok(report)
}

async fn once(
    contender: Contender,
    programs: &Programs,
    options: &Options,
    epoch: Instant,
) -> Result<Measured> {
    let server = contender.start(programs).await?;
    let options = options.clone();
    let measured = tokio::task::spawn_blocking(move || {
        let pinned = pin(options.driver_core);
        let measured = pinned.and_then(|()| round::measure(contender, &server, &options, epoch));
        (measured, server)
    });
    let (measured, server) = measured.await.context("the driver panicked")?;
    server.stop().await?;
    measured
}

/// Keeps this thread on one core.
fn pin(core: usize) -> Result<()> {
    let mut cores = CpuSet::new();
    cores.set(core).with_context(|| format!("there is no core {core}"))?;
    sched_setaffinity(Pid::from_raw(0), &cores).with_context(|| format!("there is no core {core}"))
}

//! The cost of a delivery, beside the floor and beside other servers.
//!
//! Each round starts every server in turn, alone on one core, and drives it from another. Machines
//! drift, so only ratios inside one run mean anything, and only CPU time: never the clock's.

mod cold;
mod comparison;
mod goals;
mod million;
mod quantity;
mod round;
mod scale;
mod topics;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum;
use tokio::time::Instant;

use self::round::BenchMeasured;
use super::Common;
use super::mixed::Cores;
use crate::cost::contender::{Contender, Programs};
use crate::machine::cluster::find_tailwater;
use crate::machine::{CoreSet, pin};
use crate::report::Comparison;
use crate::report::progress::{Progress, bar};

const NAME: &str = "bench";

/// Measures the CPU time and the memory of a connection, a delivery and a resume.
///
/// Runs the same phases against several servers in turn, in interleaved rounds, each server alone
/// on its cores. Shows medians and their ratios to the first server: the floor, a program that does
/// nothing but send(). Checks the order of the events on every connection, and judges each goal
/// whose servers and phases ran.
///
/// Exits with 1 if Tailwater lost or repeated an event. A missed goal does not fail the run.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    common: Common,

    /// The servers, in the order in which a round runs them [default: all that have a goal, and
    /// with --before the same of that build].
    #[arg(long, value_enum, value_delimiter = ',')]
    servers: Vec<Contender>,

    /// Another build of tailwater, for the servers `before`, `before-redis`, `before-cors` and
    /// `before-two-cores`.
    #[arg(long, value_name = "PATH")]
    before: Option<PathBuf>,

    /// The phases of a round.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Phase::ALL)]
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

    /// Deliveries a second that the phase `million` offers.
    #[arg(long, default_value_t = 1e6)]
    offered: f64,

    /// Few readers, for the phase `scale`.
    #[arg(long, default_value_t = 2000)]
    few: usize,

    /// Many readers, for the phase `scale`.
    #[arg(long, default_value_t = 15_000)]
    many: usize,

    /// Topics in the phase `topics`, with a reader each.
    #[arg(long, default_value_t = 5000)]
    topics: usize,

    /// Connections that publish in the phase `topics`, with a request for each event.
    #[arg(long, default_value_t = 64)]
    publishers: usize,

    /// Connections that publish in the phase `topics` in lines of NDJSON, if the server takes
    /// those.
    #[arg(long, default_value_t = 4)]
    streams: usize,

    /// Size of an event's data, in bytes.
    #[arg(long, default_value_t = 200)]
    event_bytes: usize,

    /// The time for which a phase publishes.
    #[arg(long, default_value = "5s", value_parser = humantime::parse_duration)]
    duration: Duration,

    /// The number of rounds; each starts and measures every server once.
    #[arg(long, default_value_t = 3)]
    rounds: usize,

    #[command(flatten)]
    cores: Cores,

    /// The cores of the servers `tailwater-two-cores` and `before-two-cores`.
    ///
    /// On a machine with two cores the driver runs on one of them. The CPU time stays fair, because
    /// it counts only the time that the server's threads ran. The latencies are not fair.
    #[arg(long, value_name = "CORES", default_value = "0,1")]
    two_cores: CoreSet,
}

/// A part of a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Phase {
    /// Connections that are opened and get nothing.
    Idle,
    /// A fixed rate: one event a write.
    Fanout,
    /// The rate that takes 30 % of the server's core. Needs `fanout`.
    Latency,
    /// As many events as the server can take.
    Pressure,
    /// Clients that come back and have missed events.
    Resume,
    /// One client that resumes outside the gateway's memory; counts the reads of Redis.
    Cold,
    /// Few readers and many, one event at a time.
    Scale,
    /// Many topics with one reader each, from the publisher to the reader.
    Topics,
    /// More deliveries than a server can write one by one.
    Million,
}

impl Phase {
    const ALL: [Self; 9] = [
        Self::Idle,
        Self::Fanout,
        Self::Latency,
        Self::Pressure,
        Self::Resume,
        Self::Cold,
        Self::Scale,
        Self::Topics,
        Self::Million,
    ];
}

impl Options {
    /// The servers of this run, in their order.
    fn servers(&self) -> Vec<Contender> {
        use Contender::{
            Before, BeforeCors, BeforeRedis, BeforeTwoCores, Floor, Naive, NchanRedis, Tailwater,
            TailwaterCors, TailwaterEddsa, TailwaterEs256, TailwaterHs256, TailwaterRedis,
            TailwaterTwoCores,
        };
        let all = [
            Floor,
            Tailwater,
            Before,
            TailwaterRedis,
            BeforeRedis,
            TailwaterCors,
            BeforeCors,
            TailwaterTwoCores,
            BeforeTwoCores,
            TailwaterEs256,
            TailwaterEddsa,
            TailwaterHs256,
            Naive,
            NchanRedis,
        ];
        if self.servers.is_empty() {
            let has_before = self.before.is_some();
            all.into_iter().filter(|server| has_before || !server.is_before()).collect()
        } else {
            self.servers.clone()
        }
    }

    /// Returns true if this run measures a phase on a server. Servers that exist for one ratio run
    /// only
    /// the phases of that ratio.
    fn measures(&self, phase: Phase, server: Contender) -> bool {
        let has_phase = match phase {
            Phase::Fanout => true,
            Phase::Idle => !server.is_on_two_cores(),
            _ if server.has_cors() || server.is_on_two_cores() => false,
            _ if server.signature().is_some() => false,
            Phase::Topics => server.has_topics(),
            Phase::Cold => server.is_cluster(),
            _ => true,
        };
        has_phase && self.phases.contains(&phase)
    }
}

/// Runs the rounds, writes the report and prints the table.
///
/// # Errors
/// When a server does not start or refuses the driver.
pub async fn run(options: &Options) -> Result<Comparison> {
    ensure!(options.readers > 0 && options.rounds > 0 && options.rate > 0.0);
    ensure!(options.topics > 0 && options.publishers > 0 && options.streams > 0);
    let progress = Progress::new();
    let directory = std::path::absolute(options.common.directory(NAME))?;
    let programs = Programs {
        tailwater: find_tailwater(options.common.tailwater.as_deref())?,
        before: options.before.as_ref().map(std::path::absolute).transpose()?,
        cores: options.cores.server_cores.clone(),
        directory: directory.clone(),
    };
    let bench =
        Arc::new(Bench { options: options.clone(), programs, progress, epoch: Instant::now() });
    let mut rounds: Vec<(Contender, Vec<BenchMeasured>)> =
        options.servers().into_iter().map(|contender| (contender, Vec::new())).collect();
    let steps = options.rounds * rounds.len();
    for step in 0..steps {
        let column = step % rounds.len();
        let (contender, measured) = &mut rounds[column];
        let one = bench.once(*contender, step as f64 / steps as f64).await;
        measured.push(one.with_context(|| format!("measuring {}", contender.name()))?);
    }
    let report = comparison::report(options, &rounds);
    report.write(&directory)?;
    bench.progress.report(&format!("{}\n{}", report.table(), report.figures()), &directory);
    Ok(report)
}

struct Bench {
    options: Options,
    programs: Programs,
    progress: Progress,
    epoch: Instant,
}

impl Bench {
    async fn once(self: &Arc<Self>, contender: Contender, done: f64) -> Result<BenchMeasured> {
        let mut programs = self.programs.clone();
        if contender.is_on_two_cores() {
            programs.cores = self.options.two_cores.clone();
        }
        let server = contender.start(&programs).await?;
        let bench = Arc::clone(self);
        let measured = tokio::task::spawn_blocking(move || {
            let begin = |phase: Phase| {
                bench.progress.status(&format!("{} {}: {phase:?}", bar(done), contender.name()));
            };
            let pinned = pin(bench.options.cores.driver_core);
            let measure = || round::measure(contender, &server, &bench.options, bench.epoch, begin);
            (pinned.and_then(|()| measure()), server)
        });
        let (measured, server) = measured.await.context("the driver panicked")?;
        server.stop().await?;
        measured
    }
}

//! The cost of a delivery, beside the floor and beside other servers.
//!
//! Each round starts every server in turn, alone on one core, and drives it from another. Machines
//! drift, so only ratios inside one run mean anything, and only CPU time: never the clock's.

mod cold;
mod comparison;
mod flow;
mod goals;
mod million;
mod private;
mod quantity;
mod round;
mod scale;
mod selections;
mod steady;
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
use crate::cost::contender::{Contender, Programs, Stack};
use crate::cost::driver::Driver;
use crate::cost::mint;
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
    /// with --before the same of that build]. Those that `scripts/setup peers` has not built are
    /// skipped.
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

    /// Events in flight in the phases `pressure`, `topics`, `private` and `selections`.
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

    /// Topics in the phases `topics` and `steady`, with a reader each.
    #[arg(long, default_value_t = 5000)]
    topics: usize,

    /// Readers in the phase `private`, each with a token and a topic of its own.
    #[arg(long, default_value_t = mint::SUBJECTS)]
    private: usize,

    /// Readers in the phase `selections` that each select one topic of a space.
    #[arg(long, default_value_t = 10_000)]
    selecting: usize,

    /// Connections that publish in the phases `topics`, `private`, `selections`, `publishing` and
    /// `steady`, with a request for each event.
    #[arg(long, default_value_t = 64)]
    publishers: usize,

    /// Connections that publish in the phases `topics` and `publishing` in lines of NDJSON, if the
    /// server takes those.
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
    /// A token and a topic of its own for each reader.
    Private,
    /// Readers that select one topic of a space each, and readers that select all by a pattern.
    Selections,
    /// Many publishers and no readers.
    Publishing,
    /// Many topics with one reader each, through Redis, at one rate for all servers: 30 % of a core
    /// on the server to which an event costs most.
    Steady,
    /// More deliveries than a server can write one by one. The last phase: a server may still have
    /// some to write.
    Million,
}

impl Phase {
    const ALL: [Self; 13] = [
        Self::Idle,
        Self::Fanout,
        Self::Latency,
        Self::Pressure,
        Self::Resume,
        Self::Cold,
        Self::Scale,
        Self::Topics,
        Self::Private,
        Self::Selections,
        Self::Publishing,
        Self::Steady,
        Self::Million,
    ];
}

impl Options {
    /// The servers of this run, in their order.
    fn servers(&self) -> Vec<Contender> {
        use Contender::{
            Before, BeforeCors, BeforeRedis, BeforeTwoCores, Centrifugo, CentrifugoRedis, Floor,
            Mercure, MercureBolt, Naive, NchanRedis, Tailwater, TailwaterCors, TailwaterEddsa,
            TailwaterEs256, TailwaterHs256, TailwaterRedis, TailwaterSpace, TailwaterTwoCores,
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
            TailwaterSpace,
            Naive,
            NchanRedis,
            Mercure,
            MercureBolt,
            Centrifugo,
            CentrifugoRedis,
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
            Phase::Selections => server.pattern().is_some(),
            _ if server == Contender::TailwaterSpace => false,
            Phase::Private => server.has_private_topics(),
            Phase::Fanout => true,
            Phase::Idle => !server.is_on_two_cores(),
            _ if server.has_cors() || server.is_on_two_cores() => false,
            _ if server.signature().is_some() => false,
            Phase::Topics | Phase::Publishing => server.has_topics(),
            Phase::Steady => server.has_redis(),
            Phase::Cold => server.is_cluster(),
            Phase::Resume => server.has_history(),
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
    ensure!(options.private > 0 && options.selecting > 0);
    let most = mint::SUBJECTS;
    ensure!(options.private <= most, "--private {} is more than {most}", options.private);
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
    let servers = bench.servers()?;
    let rate = bench.steady_rate(&servers).await?;
    let mut rounds: Vec<(Contender, Vec<BenchMeasured>)> =
        servers.into_iter().map(|contender| (contender, Vec::new())).collect();
    let steps = options.rounds * rounds.len();
    for step in 0..steps {
        let column = step % rounds.len();
        let (contender, measured) = &mut rounds[column];
        let one = bench.once(*contender, rate, step as f64 / steps as f64).await;
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
    /// The servers that can run here; a line for each that cannot.
    fn servers(&self) -> Result<Vec<Contender>> {
        let mut servers = Vec::new();
        for server in self.options.servers() {
            match server.obstacle(&self.programs)? {
                None => servers.push(server),
                Some(obstacle) => {
                    self.progress.say(&format!("{} is skipped: {obstacle}", server.name()));
                }
            }
        }
        ensure!(!servers.is_empty(), "there is no server to measure");
        Ok(servers)
    }

    /// The rate of the phase `steady`, for which each of its servers runs once before the rounds;
    /// `None` if there is none.
    async fn steady_rate(self: &Arc<Self>, servers: &[Contender]) -> Result<Option<f64>> {
        let mut costs = Vec::new();
        for contender in servers {
            if self.options.measures(Phase::Steady, *contender) {
                self.progress.status(&format!("{}: the rate of Steady", contender.name()));
                let cost = self.drive(*contender, |bench, server| {
                    let (options, endpoint) = (&bench.options, server.endpoint());
                    let mut driver = Driver::reading(endpoint, options.event_bytes, bench.epoch)?;
                    steady::cost(server, &mut driver, options)
                });
                costs.push(cost.await.with_context(|| format!("measuring {}", contender.name()))?);
            }
        }
        Ok(steady::rate(&costs))
    }

    async fn once(
        self: &Arc<Self>,
        contender: Contender,
        rate: Option<f64>,
        done: f64,
    ) -> Result<BenchMeasured> {
        self.drive(contender, move |bench, server| {
            let begin = |phase: Phase| {
                bench.progress.status(&format!("{} {}: {phase:?}", bar(done), contender.name()));
            };
            round::measure(contender, server, &bench.options, bench.epoch, rate, begin)
        })
        .await
    }

    /// Starts a server, measures something from the driver's core and stops the server.
    async fn drive<T: Send + 'static>(
        self: &Arc<Self>,
        contender: Contender,
        measure: impl FnOnce(&Self, &Stack) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let mut programs = self.programs.clone();
        if contender.is_on_two_cores() {
            programs.cores = self.options.two_cores.clone();
        }
        let server = contender.start(&programs).await?;
        let bench = Arc::clone(self);
        let measured = tokio::task::spawn_blocking(move || {
            let pinned = pin(bench.options.cores.driver_core);
            (pinned.and_then(|()| measure(&bench, &server)), server)
        });
        let (measured, server) = measured.await.context("the driver panicked")?;
        server.stop().await?;
        measured
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::{Contender, Options, Phase};

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    #[test]
    fn a_server_runs_the_phases_that_it_can() {
        let options = Line::parse_from(["bench"]).options;
        let runs = |phase, server| options.measures(phase, server);
        assert!(runs(Phase::Resume, Contender::MercureBolt));
        assert!(!runs(Phase::Resume, Contender::Mercure) && runs(Phase::Idle, Contender::Mercure));
        assert!(runs(Phase::Steady, Contender::CentrifugoRedis));
        assert!(!runs(Phase::Steady, Contender::Centrifugo));
        assert!(runs(Phase::Private, Contender::TailwaterHs256));
        assert!(!runs(Phase::Private, Contender::Tailwater));
        let space = |phase: &&Phase| runs(**phase, Contender::TailwaterSpace);
        assert_eq!(Phase::ALL.iter().filter(space).collect::<Vec<_>>(), [&Phase::Selections]);
    }

    #[test]
    fn the_default_servers_are_all_but_those_of_another_build() {
        let servers = Line::parse_from(["bench"]).options.servers();
        assert!(servers.contains(&Contender::Mercure) && !servers.contains(&Contender::Before));
        assert!(servers.contains(&Contender::TailwaterSpace));
    }
}

//! Fan-out, many topics, resumes, slow readers and churn together, on one gateway.

mod summary;

use std::time::Duration;

use anyhow::{Context as _, Result};

pub(super) use self::summary::report;
use super::Common;
use crate::cost::contender::{Contender, Programs};
use crate::cost::mix::{Course, Mix};
use crate::machine::cluster::find_tailwater;
use crate::machine::{CoreSet, pin};
use crate::report::Report;
use crate::report::progress::{Progress, bar};

const NAME: &str = "mixed";

/// Runs fan-out, topics, resumes, slow readers and churn together on one gateway.
///
/// A gateway, an ingest and their Redis share one core; the driver runs on another one. Exits with
/// 1 if an event was lost, repeated or out of order, or if the gateway closed a stream.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    common: Common,

    #[command(flatten)]
    cores: Cores,

    /// The length of the run.
    #[arg(long = "for", default_value = "1m", value_parser = humantime::parse_duration)]
    time: Duration,

    /// Readers of the one topic.
    #[arg(long, default_value_t = 2000)]
    readers: usize,

    /// Events a second of the one topic.
    #[arg(long, default_value_t = 10.0)]
    rate: f64,

    /// Topics with a reader each.
    #[arg(long, default_value_t = 1000)]
    topics: usize,

    /// Events a second of all other topics together.
    #[arg(long, default_value_t = 500.0)]
    topics_rate: f64,

    /// Share of all readers that leaves each second. Half of them come back with their cursors, and
    /// new readers replace the others.
    #[arg(long, default_value_t = 0.05)]
    churn: f64,

    /// Share of the one topic's readers that goes away each second, for 3 s.
    #[arg(long, default_value_t = 0.02)]
    away: f64,

    /// Share of the one topic's readers that reads for only 1 s of every 10 s.
    #[arg(long, default_value_t = 0.05)]
    slow: f64,

    /// Size of an event's data, in bytes.
    #[arg(long, default_value_t = 200)]
    event_bytes: usize,
}

/// The cores of a run.
#[derive(Clone, Debug, clap::Args)]
pub struct Cores {
    /// The cores that all processes of a server share, as `0` or `0,1`.
    ///
    /// A server that shares a core with the driver still has a fair CPU time, which counts only the
    /// time that its own threads ran. Its latencies are not fair.
    #[arg(long, value_name = "CORES", default_value = "0")]
    pub(super) server_cores: CoreSet,

    /// The core of the driver.
    #[arg(long, default_value_t = 1)]
    pub(super) driver_core: usize,
}

/// Runs it, writes the report and prints the table.
///
/// # Errors
/// When a server does not start or refuses the driver.
pub async fn run(options: &Options) -> Result<Report> {
    let mix = Mix {
        readers: options.readers,
        rate: options.rate,
        topics: options.topics,
        topics_rate: options.topics_rate,
        churn: options.churn,
        away: options.away,
        slow: options.slow,
        time: options.time,
        event_bytes: options.event_bytes,
        seed: options.common.seed,
    };
    let course = play(NAME, mix, &options.common, options.cores.clone()).await?;
    let report = report(NAME, &mix, &course);
    tell(NAME, &options.common, &report)?;
    Ok(report)
}

/// Starts the servers, lets it happen and stops them.
pub(super) async fn play(
    name: &'static str,
    mix: Mix,
    common: &Common,
    cores: Cores,
) -> Result<Course> {
    let programs = Programs {
        tailwater: find_tailwater(common.tailwater.as_deref())?,
        before: None,
        cores: cores.server_cores.clone(),
        directory: std::path::absolute(common.directory(name))?,
    };
    let server = Contender::TailwaterRedis.start(&programs).await?;
    let course = tokio::task::spawn_blocking(move || {
        let progress = Progress::new();
        let run = || {
            pin(cores.driver_core)?;
            mix.run(&server, |sample| {
                let done = sample.seconds / mix.time.as_secs_f64();
                let (rate, p99) = (sample.deliveries, sample.latency.p99_ms);
                let left = mix.time.as_secs_f64() - sample.seconds;
                progress.status(&format!(
                    "{} {name}: {rate:.0} deliveries/s, p99 {p99:.1} ms, {left:.0} s left",
                    bar(done)
                ));
            })
        };
        (run(), server)
    });
    let (course, server) = course.await.context("the driver panicked")?;
    server.stop().await?;
    course
}

/// Writes the report and prints the table.
pub(super) fn tell(name: &str, common: &Common, report: &Report) -> Result<()> {
    let directory = common.directory(name);
    report.write(&directory)?;
    let progress = Progress::new();
    progress.report(&report.table(), &directory);
    Ok(())
}

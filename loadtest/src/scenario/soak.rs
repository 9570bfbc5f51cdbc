//! Churn for a long time, and the growth of the gateway.

use std::time::Duration;

use anyhow::Result;

use super::Common;
use super::mixed::{Cores, play, report, tell};
use crate::cost::mix::{Course, Mix};
use crate::report::{Figure, Report};

const NAME: &str = "soak";
/// The growth that the processes may have, in percent.
const GROWTH_MAX: f64 = 5.0;
/// The share of the run after which it has settled: the topic's history is full, and every reader
/// has been replaced many times.
const SETTLED: f64 = 0.1;

/// Runs half an hour of churn and compares the memory of the gateway before and after.
///
/// A gateway, an ingest and their Redis share one core; the driver runs on another one. Compares
/// the memory of the first minute after a tenth of the time with that of the last minute. Exits
/// with 1 if it grew by 5 % or more, if files stay open, or if an event was lost, repeated or out
/// of order.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    common: Common,

    #[command(flatten)]
    cores: Cores,

    /// The length of the run.
    #[arg(long = "for", default_value = "30m", value_parser = humantime::parse_duration)]
    time: Duration,

    /// Readers of the one topic.
    #[arg(long, default_value_t = 5000)]
    readers: usize,

    /// Events a second.
    #[arg(long, default_value_t = 10.0)]
    rate: f64,

    /// Share of the readers that leaves each second. Half of them come back with their cursors, and
    /// new readers replace the others.
    #[arg(long, default_value_t = 0.1)]
    churn: f64,

    /// Size of an event's data, in bytes.
    #[arg(long, default_value_t = 200)]
    event_bytes: usize,
}

/// Runs it, writes the report and prints the table.
///
/// # Errors
/// When a server does not start or refuses the driver.
pub async fn run(options: &Options) -> Result<Report> {
    let mix = Mix {
        readers: options.readers,
        rate: options.rate,
        topics: 0,
        topics_rate: 0.0,
        churn: options.churn,
        away: 0.0,
        slow: 0.0,
        time: options.time,
        event_bytes: options.event_bytes,
        seed: options.common.seed,
    };
    let course = play(NAME, mix, &options.common, options.cores.clone()).await?;
    let mut report = report(NAME, &mix, &course);
    if let Some(growth) = growth(&course, options.time) {
        let is_good = growth < GROWTH_MAX;
        report.verdict.push(Figure {
            name: "growth of gateway and ingest".to_owned(),
            value: format!("{growth:+.1} %"),
            is_good: Some(is_good),
        });
        if !is_good {
            report.failures.push(format!("gateway and ingest grew by {growth:.1} %"));
        }
    }
    tell(NAME, &options.common, &report)?;
    Ok(report)
}

/// The growth of the memory of gateway and ingest, in percent.
fn growth(course: &Course, time: Duration) -> Option<f64> {
    let window = Duration::from_secs(60).min(time.mul_f64(SETTLED)).as_secs_f64();
    let settled = time.mul_f64(SETTLED).as_secs_f64();
    let last = course.samples.last()?.seconds;
    let mean = |from: f64| {
        let within =
            course.samples.iter().filter(|s| s.seconds >= from && s.seconds <= from + window);
        let sums = within.map(|sample| {
            let own = sample.holdings.iter().filter(|holding| holding.name != "redis");
            own.map(|holding| holding.memory.pss).sum::<u64>() as f64
        });
        let sums: Vec<f64> = sums.collect();
        (!sums.is_empty()).then(|| sums.iter().sum::<f64>() / sums.len() as f64)
    };
    Some((mean(last - window)? / mean(settled)? - 1.0) * 100.0)
}

//! The intake of one Redis, through one ingest and through two.

mod comparison;

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use tokio::time::Instant;

use super::Common;
use super::mixed::Cores;
use super::rounds::interleaved;
use crate::cost::contender::{Programs, Stack};
use crate::cost::driver::{Dialect, Driver, DriverEndpoint, PublishWire};
use crate::machine::cluster::find_tailwater;
use crate::machine::pin;
use crate::report::Comparison;
use crate::report::progress::Progress;

const NAME: &str = "intake";
const WARM_UP: Duration = Duration::from_millis(500);

/// Measures the cost of an event for Redis and ingest, and the intake of a core of Redis.
///
/// The run has no readers. Publishers wait for the receipt of a request, or of some lines of
/// NDJSON, before they send the next; first through one ingest, then through two. Exits with 1 if
/// Redis stored fewer events than were acknowledged.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    common: Common,

    #[command(flatten)]
    cores: Cores,

    /// Topics that each ingest's publishers take in turn.
    #[arg(long, default_value_t = 1000)]
    topics: usize,

    /// Connections to each ingest that publish with a request for each event.
    #[arg(long, default_value_t = 64)]
    publishers: usize,

    /// Connections to each ingest that publish in lines of NDJSON.
    #[arg(long, default_value_t = 4)]
    streams: usize,

    /// Lines that such a connection sends at a time.
    #[arg(long, default_value_t = 64)]
    lines: u64,

    /// The time for which events are published.
    #[arg(long = "for", default_value = "4s", value_parser = humantime::parse_duration)]
    time: Duration,

    /// Size of an event's data, in bytes.
    #[arg(long, default_value_t = 200)]
    event_bytes: usize,

    /// The number of rounds; each measures every way once.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

/// A way in which events come in.
#[derive(Debug, Clone, Copy)]
struct IntakeWay {
    wire: PublishWire,
    ingests: usize,
}

impl IntakeWay {
    const ALL: [Self; 4] = [
        Self { wire: PublishWire::Posts, ingests: 1 },
        Self { wire: PublishWire::Posts, ingests: 2 },
        Self { wire: PublishWire::Lines, ingests: 1 },
        Self { wire: PublishWire::Lines, ingests: 2 },
    ];

    fn name(self) -> String {
        let wire = match self.wire {
            PublishWire::Posts => "POSTs",
            PublishWire::Lines => "lines",
        };
        format!("{wire}, {} ingest", self.ingests)
    }
}

/// The measurements of one round.
#[derive(Debug, Clone, Copy, Serialize)]
struct IntakeCost {
    /// CPU microseconds an event of Redis.
    redis_us: f64,
    /// The same of all ingests.
    ingest_us: f64,
    /// Events a second, all on one core.
    rate: f64,
    /// Events that one run of the script stored.
    run_events: f64,
    acknowledged: u64,
    stored: u64,
}

/// Runs the rounds, writes the report and prints the table.
///
/// # Errors
/// When a server does not start or refuses an event.
pub async fn run(options: &Options) -> Result<Comparison> {
    ensure!(options.rounds > 0 && options.publishers > 0 && options.streams > 0);
    ensure!(options.lines > 0 && options.topics >= options.publishers.max(options.streams));
    let directory = std::path::absolute(options.common.directory(NAME))?;
    let programs = Programs {
        tailwater: find_tailwater(options.common.tailwater.as_deref())?,
        before: None,
        cores: options.cores.server_cores.clone(),
        directory: directory.clone(),
    };
    let (progress, epoch) = (Progress::new(), Instant::now());
    let columns = IntakeWay::ALL.map(|way| (way, way.name().to_owned()));
    let once = async |way: IntakeWay| {
        let server = programs.start_ingests(way.ingests).await?;
        let cost = measure(way, &server, options, epoch).await;
        server.stop().await?;
        cost
    };
    let rounds = interleaved(columns, options.rounds, &progress, once).await?;
    let report = comparison::report(options, &rounds);
    report.write(&directory)?;
    progress.report(&format!("{}\n{}", report.table(), report.figures()), &directory);
    Ok(report)
}

async fn measure(
    way: IntakeWay,
    server: &Stack,
    options: &Options,
    epoch: Instant,
) -> Result<IntakeCost> {
    publish(way, server, options, epoch, WARM_UP).await?;
    let calls = async || -> Result<(u64, u64)> {
        Ok((server.redis_calls("xadd").await?, server.redis_calls("evalsha").await?))
    };
    let (stored, runs) = calls().await?;
    let (before, start) = (server.cpu()?, Instant::now());
    let acknowledged = publish(way, server, options, epoch, options.time).await?;
    let (cpu, seconds) = (server.cpu()? - before, start.elapsed().as_secs_f64());
    let (stored_then, runs_then) = calls().await?;
    let events = acknowledged as f64;
    let us = |time: Duration| time.as_secs_f64() * 1e6 / events;
    Ok(IntakeCost {
        redis_us: us(cpu.redis),
        ingest_us: us(cpu.all - cpu.redis),
        rate: events / seconds,
        run_events: (stored_then - stored) as f64 / (runs_then - runs).max(1) as f64,
        acknowledged,
        stored: stored_then - stored,
    })
}

/// Publishes to every ingest, by a driver each; how many events were acknowledged.
async fn publish(
    way: IntakeWay,
    server: &Stack,
    options: &Options,
    epoch: Instant,
    time: Duration,
) -> Result<u64> {
    let (connections, depth) = match way.wire {
        PublishWire::Posts => (options.publishers, 1),
        PublishWire::Lines => (options.streams, options.lines),
    };
    let drivers: Vec<_> = server
        .ingests()
        .into_iter()
        .map(|ingest| {
            let (options, endpoint) =
                (options.clone(), DriverEndpoint::at(ingest, Dialect::Tailwater));
            tokio::task::spawn_blocking(move || {
                pin(options.cores.driver_core)?;
                let mut driver = Driver::reading(endpoint, options.event_bytes, epoch)?;
                driver.use_topics(options.topics);
                driver.publish_over(connections, way.wire)?;
                driver.publish_for_receipts(depth, time)
            })
        })
        .collect();
    let mut acknowledged = 0;
    for driver in drivers {
        acknowledged += driver.await.context("a driver panicked")??;
    }
    Ok(acknowledged)
}

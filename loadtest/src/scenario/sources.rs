//! The cost of reading from primaries and from replicas.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Serialize;
use tokio::time::sleep;

use super::Common;
use super::rounds::interleaved;
use crate::lab::{Durability, Lab, Server, Setup, TOPICS, Topology};
use crate::machine::cluster::find_tailwater;
use crate::machine::{AppendFsync, Redis};
use crate::report::progress::Progress;
use crate::report::{Sheet, SheetRow, grouped};

const NAME: &str = "sources";
const WARM_UP: Duration = Duration::from_secs(2);

/// Measures what an event costs the primary and its replica, and how long a delivery takes, by the number of gateways
/// and the server that they read from.
///
/// A primary and a replica with Sentinels, an ingest and some gateways, each with a subscriber of every topic.
/// Publishers send 500 events a second to 20 topics. Exits with 1 if an event is lost or comes twice.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    common: Common,

    /// Numbers of gateways.
    #[arg(long, num_args = 1.., value_delimiter = ',', default_values_t = [1, 10, 50])]
    gateways: Vec<usize>,

    /// Numbers of replicas, 1 or 2, of which each gateway reads from one.
    #[arg(long, num_args = 1.., value_delimiter = ',', default_values_t = [1],
          value_parser = clap::value_parser!(u8).range(1..=2))]
    replicas: Vec<u8>,

    /// The time for which events are published.
    #[arg(long = "for", default_value = "6s", value_parser = humantime::parse_duration)]
    time: Duration,

    /// The number of rounds; each measures every way once.
    #[arg(long, default_value_t = 3)]
    rounds: usize,

    /// `redis`, `valkey`, or the path of a server.
    #[arg(long, value_name = "NAME|PATH", default_value = "redis")]
    server: String,
}

/// One way to deploy.
#[derive(Debug, Clone, Copy)]
struct SourceWay {
    gateways: usize,
    durability: Durability,
    replicas: usize,
    reads_replicas: bool,
}

/// The figures of one trial.
#[derive(Debug, Clone, Copy, Serialize)]
struct SourceCost {
    /// CPU time of the primary an event, in microseconds.
    primary_us: f64,
    /// CPU time of the replica an event, in microseconds.
    replica_us: f64,
    /// From the first attempt to publish to the delivery, in milliseconds.
    p50_ms: f64,
    p99_ms: f64,
    delivered: u64,
    lost: u64,
    duplicated: u64,
}

impl SourceWay {
    fn name(self) -> String {
        let source = if self.reads_replicas { "replica" } else { "primary" };
        let Self { gateways, durability, replicas, .. } = self;
        format!("{gateways} gateways, {}, {replicas} replicas, {source}", durability.as_str())
    }
}

/// Measures, writes the report and prints the table. Returns the failures.
///
/// # Errors
/// When something does not start.
pub async fn run(options: &Options) -> Result<Vec<String>> {
    let progress = Progress::new();
    let directory = std::path::absolute(options.common.directory(NAME))?;
    let tailwater = find_tailwater(options.common.tailwater.as_deref())?;
    let server = Server::find(&options.server)?;
    let mut ways = Vec::new();
    for &gateways in &options.gateways {
        for replicas in options.replicas.iter().copied().map(usize::from) {
            for durability in [Durability::Memory, Durability::Replica] {
                let way =
                    |reads_replicas| SourceWay { gateways, durability, replicas, reads_replicas };
                ways.extend([false, true].map(way).map(|way| (way, way.name())));
            }
        }
    }
    let measured = interleaved(ways, options.rounds, &progress, async |way| {
        let setup = setup(way, &server, tailwater.clone());
        measure(setup, directory.join("lab"), options).await
    });
    let mut sheet = Sheet {
        title: NAME.to_owned(),
        summary: format!("{}; medians of {} rounds.", server.version, options.rounds),
        columns: COLUMNS.map(str::to_owned).to_vec(),
        rows: Vec::new(),
    };
    for (way, rounds) in measured.await? {
        sheet.rows.push(row(way, &rounds));
    }
    sheet.write(&directory)?;
    progress.report(&sheet.table(), &directory);
    Ok(sheet.failures())
}

const COLUMNS: [&str; 9] = [
    "gateways",
    "replicas",
    "durability",
    "read from",
    "primary, CPU us an event",
    "replica, CPU us an event",
    "delivery p50",
    "delivery p99",
    "deliveries",
];

fn row(way: SourceWay, rounds: &[SourceCost]) -> SheetRow {
    let median = |figure: fn(&SourceCost) -> f64| {
        let mut figures: Vec<f64> = rounds.iter().map(figure).collect();
        figures.sort_by(f64::total_cmp);
        figures[figures.len() / 2]
    };
    let total = |count: fn(&SourceCost) -> u64| rounds.iter().map(count).sum::<u64>();
    let wrong = [(total(|r| r.lost), "lost"), (total(|r| r.duplicated), "duplicated")];
    let wrong = wrong.into_iter().filter(|(count, _)| *count > 0);
    SheetRow {
        about: way.name(),
        cells: vec![
            way.gateways.to_string(),
            way.replicas.to_string(),
            way.durability.as_str().to_owned(),
            if way.reads_replicas { "replica" } else { "primary" }.to_owned(),
            format!("{:.1}", median(|r| r.primary_us)),
            format!("{:.1}", median(|r| r.replica_us)),
            format!("{:.2} ms", median(|r| r.p50_ms)),
            format!("{:.2} ms", median(|r| r.p99_ms)),
            grouped(total(|r| r.delivered)),
        ],
        failures: wrong.map(|(count, what)| format!("{} {what}", grouped(count))).collect(),
        notes: Vec::new(),
        plots: Vec::new(),
        marks: Vec::new(),
        raw: serde_json::json!(rounds),
    }
}

fn setup(way: SourceWay, server: &Server, tailwater: PathBuf) -> Setup {
    Setup {
        tailwater,
        server: server.clone(),
        topology: Topology::Sentinel,
        append_fsync: AppendFsync::Off,
        durability: way.durability,
        reads_replicas: way.reads_replicas,
        replicas: way.replicas,
        can_part: false,
        has_own_clock: false,
        has_password: false,
        gateways: way.gateways,
        clients: way.gateways * TOPICS,
        room_clients: 0,
        event_bytes: 200,
        history_events: 100_000,
    }
}

async fn measure(setup: Setup, directory: PathBuf, options: &Options) -> Result<SourceCost> {
    let mut lab = Box::pin(Lab::start(setup, directory, options.common.seed)).await?;
    lab.publish();
    sleep(WARM_UP).await;
    let before = (cpu(&lab.servers[0]).await?, cpu(&lab.servers[1]).await?, acknowledged(&lab));
    sleep(options.time).await;
    let after = (cpu(&lab.servers[0]).await?, cpu(&lab.servers[1]).await?, acknowledged(&lab));
    lab.stop_publishing().await?;
    lab.settle().await;
    lab.dismiss().await;
    lab.read_back().await?;
    let events = (after.2 - before.2) as f64;
    let books = lab.crowd.books();
    let (judgement, delay) = (books.history.judge(), books.delay.quantiles());
    Ok(SourceCost {
        primary_us: (after.0 - before.0) * 1e6 / events,
        replica_us: (after.1 - before.1) * 1e6 / events,
        p50_ms: delay.p50_ms,
        p99_ms: delay.p99_ms,
        delivered: judgement.delivered,
        lost: judgement.lost,
        duplicated: judgement.duplicated,
    })
}

/// CPU time of a server so far, in seconds.
async fn cpu(server: &Redis) -> Result<f64> {
    let mut seconds = 0.0;
    for field in ["used_cpu_user", "used_cpu_sys"] {
        seconds += server.info(field).await?.parse::<f64>().context("no CPU time")?;
    }
    Ok(seconds)
}

fn acknowledged(lab: &Lab) -> u64 {
    lab.crowd.books().history.judge().acknowledged
}

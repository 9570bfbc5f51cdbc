//! Copies of other systems: everything dies in turn, and each record is in its topic once.

mod gateway;
mod kafka;
mod mosquitto;
#[cfg(feature = "nats")]
mod nats;
mod postgres;
mod readers;
mod system;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::time::{Instant, sleep, sleep_until};

use super::Common;
use crate::client::payload::Payload;
use crate::machine::Tailwater;
use crate::machine::cluster::{Cluster, ClusterOptions, find_tailwater};
use crate::report::progress::Progress;
use crate::report::{Sheet, SheetRow, grouped};
use readers::{Got, Subscribers, read_all};
use system::{SourceRecord, System, SystemKind, Writer};

const NAME: &str = "copies";
/// Records of one write.
const WRITE: usize = 200;
/// Bytes of a record's data.
const DATA_BYTES: usize = 200;
/// Subscribers of each topic.
const SUBSCRIBERS: usize = 3;
/// The longest time until the copies are complete after the last record.
const SETTLE: Duration = Duration::from_mins(2);
/// The longest silence while a topic is read at the end.
const SILENCE: Duration = Duration::from_secs(15);
/// The time for which a killed process stays away.
const AWAY: Duration = Duration::from_millis(500);

/// Copies records of another system into topics while the source, relays, Redis and gateways are killed in turn.
///
/// Starts the source as a real process, Redis (append-only file), two gateways behind HAProxy and two relays with the
/// same configuration. Records are written at an even pace; each fault is a kill -9 and a restart. At the end each topic is
/// read from its beginning, and the books of its subscribers, who were there all the time, are read too.
///
/// Exit code 0 only if each record is in its topic once and in order, and each subscriber has got it once; else 1.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    common: Common,

    /// Sources.
    #[arg(long, value_enum, num_args = 1.., value_delimiter = ',',
          default_values_t = [SystemKind::Gateway, SystemKind::Postgres])]
    source: Vec<SystemKind>,

    /// Records.
    #[arg(long, default_value_t = 100_000)]
    records: u64,

    /// Faults.
    #[arg(long, default_value_t = 20)]
    faults: u32,

    /// Time between two faults.
    #[arg(long, default_value = "3s", value_parser = humantime::parse_duration)]
    every: Duration,
}

/// Runs all sources one after the other, and writes the report.
///
/// # Errors
/// When a process does not start.
pub async fn run(options: &Options) -> Result<Sheet> {
    ensure!(options.records > 0);
    let progress = Progress::new();
    let directory = std::path::absolute(options.common.directory(NAME))?;
    let program = find_tailwater(options.common.tailwater.as_deref())?;
    let columns = [
        "source",
        "records",
        "faults",
        "in their topics",
        "lost",
        "doubled",
        "out of order",
        "lost by subscribers",
        "doubled to subscribers",
        "told of a loss",
        "damaged",
        "written within",
        "copied after the last write",
        "CPU of the relays a record",
    ];
    let mut sheet = Sheet {
        title: "Copies of other systems".to_owned(),
        summary: format!(
            "{} records a source, 200 bytes each, while the source, two relays, Redis and two gateways were killed in \
             turn, {} kills.",
            grouped(options.records),
            options.faults
        ),
        columns: columns.map(str::to_owned).into(),
        rows: Vec::new(),
    };
    for kind in &options.source {
        let trial = CopyTrial { options, progress: &progress, program: &program };
        let row = trial.play(*kind, &directory.join(kind.name())).await;
        sheet.rows.push(row.with_context(|| kind.name())?);
        sheet.write(&directory)?;
    }
    Ok(sheet)
}

struct CopyTrial<'a> {
    options: &'a Options,
    progress: &'a Progress,
    program: &'a PathBuf,
}

/// The processes that are killed, but for the source.
struct Killed {
    cluster: Cluster,
    relays: Vec<Tailwater>,
    /// CPU time of relays that were killed.
    spent: Duration,
}

impl CopyTrial<'_> {
    async fn play(&self, kind: SystemKind, directory: &Path) -> Result<SheetRow> {
        self.progress.say(&format!("starting {}", kind.name()));
        let cluster = ClusterOptions {
            tailwater: self.program.clone(),
            gateways: 2,
            gateway_flags: vec![("--retry", "500ms".to_owned())],
            ingest_flags: Vec::new(),
            directory: directory.join("cluster"),
        };
        let cluster = Cluster::start(&cluster).await?;
        let source_directory = directory.join("source");
        if source_directory.exists() {
            std::fs::remove_dir_all(&source_directory)?;
        }
        let mut system = kind.start(self.program, &source_directory).await?;
        let config = directory.join("relay.toml");
        std::fs::write(&config, format!("[source.s]\n{}", system.table()))?;
        let mut relays = Vec::new();
        for name in ["relay-1", "relay-2"] {
            let relay = Tailwater::copier(self.program, &config).redis(&cluster.redis).node(name);
            let relay = relay.flag("--history-events", "1000000").directory(directory.join(name));
            relays.push(relay.start().await?);
        }
        let topics: Vec<_> = (1..=system.topics()).map(|n| system.topic(n)).collect();
        let subscribers = Subscribers::open(cluster.haproxy.addr(), &topics, SUBSCRIBERS);
        let mut parts = Killed { cluster, relays, spent: Duration::ZERO };
        let (options, began) = (self.options, Instant::now());
        let span = options.every * options.faults;
        let writing = write_all(system.writer()?, &topics, options.records, span);
        let breaking = self.break_things(&mut *system, &mut parts, &subscribers, began);
        let (written, broken) = tokio::join!(writing, breaking);
        let (written, ()) = (written?, broken?);
        self.progress.say("all is written and repaired; waiting for the copies");
        let counts: Vec<_> = (0..topics.len() as u64)
            .map(|topic| (options.records + topics.len() as u64 - 1 - topic) / topics.len() as u64)
            .map(|count| u32::try_from(count).unwrap_or(u32::MAX))
            .collect();
        let waiting = Instant::now();
        subscribers.settle(&counts, SETTLE).await;
        let settled = waiting.elapsed();
        let spent = parts.relays.iter().filter_map(|relay| relay.cpu_time().ok()).sum::<Duration>();
        let cpu = (parts.spent + spent).as_secs_f64() * 1e6 / options.records as f64;
        let mut totals = Totals::default();
        for (topic, count) in topics.iter().zip(&counts) {
            let got = read_all(parts.cluster.gateways[0].addr(), topic, *count, SILENCE).await;
            totals.readable += got.events.len() as u64;
            totals.log.add(&got, *count);
        }
        for (topic, got) in subscribers.close().await {
            totals.subscribers.add(&got, counts[topic]);
        }
        Ok(self.row(kind, &totals, written, settled, cpu))
    }

    /// Kills the relays, the source, Redis and the gateways in turn.
    async fn break_things(
        &self,
        system: &mut dyn System,
        parts: &mut Killed,
        subscribers: &Subscribers,
        began: Instant,
    ) -> Result<()> {
        for fault in 0..self.options.faults {
            sleep_until(began + self.options.every * fault + self.options.every / 2).await;
            let turn = fault as usize / 4 % 2;
            let victim = match fault % 4 {
                0 => {
                    // The relay that copies, and then the other one, which has taken over.
                    let relay = &mut parts.relays[turn];
                    parts.spent += relay.cpu_time().unwrap_or_default();
                    relay.kill_nine()?;
                    sleep(AWAY).await;
                    relay.restart().await?;
                    "a relay"
                }
                1 => {
                    system.kill_nine().await?;
                    sleep(AWAY).await;
                    system.restart().await?;
                    "the source"
                }
                2 => {
                    parts.cluster.redis.kill_nine()?;
                    sleep(AWAY).await;
                    parts.cluster.redis.restart().await?;
                    "Redis"
                }
                _ => {
                    let gateway = &mut parts.cluster.gateways[turn];
                    gateway.kill_nine()?;
                    sleep(AWAY).await;
                    gateway.restart().await?;
                    "a gateway"
                }
            };
            let at = began.elapsed().as_secs_f64();
            let came = grouped(subscribers.count());
            self.progress.say(&format!("{at:>6.1} s  killed {victim}; {came} deliveries"));
        }
        Ok(())
    }

    fn row(
        &self,
        kind: SystemKind,
        totals: &Totals,
        written: Duration,
        settled: Duration,
        cpu: f64,
    ) -> SheetRow {
        let records = self.options.records;
        let (log, subscribers) = (&totals.log, &totals.subscribers);
        let told = log.told + subscribers.told;
        let damaged = log.damaged + subscribers.damaged;
        let failures = [
            ("records lost", log.lost),
            ("records doubled", log.doubled),
            ("records out of order", log.out_of_order),
            ("deliveries lost", subscribers.lost),
            ("deliveries doubled", subscribers.doubled),
            ("losses told of that there were not", told),
            ("events damaged", damaged),
        ];
        let failures = failures.iter().filter(|(_, count)| *count > 0);
        let numbers = [
            records,
            self.options.faults.into(),
            totals.readable,
            log.lost,
            log.doubled,
            log.out_of_order,
            subscribers.lost,
            subscribers.doubled,
            told,
            damaged,
        ];
        let mut cells = vec![kind.name().to_owned()];
        cells.extend(numbers.map(grouped));
        cells.push(format!("{:.1} s", written.as_secs_f64()));
        cells.push(format!("{:.1} s", settled.as_secs_f64()));
        cells.push(format!("{cpu:.1} us"));
        SheetRow {
            about: format!("{} records of {}", grouped(records), kind.name()),
            cells,
            failures: failures.map(|(name, count)| format!("{count} {name}")).collect(),
            notes: Vec::new(),
            plots: Vec::new(),
            marks: Vec::new(),
            raw: serde_json::json!({"cpu_us": cpu, "settled_s": settled.as_secs_f64()}),
        }
    }
}

/// Sums over topics, and over subscribers.
#[derive(Default)]
struct Totals {
    readable: u64,
    log: Sums,
    subscribers: Sums,
}

#[derive(Default)]
struct Sums {
    lost: u64,
    doubled: u64,
    out_of_order: u64,
    told: u64,
    damaged: u64,
}

impl Sums {
    fn add(&mut self, got: &Got, count: u32) {
        self.lost += got.lost(count);
        self.doubled += got.doubled();
        self.out_of_order += got.out_of_order;
        self.told += got.told;
        self.damaged += got.damaged;
    }
}

/// Writes all records at an even pace, and returns the time that it took.
async fn write_all(
    mut writer: Box<dyn Writer>,
    topics: &[String],
    records: u64,
    span: Duration,
) -> Result<Duration> {
    let began = Instant::now();
    let ids: Vec<_> = (0..records).collect();
    for some in ids.chunks(WRITE) {
        let some: Vec<_> = some.iter().map(|id| record(*id, topics)).collect();
        sleep_until(began + span.mul_f64(some[0].id as f64 / records as f64)).await;
        writer.write(&some).await?;
    }
    Ok(began.elapsed())
}

fn record(id: u64, topics: &[String]) -> SourceRecord {
    let topic = &topics[(id % topics.len() as u64) as usize];
    let seq = u32::try_from(id / topics.len() as u64 + 1).unwrap_or(u32::MAX);
    let data = Payload { seq, sent: Duration::ZERO, topic }.encode(DATA_BYTES);
    SourceRecord { id, topic: topic.clone(), data }
}

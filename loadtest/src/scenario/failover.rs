//! Gateways and the ingest die, again and again, and no subscriber may notice.

mod faults;
mod outcome;

use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::Common;
use crate::audience::{Audience, Sabotage};
use crate::cluster::{Cluster, ClusterOptions, find_tailwater};
use crate::load::Load;
use crate::progress::{Progress, bar};
use crate::random::Random;
use crate::report::{Report, grouped};
use crate::timeline::{Timeline, sample};

const NAME: &str = "failover";

/// Between two clients that come at the start.
const ADMISSION: Duration = Duration::from_millis(2);

/// How long clients may take to open their first streams, beyond the admission.
const OPEN_DEADLINE: Duration = Duration::from_secs(20);

/// How long an event may take to be acknowledged: several restarts of the ingest.
const PUBLISH_DEADLINE: Duration = Duration::from_secs(30);

/// How long clients may take to catch up after the last event.
const SETTLE_DEADLINE: Duration = Duration::from_secs(20);

/// How long the run goes on after everybody has caught up, for duplicates that come late.
const AFTERMATH: Duration = Duration::from_secs(1);

const STATUS_EVERY: Duration = Duration::from_millis(250);

/// Kills gateways and the ingest under load and proves that every acknowledged event reached every
/// subscriber, once and in order.
///
/// Starts Redis (append-only file, every second), the gateways behind HAProxy, and one ingest.
/// Subscribers come through HAProxy, one topic each; publishers repeat an event under the same
/// Idempotency-Key until it is acknowledged. Every 10 s one gateway in turn is killed with -9 and
/// restarted at once. A third into the run the ingest is killed with -9 and restarted. Two thirds
/// into it one gateway is stopped as an operator would: HAProxy drains it, SIGTERM lets it hand
/// its connections away, and it comes back. In the end every subscriber has to reach the last
/// event of its topic.
///
/// Exit code 0 only if nothing was lost, duplicated, out of order or skipped, every event was
/// acknowledged, every subscriber finished, and the stopped gateway exited with 0; else 1.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    common: Common,

    /// Subscribers, spread evenly over the topics.
    #[arg(long, default_value_t = 2000)]
    clients: usize,

    /// Topics.
    #[arg(long, default_value_t = 200)]
    topics: usize,

    /// Events a second, over all topics.
    #[arg(long, default_value_t = 2000)]
    rate: u32,

    /// The size of an event's data, in bytes.
    #[arg(long, default_value_t = 200)]
    event_bytes: usize,

    /// How long events are published.
    #[arg(long, default_value = "60s", value_parser = humantime::parse_duration)]
    duration: Duration,

    /// Gateways behind HAProxy.
    #[arg(long, default_value_t = 3)]
    gateways: usize,

    /// Lets the clients misbehave, to prove that the checker notices: the run must fail.
    #[arg(long, value_enum, default_value_t)]
    sabotage: Sabotage,
}

impl Options {
    fn summary(&self) -> String {
        let sabotage = match self.sabotage {
            Sabotage::None => "",
            Sabotage::NoResume => " Sabotaged: clients reconnected without their cursor.",
            Sabotage::Replay => " Sabotaged: clients reconnected with an older cursor.",
        };
        format!(
            "{} subscribers to {} topics behind HAProxy and {} gateways, {} events a second for {}, \
             while gateways and the ingest were killed and stopped.{sabotage}",
            grouped(self.clients as u64),
            grouped(self.topics as u64),
            self.gateways,
            grouped(self.rate.into()),
            humantime::format_duration(self.duration),
        )
    }

    fn cluster(&self) -> Result<ClusterOptions> {
        Ok(ClusterOptions {
            tailwater: find_tailwater(self.common.tailwater.as_deref())?,
            gateways: self.gateways,
            gateway_flags: vec![
                ("--retry", "500ms".to_owned()),
                ("--drain-delay", "1s".to_owned()),
                ("--drain-window", "3s".to_owned()),
            ],
            ingest_flags: Vec::new(),
            directory: std::path::absolute(self.common.directory(NAME))?,
        })
    }
}

/// A run while it runs.
struct Run<'a> {
    options: &'a Options,
    audience: &'a Audience,
    timeline: &'a Mutex<Timeline>,
    progress: &'a Progress,
}

/// Runs the scenario, writes the report and prints the table.
///
/// # Errors
/// When the processes do not start, or cannot be restarted.
pub async fn run(options: &Options) -> Result<Report> {
    ensure!(options.gateways > 0 && options.topics > 0 && options.rate > 0);
    let progress = Progress::new();
    let cluster_options = options.cluster()?;
    progress.say(&format!("starting {}", cluster_options.tailwater.display()));
    let mut cluster = Cluster::start(&cluster_options).await?;
    let topics = (1..=options.topics).map(|n| format!("t-{n:04}")).collect();
    let epoch = Instant::now();
    let mut audience = Audience::new(cluster.haproxy.addr(), topics, options.sabotage, epoch);
    open_all(options, &mut audience, &progress).await?;

    let timeline = Mutex::new(Timeline::begin());
    let run = Run { options, audience: &audience, timeline: &timeline, progress: &progress };
    let broken = tokio::select! {
        broken = run.play(&mut cluster, epoch) => broken?,
        () = sample(audience.tally(), run.began(), |s| run.timeline().samples.push(s)) => unreachable!(),
        () = run.show_status() => unreachable!(),
    };
    let ledger = audience.dismiss().await;
    drop(cluster);
    let timeline = timeline.into_inner().expect("nobody panics with it in hand");
    let report = outcome::report(options, &ledger, timeline, broken);
    report.write(&cluster_options.directory)?;
    progress.say(&report.table());
    let page = cluster_options.directory.join("report.html");
    progress.say(&format!("report: {}", page.display()));
    Ok(report)
}

/// Lets everybody in and waits until each has its first stream and cursor.
async fn open_all(options: &Options, audience: &mut Audience, progress: &Progress) -> Result<()> {
    progress.say(&format!("opening {} streams", grouped(options.clients as u64)));
    let mut random = Random::new(options.common.seed);
    audience.admit(options.clients, ADMISSION, &mut random).await;
    let until = Instant::now() + OPEN_DEADLINE;
    loop {
        let open = audience.ledger().checker.started_clients();
        if open == options.clients {
            return Ok(());
        }
        if Instant::now() > until {
            let ledger = audience.ledger();
            let examples = ledger.oddities.in_words().join("; ");
            anyhow::bail!(
                "only {open} of {} clients opened a stream ({} attempts failed, {} were refused): {examples}",
                options.clients,
                ledger.failed,
                ledger.refused
            );
        }
        sleep(Duration::from_millis(20)).await;
    }
}

impl Run<'_> {
    fn timeline(&self) -> std::sync::MutexGuard<'_, Timeline> {
        self.timeline.lock().expect("nobody panics with it in hand")
    }

    fn began(&self) -> Instant {
        self.timeline().began()
    }

    /// Publishes and breaks things at the same time, then waits for the clients. Returns what
    /// went wrong with the processes.
    async fn play(&self, cluster: &mut Cluster, epoch: Instant) -> Result<Vec<String>> {
        let load = Load {
            ingest: cluster.ingest.addr(),
            topics: self.audience.topics(),
            rate: self.options.rate,
            duration: self.options.duration,
            event_bytes: self.options.event_bytes,
            deadline: PUBLISH_DEADLINE,
            run: format!("run-{}", std::process::id()),
            stop: CancellationToken::new(),
        };
        let publishing = load.run(epoch, self.audience.bookkeeper());
        let breaking = self.break_things(cluster);
        let ((), broken) = tokio::join!(publishing, breaking);
        let broken = broken?;
        self.progress.say("publishers stopped, waiting for the subscribers");
        let until = Instant::now() + SETTLE_DEADLINE;
        while self.audience.ledger().checker.unfinished() > 0 && Instant::now() < until {
            sleep(Duration::from_millis(100)).await;
        }
        sleep(AFTERMATH).await;
        Ok(broken)
    }

    async fn show_status(&self) {
        loop {
            let latest = self.timeline().samples.last().copied();
            if let Some(latest) = latest {
                let total = self.options.duration.as_secs_f64();
                let reconnects = &self.audience.tally().reconnects;
                self.progress.status(&format!(
                    "{} {:>3.0} s  published {:>6.0}/s  delivered {:>7.0}/s  reconnects {:>6}  without a connection {:>5}",
                    bar(latest.at / total),
                    latest.at,
                    latest.published,
                    latest.deliveries,
                    reconnects.load(std::sync::atomic::Ordering::Relaxed),
                    latest.without,
                ));
            }
            sleep(STATUS_EVERY).await;
        }
    }
}

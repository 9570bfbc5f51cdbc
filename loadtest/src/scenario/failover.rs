//! Gateways and the ingest die again and again, and no subscriber may notice.

mod faults;

use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Common;
use super::outcome::Outcome;
use super::stage::Stage;
use crate::client::load::Load;
use crate::machine::cluster::{Cluster, ClusterOptions, find_tailwater};
use crate::proof::audience::{Audience, Sabotage};
use crate::report::progress::Progress;
use crate::report::{Report, grouped};

const NAME: &str = "failover";

/// The time that clients may take to open their first streams, beyond the admission.
const OPEN_DEADLINE: Duration = Duration::from_secs(20);

/// The time that an acknowledgement may take: several restarts of the ingest.
const PUBLISH_DEADLINE: Duration = Duration::from_secs(30);

/// The time that clients may take to catch up after the last event.
const SETTLE_DEADLINE: Duration = Duration::from_secs(20);

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

    /// Size of an event's data, in bytes.
    #[arg(long, default_value_t = 200)]
    event_bytes: usize,

    /// The time for which events are published.
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
    let audience = Audience::new(cluster.haproxy.addr(), topics, options.sabotage, Instant::now());
    let (clients, seed) = (options.clients, options.common.seed);
    let stage = Stage::open(audience, clients, seed, OPEN_DEADLINE, progress).await?;

    let load = Load {
        target: cluster.ingest.addr().into(),
        topics: stage.audience.topics(),
        rate: options.rate,
        duration: options.duration,
        event_bytes: options.event_bytes,
        deadline: PUBLISH_DEADLINE,
        run: format!("run-{}", std::process::id()),
        stop: CancellationToken::new(),
    };
    let breaking = options.break_things(&stage, &mut cluster);
    let broken = stage.play(load, SETTLE_DEADLINE, breaking).await?;
    let outcome = Outcome { broken, ..Outcome::strict(NAME, options.summary()) };
    stage.conclude(outcome, &cluster_options.directory).await
}

//! Two versions run side by side, in every order of an upgrade and of the way back.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::Common;
use super::outcome::Outcome;
use super::stage::Stage;
use crate::client::load::Load;
use crate::machine::ServerState;
use crate::machine::cluster::{Cluster, ClusterOptions, find_tailwater};
use crate::proof::audience::{Audience, Sabotage};
use crate::report::progress::Progress;
use crate::report::timeline::MarkKind;
use crate::report::{Figure, Report, grouped};

const NAME: &str = "skew";

const GATEWAYS: usize = 2;
/// The gateways' --retry.
const RETRY: &str = "500ms";

/// The time that clients may take to open their first streams, beyond the admission.
const OPEN_DEADLINE: Duration = Duration::from_secs(20);
/// The time that an acknowledgement may take: a restart of the ingest.
const PUBLISH_DEADLINE: Duration = Duration::from_secs(30);
/// The time that clients may take to catch up after the last event.
const SETTLE_DEADLINE: Duration = Duration::from_secs(20);
/// The time that a mixture of versions runs before the next node is replaced.
const MIXED: Duration = Duration::from_secs(2);
/// The longest run: it ends when all replacements are done.
const RUN_MAX: Duration = Duration::from_secs(600);

/// Replaces the nodes of a cluster one by one by those of another version, under load.
///
/// Starts Redis, two gateways behind HAProxy and one ingest, all of the version of --before.
/// Subscribers come through HAProxy; publishers repeat an event under the same Idempotency-Key until
/// it is acknowledged, by whichever version. Then the nodes are replaced in four orders: gateways
/// before ingest, and back to --before in the same order; ingest before gateways, and back. Each
/// gateway is drained; the ingest is killed with -9, so that events are published again that the
/// other version may have stored.
///
/// Exit code 0 only if nothing was lost, duplicated, out of order or skipped, and every event was
/// acknowledged; else 1.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    common: Common,

    /// The other version of the program.
    #[arg(long, value_name = "PATH")]
    before: PathBuf,

    /// Subscribers, spread evenly over the topics.
    #[arg(long, default_value_t = 200)]
    clients: usize,

    /// Topics.
    #[arg(long, default_value_t = 40)]
    topics: usize,

    /// Events a second, over all topics.
    #[arg(long, default_value_t = 400)]
    rate: u32,
}

/// A node that is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    Gateway(usize),
    Ingest,
}

/// A version of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    Before,
    New,
}

/// All replacements, in order: each order of services, there and back.
fn schedule() -> Vec<(Node, Version)> {
    let gateways = (0..GATEWAYS).map(Node::Gateway);
    let gateways_first: Vec<_> = gateways.clone().chain([Node::Ingest]).collect();
    let ingest_first: Vec<_> = [Node::Ingest].into_iter().chain(gateways).collect();
    let mut schedule = Vec::new();
    for order in [gateways_first, ingest_first] {
        for version in [Version::New, Version::Before] {
            schedule.extend(order.iter().map(|node| (*node, version)));
        }
    }
    schedule
}

impl Options {
    fn cluster(&self) -> Result<ClusterOptions> {
        Ok(ClusterOptions {
            tailwater: find_tailwater(Some(&self.before))?,
            gateways: GATEWAYS,
            gateway_flags: vec![
                ("--retry", RETRY.to_owned()),
                ("--drain-delay", "1s".to_owned()),
                ("--drain-window", "2s".to_owned()),
            ],
            ingest_flags: Vec::new(),
            directory: std::path::absolute(self.common.directory(NAME))?,
        })
    }

    /// Plays the schedule. Returns the failures of the processes.
    async fn replace_all(&self, stage: &Stage, cluster: &mut Cluster) -> Result<Vec<String>> {
        let (before, new) = (
            find_tailwater(Some(&self.before))?,
            find_tailwater(self.common.tailwater.as_deref())?,
        );
        let mut broken = Vec::new();
        for (node, version) in schedule() {
            sleep(MIXED).await;
            let program = match version {
                Version::Before => &before,
                Version::New => &new,
            };
            stage.mark(MarkKind::Operation, &format!("{node} is replaced by {version}"));
            match node {
                Node::Gateway(index) => {
                    let gateway = &mut cluster.gateways[index];
                    let name = gateway.node().to_owned();
                    cluster.haproxy.set_server(&name, ServerState::Drain).await?;
                    let status = gateway.terminate().await?;
                    if !status.success() {
                        broken.push(format!("{name} left with {status}"));
                    }
                    gateway.restart_as(program).await?;
                    cluster.haproxy.set_server(&name, ServerState::Ready).await?;
                }
                Node::Ingest => {
                    cluster.ingest.kill_nine()?;
                    cluster.ingest.restart_as(program).await?;
                }
            }
        }
        sleep(MIXED).await;
        Ok(broken)
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gateway(index) => write!(f, "gw-{}", index + 1),
            Self::Ingest => f.write_str("ingest"),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Before => "the version before",
            Self::New => "the new version",
        })
    }
}

/// Runs the scenario, writes the report and prints the table.
///
/// # Errors
/// When the processes do not start, or cannot be replaced.
pub async fn run(options: &Options) -> Result<Report> {
    let progress = Progress::new();
    let cluster_options = options.cluster()?;
    progress.say(&format!("starting {}", cluster_options.tailwater.display()));
    let mut cluster = Cluster::start(&cluster_options).await?;
    let topics = (1..=options.topics).map(|n| format!("t-{n:04}")).collect();
    let audience = Audience::new(cluster.haproxy.addr(), topics, Sabotage::None, Instant::now());
    let (clients, seed) = (options.clients, options.common.seed);
    let stage = Stage::open(audience, clients, seed, OPEN_DEADLINE, progress).await?;
    let stop = CancellationToken::new();
    let load = Load {
        target: cluster.ingest.addr().into(),
        topics: stage.audience.topics(),
        rate: options.rate,
        duration: RUN_MAX,
        event_bytes: 200,
        deadline: PUBLISH_DEADLINE,
        run: format!("run-{}", std::process::id()),
        stop: stop.clone(),
    };
    let replacing = async {
        let broken = options.replace_all(&stage, &mut cluster).await;
        stop.cancel();
        broken
    };
    let broken = stage.play(load, SETTLE_DEADLINE, replacing).await?;
    let figures = vec![Figure::plain("replacements", grouped(schedule().len() as u64))];
    let summary = format!(
        "{} subscribers behind HAProxy and {GATEWAYS} gateways, {} events a second, while every node was \
         replaced by another version and back, in both orders.",
        grouped(options.clients as u64),
        grouped(options.rate.into()),
    );
    let outcome =
        Outcome { broken, figures: Some(("Versions", figures)), ..Outcome::strict(NAME, summary) };
    stage.conclude(outcome, &cluster_options.directory).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_service_goes_first_once_in_both_directions() {
        let schedule = schedule();
        assert_eq!(schedule.len(), 4 * (GATEWAYS + 1));
        let is_first = |node: Node, version: Version| {
            schedule.chunks(GATEWAYS + 1).any(|order| order[0] == (node, version))
        };
        for version in [Version::New, Version::Before] {
            assert!(is_first(Node::Gateway(0), version) && is_first(Node::Ingest, version));
        }
    }
}

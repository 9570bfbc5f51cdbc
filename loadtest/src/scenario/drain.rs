//! A gateway full of connections stops, and no client may be refused, cut off or late.

use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use super::Common;
use super::outcome::Outcome;
use super::stage::Stage;
use crate::client::load::Load;
use crate::client::sse::Connection;
use crate::machine::ServerState;
use crate::machine::cluster::{Cluster, ClusterOptions, find_tailwater};
use crate::proof::audience::{Audience, Sabotage};
use crate::report::progress::Progress;
use crate::report::timeline::MarkKind;
use crate::report::{Figure, Report, grouped, millis};

const NAME: &str = "drain";

const GATEWAYS: usize = 3;

/// The time that clients may take to open their first streams, beyond the admission.
const OPEN_DEADLINE: Duration = Duration::from_secs(20);

/// The time that an acknowledgement may take: the ingest is not disturbed.
const PUBLISH_DEADLINE: Duration = Duration::from_secs(10);

/// The time that clients may take to come back and catch up after the last event.
const SETTLE_DEADLINE: Duration = Duration::from_secs(20);

/// The plots' margin before the signal and after the exit.
const MARGIN: Duration = Duration::from_secs(5);

/// Between two new connections to the gateway that is about to stop.
const KNOCK_EVERY: Duration = Duration::from_millis(20);

/// Stops a gateway that holds all connections and proves that its clients move in their own time.
///
/// Starts Redis, three gateways behind HAProxy, and one ingest. All subscribers connect to the
/// first gateway. Then HAProxy admits the other gateways and the first one gets SIGTERM. Until
/// HAProxy has noticed, new connections go to the first gateway 50 times a second, like those that
/// a load balancer still sends.
///
/// Exit code 0 only if the gateway exited with 0 within --drain-delay + --drain-window +
/// --shutdown-grace, no connection was refused by it while HAProxy thought it up, none failed at
/// HAProxy, every client was told to reconnect and none cut off, and nothing was lost, duplicated
/// or out of order; else 1.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// The options of every scenario.
    #[command(flatten)]
    pub common: Common,

    /// Subscribers, all on the gateway that stops.
    #[arg(long, default_value_t = 5000)]
    pub clients: usize,

    /// Topics.
    #[arg(long, default_value_t = 100)]
    pub topics: usize,

    /// Events a second, over all topics.
    #[arg(long, default_value_t = 500)]
    pub rate: u32,

    /// Size of an event's data, in bytes.
    #[arg(long, default_value_t = 200)]
    pub event_bytes: usize,

    /// The gateways' --drain-delay.
    #[arg(long, default_value = "5s", value_parser = humantime::parse_duration)]
    pub drain_delay: Duration,

    /// The gateways' --drain-window.
    #[arg(long, default_value = "30s", value_parser = humantime::parse_duration)]
    pub drain_window: Duration,

    /// The gateways' --shutdown-grace.
    #[arg(long, default_value = "5s", value_parser = humantime::parse_duration)]
    pub shutdown_grace: Duration,
}

impl Options {
    fn cluster(&self) -> Result<ClusterOptions> {
        let flag = |name, time| (name, humantime::format_duration(time).to_string());
        Ok(ClusterOptions {
            tailwater: find_tailwater(self.common.tailwater.as_deref())?,
            gateways: GATEWAYS,
            gateway_flags: vec![
                flag("--drain-delay", self.drain_delay),
                flag("--drain-window", self.drain_window),
                flag("--shutdown-grace", self.shutdown_grace),
            ],
            ingest_flags: Vec::new(),
            directory: std::path::absolute(self.common.directory(NAME))?,
        })
    }

    fn load(&self, cluster: &Cluster, stage: &Stage, stop: CancellationToken) -> Load {
        Load {
            target: cluster.ingest.addr().into(),
            topics: stage.audience.topics(),
            rate: self.rate,
            duration: MARGIN * 2 + self.allowed(),
            event_bytes: self.event_bytes,
            deadline: PUBLISH_DEADLINE,
            run: format!("run-{}", std::process::id()),
            stop,
        }
    }

    /// The time that the gateway may take to stop.
    fn allowed(&self) -> Duration {
        self.drain_delay + self.drain_window + self.shutdown_grace
    }

    fn summary(&self) -> String {
        format!(
            "A gateway with {} subscribers to {} topics was told to stop, with two others beside it \
             behind HAProxy, at {} events a second. Its window is {}, after {}.",
            grouped(self.clients as u64),
            grouped(self.topics as u64),
            grouped(self.rate.into()),
            humantime::format_duration(self.drain_window),
            humantime::format_duration(self.drain_delay),
        )
    }
}

/// Runs the scenario, writes the report and prints the table.
///
/// # Errors
/// When the processes do not start, or the gateway does not stop.
pub async fn run(options: &Options) -> Result<Report> {
    ensure!(options.clients > 0 && options.topics > 0 && options.rate > 0);
    let progress = Progress::new();
    let cluster_options = options.cluster()?;
    progress.say(&format!("starting {}", cluster_options.tailwater.display()));
    let mut cluster = Cluster::start(&cluster_options).await?;
    for other in &cluster.gateways[1..] {
        cluster.haproxy.set_server(other.node(), ServerState::Maintenance).await?;
    }
    let topics = (1..=options.topics).map(|n| format!("t-{n:04}")).collect();
    let audience = Audience::new(cluster.haproxy.addr(), topics, Sabotage::None, Instant::now());
    let (clients, seed) = (options.clients, options.common.seed);
    let stage = Stage::open(audience, clients, seed, OPEN_DEADLINE, progress).await?;
    for other in &cluster.gateways[1..] {
        cluster.haproxy.set_server(other.node(), ServerState::Ready).await?;
    }
    cluster.haproxy.wait_ready().await?;

    let stop = CancellationToken::new();
    let load = options.load(&cluster, &stage, stop.clone());
    let mut figures = Vec::new();
    let draining = async {
        let broken = options.drain(&stage, &mut cluster, &mut figures).await;
        stop.cancel();
        broken
    };
    let mut broken = stage.play(load, SETTLE_DEADLINE, draining).await?;
    broken.extend(options.not_told(&stage));
    let figures = Some(("The gateway that stopped", figures));
    let outcome = Outcome { broken, figures, ..Outcome::strict(NAME, options.summary()) };
    stage.conclude(outcome, &cluster_options.directory).await
}

impl Options {
    /// Stops the gateway. Returns the failures.
    async fn drain(
        &self,
        stage: &Stage,
        cluster: &mut Cluster,
        figures: &mut Vec<Figure>,
    ) -> Result<Vec<String>> {
        sleep(MARGIN).await;
        let gateway = &cluster.gateways[0];
        let node = gateway.node().to_owned();
        stage.mark(MarkKind::Operation, &format!("SIGTERM {node}"));
        let told = Instant::now();
        gateway.begin_termination()?;
        let knocks = knock(stage, cluster, &node).await?;
        let status = cluster.gateways[0].wait_exit().await?;
        let took = told.elapsed();
        stage.mark(MarkKind::Operation, &format!("{node} exited"));
        sleep(MARGIN).await;

        let mut broken = Vec::new();
        let time = |time: Duration| millis(time.as_secs_f64() * 1000.0);
        let code = status.code().map_or_else(|| "none".to_owned(), |code| code.to_string());
        figures.extend([
            Figure::plain("exit code", code),
            Figure::plain("exited after", time(took)),
            Figure::plain("allowed", time(self.allowed())),
            Figure::plain("still routed to for", time(knocks.routed_for)),
            Figure::plain("new connections to it meanwhile", grouped(knocks.count)),
            Figure::zero("of these refused", u64::from(knocks.refused.is_some())),
        ]);
        if !status.success() {
            broken.push(format!("{node} left with {status}"));
        }
        if took > self.allowed() {
            broken
                .push(format!("{node} took {took:.1?} to stop, {:?} are allowed", self.allowed()));
        }
        broken.extend(knocks.refused);
        for gateway in &cluster.gateways {
            let server = cluster.haproxy.server(gateway.node()).await?;
            if server.failed_connections + server.repeated > 0 {
                broken.push(format!("HAProxy had trouble with {}: {server:?}", gateway.node()));
            }
        }
        Ok(broken)
    }

    /// Clients that had to move without a word, or could not at the first attempt.
    fn not_told(&self, stage: &Stage) -> Vec<String> {
        let ledger = stage.audience.ledger();
        let told = ledger.reasons.get("drain").copied().unwrap_or(0);
        let mut broken = Vec::new();
        if told != self.clients as u64 || stage.audience.tally().reconnects() != told {
            let moved = stage.audience.tally().reconnects();
            broken
                .push(format!("{told} of {} clients were told to move, {moved} did", self.clients));
        }
        if ledger.failed > 0 {
            broken.push(format!("{} attempts to reconnect got no answer", ledger.failed));
        }
        broken
    }
}

/// The answers to new connections.
struct Knocks {
    count: u64,
    /// The time for which HAProxy still took the gateway for open.
    routed_for: Duration,
    refused: Option<String>,
}

/// Opens new streams at the gateway for as long as HAProxy would send it some.
async fn knock(stage: &Stage, cluster: &Cluster, node: &str) -> Result<Knocks> {
    let begin = Instant::now();
    let path = format!("/v1/events?topic={}", stage.audience.topics()[0]);
    let mut ticks = interval(KNOCK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut count = 0;
    loop {
        ticks.tick().await;
        let answer = async {
            let mut stream = Connection::open(cluster.gateways[0].addr(), &path, &[]).await?;
            let first = stream.next_event().await;
            let is_served = first.is_some_and(|event| event.event_type() == "tailwater.ready");
            ensure!(is_served, "answered with {}", stream.status());
            Ok(())
        };
        let answer = answer.await;
        // Asked afterwards: a refusal just before HAProxy noticed counts.
        let is_routed = cluster.haproxy.server(node).await?.is_up;
        count += 1;
        let refused = match answer {
            Err(error) if is_routed => Some(format!(
                "{node} refused connection {count}, {:.1?} after the signal: {error:#}",
                begin.elapsed()
            )),
            _ => None,
        };
        if refused.is_some() || !is_routed {
            return Ok(Knocks { count, routed_for: begin.elapsed(), refused });
        }
    }
}

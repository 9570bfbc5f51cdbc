//! A cluster that somebody else runs and breaks, in the view of its clients.

mod marks;

use std::future::pending;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use redis_log::{Config, RedisLog, RedisUrl};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use self::marks::Marks;
use super::outcome::Outcome;
use super::stage::Stage;
use crate::client::endpoint::Endpoint;
use crate::client::load::Load;
use crate::client::publisher::Target;
use crate::proof::audience::{Audience, Manners, Sabotage};
use crate::report::progress::Progress;
use crate::report::{Report, grouped};

const NAME: &str = "watch";

/// The pause between two looks at the file of marks.
const MARKS_EVERY: Duration = Duration::from_millis(500);

/// The heartbeats that a gateway grants.
const HEARTBEAT_SECONDS: std::ops::RangeInclusive<u64> = 3..=60;

/// Drives a running cluster while you break it, and reports the effect on subscribers.
///
/// Subscribers connect to --url, one topic each, and come back as a browser's EventSource does:
/// after the retry time that the gateway named, with Last-Event-ID. A stream without a byte for 2.5
/// heartbeats is given up, so that a paused gateway and a cut cable are noticed. Publishers repeat
/// an event under the same Idempotency-Key until it is acknowledged.
///
/// Ends after --for, or at Ctrl-C or SIGTERM (a second one ends it at once), waits until every
/// subscriber has all events, and writes the report. The plots show your acts on the cluster if
/// you write them into the file of --marks: echo "$(date +%s%3N) kill gateway-2" >> marks.
///
/// Exit code 0 only if nothing was lost, duplicated, out of order or skipped, every event was
/// acknowledged, every subscriber finished and none was refused; else 1.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// URL of the load balancer, for subscribers.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    url: Endpoint,

    /// URL of the ingest, for publishers [default: --url].
    #[arg(long, value_name = "URL")]
    ingest_url: Option<Endpoint>,

    /// Publishes straight to this Redis instead of an ingest, to measure what the ingest adds. A
    /// URL of the form that `tailwater ingest --redis` takes.
    #[arg(long, value_name = "URL", conflicts_with = "ingest_url")]
    redis: Option<RedisUrl>,

    /// Addresses of this machine from which subscribers connect, in turn. One address has some
    /// 28,000 ports to a server.
    #[arg(long, value_name = "IP,...", value_delimiter = ',')]
    sources: Vec<IpAddr>,

    /// Subscribers, spread evenly over the topics.
    #[arg(long, default_value_t = 1000)]
    clients: usize,

    /// Topics.
    #[arg(long, default_value_t = 20)]
    topics: usize,

    /// Prefix of the names of the topics; one run at a time may use it [default: a new one].
    #[arg(long, value_name = "TEXT")]
    topic_prefix: Option<String>,

    /// Events a second, over all topics.
    #[arg(long, default_value_t = 500)]
    rate: u32,

    /// Size of an event's data, in bytes.
    #[arg(long, default_value_t = 200)]
    event_bytes: usize,

    /// The time for which events are published [default: until stopped].
    #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration)]
    duration: Option<Duration>,

    /// The heartbeat that subscribers ask for, in whole seconds from 3 to 60.
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = heartbeat)]
    heartbeat: Duration,

    /// An attempt to connect without an answer for this long has failed.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = humantime::parse_duration)]
    connect_timeout: Duration,

    /// Time limit of an acknowledgement, and of the subscribers' catching up at the end.
    /// Keep it below the cluster's --idempotency-ttl.
    #[arg(long, value_name = "TIME", default_value = "90s", value_parser = humantime::parse_duration)]
    patience: Duration,

    /// Fails the run if a subscriber was without a connection for its retry time and more than
    /// this.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    max_interruption: Option<Duration>,

    /// Reports announced gaps without failing: for clusters whose Redis may lose events.
    #[arg(long)]
    allow_gaps: bool,

    /// A file to which you append lines `UNIX_MILLISECONDS TEXT`, or just `TEXT`.
    #[arg(long, value_name = "FILE")]
    marks: Option<PathBuf>,

    /// Directory for the report.
    #[arg(long, value_name = "DIR", default_value = "out/watch")]
    out: PathBuf,

    /// Lets the clients misbehave, to prove that the checker notices: a run with reconnects must
    /// fail.
    #[arg(long, value_enum, default_value_t)]
    sabotage: Sabotage,

    /// Seed of the random choice of each client's topic.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn heartbeat(text: &str) -> Result<Duration> {
    let heartbeat = humantime::parse_duration(text)?;
    let is_granted =
        HEARTBEAT_SECONDS.contains(&heartbeat.as_secs()) && heartbeat.subsec_nanos() == 0;
    ensure!(is_granted, "whole seconds from 3 to 60 are granted");
    Ok(heartbeat)
}

impl Options {
    fn manners(&self) -> Manners {
        Manners {
            heartbeat: Some(self.heartbeat),
            silence_max: self.heartbeat * 5 / 2,
            answer_timeout: self.connect_timeout,
        }
    }

    /// The receiver of events.
    async fn target(&self) -> Result<Target> {
        let Some(url) = &self.redis else {
            return Ok(self.ingest_url.as_ref().unwrap_or(&self.url).clone().into());
        };
        Ok(Target::Log(RedisLog::connect(Config::new(url.clone())).await?))
    }

    fn load(&self, target: Target, run: String, stage: &Stage, stop: CancellationToken) -> Load {
        Load {
            target,
            topics: stage.audience.topics(),
            rate: self.rate,
            duration: self.duration.unwrap_or(Duration::MAX),
            event_bytes: self.event_bytes,
            deadline: self.patience,
            run,
            stop,
        }
    }

    fn summary(&self, took: Duration) -> String {
        format!(
            "{} subscribers to {} topics at {}, {} events a second for {}.",
            grouped(self.clients as u64),
            grouped(self.topics as u64),
            self.url,
            grouped(self.rate.into()),
            humantime::format_duration(Duration::from_secs(took.as_secs())),
        )
    }
}

/// Runs until the time is up or a signal comes, writes the report and prints the table.
///
/// # Errors
/// When not every client gets a stream, or a file cannot be written or read.
pub async fn run(options: &Options) -> Result<Report> {
    ensure!(options.clients > 0 && options.topics > 0 && options.rate > 0);
    std::fs::create_dir_all(&options.out)
        .with_context(|| format!("cannot write to {}", options.out.display()))?;
    let target = options.target().await?;
    // Process ids repeat in containers, times do not.
    let run = format!("watch-{}", SystemTime::UNIX_EPOCH.elapsed()?.as_millis());
    let prefix = options.topic_prefix.as_ref().unwrap_or(&run);
    let topics = (1..=options.topics).map(|n| format!("{prefix}-{n:04}")).collect();
    let audience = Audience::with_manners(
        options.url.clone().via(options.sources.clone()),
        topics,
        options.sabotage,
        Instant::now(),
        options.manners(),
    );
    let mut interruption = Interruption::listen()?;
    let opening = Stage::open(
        audience,
        options.clients,
        options.seed,
        options.patience,
        Progress::on_stderr(),
    );
    let stage = tokio::select! {
        stage = opening => stage?,
        () = interruption.came() => anyhow::bail!("stopped before all clients had a stream"),
    };
    let mut marks = options.marks.as_deref().map(Marks::open).transpose()?;
    let stop = CancellationToken::new();
    let load = options.load(target, run, &stage, stop.clone());
    let stopping = async {
        interruption.came().await;
        stop.cancel();
        interruption.came().await;
        anyhow::bail!("stopped twice")
    };
    let marking = async {
        let Some(marks) = &mut marks else { return pending().await };
        loop {
            sleep(MARKS_EVERY).await;
            marks.carry_over(&stage)?;
        }
    };
    let broken = tokio::select! {
        broken = stage.play(load, options.patience, async { Ok(Vec::new()) }) => broken?,
        never = stopping => return never,
        never = marking => return never,
    };
    if let Some(marks) = &mut marks {
        marks.carry_over(&stage)?;
    }
    let outcome = Outcome {
        broken,
        allows_gaps: options.allow_gaps,
        interruption_max: options.max_interruption,
        ..Outcome::strict(NAME, options.summary(stage.began().elapsed()))
    };
    stage.conclude(outcome, &options.out).await
}

/// Ctrl-C, or the signal that `kill` and orchestrators send.
struct Interruption {
    by_hand: Signal,
    by_program: Signal,
}

impl Interruption {
    fn listen() -> Result<Interruption> {
        let by_hand = signal(SignalKind::interrupt())?;
        Ok(Interruption { by_hand, by_program: signal(SignalKind::terminate())? })
    }

    async fn came(&mut self) {
        tokio::select! {
            _ = self.by_hand.recv() => {}
            _ = self.by_program.recv() => {}
        }
    }
}

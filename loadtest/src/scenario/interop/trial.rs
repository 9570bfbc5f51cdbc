//! One fault under some clients.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::fault::ClusterFault;
use super::feed::{Feed, FormatTopic};
use super::front::Front;
use super::manifest::{ListedClient, Manifest, Variant, VariantKind};
use super::program::{Launch, Program};
use super::rig::Rig;
use super::score::{EndBehaviour, Score};
use crate::machine::Port;

/// The longest time in which a client opens its first stream: a browser or a Java machine starts slowly.
const OPEN_MAX: Duration = Duration::from_secs(90);
/// The pause between the starts of two programs, as browsers that start together are short of time.
const START_PAUSE: Duration = Duration::from_millis(200);
/// Events before a fault and after it.
const EVENTS: u32 = 20;
/// The longest time in which a client catches up after the last event.
const SETTLE_MAX: Duration = Duration::from_secs(15);
/// The time after that in which late duplicates come.
const AFTERMATH: Duration = Duration::from_secs(1);
/// The time after the end of a topic.
const END_WATCH: Duration = Duration::from_secs(20);
/// The last part of it, in which a client that stops makes no request.
const END_QUIET: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(200);

/// A client in one of its variants.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate<'a> {
    pub(super) client: &'a ListedClient,
    pub(super) kind: VariantKind,
    pub(super) variant: &'a Variant,
}

impl Candidate<'_> {
    /// A name for files.
    fn slug(&self) -> String {
        let words = self.variant.run.join(" ");
        let plain = words.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        format!("{plain}-{}", self.kind.as_str())
    }
}

impl fmt::Display for Candidate<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.client.name, self.kind.as_str())
    }
}

/// A candidate that runs.
struct Runner<'a> {
    candidate: Candidate<'a>,
    front: Front,
    program: Program,
    /// A browser's page has a server of its own.
    _pages: Port,
    _scratch: TempDir,
}

/// The places of a trial's files.
#[derive(Debug)]
pub(super) struct Places<'a> {
    /// The installed clients.
    pub(super) clients: &'a Path,
    /// The clients' errors.
    pub(super) logs: &'a Path,
}

/// Runs the clients, causes the fault and judges each client.
pub(super) async fn run(
    rig: &mut Rig,
    manifest: &Manifest,
    candidates: &[Candidate<'_>],
    fault: ClusterFault,
    places: &Places<'_>,
) -> Result<Vec<Score>> {
    let run = rig.next_trial();
    let topic = |format: &str| format!("interop/{run}/{format}");
    let used = |name: &str| candidates.iter().any(|candidate| candidate.client.format == name);
    let topics = manifest.formats.iter().filter(|(name, _)| used(name));
    let topics = topics.map(|(name, format)| FormatTopic { topic: topic(name), format }).collect();
    let from = if fault == ClusterFault::End { "&from=earliest" } else { "" };

    let mut runners = Vec::new();
    for candidate in candidates {
        let query = format!("topic={}{from}", topic(&candidate.client.format));
        runners.push(Runner::take(*candidate, rig, &query, fault, places).await?);
        sleep(START_PAUSE).await;
    }
    wait_open(&mut runners).await;
    let mut feed = Feed::begin(rig.ingest.addr(), topics).await?;
    feed.run(EVENTS).await?;
    let (stop, stopped) = watch::channel(false);
    let fronts: Vec<&Front> = runners.iter().map(|runner| &runner.front).collect();
    let act = async {
        let caused = fault.cause(&mut rig.gateways, &mut rig.redis, &fronts).await;
        stop.send_replace(true);
        caused
    };
    let (caused, fed) = tokio::join!(act, feed.run_until(stopped));
    caused?;
    fed?;
    feed.run(EVENTS).await?;
    let ended = Instant::now();
    if fault == ClusterFault::End {
        feed.end().await?;
        sleep(END_WATCH).await;
    } else {
        settle(&mut runners, manifest, feed.published()).await;
    }
    let judged = runners.iter_mut().map(|runner| {
        let mut score = runner.score(manifest, feed.published());
        score.end = (fault == ClusterFault::End).then(|| runner.end_behaviour(ended + END_WATCH));
        score
    });
    Ok(judged.collect())
}

/// Waits until each client has had a stream or has ended.
async fn wait_open(runners: &mut [Runner<'_>]) {
    let until = Instant::now() + OPEN_MAX;
    while Instant::now() < until {
        let is_waiting = |runner: &mut Runner<'_>| {
            !runner.front.record().was_open() && runner.program.is_running()
        };
        if !runners.iter_mut().any(is_waiting) {
            return;
        }
        sleep(POLL).await;
    }
}

/// Waits until each client has every event or has ended.
async fn settle(runners: &mut [Runner<'_>], manifest: &Manifest, published: u32) {
    let until = Instant::now() + SETTLE_MAX;
    while Instant::now() < until {
        let is_behind = |runner: &mut Runner<'_>| {
            runner.score(manifest, published).lost > 0 && runner.program.is_running()
        };
        if !runners.iter_mut().any(is_behind) {
            break;
        }
        sleep(POLL).await;
    }
    sleep(AFTERMATH).await;
}

impl<'a> Runner<'a> {
    async fn take(
        candidate: Candidate<'a>,
        rig: &Rig,
        query: &str,
        fault: ClusterFault,
        places: &Places<'_>,
    ) -> Result<Runner<'a>> {
        let pages = Port::reserve()?;
        let front = Front::start(rig.haproxy.addr(), pages.addr()).await?;
        let scratch = tempfile::Builder::new().prefix("tailwater-interop-").tempdir()?;
        let more = if candidate.variant.query.is_empty() { "" } else { "&" };
        let url =
            format!("http://{}/v1/events?{query}{more}{}", front.addr(), candidate.variant.query);
        let words: Vec<String> = candidate.variant.run.iter().cloned().chain([url]).collect();
        let envs = [
            ("PAGE_PORT", pages.number().to_string()),
            ("TMPDIR", scratch.path().display().to_string()),
            ("HOME", scratch.path().display().to_string()),
        ];
        let log = places.logs.join(format!("{}-{fault:?}.log", candidate.slug()));
        let launch = Launch { words: &words, directory: places.clients, envs: &envs, log };
        let program = Program::start(&launch)?;
        Ok(Runner { candidate, front, program, _pages: pages, _scratch: scratch })
    }

    fn score(&mut self, manifest: &Manifest, published: u32) -> Score {
        let format = &manifest.formats[&self.candidate.client.format];
        let record = self.front.record();
        Score {
            connected: record.was_open(),
            exited: !self.program.is_running(),
            requests: record.requests.len(),
            peak: record.peak(),
            ..Score::of(&self.program.lines(), format, published)
        }
    }

    fn end_behaviour(&self, now: Instant) -> EndBehaviour {
        let quiet_since = now - END_QUIET;
        let record = self.front.record();
        let is_quiet = record.requests.iter().all(|at| *at < quiet_since);
        if is_quiet { EndBehaviour::Stops } else { EndBehaviour::Polls }
    }
}

//! The same streams over HTTP/1.1 and HTTP/2, in clear and by TLS.

mod certificate;
mod cost;
mod crowd;
mod outcome;
mod transport;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::time::Instant;

use self::certificate::Certificate;
use self::cost::Cost;
use self::transport::Transport;
use super::Common;
use super::mixed::Cores;
use super::rounds::interleaved;
use crate::cluster::find_tailwater;
use crate::contender::Programs;
use crate::process::pin;
use crate::progress::Progress;
use crate::report::Comparison;

const NAME: &str = "wire";

/// What a stream and a delivery cost over HTTP/1.1, h2c and h2, in clear and by TLS.
///
/// The same events for the same number of readers of one node, a transport after the other, each with
/// a node of its own. Needs openssl. Exit code 1 if anybody lost or repeated an event.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    common: Common,

    #[command(flatten)]
    cores: Cores,

    /// Another build of tailwater, to run beside the one under test.
    #[arg(long, value_name = "PATH")]
    before: Option<PathBuf>,

    /// Readers of the one topic.
    #[arg(long, default_value_t = 1000)]
    readers: usize,

    /// Streams of one HTTP/2 connection, where it has several.
    #[arg(long, default_value_t = 50)]
    streams: usize,

    /// Events a second.
    #[arg(long, default_value_t = 10.0)]
    rate: f64,

    /// How long events are published.
    #[arg(long = "for", default_value = "4s", value_parser = humantime::parse_duration)]
    time: Duration,

    /// The size of an event's data, in bytes.
    #[arg(long, default_value_t = 200)]
    event_bytes: usize,

    /// How often every transport is measured.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

impl Options {
    fn events(&self) -> u64 {
        (self.rate * self.time.as_secs_f64()).round() as u64
    }
}

/// A transport of a build.
#[derive(Debug, Clone, Copy)]
struct Trial {
    transport: Transport,
    is_before: bool,
}

impl Trial {
    fn name(self) -> String {
        let name = self.transport.name();
        if self.is_before { format!("{name} (before)") } else { name }
    }
}

/// Runs the rounds, writes the report and prints the table.
///
/// # Errors
/// When a server does not start or refuses a reader.
pub async fn run(options: &Options) -> Result<Comparison> {
    ensure!(options.readers > 0 && options.rounds > 0 && options.rate > 0.0);
    ensure!(options.streams > 0 && options.events() > 0);
    let directory = std::path::absolute(options.common.directory(NAME))?;
    let programs = Programs {
        tailwater: find_tailwater(options.common.tailwater.as_deref())?,
        before: options.before.as_ref().map(std::path::absolute).transpose()?,
        cores: options.cores.server_cores.clone(),
        directory: directory.clone(),
    };
    let certificate = Certificate::issue(&directory)?;
    let builds: &[bool] = if programs.before.is_some() { &[false, true] } else { &[false] };
    let trials = Transport::all(options.streams).into_iter().flat_map(|transport| {
        builds.iter().map(move |is_before| Trial { transport, is_before: *is_before })
    });
    let columns = trials.map(|trial| (trial, trial.name()));
    let (progress, epoch) = (Progress::new(), Instant::now());
    let once = async |trial| once(trial, &programs, &certificate, options, epoch).await;
    let rounds = interleaved(columns, options.rounds, &progress, once).await?;
    let report = outcome::report(options, &rounds);
    report.write(&directory)?;
    progress.report(&format!("{}\n{}", report.table(), report.figures()), &directory);
    Ok(report)
}

async fn once(
    trial: Trial,
    programs: &Programs,
    certificate: &Certificate,
    options: &Options,
    epoch: Instant,
) -> Result<Cost> {
    let mut programs = programs.clone();
    if let (true, Some(before)) = (trial.is_before, programs.before.take()) {
        programs.tailwater = before;
    }
    let (file, key) = (certificate.certificate.display(), certificate.key.display());
    let flags = [format!("--tls-cert={file}"), format!("--tls-key={key}")];
    let flags = if trial.transport.is_tls {
        flags.each_ref().map(String::as_str).to_vec()
    } else {
        Vec::new()
    };
    let server = programs.start_serve(&flags).await?;
    let (certificate, options) = (certificate.clone(), options.clone());
    let cost = tokio::task::spawn_blocking(move || {
        let measure = || {
            pin(options.cores.driver_core)?;
            let clients = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            clients.block_on(cost::measure(&server, trial.transport, &certificate, &options, epoch))
        };
        (measure(), server)
    });
    let (cost, server) = cost.await.context("the driver panicked")?;
    server.stop().await?;
    cost
}

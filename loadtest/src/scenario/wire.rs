//! The same streams over HTTP/1.1 and HTTP/2, in clear and over TLS, on one core and on two.

pub(super) mod certificate;
mod comparison;
mod cost;
mod goals;
mod reconnect;
mod streams;
mod transport;
mod trial;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::time::Instant;

use self::certificate::{Certificate, KeyKind};
use self::transport::Transport;
use self::trial::{Build, Case, Part, WireMeasured, WireTrial};
use super::Common;
use super::mixed::Cores;
use super::rounds::interleaved;
use crate::cost::contender::{Programs, Stack};
use crate::machine::cluster::find_tailwater;
use crate::machine::{CoreSet, pin};
use crate::report::Comparison;
use crate::report::progress::Progress;

const NAME: &str = "wire";

/// Measures the costs of a stream and a delivery over HTTP/1.1, h2c and h2, in clear and over TLS.
///
/// Publishes the same events to the same number of readers over one transport after the other, each
/// with a node of its own. Then lets clients come back over TLS at another node. Needs openssl.
/// Exits with 1 if a reader lost an event or got it twice. A missed goal does not fail the run.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    common: Common,

    #[command(flatten)]
    cores: Cores,

    /// Another build of tailwater, to run beside the one under test.
    #[arg(long, value_name = "PATH")]
    before: Option<PathBuf>,

    /// The parts of the run.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Part::ALL)]
    parts: Vec<Part>,

    /// The cores of the servers that are measured on two cores.
    ///
    /// On a machine with two cores the clients run on one of them. The CPU time stays fair, because
    /// it counts only the time that the server's threads ran. The latencies are not fair.
    #[arg(long, value_name = "CORES", default_value = "0,1")]
    two_cores: CoreSet,

    /// Clients that come back over TLS at another node.
    #[arg(long, default_value_t = 500)]
    returns: usize,

    /// Readers of the one topic.
    #[arg(long, default_value_t = 1000)]
    readers: usize,

    /// Streams of an HTTP/2 connection, in the rows with several streams a connection.
    #[arg(long, default_value_t = 50)]
    streams: usize,

    /// Events a second.
    #[arg(long, default_value_t = 10.0)]
    rate: f64,

    /// The time for which events are published.
    #[arg(long = "for", default_value = "4s", value_parser = humantime::parse_duration)]
    time: Duration,

    /// Size of an event's data, in bytes.
    #[arg(long, default_value_t = 200)]
    event_bytes: usize,

    /// The number of rounds; each measures every transport once.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

impl Options {
    fn events(&self) -> u64 {
        (self.rate * self.time.as_secs_f64()).round() as u64
    }
}

/// Runs the rounds, writes the report and prints the table.
///
/// # Errors
/// When a server does not start or refuses a reader.
pub async fn run(options: &Options) -> Result<Comparison> {
    ensure!(options.readers > 0 && options.rounds > 0 && options.rate > 0.0);
    ensure!(options.streams > 0 && options.events() > 0 && options.returns > 0);
    let directory = std::path::absolute(options.common.directory(NAME))?;
    let programs = Programs {
        tailwater: find_tailwater(options.common.tailwater.as_deref())?,
        before: options.before.as_ref().map(std::path::absolute).transpose()?,
        cores: options.cores.server_cores.clone(),
        directory: directory.clone(),
    };
    let bench = WireBench { programs, directory, epoch: Instant::now(), options: options.clone() };
    let trials = WireTrial::all(&options.parts, options.streams, bench.programs.before.is_some());
    let columns = trials.into_iter().map(|trial| (trial, trial.name()));
    let progress = Progress::new();
    let once = async |trial| bench.once(trial).await;
    let rounds = interleaved(columns, options.rounds, &progress, once).await?;
    let report = comparison::report(options, &rounds);
    report.write(&bench.directory)?;
    progress.report(&format!("{}\n{}", report.table(), report.figures()), &bench.directory);
    Ok(report)
}

struct WireBench {
    options: Options,
    programs: Programs,
    directory: PathBuf,
    epoch: Instant,
}

impl WireBench {
    async fn once(&self, trial: WireTrial) -> Result<WireMeasured> {
        let mut programs = self.programs.clone();
        if let (Build::Before, Some(before)) = (trial.build, programs.before.take()) {
            programs.tailwater = before;
        }
        match trial.case {
            Case::OneCore(transport) => self.streams(&programs, transport).await,
            Case::TwoCores(transport) => {
                programs.cores = self.options.two_cores.clone();
                self.streams(&programs, transport).await
            }
            Case::Reference => self.reference(&programs).await,
            Case::Reconnect(kind) => self.reconnect(&programs, kind).await,
        }
    }

    async fn streams(&self, programs: &Programs, transport: Transport) -> Result<WireMeasured> {
        let certificate = Certificate::issue(&self.directory, KeyKind::EcdsaP256)?;
        let flags = if transport.is_tls { certificate.flags() } else { Vec::new() };
        let server = programs.start_serve("serve", &flags).await?;
        self.measure(server, transport, certificate).await
    }

    async fn reference(&self, programs: &Programs) -> Result<WireMeasured> {
        let certificate = Certificate::issue(&self.directory, KeyKind::EcdsaP256)?;
        let (file, key) = (&certificate.certificate, &certificate.key);
        let server = programs.start_tls_reference(file, key).await?;
        let transport = Transport { is_http2: false, is_tls: true, streams: 1 };
        self.measure(server, transport, certificate).await
    }

    async fn measure(
        &self,
        server: Stack,
        transport: Transport,
        certificate: Certificate,
    ) -> Result<WireMeasured> {
        let (options, epoch) = (self.options.clone(), self.epoch);
        let (cost, server) = on_core(options.cores.driver_core, server, async move |server| {
            cost::measure(server, transport, &certificate, &options, epoch).await
        })
        .await?;
        server.stop().await?;
        Ok(WireMeasured { streams: Some(cost?), ..WireMeasured::default() })
    }

    async fn reconnect(&self, programs: &Programs, kind: KeyKind) -> Result<WireMeasured> {
        let certificate = Certificate::issue(&self.directory, kind)?;
        let mut flags = certificate.flags();
        if programs.knows(reconnect::FLAG)? {
            let keys = reconnect::ticket_keys(&self.directory)?;
            flags.push(format!("{}={}", reconnect::FLAG, keys.display()));
        }
        let first = programs.start_serve("serve-1", &flags).await?;
        let second = programs.start_serve("serve-2", &flags).await?;
        let (returns, core) = (self.options.returns, self.options.cores.driver_core);
        let (cost, nodes) = on_core(core, [first, second], async move |[first, second]| {
            reconnect::measure([first, second], &certificate, returns).await
        })
        .await?;
        for node in nodes {
            node.stop().await?;
        }
        Ok(WireMeasured { reconnect: Some(cost?), ..WireMeasured::default() })
    }
}

/// Measures servers from a thread that stays on one core, and gives them back.
async fn on_core<S: Send + 'static, T: Send + 'static>(
    core: usize,
    servers: S,
    measure: impl AsyncFnOnce(&S) -> Result<T> + Send + 'static,
) -> Result<(Result<T>, S)> {
    let run = move || {
        let clients = || {
            pin(core)?;
            let clients = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            clients.block_on(measure(&servers))
        };
        (clients(), servers)
    };
    tokio::task::spawn_blocking(run).await.context("the driver panicked")
}

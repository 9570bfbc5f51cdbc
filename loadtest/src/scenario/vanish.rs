//! Subscribers that vanish without a word, as a laptop that is shut, or a network that is cut.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use super::Common;
use super::wire::certificate::{Certificate, KeyKind};
use crate::machine::cluster::find_tailwater;
use crate::machine::{Network, Tailwater};
use crate::report::progress::Progress;
use crate::report::{Sheet, SheetRow};

const NAME: &str = "vanish";

/// The longest time for which a vanished subscriber may be counted.
const COUNTED_MAX: Duration = Duration::from_secs(75);
/// The longest wait for it to leave.
const PATIENCE: Duration = Duration::from_mins(20);
/// The port of the first node in its namespace.
const FIRST_PORT: u16 = 8081;
/// The longest wait for a stream to open.
const OPEN_MAX: Duration = Duration::from_secs(20);

/// Cuts the network of subscribers and waits until their nodes notice.
///
/// One node and one subscriber for each transport, in two network namespaces. The link between them goes
/// down, so that no FIN arrives. Needs root, iproute2, curl and openssl.
///
/// Exit code 0 only if each subscriber has left `tailwater_connections` within 75 s; else 1.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// The options of every scenario.
    #[command(flatten)]
    pub common: Common,
}

/// A transport: its name, true if it is over TLS, and the flag of curl that chooses it.
type Carriage = (&'static str, bool, &'static str);

const TRANSPORTS: [Carriage; 4] = [
    ("HTTP/1.1", false, "--http1.1"),
    ("HTTP/2", false, "--http2-prior-knowledge"),
    ("HTTP/1.1 over TLS", true, "--http1.1"),
    ("HTTP/2 over TLS", true, "--http2"),
];

/// Runs the scenario, and writes the report.
///
/// # Errors
/// Without root, or when a process does not start.
pub async fn run(options: &Options) -> Result<Sheet> {
    let progress = Progress::new();
    let program = find_tailwater(options.common.tailwater.as_deref())?;
    let network = Network::create()?;
    let directory = TempDir::new()?;
    let certificate = Certificate::issue(directory.path(), KeyKind::EcdsaP256)?;
    let mut streams = Vec::new();
    for (port, transport) in (FIRST_PORT..).zip(TRANSPORTS) {
        progress.status(&format!("opening a stream over {}", transport.0));
        let node = Tailwater::serve(&program)
            .place(&network.near)
            .node(transport.2.trim_start_matches('-'));
        // The driver reaches the node by another link, which stays.
        let address = SocketAddr::from((network.near.inner, port));
        let node = node.flag("--listen", address.to_string());
        let flags = if transport.1 { certificate.flags() } else { Vec::new() };
        let node = flags.into_iter().fold(node, |node, flag| node.arg(flag)).start().await?;
        let client = subscribe(&network, address, transport)?;
        let opened = Instant::now();
        while connections(&node).await? < 1.0 {
            ensure!(opened.elapsed() < OPEN_MAX, "no stream over {}", transport.0);
            sleep(Duration::from_millis(100)).await;
        }
        streams.push((transport, node, client));
    }
    // A heartbeat or two, as in the middle of a life.
    sleep(Duration::from_secs(20)).await;
    network.part(true)?;
    let cut = Instant::now();
    let mut left: Vec<Option<Duration>> = vec![None; streams.len()];
    while left.iter().any(Option::is_none) && cut.elapsed() < PATIENCE {
        progress.status(&format!("{} s after the cut", cut.elapsed().as_secs()));
        sleep(Duration::from_millis(500)).await;
        for (left, (_, node, _)) in left.iter_mut().zip(&streams) {
            if left.is_none() && connections(node).await? < 1.0 {
                *left = Some(cut.elapsed());
            }
        }
    }
    let rows = streams.iter().zip(left).map(|((transport, ..), left)| row(transport.0, left));
    let sheet = Sheet {
        title: "Vanished subscribers".to_owned(),
        summary: "The link to a subscriber goes down; its node learns nothing by itself."
            .to_owned(),
        columns: vec!["transport".to_owned(), "counted for".to_owned()],
        rows: rows.collect(),
    };
    sheet.write(&options.common.directory(NAME))?;
    Ok(sheet)
}

fn subscribe(network: &Network, address: SocketAddr, (_, is_tls, flag): Carriage) -> Result<Child> {
    let scheme = if is_tls { "https" } else { "http" };
    let url = format!("{scheme}://{address}/v1/events?topic=t");
    let namespace = network.far.namespace.as_deref().context("the network has namespaces")?;
    let words = ["netns", "exec", namespace, "curl", "-q", "-sNk", "--noproxy", "*", flag, &url];
    let curl = Command::new("ip").args(words).stdout(Stdio::null()).kill_on_drop(true).spawn();
    curl.context("cannot run ip and curl")
}

async fn connections(node: &Tailwater) -> Result<f64> {
    let text = node.metrics().await?;
    let value = text.lines().find_map(|line| line.strip_prefix("tailwater_connections "));
    value.and_then(|value| value.parse().ok()).context("no tailwater_connections")
}

fn row(transport: &str, left: Option<Duration>) -> SheetRow {
    let text =
        left.map_or_else(|| "ever".to_owned(), |left| format!("{:.1} s", left.as_secs_f64()));
    let is_late = left.is_none_or(|left| left > COUNTED_MAX);
    let failure = format!("a vanished subscriber was counted for {text}");
    SheetRow {
        about: format!("A subscriber over {transport}."),
        cells: vec![transport.to_owned(), text],
        failures: is_late.then_some(failure).into_iter().collect(),
        notes: Vec::new(),
        plots: Vec::new(),
        marks: Vec::new(),
        raw: json!({ "seconds": left.map(|left| left.as_secs_f64()) }),
    }
}

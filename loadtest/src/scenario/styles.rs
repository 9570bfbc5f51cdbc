//! Polling, long-polling, server-sent events and WebSocket: the same events, the same users.

mod comparison;
mod style;

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::time::Instant;

use self::style::{Style, StyleCost};
use super::Common;
use super::mixed::Cores;
use super::rounds::interleaved;
use crate::cost::contender::Programs;
use crate::machine::cluster::find_tailwater;
use crate::machine::pin;
use crate::report::Comparison;
use crate::report::progress::Progress;

const NAME: &str = "styles";

/// Measures the cost of a user that polls, long-polls, reads SSE or reads a WebSocket.
///
/// Publishes the same events to the same number of users in one style after the other. Each style
/// has a server of its own: Tailwater, and for WebSocket a reference program. Every user keeps a
/// connection. Exits with 1 if a user lost an event or got it twice.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    common: Common,

    #[command(flatten)]
    cores: Cores,

    /// Users of the one topic.
    #[arg(long, default_value_t = 1000)]
    users: usize,

    /// Events a second.
    #[arg(long, default_value_t = 1.0)]
    rate: f64,

    /// The time for which events are published.
    #[arg(long = "for", default_value = "20s", value_parser = humantime::parse_duration)]
    time: Duration,

    /// Size of an event's data, in bytes.
    #[arg(long, default_value_t = 200)]
    event_bytes: usize,

    /// The number of rounds; each measures every style once.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

/// Runs the rounds, writes the report and prints the table.
///
/// # Errors
/// When a server does not start or refuses the driver.
pub async fn run(options: &Options) -> Result<Comparison> {
    ensure!(options.users > 0 && options.rounds > 0 && options.rate > 0.0);
    let directory = std::path::absolute(options.common.directory(NAME))?;
    let programs = Programs {
        tailwater: find_tailwater(options.common.tailwater.as_deref())?,
        before: None,
        cores: options.cores.server_cores.clone(),
        directory: directory.clone(),
    };
    let progress = Progress::new();
    let epoch = Instant::now();
    let columns = Style::ALL.map(|style| (style, style.name().to_owned()));
    let once = async |style| once(style, &programs, options, epoch).await;
    let rounds = interleaved(columns, options.rounds, &progress, once).await?;
    let report = comparison::report(options, &rounds);
    report.write(&directory)?;
    progress.report(&format!("{}\n{}", report.table(), report.figures()), &directory);
    Ok(report)
}

async fn once(
    style: Style,
    programs: &Programs,
    options: &Options,
    epoch: Instant,
) -> Result<StyleCost> {
    let server = style.server().start(programs).await?;
    let options = options.clone();
    let cost = tokio::task::spawn_blocking(move || {
        let pinned = pin(options.cores.driver_core);
        (pinned.and_then(|()| style.measure(&server, &options, epoch)), server)
    });
    let (cost, server) = cost.await.context("the driver panicked")?;
    server.stop().await?;
    cost
}

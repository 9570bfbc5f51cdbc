//! Half TLS hellos, of which the rest never comes.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};
use tokio_rustls::TlsConnector;

use super::ends::COLUMNS;
use super::honest::{millis, p99};
use super::{BAD_MS, BEFORE, DURING, GOOD_MS, raw};
use crate::machine::Tailwater;
use crate::report::SheetRow;
use crate::scenario::wire::certificate::{Certificate, HOST, KeyKind};

/// Half hellos: one for each handshake that a node does at a time.
const HELLOS: usize = 1024;
/// The header of a record whose rest never comes.
const HALF: &[u8] = &[22, 3, 1, 2, 0, 1];
/// The pause between two honest handshakes.
const PAUSE: Duration = Duration::from_millis(10);

/// Measures honest handshakes before and while one client begins more of them than a node does at a time.
/// The node may open as many files as this process: this is not about files.
pub(super) async fn run(program: &Path) -> Result<SheetRow> {
    let directory = TempDir::new()?;
    let certificate = Certificate::issue(directory.path(), KeyKind::EcdsaP256)?;
    let node = Tailwater::serve(program).env("TAILWATER_TRUSTED_PROXIES", "none");
    let node = certificate.flags().into_iter().fold(node, |node, flag| node.arg(flag));
    let node = node.flag("--log-level", "warn").start().await?;
    let connector = certificate.connector("http/1.1", Resumption::disabled())?;
    let (before, _) = handshakes(&connector, node.addr(), BEFORE[0]).await?;
    let (open, during) = tokio::join!(raw::hold(node.addr(), HELLOS, HALF, DURING[0]), async {
        // The first thousand connections are a burst of accepts, not an attack on handshakes.
        sleep(Duration::from_millis(500)).await;
        handshakes(&connector, node.addr(), DURING[0]).await
    });
    let (during, refused) = during?;
    let mut failures = Vec::new();
    if during > (2.0 * before).max(GOOD_MS) || during > BAD_MS {
        failures.push(format!("handshake p99 went from {before:.1} to {during:.1} ms"));
    }
    if refused > 0 {
        failures.push(format!("{refused} honest handshakes failed"));
    }
    let mut cells = vec![
        "half hellos".to_owned(),
        "embedded".to_owned(),
        format!("{HELLOS} begun, {open} open at the end"),
        format!("handshake {before:.1} → {during:.1}"),
        "–".to_owned(),
        refused.to_string(),
    ];
    cells.resize(COLUMNS, "–".to_owned());
    Ok(SheetRow {
        about: "Half TLS hellos, beside honest handshakes.".to_owned(),
        cells,
        failures,
        notes: Vec::new(),
        plots: Vec::new(),
        marks: Vec::new(),
        raw: json!({ "before": before, "during": during }),
    })
}

/// Does full handshakes one after the other for `time`. Returns their 99th percentile in milliseconds and
/// the number of those that failed.
async fn handshakes(
    connector: &TlsConnector,
    target: SocketAddr,
    time: Duration,
) -> Result<(f64, u64)> {
    let (end, name) = (Instant::now() + time, ServerName::try_from(HOST)?);
    let (mut times, mut failed) = (Vec::new(), 0);
    while Instant::now() < end {
        let begin = Instant::now();
        let handshake = async {
            let stream = TcpStream::connect(target).await?;
            connector.connect(name.clone(), stream).await
        };
        match handshake.await {
            Ok(_) => times.push(millis(begin.elapsed())),
            Err(_) => failed += 1,
        }
        sleep(PAUSE).await;
    }
    Ok((p99(times), failed))
}

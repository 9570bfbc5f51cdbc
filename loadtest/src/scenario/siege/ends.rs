//! The ends of HTTP/2 streams that take nothing: by a drain, and by their age.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use serde_json::json;
use tokio::time::{Instant, sleep};
use tokio_util::task::AbortOnDropHandle;

use super::streams;
use super::target::{Besieged, Store};
use crate::report::SheetRow;

/// Streams, over some connections.
const STREAMS: usize = 600;
const CONNECTIONS: usize = 6;
/// The longest time that the attacker holds them.
const HOLD: Duration = Duration::from_secs(90);
/// The longest wait for all of them to open.
const OPEN_MAX: Duration = Duration::from_secs(10);
/// The time beside its plan that an end may take.
const SLACK: Duration = Duration::from_secs(3);
/// The longest wait for an end.
const END_MAX: Duration = Duration::from_secs(60);
/// Columns of the sheet.
pub(super) const COLUMNS: usize = 10;

/// Stops a node.
pub(super) async fn drain(program: &Path) -> Result<SheetRow> {
    let flags = [("--drain-delay", "1s"), ("--drain-window", "5s"), ("--shutdown-grace", "30s")];
    let (mut target, _held, open) = begin(program, &flags).await?;
    let begin = Instant::now();
    target.node_mut().begin_termination()?;
    target.node_mut().wait_exit().await?;
    Ok(row("drain", open, begin.elapsed(), Duration::from_secs(6) + SLACK))
}

/// Waits until the streams are too old.
pub(super) async fn age(program: &Path) -> Result<SheetRow> {
    let (target, _held, open) = begin(program, &[("--max-age", "10s")]).await?;
    let begin = Instant::now();
    while target.metric("tailwater_connections").await? > 0.0 && begin.elapsed() < END_MAX {
        sleep(Duration::from_millis(100)).await;
    }
    // An age is varied by a fifth.
    Ok(row("max-age 10s", open, begin.elapsed(), Duration::from_secs(12) + SLACK))
}

type Attacking = AbortOnDropHandle<Result<usize>>;

/// Starts a node and opens the streams. Returns their number.
async fn begin(program: &Path, flags: &[(&str, &str)]) -> Result<(Besieged, Attacking, f64)> {
    let shares = [("TAILWATER_ADDRESS_SHARE", "1")];
    let flags = flags.iter().chain(&shares).map(|(flag, value)| (*flag, (*value).to_owned()));
    let flags: Vec<_> = flags.collect();
    let target = Besieged::start(program, Store::Embedded, &flags).await?;
    target.fill("deaf", 4, 1024).await?;
    let addr = target.addr();
    let attacker = tokio::spawn(async move {
        let shape = (CONNECTIONS, STREAMS / CONNECTIONS, 0);
        streams::take_nothing(addr, "topic=deaf&from=earliest", shape, HOLD).await
    });
    let (deadline, mut open) = (Instant::now() + OPEN_MAX, 0.0);
    while open < STREAMS as f64 && Instant::now() < deadline {
        sleep(Duration::from_millis(100)).await;
        open = target.metric("tailwater_connections").await?;
    }
    Ok((target, AbortOnDropHandle::new(attacker), open))
}

fn row(name: &str, open: f64, took: Duration, allowed: Duration) -> SheetRow {
    let few = (open < STREAMS as f64).then(|| format!("only {open} streams were opened"));
    let failures = few.into_iter().collect();
    timed(name, format!("{open} streams"), took, allowed, failures)
}

/// The row of something that ends by itself.
pub(super) fn timed(
    name: &str,
    held: String,
    took: Duration,
    allowed: Duration,
    mut failures: Vec<String>,
) -> SheetRow {
    if took > allowed {
        failures.push(format!("took {took:.1?}, {allowed:?} are allowed"));
    }
    let mut cells = vec![name.to_owned(), "embedded".to_owned(), held, format!("{took:.1?}")];
    cells.resize(COLUMNS, "–".to_owned());
    SheetRow {
        about: format!("{name}: the time until its end."),
        cells,
        failures,
        notes: Vec::new(),
        plots: Vec::new(),
        marks: Vec::new(),
        raw: json!({ "seconds": took.as_secs_f64(), "allowed": allowed.as_secs_f64() }),
    }
}

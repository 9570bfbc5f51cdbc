//! A million deliveries a second, offered at a fixed rate.

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use super::round::micros;
use crate::cost::contender::Stack;
use crate::cost::driver::{Driver, Tally};
use crate::report::histogram::Quantiles;

/// The time that the last events may take, beyond the time in which they were offered.
const GRACE: Duration = Duration::from_secs(1);

/// The result of the phase.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Million {
    /// The share that arrived in time.
    pub(super) share: f64,
    /// CPU microseconds a delivery.
    pub(super) us: f64,
    /// Of those that arrived.
    pub(super) latency: Quantiles,
}

/// Offers so many deliveries a second to `readers` open streams.
pub(super) fn measure(
    server: &Stack,
    driver: &mut Driver,
    offered: f64,
    readers: usize,
    time: Duration,
) -> Result<(Million, Tally)> {
    let before = server.cpu()?;
    let events = driver.publish_at(offered / readers as f64, time)?;
    let all = events * readers as u64;
    driver.wait_for(all, GRACE)?;
    let (tally, cpu) = (driver.reset(), server.cpu()? - before);
    let million = Million {
        share: (tally.delivered + tally.lost) as f64 / all as f64,
        us: micros(cpu.all) / tally.delivered as f64,
        latency: tally.latency.quantiles(),
    };
    Ok((million, tally))
}

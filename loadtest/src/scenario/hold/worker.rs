//! The readers of one gateway, in a process of their own.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::cost::driver::{Dialect, Driver, DriverEndpoint};
use crate::machine::pin;
use crate::report::histogram::Quantiles;

const PATIENCE: Duration = Duration::from_secs(120);

/// The gateway, and the number of readers.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    #[arg(long)]
    gateway: SocketAddr,

    #[arg(long)]
    count: usize,

    #[arg(long)]
    core: usize,
}

/// The deliveries of one worker's readers.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct HoldSeen {
    pub(super) delivered: u64,
    pub(super) lost: u64,
    pub(super) repeated: u64,
    pub(super) latency: Quantiles,
}

/// Follows orders until standard input ends: `open`, `read EVENTS`.
///
/// # Errors
/// When an order makes no sense or the gateway refuses.
pub fn run(options: &Options) -> Result<Vec<String>> {
    pin(options.core)?;
    let endpoint = DriverEndpoint::at(options.gateway, Dialect::Tailwater);
    let mut driver = Driver::reading(endpoint, 0, Instant::now())?;
    for line in std::io::stdin().lines() {
        let line = line?;
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["open"] => {
                driver.open(options.count, None, 0)?;
                println!("{}", driver.readers());
            }
            ["read", events] => {
                let deliveries = events.parse::<u64>()? * options.count as u64;
                driver.wait_for(deliveries, PATIENCE)?;
                let tally = driver.reset();
                let seen = HoldSeen {
                    delivered: tally.delivered,
                    lost: deliveries.saturating_sub(tally.delivered),
                    repeated: tally.repeated,
                    latency: tally.latency.quantiles(),
                };
                println!("{}", serde_json::to_string(&seen)?);
            }
            _ => bail!("an unknown order: {line:?}"),
        }
    }
    Ok(Vec::new())
}

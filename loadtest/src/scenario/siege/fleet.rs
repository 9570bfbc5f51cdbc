//! Real clients of another project that do not wait before they come back: event-source-plus.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::process::Command;
use tokio::task::JoinSet;

/// All clients together.
const CLIENTS: usize = 200;
/// The program that runs those of one address, below the directory of interop/setup.
const PROGRAM: &str = "npm/event-source-plus-fleet.mjs";
/// The address of the first, of which each further one is the next.
const FIRST: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 66);

/// The requests of the address that sent the most.
#[derive(Clone, Copy, Debug)]
pub(super) struct Requests {
    /// Those of the first second, in which every client comes for the first time.
    pub(super) arrival: u64,
    /// Those of a later second, on average.
    pub(super) per_second: f64,
}

/// Lets the clients come to a full node from so many addresses. Needs Node.js, and what `interop/setup npm` installs.
pub(super) async fn run(
    target: SocketAddr,
    programs: &Path,
    addresses: u32,
    time: Duration,
) -> Result<Requests> {
    let program = programs.join(PROGRAM);
    ensure!(program.exists(), "{} is missing: run interop/setup npm", program.display());
    let url = format!("http://{target}/v1/events?topic=full");
    let mut fleet = JoinSet::new();
    for n in 0..addresses {
        let address = Ipv4Addr::from_bits(FIRST.to_bits() + n);
        // In life these clients run on other machines, so here they give way to the node.
        let node = Command::new("nice")
            .args(["-n", "19", "node"])
            .arg(&program)
            .arg(&url)
            .arg(address.to_string())
            .arg((CLIENTS / addresses as usize).to_string())
            .arg(time.as_secs().to_string())
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .output();
        fleet.spawn(node);
    }
    let mut most = Requests { arrival: 0, per_second: 0.0 };
    while let Some(output) = fleet.join_next().await {
        let output = output?.context("cannot run node")?;
        let seconds: Vec<u64> = serde_json::from_slice(&output.stdout)
            .with_context(|| format!("{} printed no numbers", program.display()))?;
        let [arrival, later @ ..] = &seconds[..] else { continue };
        most.arrival = most.arrival.max(*arrival);
        most.per_second =
            most.per_second.max(later.iter().sum::<u64>() as f64 / later.len().max(1) as f64);
    }
    ensure!(most.arrival > 0, "the fleet sent no request");
    Ok(most)
}

//! Runs a node as a process: telemetry, the home runtime, signals.

use anyhow::{Context as _, Result};
use tokio::runtime::Builder;

use crate::config::NodeConfig;
use crate::node::Node;
use crate::signals::StopSignals;
use crate::telemetry::Telemetry;

/// Runs a node until it is told to stop.
pub(crate) fn node(config: NodeConfig) -> Result<()> {
    let telemetry = Telemetry::init(&config.telemetry)?;
    // One thread: the connections have runtimes of their own where there are more cores.
    let home = Builder::new_current_thread().enable_all().build();
    let home = home.context("the runtime did not start")?;
    let outcome = home.block_on(async {
        // Before the node is built, so that a signal during the start is not lost.
        let signals = StopSignals::new()?;
        Node::build(config, &telemetry)?.run(signals).await
    });
    drop(home);
    telemetry.shutdown();
    outcome
}

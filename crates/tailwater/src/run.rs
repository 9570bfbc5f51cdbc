//! Runs a node as a process: telemetry, the home runtime, signals.

use anyhow::{Context as _, Result};
use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::NodeConfig;
use crate::node::Node;
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

/// SIGTERM, which orchestrators send, and SIGINT, which a terminal sends.
pub(crate) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    fn new() -> Result<Self> {
        let handler = |kind| signal(kind).context("signals cannot be handled");
        Ok(Self {
            terminate: handler(SignalKind::terminate())?,
            interrupt: handler(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next signal and returns its name. Cancel-safe.
    pub(crate) async fn received(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

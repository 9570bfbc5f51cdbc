//! The signals that stop a node.

use anyhow::{Context as _, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGTERM, which orchestrators send, SIGINT, which a terminal sends, and SIGHUP, which a terminal sends
/// when it closes.
pub(crate) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
    /// `None` if it must not stop the node: nohup started it, or a signal has stopped it already. A
    /// terminal that closes may send two.
    hangup: Option<Signal>,
}

impl StopSignals {
    /// Listens for the signals from now on.
    ///
    /// # Errors
    /// The runtime cannot handle signals.
    pub(crate) fn new() -> Result<Self> {
        let handler = |kind| signal(kind).context("signals cannot be handled");
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let hangup = match ignores_hangup(&status) {
            true => None,
            false => Some(handler(SignalKind::hangup())?),
        };
        Ok(Self {
            terminate: handler(SignalKind::terminate())?,
            interrupt: handler(SignalKind::interrupt())?,
            hangup,
        })
    }

    /// Waits for the next signal and returns its name. Cancel-safe.
    pub(crate) async fn received(&mut self) -> &'static str {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        let name = tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            _ = hangup => "SIGHUP",
        };
        self.hangup = None;
        name
    }
}

/// Returns true if a process with this `/proc/PID/status` was started with SIGHUP ignored, as nohup does.
fn ignores_hangup(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // The lowest bit stands for signal 1, SIGHUP.
    mask.is_some_and(|mask| mask & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::ignores_hangup;

    #[test]
    fn nohup_is_seen_in_the_status_of_the_process() {
        let status = |mask: &str| format!("Name:\tx\nSigBlk:\t0000000000000001\nSigIgn:\t{mask}\n");
        assert!(ignores_hangup(&status("0000000000001001")));
        assert!(!ignores_hangup(&status("0000000000001000")));
        assert!(!ignores_hangup(""));
    }
}

//! The cluster of the matrix: Redis, an ingest, gateways and the load balancer of `deploy`.

use std::path::Path;

use anyhow::Result;

use crate::machine::{Haproxy, Redis, Tailwater};

/// A drain that takes a second or two, so that a rolling restart fits into a trial. HAProxy checks
/// each gateway twice a second.
const DRAIN: [(&str, &str); 3] =
    [("--drain-delay", "2s"), ("--drain-window", "2s"), ("--shutdown-grace", "2s")];

/// A running cluster. Dropping it kills everything.
#[derive(Debug)]
pub(super) struct Rig {
    pub(super) haproxy: Haproxy,
    pub(super) gateways: [Tailwater; 3],
    pub(super) ingest: Tailwater,
    pub(super) redis: Redis,
    trials: u32,
}

impl Rig {
    /// Starts everything; logs and data of an earlier run in this directory are deleted.
    pub(super) async fn start(program: &Path, directory: &Path) -> Result<Rig> {
        if directory.exists() {
            std::fs::remove_dir_all(directory)?;
        }
        let redis = Redis::builder().directory(directory.join("redis")).start().await?;
        let ingest = Tailwater::ingest(program).node("ingest").redis(&redis);
        let ingest = ingest.directory(directory.join("ingest")).start().await?;
        let gateway = async |name: &str| {
            let gateway = Tailwater::gateway(program).node(name).redis(&redis);
            let gateway =
                DRAIN.iter().fold(gateway, |gateway, (flag, value)| gateway.flag(flag, *value));
            gateway.directory(directory.join(name)).start().await
        };
        let gateways =
            [gateway("gateway-1").await?, gateway("gateway-2").await?, gateway("gateway-3").await?];
        let haproxy = Haproxy::deployed(gateways.each_ref(), &ingest).await?;
        Ok(Rig { haproxy, gateways, ingest, redis, trials: 0 })
    }

    /// The number of the next trial, for its topics.
    pub(super) fn next_trial(&mut self) -> u32 {
        self.trials += 1;
        self.trials
    }
}

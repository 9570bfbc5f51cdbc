//! Redis servers alone, for a test that starts nodes of its own.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tempfile::TempDir;
use tokio::time::Instant;

use super::setup::{Durability, Server, Setup, Topology};
use super::topology::{self, FAILOVER_DEADLINE, PRIMARIES, Servers};
use crate::machine::AppendFsync;

/// Servers of which a replica can take the place of a primary: under Sentinels, or as a cluster.
#[derive(Debug)]
pub struct Deployment {
    servers: Servers,
    topology: Topology,
    _directory: TempDir,
}

impl Deployment {
    /// Starts them: a primary with two replicas, or the primaries of a cluster with a replica each.
    ///
    /// # Errors
    /// When one does not start, or they do not find each other.
    pub async fn start(topology: Topology) -> Result<Deployment> {
        let directory = tempfile::Builder::new().prefix("tailwater-").tempdir()?;
        let setup = setup(topology)?;
        let servers = match topology {
            Topology::Standalone => topology::alone(&setup, directory.path(), None).await?,
            Topology::Sentinel => topology::sentinel(&setup, directory.path(), None).await?,
            Topology::Cluster => topology::cluster(&setup, directory.path(), None).await?,
        };
        Ok(Deployment { servers, topology, _directory: directory })
    }

    /// The value of `--redis`.
    pub fn url(&self) -> &str {
        &self.servers.url
    }

    /// Cuts the replicas of the first primary off, so that they miss everything from now on.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn strand_replicas(&self) -> Result<()> {
        let primary = &self.servers.servers[0];
        primary.query(&["ACL", "SETUSER", "default", "-psync", "-sync"]).await?;
        primary.query(&["CLIENT", "KILL", "TYPE", "replica"]).await?;
        Ok(())
    }

    /// Kills the first primary, and waits until its replica has taken its place. Returns the time.
    ///
    /// # Errors
    /// When nothing takes its place.
    pub async fn kill_primary(&mut self) -> Result<Duration> {
        let begin = Instant::now();
        let Servers { servers, sentinels, .. } = &mut self.servers;
        let old = servers[0].inner_addr();
        servers[0].kill_nine()?;
        match self.topology {
            Topology::Cluster => {
                let replica = &servers[PRIMARIES];
                topology::wait("the replica is the primary", FAILOVER_DEADLINE, async || {
                    Ok(replica.info("role").await? == "master")
                })
                .await?;
            }
            Topology::Sentinel | Topology::Standalone => {
                let last = sentinels.last().context("no Sentinels")?;
                topology::wait_promoted(last, servers, old).await?;
            }
        }
        Ok(begin.elapsed())
    }
}

fn setup(topology: Topology) -> Result<Setup> {
    Ok(Setup {
        // No node is started.
        tailwater: PathBuf::new(),
        server: Server::find("redis")?,
        topology,
        append_fsync: AppendFsync::Off,
        durability: Durability::Memory,
        reads_replicas: false,
        replicas: 2,
        can_part: false,
        has_own_clock: false,
        has_password: false,
        gateways: 0,
        clients: 0,
        room_clients: 0,
        event_bytes: 0,
        history_events: 0,
    })
}

//! A whole deployment on one machine: Redis, gateways behind a load balancer, an ingest.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::machine::{Haproxy, Redis, Tailwater};

/// The parts of a [`Cluster`].
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// The program under test.
    pub tailwater: PathBuf,
    /// The number of gateways.
    pub gateways: usize,
    /// Flags with their values for every gateway.
    pub gateway_flags: Vec<(&'static str, String)>,
    /// Flags with their values for the ingest.
    pub ingest_flags: Vec<(&'static str, String)>,
    /// The directory of logs and data, which stay there.
    pub directory: PathBuf,
}

/// A running deployment. Dropping it kills everything.
#[derive(Debug)]
pub struct Cluster {
    /// The load balancer in front of the gateways.
    pub haproxy: Haproxy,
    /// The gateways, `gw-1` and on.
    pub gateways: Vec<Tailwater>,
    /// The ingest, which publishers reach directly.
    pub ingest: Tailwater,
    /// The log.
    pub redis: Redis,
}

impl Cluster {
    /// Starts everything and waits until it is ready. Logs and data of an earlier run in the same
    /// directory are deleted.
    ///
    /// # Errors
    /// When something does not start; the message shows its log.
    pub async fn start(options: &ClusterOptions) -> Result<Cluster> {
        let directory = |name: &str| options.directory.join(name);
        if options.directory.exists() {
            std::fs::remove_dir_all(&options.directory)?;
        }
        let redis = Redis::builder().directory(directory("redis")).start().await?;
        let program = &options.tailwater;
        let mut ingest =
            Tailwater::ingest(program).node("ingest").redis(&redis).directory(directory("ingest"));
        for (name, value) in &options.ingest_flags {
            ingest = ingest.flag(name, value);
        }
        let ingest = ingest.start().await?;
        let mut gateways = Vec::new();
        for number in 1..=options.gateways {
            let node = format!("gw-{number}");
            let directory = directory(&node);
            let mut gateway =
                Tailwater::gateway(program).node(node).redis(&redis).directory(directory);
            for (name, value) in &options.gateway_flags {
                gateway = gateway.flag(name, value);
            }
            gateways.push(gateway.start().await?);
        }
        let behind: Vec<&Tailwater> = gateways.iter().collect();
        let haproxy = Haproxy::start_in(&behind, Some(directory("haproxy"))).await?;
        Ok(Cluster { haproxy, gateways, ingest, redis })
    }
}

/// The program under test: the given path, or the `tailwater` beside this program, where
/// one `cargo build` puts both.
///
/// # Errors
/// When there is none.
pub fn find_tailwater(given: Option<&Path>) -> Result<PathBuf> {
    if let Some(path) = given {
        let path = std::path::absolute(path)?;
        if !path.is_file() {
            bail!("there is no program {}", path.display());
        }
        return Ok(path);
    }
    let beside = std::env::current_exe()?.with_file_name("tailwater");
    if !beside.is_file() {
        let hint = "build it with `cargo build --release -p tailwater -p loadtest`, or name one with --tailwater";
        bail!("there is no {}: {hint}", beside.display());
    }
    std::path::absolute(beside).context("no absolute path")
}

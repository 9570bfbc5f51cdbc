//! The ways from a caller to an API of a language model.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use super::launch::{GATEWAY, Site};
use super::{Programs, nginx};
use crate::machine::Pinned;

/// The way from a caller to the upstream, by the server between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RelayWay {
    /// nginx, which passes on and does not buffer.
    Nginx,
    /// `tailwater relay` and its Redis.
    Relay,
    /// The same with a gateway, where a second client reads each answer while it is written.
    RelayAndReaders,
    /// Nothing.
    Direct,
}

/// The processes of a way. Dropping it kills them.
#[derive(Debug)]
pub struct Passage {
    proxy: Option<Pinned>,
    gateway: Option<Pinned>,
    redis: Option<Pinned>,
}

/// The processor time of the processes of a way.
#[derive(Debug, Clone, Copy, Default)]
pub struct PassageCpu {
    /// Of nginx or the relay.
    pub proxy: Duration,
    /// Of the gateway.
    pub gateway: Duration,
    /// Of Redis.
    pub redis: Duration,
}

/// Flags of nodes that one client may fill.
const ALONE: [&str; 4] = ["--address-share", "1", "--log-level", "warn"];

impl RelayWay {
    /// All, the measure first.
    pub const ALL: [Self; 4] = [Self::Nginx, Self::Relay, Self::RelayAndReaders, Self::Direct];

    /// For tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Relay => "relay",
            Self::RelayAndReaders => "relay, and readers",
            Self::Direct => "direct",
        }
    }

    /// Returns true if the answers are stored.
    pub const fn has_log(self) -> bool {
        matches!(self, Self::Relay | Self::RelayAndReaders)
    }

    /// Returns true if a second client reads each answer.
    pub const fn has_readers(self) -> bool {
        matches!(self, Self::RelayAndReaders)
    }
}

impl Programs {
    /// Starts the scripted upstream.
    ///
    /// # Errors
    /// When it does not start; the message shows its log.
    pub async fn start_upstream(&self) -> Result<Pinned> {
        let arguments = |at: SocketAddr| {
            Ok(["reference", "upstream", "--listen", &at.to_string()].map(str::to_owned).into())
        };
        let directory = self.directory.join("upstream");
        let site = Site { cores: self.cores.clone(), directory };
        site.run("upstream", &std::env::current_exe()?, arguments).await
    }

    /// Starts a way to the upstream for so many answers at once.
    ///
    /// # Errors
    /// When a process does not start; the message shows its log.
    pub async fn start_way(
        &self,
        way: RelayWay,
        upstream: SocketAddr,
        answers: usize,
    ) -> Result<Passage> {
        let site = Site { cores: self.cores.clone(), directory: self.directory.join(way.name()) };
        let (proxy, gateway, redis) = match way {
            RelayWay::Direct => (None, None, None),
            RelayWay::Nginx => {
                let arguments = |at| nginx::proxy(at, upstream, &site.directory);
                (Some(site.run("nginx", Path::new(nginx::PROGRAM), arguments).await?), None, None)
            }
            RelayWay::Relay | RelayWay::RelayAndReaders => {
                let redis = site.redis().await?;
                let (answers, upstream) = (answers.to_string(), format!("http://{upstream}"));
                let url = format!("redis://{}", redis.addr());
                let node = [&["--redis", &url], &ALONE[..]].concat();
                let own = ["--upstream", &upstream, "--max-answers", &answers];
                let relay = [&node[..], &own].concat();
                let relay = site.tailwater(&self.tailwater, "relay", "relay", &relay).await?;
                let gateway = match way.has_readers() {
                    true => Some(site.tailwater(&self.tailwater, GATEWAY, GATEWAY, &node).await?),
                    false => None,
                };
                (Some(relay), gateway, Some(redis))
            }
        };
        Ok(Passage { proxy, gateway, redis })
    }
}

impl Passage {
    /// The address of nginx or the relay.
    pub fn proxy(&self) -> Option<SocketAddr> {
        self.proxy.as_ref().map(Pinned::addr)
    }

    /// The address of the gateway.
    pub fn gateway(&self) -> Option<SocketAddr> {
        self.gateway.as_ref().map(Pinned::addr)
    }

    /// The processor time that it has used.
    ///
    /// # Errors
    /// When a process is gone.
    pub fn cpu(&self) -> Result<PassageCpu> {
        let of =
            |process: &Option<Pinned>| process.as_ref().map_or(Ok(Duration::ZERO), Pinned::cpu);
        Ok(PassageCpu {
            proxy: of(&self.proxy)?,
            gateway: of(&self.gateway)?,
            redis: of(&self.redis)?,
        })
    }

    /// The resident memory of nginx or the relay, in bytes.
    ///
    /// # Errors
    /// When it is gone.
    pub fn rss(&self) -> Result<Option<u64>> {
        let memory = self.proxy.as_ref().map(Pinned::memory).transpose()?;
        Ok(memory.map(|memory| memory.rss))
    }

    /// Stops it.
    ///
    /// # Errors
    /// When it does not stop in time; it is killed then.
    pub async fn stop(self) -> Result<()> {
        for process in [self.gateway, self.proxy, self.redis].into_iter().flatten() {
            process.stop().await?;
        }
        Ok(())
    }
}

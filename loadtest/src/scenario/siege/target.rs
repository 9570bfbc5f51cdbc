//! The node under siege, with its log.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use crate::client::http;
use crate::machine::{Redis, Tailwater};

/// The log of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Store {
    Redis,
    Embedded,
}

/// One node, whose Redis is small.
#[derive(Debug)]
pub(super) struct Besieged {
    node: Tailwater,
    redis: Option<Redis>,
    /// Holds the script that starts the node.
    _directory: TempDir,
}

/// Memory of Redis, which a flood of new topics would fill within a second.
const REDIS_MEMORY: &str = "64mb";
/// The node's budget for clients, in bytes.
pub(super) const BUDGET_BYTES: u64 = 64 << 20;
/// Files that the node may open, of which the attacker would take all.
const FILES: u32 = 1024;

/// Writes a script that runs the program with few open files.
fn narrowed(program: &Path, directory: &Path) -> Result<PathBuf> {
    let program = std::path::absolute(program)?;
    let script = directory.join("tailwater");
    let text = format!("#!/bin/sh\nulimit -n {FILES}\nexec '{}' \"$@\"\n", program.display());
    fs::write(&script, text)?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    Ok(script)
}

impl Store {
    pub(super) const ALL: [Self; 2] = [Self::Redis, Self::Embedded];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::Embedded => "embedded",
        }
    }
}

impl Besieged {
    /// Starts a node that trusts no proxy, so that addresses of this machine count like others. The
    /// limits are variables, which a build without them ignores.
    pub(super) async fn start(
        program: &Path,
        store: Store,
        flags: &[(&str, String)],
    ) -> Result<Self> {
        let redis = match store {
            Store::Redis => {
                let redis = Redis::builder().arg("--maxmemory").arg(REDIS_MEMORY);
                let redis = redis.arg("--stream-node-max-bytes").arg("1024");
                Some(redis.start().await?)
            }
            Store::Embedded => None,
        };
        let directory = TempDir::new()?;
        let node = Tailwater::serve(narrowed(program, directory.path())?)
            .env("TAILWATER_TRUSTED_PROXIES", "none")
            .env("TAILWATER_MEMORY_BUDGET", BUDGET_BYTES.to_string())
            .flag("--log-level", "warn");
        let node = match &redis {
            Some(redis) => node.redis(redis),
            None => node,
        };
        // A variable that an older build does not know is ignored, a flag is not.
        let node = flags.iter().fold(node, |node, (name, value)| match name.starts_with("--") {
            true => node.flag(name, value),
            false => node.env(name, value),
        });
        Ok(Self { node: node.start().await?, redis, _directory: directory })
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.node.addr()
    }

    pub(super) fn admin(&self) -> SocketAddr {
        self.node.admin_addr()
    }

    pub(super) const fn node_mut(&mut self) -> &mut Tailwater {
        &mut self.node
    }

    pub(super) fn rss(&self) -> Result<u64> {
        self.node.rss_bytes()
    }

    /// The memory that Redis has given out, in bytes; 0 without Redis.
    pub(super) async fn redis_memory(&self) -> Result<u64> {
        self.redis_info("used_memory").await
    }

    /// The bytes that Redis has sent since its start; 0 without Redis.
    pub(super) async fn redis_sent(&self) -> Result<u64> {
        self.redis_info("total_net_output_bytes").await
    }

    async fn redis_info(&self, field: &str) -> Result<u64> {
        let Some(redis) = &self.redis else { return Ok(0) };
        let value = redis.info(field).await?;
        value.parse().with_context(|| format!("{field} is {value}"))
    }

    /// The value of a metric, with its labels; 0 if the node has none of this name.
    pub(super) async fn metric(&self, name: &str) -> Result<f64> {
        let text = self.node.metrics().await?;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(value.and_then(|value| value.parse().ok()).unwrap_or(0.0))
    }

    /// Returns true if the node is alive and ready.
    pub(super) async fn is_well(&self) -> bool {
        let is_alive = http::get(self.admin(), "/livez").await.is_ok_and(|live| live.status == 200);
        is_alive && self.node.is_ready().await
    }

    /// The greatest part of each limit that one address has; empty for a build without limits.
    pub(super) async fn greatest_parts(&self) -> BTreeMap<String, u64> {
        let text = self.node.metrics().await.unwrap_or_default();
        let part = |line: &str| {
            let rest = line.strip_prefix("tailwater_limit_address_used{limit=\"")?;
            let (limit, value) = rest.split_once("\"} ")?;
            Some((limit.to_owned(), value.parse().ok()?))
        };
        text.lines().filter_map(part).collect()
    }

    /// Publishes `count` events of `bytes` each into a topic.
    pub(super) async fn fill(&self, topic: &str, count: usize, bytes: usize) -> Result<()> {
        let mut http = http::Client::new(self.addr());
        let path = format!("/v1/events?topic={topic}");
        for _ in 0..count {
            let answer = http.post(&path, &[], vec![b'x'; bytes]).await?;
            ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
        }
        Ok(())
    }
}

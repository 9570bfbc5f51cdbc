//! The node under siege, with its log.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

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
}

/// Memory of Redis, which a flood of new topics would fill within a second.
const REDIS_MEMORY: &str = "64mb";
/// The node's budget for clients, in bytes.
pub(super) const BUDGET_BYTES: u64 = 64 << 20;
/// Open connections, of which the attacker would take all.
const MAX_OPEN: &str = "1000";

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
        let node = Tailwater::serve(program)
            .env("TAILWATER_TRUSTED_PROXIES", "none")
            .env("TAILWATER_MEMORY_BUDGET", BUDGET_BYTES.to_string())
            .env("TAILWATER_MAX_OPEN", MAX_OPEN)
            .flag("--log-level", "warn");
        let node = match &redis {
            Some(redis) => node.redis(redis),
            None => node,
        };
        let node = flags.iter().fold(node, |node, (flag, value)| node.flag(flag, value));
        Ok(Self { node: node.start().await?, redis })
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

    pub(super) async fn is_ready(&self) -> bool {
        self.node.is_ready().await
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

//! Opens a log whose servers have proven that they have everything that it needs, and renews its credentials.

use std::collections::BTreeSet;
use std::sync::Arc;

use event_log::ReadError;
use tokio::time::timeout;

use super::RedisLog;
use crate::address::Address;
use crate::config::Config;
use crate::error::{ConnectError, Failure};
use crate::server::MemoryInfo;
use crate::topology::Map;
use crate::url::RedisUrl;

impl RedisLog {
    /// Opens the log, and checks every primary first. The rules of [`new`](Self::new) hold.
    ///
    /// # Errors
    /// A server cannot be reached, refuses the connection, is too old, runs in another mode than the
    /// URL says, does not give the user a right that the log needs, cannot give the configured durability now, or
    /// may evict what the log stores; or the store has other spaces.
    pub async fn connect(config: Config) -> Result<Arc<Self>, ConnectError> {
        let url = config.url.clone();
        let log = Self::new(config);
        let primaries = log.primaries().await.map_err(|failure| ConnectError::Unreachable {
            url: url.clone(),
            reason: failure.to_string(),
        })?;
        for primary in &primaries {
            log.check(primary).await?;
        }
        // Without an answer the log asks again, and nothing is served until it has one.
        if let Err(Failure::Spaces { ours, theirs }) = log.store.agree().await {
            return Err(ConnectError::Spaces { url, ours, theirs });
        }
        tracing::info!(%url, ?primaries, "log opened");
        Ok(log)
    }

    /// Opens the log with the spaces of its store, for an operator. The rules of [`new`](Self::new) hold.
    ///
    /// # Errors
    /// The primary that has them cannot be reached.
    pub async fn adopt(config: Config) -> Result<Arc<Self>, ReadError> {
        let log = Self::new(config.clone());
        let spaces = log.stored_spaces().await?.unwrap_or_default();
        if spaces == config.spaces {
            return Ok(log);
        }
        Ok(Self::new(Config { spaces, ..config }))
    }

    /// The servers that this log reads from, in words, once each of them has answered a read.
    ///
    /// # Errors
    /// A primary or a source cannot be reached, or refuses the log.
    pub async fn sources(&self) -> Result<Vec<String>, ConnectError> {
        let unreachable =
            |reason: String| ConnectError::Unreachable { url: self.config.url.clone(), reason };
        let reads_primaries = self.topology.reads_primaries();
        let known = self.known(|map| reads_primaries || map.is_chosen()).await;
        let map = known.map_err(|failure| unreachable(failure.to_string()))?;
        let mut sources = Vec::new();
        for (owner, source) in map.pairs() {
            let tried = self.store.try_source(&source, source == owner).await;
            tried.map_err(|failure| unreachable(format!("{source}: {failure}")))?;
            sources.push(match source == owner {
                true => format!("{source}, a primary"),
                false => format!("{source}, a replica of {owner}"),
            });
        }
        Ok(sources)
    }

    /// Takes the login and the certificates of another URL of the same servers, if every primary accepts
    /// them. Open connections stay; new ones use them. Returns true if they are others than before.
    ///
    /// # Errors
    /// A primary cannot be reached with them, or refuses them. Then the log keeps what it has.
    pub async fn renew(&self, url: &RedisUrl) -> Result<bool, ConnectError> {
        let credentials = &url.credentials;
        if *self.credentials.borrow() == *credentials {
            return Ok(false);
        }
        let trial = self.access.with(credentials.clone());
        let tried = async {
            for primary in self.primaries().await? {
                trial.connection(&primary).await.map_err(Failure::Unreached)?;
            }
            Ok(())
        };
        tried.await.map_err(|failure: Failure| ConnectError::Unreachable {
            url: url.clone(),
            reason: failure.to_string(),
        })?;
        self.credentials.send_replace(credentials.clone());
        Ok(true)
    }

    /// Waits until the primaries are known.
    pub(super) async fn primaries(&self) -> Result<BTreeSet<Address>, Failure> {
        Ok(self.known(|_| true).await?.primaries())
    }

    /// Waits for a map that has primaries and is complete.
    async fn known(&self, is_complete: impl Fn(&Map) -> bool) -> Result<Arc<Map>, Failure> {
        let Config { connect_timeout, timeout: answer, .. } = self.config;
        let limit = connect_timeout + answer;
        let mut map = self.topology.subscribe();
        let known = map.wait_for(|map| !map.primaries().is_empty() && is_complete(map));
        match timeout(limit, known).await {
            Ok(known) => Ok(Arc::clone(&*known.map_err(|_| Failure::Closed)?)),
            Err(_) => Err(self.topology.owner(0).err().unwrap_or(Failure::Late(limit))),
        }
    }

    /// Checks that a primary has everything that the log needs.
    async fn check(&self, primary: &Address) -> Result<(), ConnectError> {
        let Self { store, config, topology, .. } = self;
        let (url, durability) = (config.url.clone(), config.durability);
        let server = store.server(primary).await.map_err(|failure| ConnectError::Unreachable {
            url: url.clone(),
            reason: failure.to_string(),
        })?;
        if !server.is_new_enough() {
            return Err(ConnectError::TooOld { url, version: server.version });
        }
        if server.mode != topology.kind().mode() {
            return Err(ConnectError::Mode { url, mode: server.mode });
        }
        let missing = store.missing_rights(primary, config.presence).await.map_err(|failure| {
            ConnectError::Unreachable { url: url.clone(), reason: failure.to_string() }
        })?;
        if !missing.is_empty() {
            return Err(ConnectError::Rights { url, primary: primary.to_string(), missing });
        }
        store.prove(primary).await.map_err(|failure| ConnectError::Durability {
            url: url.clone(),
            durability,
            reason: match failure {
                Failure::Replicas { got, .. } => format!("{primary} has {got} replicas in sync"),
                other => format!("{primary}: {other}"),
            },
        })?;
        let memory = store.memory(primary).await;
        match memory.as_ref().and_then(MemoryInfo::evicts) {
            Some(policy) => {
                let policy = policy.to_owned();
                Err(ConnectError::Evicts { url, primary: primary.to_string(), policy })
            }
            None => Ok(()),
        }
    }
}

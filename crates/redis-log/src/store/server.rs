//! What kind of server it is.

use std::collections::HashMap;

use super::Store;
use crate::address::Address;
use crate::error::Failure;

/// The first version with sharded channels. Valkey counts on from it.
const VERSION_MIN: (u32, u32) = (7, 0);

/// What a server says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Server {
    /// As it gives it, `7.0.15`.
    pub(crate) version: String,
    /// `standalone`, `sentinel` or `cluster`.
    pub(crate) mode: String,
}

impl Server {
    /// Whether the version has all that the log needs.
    pub(crate) fn is_new_enough(&self) -> bool {
        let mut parts = self.version.split('.').map(|part| part.parse().unwrap_or(0));
        (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) >= VERSION_MIN
    }

    fn parse(info: &str) -> Self {
        let fields: HashMap<_, _> = info.lines().filter_map(|line| line.split_once(':')).collect();
        let field = |name| fields.get(name).copied().unwrap_or_default().trim().to_owned();
        // Valkey calls the mode by a name of its own, and keeps the version that it branched off at.
        let mode = [field("redis_mode"), field("server_mode")].concat();
        Self { version: field("redis_version"), mode }
    }
}

impl Store {
    /// Asks a primary what it is.
    pub(crate) async fn server(&self, address: &Address) -> Result<Server, Failure> {
        let mut connection = self.peers.get(address, false)?.connection().await?;
        let info: String = redis::cmd("INFO").arg("server").query_async(&mut connection).await?;
        Ok(Server::parse(&info))
    }

    /// Whether a primary can prove now what an append would ask it to prove.
    pub(crate) async fn prove(&self, address: &Address) -> Result<(), Failure> {
        let mut connection = self.peers.get(address, false)?.connection().await?;
        self.publisher.prove(&mut connection).await
    }

    /// What a primary does when its memory is full; `None` if it does not say.
    pub(crate) async fn eviction(&self, address: &Address) -> Option<String> {
        let mut connection = self.peers.get(address, false).ok()?.connection().await.ok()?;
        let answer: Vec<String> = redis::cmd("CONFIG")
            .arg("GET")
            .arg("maxmemory-policy")
            .query_async(&mut connection)
            .await
            .ok()?;
        answer.into_iter().nth(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(version: &str) -> Server {
        Server::parse(&format!("# Server\r\nredis_version:{version}\r\nredis_mode:standalone\r\n"))
    }

    #[test]
    fn servers_without_sharded_channels_are_too_old() {
        for version in ["7.0.0", "7.2.4", "8.6.3", "10.0.0"] {
            assert!(server(version).is_new_enough(), "{version}");
        }
        for version in ["6.2.14", "5.0.3", "", "x"] {
            assert!(!server(version).is_new_enough(), "{version}");
        }
    }
}

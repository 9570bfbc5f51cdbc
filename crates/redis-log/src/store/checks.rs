//! Questions to a primary before the log is opened.

use std::collections::HashMap;

use super::Store;
use crate::address::Address;
use crate::error::Failure;
use crate::plain::plain;
use crate::server::{Eviction, ServerInfo};

impl Store {
    /// Asks a primary for its version and its mode.
    pub(crate) async fn server(&self, address: &Address) -> Result<ServerInfo, Failure> {
        // A connection of its own: the pool refuses a server that is too old.
        let connected = self.peers.access().connection(address).await;
        let mut connection = connected.map_err(Failure::Unreached)?;
        Ok(ServerInfo::ask(&mut connection, "server").await?)
    }

    /// Asks a primary for the proof that an append would ask it for.
    pub(crate) async fn prove(&self, address: &Address) -> Result<(), Failure> {
        let mut connection = self.peers.get(address, false)?.connection().await?;
        let commands = self.proof.commands();
        if commands.is_empty() {
            return Ok(());
        }
        let mut pipeline = redis::pipe();
        pipeline.ignore_errors();
        for command in commands {
            pipeline.add_command(command);
        }
        self.proof.judge(pipeline.query_async(&mut connection).await?)
    }

    /// The policy by which a primary deletes keys that have not ended, if it does. `None` if it does not tell.
    pub(crate) async fn eviction(&self, address: &Address) -> Option<Eviction> {
        let mut connection = self.peers.get(address, false).ok()?.connection().await.ok()?;
        let answer: HashMap<String, String> = redis::cmd("CONFIG")
            .arg("GET")
            .arg("maxmemory*")
            .query_async(&mut connection)
            .await
            .ok()?;
        let policy = answer.get("maxmemory-policy")?;
        let is_bounded = answer.get("maxmemory").is_some_and(|bytes| bytes != "0");
        match is_bounded && policy != "noeviction" {
            true => Some(Eviction::By(plain(policy))),
            false => Some(Eviction::Never),
        }
    }
}

//! Questions to a primary before the log is opened.

use super::Store;
use crate::address::Address;
use crate::error::Failure;
use crate::server::{MemoryInfo, ServerInfo};

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

    /// Asks a primary for its memory. `None` if it does not tell.
    pub(crate) async fn memory(&self, address: &Address) -> Option<MemoryInfo> {
        let mut connection = self.peers.get(address, false).ok()?.connection().await.ok()?;
        let info: String =
            redis::cmd("INFO").arg("memory").query_async(&mut connection).await.ok()?;
        MemoryInfo::parse(&info)
    }
}

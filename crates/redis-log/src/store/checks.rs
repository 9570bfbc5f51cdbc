//! Questions to a primary before the log is opened.

use super::Store;
use crate::address::Address;
use crate::error::Failure;
use crate::server::ServerInfo;

impl Store {
    /// Asks a primary for its version and its mode.
    pub(crate) async fn server(&self, address: &Address) -> Result<ServerInfo, Failure> {
        let mut connection = self.peers.get(address, false)?.connection().await?;
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

    /// The eviction policy of a primary, or `None` if it does not tell.
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

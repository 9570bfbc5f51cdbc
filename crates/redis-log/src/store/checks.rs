//! Questions to a primary before the log is opened.

use event_log::{LogName, Topic};
use tokio::time::timeout;

use super::peer::Part;
use super::{Behind, Side, Store};
use crate::address::Address;
use crate::error::{Failure, Meaning};
use crate::keys;
use crate::server::{MemoryInfo, ServerInfo, info};
use crate::topology::replicas::Role;

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
        let mut connection = self.peers.get(address, Part::Primary)?.connection().await?;
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

    /// Checks that what the primary of a partition has told is true of its source as well: the source follows it.
    pub(super) async fn confirm_source(
        &self,
        partition: u32,
        asked: &Address,
    ) -> Result<(), Failure> {
        if self.topology.reads_primaries() {
            return Ok(());
        }
        if self.topology.owner(partition)? != *asked {
            let reason = format!("{asked} was replaced while it answered");
            return Err(Failure::NoPrimary(reason.into()));
        }
        let (source, Part::Replica) = self.server_on(Side::Source, partition)? else {
            return Ok(());
        };
        let mut connection = self.peers.get(&source, Part::Replica)?.connection().await?;
        match Role::ask(&mut connection, &source).await? {
            Some(Role::ReplicaOf { .. }) => Ok(()),
            Some(Role::Primary) | None => {
                self.topology.suspect();
                let reason = format!("{source} takes the primary's place");
                Err(Failure::NoPrimary(reason.into()))
            }
        }
    }

    /// Makes sure that a primary which calls a reader's position lost was not replaced meanwhile: it does not know what
    /// its successor has.
    pub(super) async fn confirm_loss(
        &self,
        topic: &LogName,
        found: &Behind,
    ) -> Result<(), Failure> {
        let Some(asked) = &found.lost_at else { return Ok(()) };
        let confirmed = timeout(self.timeout / 2, self.topology.confirmed()).await.is_ok();
        if confirmed && self.topology.owner(keys::partition(topic))? == *asked {
            return Ok(());
        }
        let reason = format!("{asked} has lost events, and may have been replaced");
        Err(Failure::NoPrimary(reason.into()))
    }

    /// Reads from a source.
    pub(crate) async fn try_source(
        &self,
        source: &Address,
        is_primary: bool,
    ) -> Result<(), Failure> {
        let part = if is_primary { Part::Primary } else { Part::Replica };
        let mut connection = self.peers.get(source, part)?.connection().await?;
        let head = self.keys.head(&Topic::new("tailwater-check").expect("a topic's name"));
        let read = redis::cmd("GET").arg(head).query_async::<Option<String>>(&mut connection).await;
        match read.map_err(Failure::Redis) {
            // A node of a cluster that does not serve this key answers all the same.
            Err(failure) if !matches!(failure.meaning(source), Meaning::Moved { .. }) => {
                Err(failure)
            }
            _ => Ok(()),
        }
    }

    /// Asks a primary for its memory. `None` if it does not tell.
    pub(crate) async fn memory(&self, address: &Address) -> Option<MemoryInfo> {
        let mut connection =
            self.peers.get(address, Part::Primary).ok()?.connection().await.ok()?;
        MemoryInfo::parse(&info(&mut connection, "memory").await.ok()?)
    }
}

//! Runs the script of leases, and other commands on several partitions.

use std::collections::BTreeMap;

use redis::{Cmd, Value};

use super::{Side, Store};
use crate::address::Address;
use crate::error::Failure;

/// The answer of a partition.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LeaseReply {
    /// True if the node had a lease there before.
    pub(crate) had_lease: bool,
    /// The nodes that have one.
    pub(crate) nodes: u32,
    /// True if the counts were accepted.
    pub(crate) accepted: bool,
}

impl Store {
    /// Runs the script of leases, each command with its partition. The answers are in no order.
    pub(crate) async fn leases(
        &self,
        commands: Vec<(u32, Cmd)>,
    ) -> Result<Vec<LeaseReply>, Failure> {
        self.each(commands).await?.iter().map(|(_, reply)| parsed(reply)).collect()
    }

    /// Runs commands, each with its partition, in one pipeline to each primary. The answers are in no order, each
    /// with its partition.
    pub(crate) async fn each(
        &self,
        commands: Vec<(u32, Cmd)>,
    ) -> Result<Vec<(u32, Value)>, Failure> {
        let mut by_owner: BTreeMap<Address, (Vec<u32>, Vec<Cmd>)> = BTreeMap::new();
        for (partition, command) in commands {
            let owner = self.topology.owner(partition).inspect_err(|_| self.topology.suspect())?;
            let (partitions, commands) = by_owner.entry(owner).or_default();
            partitions.push(partition);
            commands.push(command);
        }
        let mut replies = Vec::new();
        for (partitions, commands) in by_owner.into_values() {
            let answers = self.ask(Side::Primary, partitions[0], &commands).await?;
            replies.extend(partitions.into_iter().zip(answers));
        }
        Ok(replies)
    }
}

fn parsed(reply: &Value) -> Result<LeaseReply, Failure> {
    let (had, nodes, accepted): (u8, u32, u8) = redis::from_redis_value_ref(reply)
        .map_err(|_| Failure::Answer("a lease's reply is no three numbers"))?;
    Ok(LeaseReply { had_lease: had == 1, nodes, accepted: accepted == 1 })
}

//! Runs the script of leases.

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
    /// Runs commands, each with its partition, in one pipeline to each primary. The answers are in no order.
    pub(crate) async fn leases(
        &self,
        commands: Vec<(u32, Cmd)>,
    ) -> Result<Vec<LeaseReply>, Failure> {
        let mut by_owner: BTreeMap<Address, (u32, Vec<Cmd>)> = BTreeMap::new();
        for (partition, command) in commands {
            let owner = self.topology.owner(partition).inspect_err(|_| self.topology.suspect())?;
            by_owner.entry(owner).or_insert((partition, Vec::new())).1.push(command);
        }
        let mut replies = Vec::new();
        for (partition, commands) in by_owner.into_values() {
            for reply in self.ask(Side::Primary, partition, &commands).await? {
                replies.push(parsed(&reply)?);
            }
        }
        Ok(replies)
    }
}

fn parsed(reply: &Value) -> Result<LeaseReply, Failure> {
    let (had, nodes, accepted): (u8, u32, u8) = redis::from_redis_value_ref(reply)
        .map_err(|_| Failure::Answer("a lease's reply is no three numbers"))?;
    Ok(LeaseReply { had_lease: had == 1, nodes, accepted: accepted == 1 })
}

//! Counts of subjects on all nodes, each held by a lease of its node (`leases.lua`).
//!
//! A node has one lease in each of a few partitions, so that in a cluster a lease and its counts live in one
//! slot. Everything that it writes ends with its lease.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use limits::{Leases, LeasesAway, Standing, SubjectCount, SubjectId};
use redis::Cmd;

use crate::error::Failure;
use crate::keys::PARTITIONS;
use crate::life::Life;
use crate::scripts::LEASES;
use crate::store::Store;

/// The counts of subjects on all nodes, for one node.
#[derive(Debug)]
pub struct RedisLeases {
    store: Arc<Store>,
    life: Life,
    node: Box<str>,
}

/// The time after which a node that does not renew its leases has none: some reports, and less than the time
/// in which places must be given back.
const LEASE: Duration = Duration::from_secs(6);
/// The partitions that hold leases. Each costs every node a command a second. It can never change while
/// nodes of two versions run together.
const LEASE_PARTITIONS: u32 = 16;
/// The bound in a report, which asks nothing.
const NO_BOUND: i64 = -1;

impl RedisLeases {
    pub(crate) fn new(store: &Arc<Store>, life: &Life) -> Self {
        // No two nodes may share a name, as those of one machine would, and a node that starts again is another.
        let node = format!("{:016x}", RandomState::new().hash_one(SystemTime::now()));
        Self { store: Arc::clone(store), life: life.clone(), node: node.into() }
    }

    fn command(&self, partition: u32, max: i64, counts: &[SubjectCount]) -> Cmd {
        let keys = self.store.keys();
        let own = keys.counts(partition) + &self.node;
        let mut command = redis::cmd("EVALSHA");
        command.arg(LEASES.sha()).arg(2).arg(keys.leases(partition)).arg(own);
        command.arg(&*self.node).arg(LEASE.as_millis() as u64).arg(max);
        for SubjectCount { subject, count, version } in counts {
            command.arg(format!("{:x}", subject.get())).arg(*count).arg(*version);
        }
        command
    }
}

#[async_trait]
impl Leases for RedisLeases {
    async fn report(&self, counts: &[SubjectCount]) -> Result<Standing, LeasesAway> {
        let mut groups: Vec<(u32, Vec<SubjectCount>)> =
            (0..LEASE_PARTITIONS).map(|i| (i * (PARTITIONS / LEASE_PARTITIONS), vec![])).collect();
        for count in counts {
            let (_, group) = &mut groups[of(count.subject) as usize];
            group.push(*count);
        }
        let commands: Vec<_> = groups
            .iter()
            .map(|(partition, group)| (*partition, self.command(*partition, NO_BOUND, group)))
            .collect();
        let replies = self
            .life
            .at_home(self.store.leases(commands))
            .await
            .map_err(|failure| away(&failure))?;
        let (nodes, had) = replies.iter().fold((1, true), |(nodes, had), reply| {
            (nodes.max(reply.nodes), had && reply.had_lease)
        });
        Ok(Standing { nodes, lost: !had })
    }

    async fn ask(&self, count: SubjectCount, max: u32) -> Result<bool, LeasesAway> {
        let partition = of(count.subject) * (PARTITIONS / LEASE_PARTITIONS);
        let command = self.command(partition, i64::from(max), &[count]);
        let asked = self.store.leases(vec![(partition, command)]);
        let replies = self.life.at_home(asked).await.map_err(|failure| away(&failure))?;
        Ok(replies.iter().all(|reply| reply.accepted))
    }
}

/// The number of the lease that a subject is counted by.
fn of(subject: SubjectId) -> u32 {
    (subject.get() % u64::from(LEASE_PARTITIONS)) as u32
}

fn away(failure: &Failure) -> LeasesAway {
    LeasesAway(failure.to_string())
}

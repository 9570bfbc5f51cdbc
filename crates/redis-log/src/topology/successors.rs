//! The replicas that may take a primary's place, beside the source. An event that one of them lacks may be lost in a
//! fail-over, so a node that reads from replicas delivers it only when each of them has it.
//!
//! A replica is no successor if its priority is 0, because sentinels never promote it. It is none either while this
//! node cannot reach it: readers do not wait for a server of which nobody here knows anything.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;

use super::sentinel::within;
use crate::access::Access;
use crate::address::Address;
use crate::server::info;

/// Time after which a replica is asked again for its priority, which an operator may change.
const PRIORITY_AGE: Duration = Duration::from_secs(30);

/// The answers of the replicas of one primary.
#[derive(Debug, Default)]
pub(super) struct Successors {
    /// The replicas that have answered: when, and true if they may be promoted.
    answers: HashMap<Address, (Instant, bool)>,
}

impl Successors {
    /// Asks those of the fit replicas that have not answered for a while, and forgets the others.
    pub(super) async fn ask<'a>(
        &mut self,
        access: &Access,
        fit: impl Iterator<Item = &'a Address>,
    ) {
        let now = Instant::now();
        let mut answers = HashMap::new();
        let mut due = Vec::new();
        for replica in fit {
            match self.answers.remove(replica) {
                Some(answer) if now - answer.0 < PRIORITY_AGE => {
                    answers.insert(replica.clone(), answer);
                }
                _ => due.push(replica),
            }
        }
        let asked = due.into_iter().map(|replica| async move {
            let said = within(access.connect_timeout, async {
                let mut connection = access.connection(replica).await?;
                info(&mut connection, "replication").await
            });
            said.await.ok().map(|info| (replica.clone(), (now, is_promotable(&info))))
        });
        answers.extend(join_all(asked).await.into_iter().flatten());
        self.answers = answers;
    }

    /// Returns true if a replica has answered and may be promoted.
    pub(super) fn has(&self, replica: &Address) -> bool {
        self.answers.get(replica).is_some_and(|(_, promotable)| *promotable)
    }
}

/// Returns true if the section `replication` of a replica's INFO does not exclude its promotion.
fn is_promotable(info: &str) -> bool {
    let priority = info.lines().find_map(|line| line.strip_prefix("slave_priority:"));
    priority.is_none_or(|priority| priority.trim() != "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Successors {
        pub(crate) fn say(&mut self, replica: &Address, promotable: bool) {
            self.answers.insert(replica.clone(), (Instant::now(), promotable));
        }
    }

    #[test]
    fn a_replica_of_priority_0_is_never_promoted() {
        assert!(is_promotable("role:slave\r\nslave_priority:100\r\nslave_read_only:1\r\n"));
        assert!(!is_promotable("role:slave\r\nslave_priority:0\r\n"));
        assert!(is_promotable("role:master\r\n"), "it was promoted meanwhile");
    }
}

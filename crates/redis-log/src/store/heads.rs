//! Reads the heads of many topics at once.

use std::collections::BTreeMap;

use event_log::LogName;
use futures_util::future::join_all;
use redis::{Cmd, RedisError, Value};

use super::peer::Part;
use super::{Side, Store};
use crate::address::Address;
use crate::error::{Failure, Meaning};
use crate::head::LogHead;
use crate::keys;

/// Keys that one MGET names. Redis serves no other client during it.
const MGET_MAX: usize = 512;
/// MGETs that one pipeline carries.
const PIPELINE_MAX: usize = 64;

/// The result of reading a topic's head.
pub(crate) type HeadRead = Result<Option<LogHead>, Failure>;

impl Store {
    /// Reads the head of each topic on one side, in the order given. A failure is not tried again: the callers come
    /// back.
    pub(crate) async fn heads(&self, side: Side, topics: &[&LogName]) -> Vec<HeadRead> {
        let mut heads = vec![Err(Failure::Closed); topics.len()];
        let mut by_server: BTreeMap<(Address, Part), Vec<Vec<usize>>> = BTreeMap::new();
        for group in groups(topics) {
            match self.server_on(side, keys::partition(topics[group[0]])) {
                Ok(server) => by_server.entry(server).or_default().push(group),
                Err(failure) => {
                    self.topology.suspect();
                    group.iter().for_each(|i| heads[*i] = Err(failure.clone()));
                }
            }
        }
        let asked = by_server.iter();
        let asked = asked.map(|(server, groups)| self.heads_at((side, server), topics, groups));
        for (groups, found) in by_server.values().zip(join_all(asked).await) {
            for (i, found) in groups.iter().flatten().zip(found.into_iter().flatten()) {
                heads[*i] = found;
            }
        }
        heads
    }

    /// Reads the heads on one server, by group.
    async fn heads_at(
        &self,
        (side, server): (Side, &(Address, Part)),
        topics: &[&LogName],
        groups: &[Vec<usize>],
    ) -> Vec<Vec<HeadRead>> {
        let mut found = Vec::with_capacity(groups.len());
        for some in groups.chunks(PIPELINE_MAX) {
            let replies = self.mget(server, topics, some).await;
            for (group, reply) in some.iter().zip(replies) {
                found.push(self.group((side, &server.0), topics, group, reply).await);
            }
        }
        found
    }

    async fn mget(
        &self,
        (server, part): &(Address, Part),
        topics: &[&LogName],
        groups: &[Vec<usize>],
    ) -> Vec<Result<Vec<Value>, Failure>> {
        let mut pipeline = redis::pipe();
        pipeline.ignore_errors();
        for group in groups {
            let names: Vec<_> = group.iter().map(|i| self.keys.head(topics[*i])).collect();
            pipeline.cmd("MGET").arg(names);
        }
        let asked = async {
            let mut connection = self.peers.get(server, *part)?.connection().await?;
            let replies: Vec<Result<Vec<Value>, RedisError>> =
                pipeline.query_async(&mut connection).await?;
            Ok(replies.into_iter().map(|reply| reply.map_err(Failure::Redis)).collect())
        };
        asked.await.unwrap_or_else(|failure| vec![Err(failure); groups.len()])
    }

    async fn group(
        &self,
        (side, server): (Side, &Address),
        topics: &[&LogName],
        group: &[usize],
        reply: Result<Vec<Value>, Failure>,
    ) -> Vec<HeadRead> {
        let heads = match reply {
            Ok(values) => Ok(values),
            Err(failure) => match failure.meaning(server) {
                // The slot is moving: some of the keys are here, some there.
                Meaning::Ask { .. } | Meaning::NotYet => {
                    let get = |i: &usize| -> Cmd {
                        redis::cmd("GET").arg(self.keys.head(topics[*i])).take()
                    };
                    let gets: Vec<_> = group.iter().map(get).collect();
                    self.ask(side, keys::partition(topics[group[0]]), &gets).await
                }
                meaning => {
                    self.refusals.note(server, &failure);
                    self.take_evidence(server, &meaning);
                    Err(failure)
                }
            },
        };
        match heads {
            Ok(values) => values.into_iter().map(|value| self.head(value)).collect(),
            Err(failure) => vec![Err(failure); group.len()],
        }
    }
}

/// Groups topics, as indices, for one command each: the topics of a partition.
fn groups(topics: &[&LogName]) -> Vec<Vec<usize>> {
    let mut order: Vec<_> = (0..topics.len()).map(|i| (keys::partition(topics[i]), i)).collect();
    order.sort_unstable();
    order
        .chunk_by(|a, b| a.0 == b.0)
        .flat_map(|same| same.chunks(MGET_MAX))
        .map(|same| same.iter().map(|(_, i)| *i).collect())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_names_topics_of_one_partition_and_not_too_many() {
        let topics: Vec<_> =
            (0..200_000).map(|i| LogName::parse(&format!("device/{i}")).unwrap()).collect();
        let topics: Vec<_> = topics.iter().collect();
        let groups = groups(&topics);
        assert_eq!(groups.iter().map(Vec::len).sum::<usize>(), topics.len());
        for group in groups {
            assert!(group.len() <= MGET_MAX);
            let partition = keys::partition(topics[group[0]]);
            assert!(group.iter().all(|i| keys::partition(topics[*i]) == partition));
        }
    }
}

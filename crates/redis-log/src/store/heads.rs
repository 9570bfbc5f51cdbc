//! The heads of many topics at once.

use event_log::Topic;
use redis::Value;

use super::{Store, view};
use crate::error::Failure;
use crate::head::Head;
use crate::keys;

/// Keys that one MGET names: Redis serves nobody else meanwhile.
const MGET_MAX: usize = 512;
/// MGETs that one pipeline carries.
const PIPELINE_MAX: usize = 64;

impl Store {
    /// The head of each topic, in the order given.
    pub(crate) async fn heads(&self, topics: &[&Topic]) -> Result<Vec<Option<Head>>, Failure> {
        let mut heads = vec![None; topics.len()];
        for group in groups(topics).chunks(PIPELINE_MAX) {
            let mut pipeline = redis::pipe();
            for indices in group {
                let names: Vec<_> = indices.iter().map(|i| keys::head(topics[*i])).collect();
                pipeline.cmd("MGET").arg(names);
            }
            let mut connection = self.connection().await?;
            let replies: Vec<Vec<Value>> = pipeline.query_async(&mut connection).await?;
            drop(connection);
            for (indices, replies) in group.iter().zip(replies) {
                for (i, reply) in indices.iter().zip(replies) {
                    heads[*i] = view::head(reply)?;
                }
            }
        }
        Ok(heads)
    }
}

/// The topics, as indices, that may stand in one command: those of a partition.
fn groups(topics: &[&Topic]) -> Vec<Vec<usize>> {
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
            (0..200_000).map(|i| Topic::new(&format!("device/{i}")).unwrap()).collect();
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

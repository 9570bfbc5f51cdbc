//! Raising heads to what was acknowledged here.

use event_log::{Position, Topic};
use futures_util::stream::{self, StreamExt};

use super::{Found, Store};
use crate::error::Failure;
use crate::head::Head;
use crate::keys;
use crate::publish;
use crate::witness::Witnesses;

/// Heads raised at a time: a fail-over may leave one for each topic.
const RAISES: usize = 16;

impl Store {
    pub(crate) fn witnesses(&self) -> &Witnesses {
        &self.publisher.witnesses
    }

    /// The head of each topic, in the order given, none of them behind what was acknowledged here.
    pub(crate) async fn raised_heads(&self, topics: &[&Topic]) -> Vec<Found> {
        let mut heads = self.heads(topics).await;
        let behind: Vec<_> = (0..topics.len())
            .filter_map(|i| {
                let witness = self.witnesses().of(topics[i])?;
                let head = heads[i].as_ref().ok()?.as_ref()?;
                head.may_lack(witness).then_some((i, witness))
            })
            .collect();
        let raised: Vec<_> = stream::iter(behind)
            .map(|(i, witness)| async move { (i, self.raise(topics[i], witness).await) })
            .buffer_unordered(RAISES)
            .collect()
            .await;
        for (i, head) in raised {
            heads[i] = head;
        }
        heads
    }

    /// Raises one head, and returns what it is now.
    async fn raise(&self, topic: &Topic, witness: Position) -> Result<Option<Head>, Failure> {
        let command = self.publisher.raise(topic, witness);
        let answers = match self.ask(keys::partition(topic), &[command]).await {
            Err(failure) if publish::forgot(&failure) => {
                let owner = self.topology.owner(keys::partition(topic))?;
                let mut connection = self.peers.get(&owner, false)?.connection().await?;
                publish::load(&mut connection).await?;
                drop(connection);
                let command = self.publisher.raise(topic, witness);
                self.ask(keys::partition(topic), &[command]).await?
            }
            answers => answers?,
        };
        let answer = answers.into_iter().next().unwrap_or_default();
        let mut raised = false;
        for answer in publish::answers(Ok(answer), 1) {
            raised = answer?.is_new();
        }
        let (head, []) = self.view(topic, []).await?;
        if raised {
            tracing::info!(%topic, %witness, "the log has lost acknowledged events: their numbers are skipped");
        }
        Ok(head)
    }
}

//! Raises heads to the last positions that were acknowledged here.

use event_log::{Position, Topic};
use futures_util::stream::{self, StreamExt};

use super::{HeadRead, Store};
use crate::error::Failure;
use crate::head::LogHead;
use crate::keys;
use crate::publish;

/// Heads that are raised at the same time. After a fail-over it may be one for each topic.
const RAISES: usize = 16;

impl Store {
    /// Reads the head of each topic, in the order given. A head behind its witness is raised first.
    pub(crate) async fn raised_heads(&self, topics: &[&Topic]) -> Vec<HeadRead> {
        let mut heads = self.heads(topics).await;
        let behind: Vec<_> = (0..topics.len())
            .filter_map(|i| {
                let witness = self.witnesses.of(topics[i])?;
                let head = heads[i].as_ref().ok()?.as_ref()?;
                head.may_lack(witness).then_some((i, witness))
            })
            .collect();
        let raised: Vec<_> = stream::iter(behind)
            .map(|(i, witness)| async move { (i, self.raise(topics[i], witness).await) })
            .buffer_unordered(RAISES)
            .collect()
            .await;
        let mut full = 0;
        for (i, head) in raised {
            match head {
                // Readers go on with the head as it is. As long as no head can be raised, no number can
                // be given out again either, and the append that gets room brings its witness along.
                Err(failure) if failure.is_full() => full += 1,
                head => heads[i] = head,
            }
        }
        if full > 0 {
            tracing::debug!(heads = full, "redis is full: heads stay behind their witnesses");
        }
        heads
    }

    /// Raises one head, and returns it.
    async fn raise(&self, topic: &Topic, witness: Position) -> Result<Option<LogHead>, Failure> {
        let command = self.publisher.raise(topic, witness);
        let answers = self.ask(keys::partition(topic), &[command]).await?;
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

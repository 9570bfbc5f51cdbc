//! Raises heads to the last positions that were acknowledged here.

use event_log::{LogName, Position};
use futures_util::stream::{self, StreamExt};

use super::{HeadRead, Side, Store};
use crate::error::Failure;
use crate::head::LogHead;
use crate::keys;
use crate::publish;

/// Heads that are raised at the same time. After a fail-over it may be one for each topic.
const RAISES: usize = 16;

impl Store {
    /// Reads the head of each topic, in the order given. A head behind its witness is raised first.
    /// Returns the number of heads, too, that a full Redis has not raised: they are as they were read,
    /// because readers must go on. As long as Redis is full, no number can be given out again either.
    pub(crate) async fn raised_heads(&self, topics: &[&LogName]) -> (Vec<HeadRead>, usize) {
        let mut heads = self.heads(Side::Primary, topics).await;
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
                Err(failure) if failure.is_full() => full += 1,
                head => heads[i] = head,
            }
        }
        (heads, full)
    }

    /// Raises one head, and returns it.
    async fn raise(&self, topic: &LogName, witness: Position) -> Result<Option<LogHead>, Failure> {
        let command = self.publisher.raise(topic, witness);
        let answers = self.ask(Side::Primary, keys::partition(topic), &[command]).await?;
        let answer = answers.into_iter().next().unwrap_or_default();
        let mut raised = false;
        for answer in publish::answers(Ok(answer), 1) {
            raised = answer?.is_new();
        }
        let (head, []) = self.view(Side::Primary, topic, []).await?;
        if raised {
            tracing::info!(%topic, %witness, "the log has lost acknowledged events: their numbers are skipped");
        }
        Ok(head)
    }
}

//! The topics that the log stores, for an operator: their sizes, and the removal of topics and of events.
//!
//! Nodes need none of this, nor the rights to it.

use std::collections::HashSet;

use event_log::{
    Append, AppendError, Log as _, LogName, Mark, NewEvent, Position, ReadError, Spaces, Topic,
};
use futures_util::{StreamExt as _, stream};

use super::RedisLog;
use crate::store::{Side, StoredTopic};

/// Topics that are measured at the same time: half of the connections of a pool by default.
const MEASURES: usize = 8;

impl RedisLog {
    /// The spaces that the nodes of the store have agreed on, if any node has had spaces.
    ///
    /// # Errors
    /// The primary does not answer.
    pub async fn stored_spaces(&self) -> Result<Option<Spaces>, ReadError> {
        self.primaries().await?;
        Ok(self.store.stored_spaces(Side::Primary).await?)
    }

    /// Changes the spaces of the store. Nodes with others serve nothing from then on. What the logs of the topics that
    /// move hold is not moved with them.
    ///
    /// # Errors
    /// The primary does not answer, or the user lacks a right.
    pub async fn set_spaces(&self, spaces: &Spaces) -> Result<(), ReadError> {
        self.primaries().await?;
        Ok(self.store.put_spaces(spaces, "").await?)
    }

    /// Measures every topic that holds events and whose name is wanted, in no order, and calls `found` with
    /// each. A topic that begins or ends meanwhile may be left out.
    ///
    /// # Errors
    /// A primary does not answer, or the user lacks a right.
    pub async fn inventory(
        &self,
        wanted: impl Fn(&LogName) -> bool,
        mut found: impl FnMut(StoredTopic),
    ) -> Result<(), ReadError> {
        let store = &self.store;
        for primary in self.primaries().await? {
            // SCAN may return a name twice.
            let (mut seen, mut cursor) = (HashSet::new(), None);
            while cursor != Some(0) {
                let (next, topics) = store.scan(&primary, cursor.unwrap_or(0)).await?;
                let topics = topics.into_iter().filter(|topic| wanted(topic));
                let new: Vec<_> = topics.filter(|topic| seen.insert(topic.clone())).collect();
                let mut measured =
                    stream::iter(&new).map(|topic| store.measure(topic)).buffer_unordered(MEASURES);
                while let Some(topic) = measured.next().await {
                    topic?.into_iter().for_each(&mut found);
                }
                cursor = Some(next);
            }
        }
        Ok(())
    }

    /// Deletes a topic: its events, its numbering, its end and its idempotency keys. Its subscribers are told of a
    /// reset. Returns false if there is no such topic.
    ///
    /// # Errors
    /// As for any append.
    pub async fn delete(&self, topic: &Topic) -> Result<bool, AppendError> {
        self.primaries().await?;
        let deletion = NewEvent { mark: Mark::Deleted, ..NewEvent::default() };
        let mut results = self.append(vec![Append::new(topic.clone(), deletion)]).await;
        let receipt = results.pop().expect("a log answers for every event")?;
        Ok(!receipt.duplicate)
    }

    /// Erases one event from the log and from the memory of the nodes that watch its topic. The numbers of other
    /// events stay: a subscriber that comes to the place is told of a gap of one event. Returns false if the log
    /// does not hold the event.
    ///
    /// # Errors
    /// The primary does not answer, or the user lacks a right.
    pub async fn erase(&self, topic: &Topic, position: Position) -> Result<bool, ReadError> {
        self.primaries().await?;
        let log = self.config.spaces.log_of(topic);
        Ok(self.store.erase(&log, position).await?)
    }
}

//! A reading of a partition.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use event_log::{EventType, NewEvent, Topic};
use krafka::ConsumerRecord;
use krafka::consumer::{Consumer, TopicPartition};

use super::Reached;
use super::client::failure;
use super::entry::TopicStamp;
use crate::place::Place;
use crate::source::{Failure, Item, Lag, Reading};

/// The longest wait of one call of the client. It sees in this time that the topic was made again.
const POLL_MAX: Duration = Duration::from_secs(2);
/// Most bytes of a refused value that are shown.
const EXCERPT_BYTES: usize = 4096;

/// A consumer of one partition.
pub(super) struct PartitionReading {
    reached: Arc<Reached>,
    partition: i32,
    /// The topic's id.
    id: [u8; 16],
    era: u64,
    /// The offset after the last item.
    next: u64,
    /// Items that the next call returns.
    ready: Vec<Item>,
    consumer: Consumer,
    lag: Option<u64>,
}

impl PartitionReading {
    pub(super) fn new(
        reached: Arc<Reached>,
        partition: i32,
        id: [u8; 16],
        (era, next): (u64, u64),
        first: Option<Item>,
        consumer: Consumer,
    ) -> Self {
        let ready = first.into_iter().collect();
        Self { reached, partition, id, era, next, ready, consumer, lag: None }
    }

    /// Compares the topic with the one that was opened. The client goes on in a topic of the same name, at the same offset.
    async fn confirm(&self) -> Result<(), Failure> {
        // No request: the client asks again when a broker does not know the topic's id.
        let known = self.consumer.fetch_metadata(None).await.map_err(|error| failure(&error))?;
        let topic = known.topics.iter().find(|topic| topic.name == self.reached.name);
        match topic {
            Some(topic) if topic.topic_id != self.id => {
                Err(Failure::Away("the topic was deleted and made again".to_owned()))
            }
            _ => Ok(()),
        }
    }

    /// Makes items of records.
    fn items(&mut self, records: &[ConsumerRecord]) -> Result<Vec<Item>, Failure> {
        let mut items = Vec::with_capacity(records.len());
        for record in records {
            let offset = u64::try_from(record.offset).unwrap_or(0);
            if offset < self.next {
                let next = self.next;
                return Err(Failure::Away(format!("after offset {next} came {offset}")));
            }
            self.next = offset + 1;
            let place = self.place(record.leader_epoch);
            items.push(match self.reached.event(record) {
                Ok((topic, event)) => Item::Event { topic, event, place },
                Err(reason) => {
                    let value = record.value.as_deref().unwrap_or_default();
                    let value = &value[..value.len().min(EXCERPT_BYTES)];
                    let excerpt = String::from_utf8_lossy(value).into_owned();
                    Item::Bad { excerpt, reason, place }
                }
            });
        }
        Ok(items)
    }

    fn place(&self, epoch: Option<i32>) -> Place {
        TopicStamp { id: self.id, epoch }.place(self.era, self.next)
    }
}

#[async_trait]
impl Reading for PartitionReading {
    async fn next(&mut self) -> Result<Vec<Item>, Failure> {
        let name = self.reached.name.clone();
        let key = TopicPartition::new(&*name, self.partition);
        loop {
            // After the records, which are of the topic that the client knows now or of the one before.
            self.confirm().await?;
            if !self.ready.is_empty() {
                return Ok(std::mem::take(&mut self.ready));
            }
            let at = self.consumer.position(&name, self.partition).await;
            self.lag = self.consumer.lag().await.get(&key).and_then(|lag| lag.lag);
            let at = at.and_then(|at| u64::try_from(at).ok());
            if let Some(at) = at.filter(|at| *at > self.next) {
                // Marks of transactions and records of aborted ones: nothing to copy up to there.
                self.next = at;
                return Ok(vec![Item::Passed(self.place(None))]);
            }
            // Loses nothing when it is dropped.
            let records = self.consumer.poll(POLL_MAX).await.map_err(|error| failure(&error))?;
            self.ready = self.items(&records)?;
        }
    }

    async fn stored(&mut self, _up_to: &Place) -> Result<(), Failure> {
        Ok(())
    }

    fn lag(&self) -> Lag {
        Lag { events: self.lag, bytes: None }
    }
}

impl Reached {
    fn event(&self, record: &ConsumerRecord) -> Result<(Topic, NewEvent), String> {
        let topic = self.topic.render(|field| match field {
            // A character that is no UTF-8 becomes one that no topic has.
            "key" => record.key.as_deref().map(String::from_utf8_lossy),
            "topic" => Some(Cow::Borrowed(&self.name)),
            "partition" => Some(Cow::Owned(record.partition.to_string())),
            _ => None,
        });
        let topic = topic.map_err(|error| {
            let key = record.key.as_deref().map(String::from_utf8_lossy);
            format!("key {:?}: {error}", key.unwrap_or_default())
        })?;
        let header = &self.type_header;
        let kind = record.headers.iter().rev().find(|(name, _)| name == header);
        let kind = kind.and_then(|(_, value)| value.as_deref()).map(String::from_utf8_lossy);
        let kind = kind.map(|kind| EventType::new(&kind)).transpose();
        let kind = kind.map_err(|error| format!("header {header}: {error}"))?;
        let value = record.value.as_deref().ok_or("the record has no value: it is a tombstone")?;
        let data = std::str::from_utf8(value)
            .map_err(|error| format!("the value of {} bytes is not UTF-8: {error}", value.len()))?;
        Ok((topic, NewEvent { kind, data: data.into(), ..NewEvent::default() }))
    }
}

//! A partition as a source: connects, and compares its place with the log of the partition.

use std::sync::Arc;

use async_trait::async_trait;

use super::Reached;
use super::client::failure;
use super::entry::{Entry, PartitionState, TopicStamp};
use super::reading::PartitionReading;
use crate::begin::Begin;
use crate::place::Place;
use crate::source::{Failure, Reading, Source};

/// The source.
pub(super) struct Partition {
    reached: Arc<Reached>,
    part: u32,
    begin: Begin,
}

impl Partition {
    pub(super) const fn new(reached: Arc<Reached>, part: u32, begin: Begin) -> Self {
        Self { reached, part, begin }
    }
}

#[async_trait]
impl Source for Partition {
    async fn open(&mut self, after: Option<&Place>) -> Result<Box<dyn Reading>, Failure> {
        let reached = &self.reached;
        let partition = i32::try_from(self.part).unwrap_or(i32::MAX);
        let kafka = reached.connect().await?;
        let consumer = reached.consumer(&kafka).await?;
        consumer.assign(&reached.name, vec![partition]).await.map_err(|e| failure(&e))?;
        let told = reached.ask(&consumer).await?;
        if self.part >= told.partitions {
            let (part, count) = (self.part, told.partitions);
            return Err(Failure::Away(format!("the topic has {count} partitions, none is {part}")));
        }
        let watermarks = consumer.fetch_watermarks(&reached.name, partition).await;
        let (low, high) = watermarks.map_err(|error| failure(&error))?;
        let (low, high) = (offset(low)?, offset(high)?);
        let is_behind = after.is_some_and(|place| place.major < low);
        let is_whole = is_behind && reached.is_whole(&kafka).await;
        let stamp = after.map(TopicStamp::of).filter(|stamp| stamp.id == told.id);
        let epoch_end = match stamp.and_then(|stamp| stamp.epoch) {
            Some(epoch) => reached.epoch_end(&kafka, partition, epoch).await?,
            None => None,
        };
        let facts = PartitionState { id: told.id, low, high, epoch_end, is_whole };
        let entry = Entry::of(after, self.begin, &facts);
        let place = TopicStamp { id: told.id, epoch: None }.place(entry.era, entry.next);
        let first = entry.before.item(place);
        let from = i64::try_from(entry.next).unwrap_or(i64::MAX);
        consumer.seek(&reached.name, partition, from).await.map_err(|error| failure(&error))?;
        let reached = Arc::clone(reached);
        let next = (entry.era, entry.next);
        Ok(Box::new(PartitionReading::new(reached, partition, told.id, next, first, consumer)))
    }
}

fn offset(offset: i64) -> Result<u64, Failure> {
    u64::try_from(offset)
        .map_err(|_| Failure::Away(format!("the broker tells the offset {offset}")))
}

//! The commands of an operator on stored topics.

use std::time::Duration;

use event_log::{LogName, Position};
use redis::Value;

use super::landmarks;
use super::peer::Part;
use super::{Side, Store};
use crate::address::Address;
use crate::entry::Live;
use crate::error::Failure;
use crate::keys;
use crate::scripts::POSITIONS;

/// Names that one SCAN looks at. Redis serves no other client during it.
const SCAN_COUNT: u32 = 1000;

/// A topic, or a space with all its topics, as the log stores it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredTopic {
    /// The name of its log.
    pub log: LogName,
    /// The events that it holds.
    pub events: u64,
    /// The memory that its events take in Redis, in bytes.
    pub bytes: u64,
    /// The oldest event that it holds.
    pub oldest: Position,
    /// Its head: the position of its last event, which may be gone already.
    pub head: Position,
    /// Time since the append of the last event.
    pub quiet: Duration,
    /// True if it has ended.
    pub ended: bool,
    /// The nodes that watch it.
    pub watched: u64,
}

impl Store {
    /// Looks at some names on a primary. Returns the cursor for the next look, 0 after the last, and the topics that
    /// were found.
    pub(crate) async fn scan(
        &self,
        primary: &Address,
        cursor: u64,
    ) -> Result<(u64, Vec<LogName>), Failure> {
        let mut connection = self.peers.get(primary, Part::Primary)?.connection().await?;
        let mut command = redis::cmd("SCAN");
        command.arg(cursor).arg("MATCH").arg(self.keys.every_stream());
        command.arg("COUNT").arg(SCAN_COUNT);
        let (next, names): (u64, Vec<Vec<u8>>) = command.query_async(&mut connection).await?;
        let topic = |key: &Vec<u8>| {
            let key = str::from_utf8(key).ok()?;
            let name = self.keys.topic_of(key)?;
            LogName::parse(name).filter(|log| self.keys.stream(log) == key)
        };
        Ok((next, names.iter().filter_map(topic).collect()))
    }

    /// Measures a topic; `None` if it holds no events any more.
    pub(crate) async fn measure(&self, topic: &LogName) -> Result<Option<StoredTopic>, Failure> {
        const BAD: Failure = Failure::Answer("a measure is no number");
        let stream = self.keys.stream(topic);
        let commands = [
            redis::cmd("GET").arg(self.keys.head(topic)).take(),
            redis::cmd("XLEN").arg(&stream).take(),
            redis::cmd("MEMORY").arg("USAGE").arg(&stream).take(),
            POSITIONS.on(&stream).arg("o").arg(0).take(),
            redis::cmd("PUBSUB").arg("SHARDNUMSUB").arg(&stream).take(),
            redis::cmd("TIME"),
        ];
        let replies = self.ask(Side::Primary, keys::partition(topic), &commands).await?;
        let [head, events, bytes, places, watched, time] =
            <[Value; 6]>::try_from(replies).map_err(|_| BAD)?;
        let Some(places) = landmarks::parse(places)? else { return Ok(None) };
        let number = |value| redis::from_redis_value::<Option<u64>>(value).map_err(|_| BAD);
        let (_, watched): (String, u64) = redis::from_redis_value(watched).map_err(|_| BAD)?;
        let (seconds, _): (u64, u64) = redis::from_redis_value(time).map_err(|_| BAD)?;
        let head = self.head(head)?.map_or((places.newest, places.ended), |head| {
            (head.position().max(places.newest), head.ended)
        });
        Ok(Some(StoredTopic {
            log: topic.clone(),
            events: number(events)?.unwrap_or_default(),
            bytes: number(bytes)?.unwrap_or_default(),
            oldest: places.oldest,
            head: head.0,
            quiet: Duration::from_millis((seconds * 1000).saturating_sub(head.0.ms)),
            ended: head.1,
            watched,
        }))
    }

    /// Erases an event. Returns false if there was none.
    pub(crate) async fn erase(&self, topic: &LogName, position: Position) -> Result<bool, Failure> {
        let stream = self.keys.stream(topic);
        let erasing = redis::cmd("XDEL").arg(&stream).arg(position.to_string()).take();
        let telling = redis::cmd("SPUBLISH").arg(&stream).arg(Live::erased(position)).take();
        // The nodes forget it whether the log still held it or not.
        let replies = self.ask(Side::Primary, keys::partition(topic), &[erasing, telling]).await?;
        Ok(count(replies)? > 0)
    }
}

fn count(replies: Vec<Value>) -> Result<u64, Failure> {
    let first = replies.into_iter().next().unwrap_or_default();
    redis::from_redis_value(first).map_err(|_| Failure::Answer("a count is no number"))
}

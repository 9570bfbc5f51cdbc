//! One look at a topic: its head, then some of its events.
//!
//! The order is what makes the two agree, and no transaction is needed (with its memory full Redis
//! refuses any, even of reads). What is appended between the two commands shows as events beyond the
//! head, which is no gap; asked the other way round, the head would be beyond the events, which is one.

use event_log::{Event, Position, Topic};
use redis::{Cmd, Value};

use super::Store;
use crate::entry;
use crate::error::Failure;
use crate::head::Head;
use crate::keys;

/// Some of a topic's events.
#[derive(Debug, Clone, Copy)]
pub(super) enum Range {
    /// The oldest one.
    Oldest,
    /// So many after a position, oldest first.
    After(Position, usize),
    /// The first one of this time or later.
    Since(u64),
    /// So many of the newest, newest first.
    Newest(usize),
    /// So many before a position, newest first.
    Before(Position, usize),
}

impl Range {
    fn command(self, stream: &str) -> Cmd {
        let (name, from, to, count) = match self {
            Self::Oldest => ("XRANGE", "-".into(), "+".into(), 1),
            Self::After(position, count) => ("XRANGE", beyond(position), "+".into(), count),
            Self::Since(ms) => ("XRANGE", ms.to_string(), "+".into(), 1),
            Self::Newest(count) => ("XREVRANGE", "+".into(), "-".to_owned(), count),
            Self::Before(position, count) => ("XREVRANGE", beyond(position), "-".into(), count),
        };
        let mut command = redis::cmd(name);
        command.arg(stream).arg(from).arg(to).arg("COUNT").arg(count);
        command
    }
}

/// The bound that leaves a position out. Redis refuses it at the last position there can be, behind
/// which there is nothing: including it is as good.
fn beyond(position: Position) -> String {
    match position {
        Position { ms: u64::MAX, n: u64::MAX } | Position::START => position.to_string(),
        _ => format!("({position}"),
    }
}

impl Store {
    /// The head of a topic, and then the ranges. Events may be beyond the head, never missing before it.
    pub(super) async fn view<const N: usize>(
        &self,
        topic: &Topic,
        ranges: [Range; N],
    ) -> Result<(Option<Head>, [Vec<Event>; N]), Failure> {
        let stream = keys::stream(topic);
        let mut commands = vec![redis::cmd("GET").arg(keys::head(topic)).take()];
        commands.extend(ranges.map(|range| range.command(&stream)));
        let replies = self.ask(keys::partition(topic), &commands).await?;
        let mut replies = replies.into_iter();
        let head = head(replies.next().unwrap_or_default())?;
        let mut lists = [const { Vec::new() }; N];
        for (list, reply) in lists.iter_mut().zip(replies) {
            *list = events(topic, reply)?;
        }
        Ok((head, lists))
    }
}

/// A head key's value.
pub(super) fn head(reply: Value) -> Result<Option<Head>, Failure> {
    match reply {
        Value::Nil => Ok(None),
        Value::BulkString(bytes) => Ok(std::str::from_utf8(&bytes).ok().and_then(Head::parse)),
        _ => Err(Failure::Answer("a head is no string")),
    }
}

fn events(topic: &Topic, reply: Value) -> Result<Vec<Event>, Failure> {
    const BAD: Failure = Failure::Answer("a range is no list of entries");
    let Value::Array(entries) = reply else { return Err(BAD) };
    let event = |item: Value| {
        let Value::Array(parts) = item else { return None };
        let Ok([Value::BulkString(id), Value::Array(fields)]) = <[Value; 2]>::try_from(parts)
        else {
            return None;
        };
        let position = std::str::from_utf8(&id).ok()?.parse().ok()?;
        Some(Event::new(topic.clone(), position, entry::decode(payload(&fields))))
    };
    entries.into_iter().map(|item| event(item).ok_or(BAD)).collect()
}

/// The value of our field; of an entry from elsewhere, that of its first.
fn payload(fields: &[Value]) -> &[u8] {
    let mut pairs = fields.chunks_exact(2).filter_map(|pair| match pair {
        [Value::BulkString(field), Value::BulkString(value)] => Some((&field[..], &value[..])),
        _ => None,
    });
    let first = pairs.clone().next();
    let ours = pairs.find(|(field, _)| *field == entry::FIELD);
    ours.or(first).map_or(&[], |(_, value)| value)
}

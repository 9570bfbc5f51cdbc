//! The view of a topic: its head, then some of its events, in one pipeline.
//!
//! The order makes the two agree without a transaction, which Redis refuses when its memory is full,
//! even of reads. An event that is appended between the two commands shows as an event beyond the
//! head, which is no gap. In the other order the head would be beyond the events, which is a gap.

use std::sync::LazyLock;

use event_log::{Event, LogName, NewEvent, Position, Topic};
use redis::{Cmd, Value};

use super::{Fit, Side, Store};
use crate::entry;
use crate::error::Failure;
use crate::head::{FORMAT, LogHead, format_of};
use crate::keys;
use crate::scripts::PAGE;

/// Some of a topic's events.
#[derive(Debug, Clone, Copy)]
pub(super) enum Range {
    /// A number of events after a position, oldest first.
    After(Position, usize),
    /// The same, but no more than fit a weight; the first one always.
    Fitting(Position, usize, Fit),
    /// A number of the newest events, newest first.
    Newest(usize),
    /// A number of events before a position, newest first.
    Before(Position, usize),
}

impl Range {
    pub(super) fn command(self, stream: &str) -> Cmd {
        let (name, from, to, count) = match self {
            Self::Fitting(position, count, Fit { weight, first }) => {
                let mut command = PAGE.on(stream);
                command.arg(beyond(position)).arg(count).arg(weight).arg(empty_weight());
                return command.arg(first.clamp(1, count)).take();
            }
            Self::After(position, count) => ("XRANGE", beyond(position), "+".into(), count),
            Self::Newest(count) => ("XREVRANGE", "+".into(), "-".to_owned(), count),
            Self::Before(position, count) => ("XREVRANGE", beyond(position), "-".into(), count),
        };
        let mut command = redis::cmd(name);
        command.arg(stream).arg(from).arg(to).arg("COUNT").arg(count);
        command
    }
}

/// The weight of an event without data.
fn empty_weight() -> usize {
    static WEIGHT: LazyLock<usize> = LazyLock::new(|| {
        let topic = Topic::new("t").expect("a topic's name");
        Event::new(topic, Position::START, NewEvent::default()).weight()
    });
    *WEIGHT
}

/// The exclusive bound at a position. Redis refuses it at the largest position, after which no event
/// can follow: there the inclusive bound does the same.
fn beyond(position: Position) -> String {
    match position {
        Position { ms: u64::MAX, n: u64::MAX } | Position::START => position.to_string(),
        _ => format!("({position}"),
    }
}

impl Store {
    /// Reads the head of a topic, and then the ranges. Events may be beyond the head, but none before
    /// the head is missing.
    pub(super) async fn view<const N: usize>(
        &self,
        side: Side,
        topic: &LogName,
        ranges: [Range; N],
    ) -> Result<(Option<LogHead>, [Vec<Event>; N]), Failure> {
        let stream = self.keys.stream(topic);
        let mut commands = vec![redis::cmd("GET").arg(self.keys.head(topic)).take()];
        commands.extend(ranges.map(|range| range.command(&stream)));
        let replies = self.ask(side, keys::partition(topic), &commands).await?;
        let mut replies = replies.into_iter();
        let head = self.head(replies.next().unwrap_or_default())?;
        let mut lists = [const { Vec::new() }; N];
        for (list, reply) in lists.iter_mut().zip(replies) {
            *list = events(topic, reply)?;
        }
        Ok((head, lists))
    }

    /// Parses the value of a head key, and notes a format that this version does not know.
    pub(super) fn head(&self, reply: Value) -> Result<Option<LogHead>, Failure> {
        head(reply).inspect_err(|failure| self.formats.note(failure))
    }

    /// Reads a range of a topic from its source without its head, which the caller has read before.
    pub(super) async fn range(&self, topic: &LogName, range: Range) -> Result<Vec<Event>, Failure> {
        let command = range.command(&self.keys.stream(topic));
        let replies = self.ask(Side::Source, keys::partition(topic), &[command]).await?;
        events(topic, replies.into_iter().next().unwrap_or_default())
    }
}

/// Parses the value of a head key.
pub(crate) fn head(reply: Value) -> Result<Option<LogHead>, Failure> {
    match reply {
        Value::Nil => Ok(None),
        Value::BulkString(bytes) => {
            let text = str::from_utf8(&bytes).unwrap_or_default();
            match format_of(text) {
                newer if newer > FORMAT => Err(Failure::Newer(newer)),
                _ => Ok(LogHead::parse(text)),
            }
        }
        _ => Err(Failure::Answer("a head is no string")),
    }
}

/// Parses a range of entries.
pub(crate) fn events(log: &LogName, reply: Value) -> Result<Vec<Event>, Failure> {
    const BAD: Failure = Failure::Answer("a range is no list of entries");
    let Value::Array(entries) = reply else { return Err(BAD) };
    let event = |item: Value| {
        let Value::Array(parts) = item else { return None };
        let Ok([Value::BulkString(id), Value::Array(fields)]) = <[Value; 2]>::try_from(parts)
        else {
            return None;
        };
        let position = std::str::from_utf8(&id).ok()?.parse().ok()?;
        Some(entry::event(log, position, payload(&fields)))
    };
    entries.into_iter().map(|item| event(item).ok_or(BAD)).collect()
}

/// The value of our field, or of the first field in an entry that another program wrote.
fn payload(fields: &[Value]) -> &[u8] {
    let mut pairs = fields.chunks_exact(2).filter_map(|pair| match pair {
        [Value::BulkString(field), Value::BulkString(value)] => Some((&field[..], &value[..])),
        _ => None,
    });
    let first = pairs.clone().next();
    let ours = pairs.find(|(field, _)| *field == entry::FIELD);
    ours.or(first).map_or(&[], |(_, value)| value)
}

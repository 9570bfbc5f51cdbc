//! Landmarks: the positions of a topic that tell where a reader begins and what a gap is, without data.

use event_log::{Event, LogName, Position, Seek};
use redis::{Cmd, Value};

use super::view::{Range, events};
use super::{Side, Store};
use crate::error::Failure;
use crate::head::LogHead;
use crate::keys;
use crate::scripts::POSITIONS;

/// Positions of a topic that has events.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Landmarks {
    pub(crate) oldest: Position,
    pub(crate) newest: Position,
    /// True if the newest event ends the topic.
    pub(crate) ended: bool,
    /// True if the newest event tells of a publisher that broke off.
    pub(crate) broken: bool,
    /// The event that was looked for: the first that the reader gets.
    pub(crate) begin: Option<Position>,
}

impl Store {
    /// Reads the head of a topic, then its landmarks for a place in its history.
    pub(super) async fn landmarks(
        &self,
        topic: &LogName,
        seek: Seek,
    ) -> Result<(Option<LogHead>, Option<Landmarks>), Failure> {
        let (head, landmarks, _) = self.survey(Side::Source, topic, seek, None).await?;
        if head.is_some() || landmarks.is_some() {
            return Ok((head, landmarks));
        }
        // Only the primary knows that there is nothing.
        let (head, landmarks, _) = self.survey_primary(topic, seek, None).await?;
        Ok((head, landmarks))
    }

    /// Surveys a topic where nothing is missing that there is: at its primary, if the source still follows that. In a
    /// fail-over the old primary may have events that nobody will keep.
    pub(super) async fn survey_primary(
        &self,
        topic: &LogName,
        seek: Seek,
        range: Option<Range>,
    ) -> Result<(Option<LogHead>, Option<Landmarks>, Vec<Event>), Failure> {
        let partition = keys::partition(topic);
        let owner = self.topology.owner(partition)?;
        let surveyed = self.survey(Side::Primary, topic, seek, range).await?;
        self.confirm_source(partition, &owner).await?;
        Ok(surveyed)
    }

    /// Reads the head of a topic, then a range of its events, and then its landmarks.
    pub(super) async fn survey(
        &self,
        side: Side,
        topic: &LogName,
        seek: Seek,
        range: Option<Range>,
    ) -> Result<(Option<LogHead>, Option<Landmarks>, Vec<Event>), Failure> {
        let stream = self.keys.stream(topic);
        let mut commands = vec![redis::cmd("GET").arg(self.keys.head(topic)).take()];
        commands.extend(range.map(|range| range.command(&stream)));
        commands.push(command(&stream, seek));
        let mut replies = self.ask(side, keys::partition(topic), &commands).await?.into_iter();
        let head = self.head(replies.next().unwrap_or_default())?;
        let events = match range {
            Some(_) => events(topic, replies.next().unwrap_or_default())?,
            None => Vec::new(),
        };
        Ok((head, parse(replies.next().unwrap_or_default())?, events))
    }
}

fn command(stream: &str, seek: Seek) -> Cmd {
    let (kind, value) = match seek {
        Seek::Earliest => ("o", 0),
        Seek::Last(count) => ("n", count),
        Seek::Since(ms) => ("t", ms),
    };
    POSITIONS.on(stream).arg(kind).arg(value).take()
}

/// Parses the reply of `positions.lua`.
pub(crate) fn parse(reply: Value) -> Result<Option<Landmarks>, Failure> {
    const BAD: Failure = Failure::Answer("the landmarks are no positions");
    let words: Vec<String> = redis::from_redis_value(reply).map_err(|_| BAD)?;
    if words.is_empty() {
        return Ok(None);
    }
    let [oldest, newest, state, begin] = &words[..] else { return Err(BAD) };
    let position = |word: &String| word.parse().map_err(|_| BAD);
    let begin = if begin.is_empty() { None } else { Some(position(begin)?) };
    let (oldest, newest) = (position(oldest)?, position(newest)?);
    let (ended, broken) = (state == "e", state == "b");
    Ok(Some(Landmarks { oldest, newest, ended, broken, begin }))
}

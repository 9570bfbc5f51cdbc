//! The committed part of a topic: events that no fail-over can take back, because every server has it that may take the
//! primary's place.

use std::collections::BTreeSet;

use event_log::{Event, Generation, LogName, Position};
use futures_util::future::try_join_all;
use redis::Value;

use super::peer::Part;
use super::view::Range;
use super::{Side, Store};
use crate::address::Address;
use crate::error::{Failure, Meaning};
use crate::head::LogHead;
use crate::keys;

/// The part of a topic that readers may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Committed {
    /// All of it.
    All,
    /// The positions that each of these servers has. There is at least one.
    In(Vec<Had>),
}

/// The positions of a topic that a server has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Had {
    generation: Generation,
    /// The last event before the generation, if the source does not know the generation. Between the two lie numbers of
    /// events that the server has lost: it passes over them if a witness tells it to.
    before: Option<Position>,
}

impl Had {
    /// The bound of a position that the server does not have.
    fn bound(&self, position: Position) -> Option<Position> {
        let Self { generation: Generation { head, first }, before } = self;
        if position.ms < first.ms {
            match before {
                Some(before) => return (position > *before).then_some(*before),
                // A server that began a new generation has given the later numbers to other events, at later times.
                None if position.n >= first.n => return Some(first.before()),
                None => {}
            }
        }
        (position > *head).then_some(*head)
    }
}

impl Committed {
    /// Returns true if readers may see the event at a position, and everything before it.
    pub(crate) fn has(&self, position: Position) -> bool {
        self.clamp(position) == position
    }

    /// The position from which readers go on if they are not to pass this one: itself, or else the least bound.
    pub(crate) fn clamp(&self, position: Position) -> Position {
        let Self::In(all) = self else { return position };
        let bounds = all.iter().filter_map(|had| had.bound(position));
        bounds.min_by_key(|bound| bound.n).unwrap_or(position)
    }

    /// Drops the events that readers may not see yet. Returns true if there were some.
    pub(super) fn cut(&self, events: &mut Vec<Event>) -> bool {
        let count = events.len();
        events.retain(|event| self.has(event.position()));
        events.len() < count
    }
}

impl Store {
    /// Reads the head of a topic and some ranges from its source, and what is committed of it. The answers are of the
    /// same servers: if others were chosen meanwhile, all are asked again.
    pub(super) async fn view_committed<const N: usize>(
        &self,
        topic: &LogName,
        ranges: [Range; N],
    ) -> Result<(Option<LogHead>, [Vec<Event>; N], Committed), Failure> {
        let partition = keys::partition(topic);
        loop {
            let (source, successors) = self.readable(partition);
            let view = self.view(Side::Source, topic, ranges);
            if successors.is_empty() {
                let (head, events) = view.await?;
                if self.readable(partition).1.is_empty() {
                    return Ok((head, events, Committed::All));
                }
                continue;
            }
            let ((head, events), heads) =
                tokio::try_join!(view, self.heads_of(topic, &successors))?;
            let committed = self.committed(topic, head, heads).await?;
            if self.readable(partition) == (source, successors) {
                return Ok((head, events, committed));
            }
        }
    }

    /// The end of the committed part of a topic at this moment, where the source has this head.
    pub(super) async fn committed_now(
        &self,
        topic: &LogName,
        source: LogHead,
    ) -> Result<Committed, Failure> {
        let (_, successors) = self.readable(keys::partition(topic));
        if successors.is_empty() {
            return Ok(Committed::All);
        }
        let heads = self.heads_of(topic, &successors).await?;
        self.committed(topic, Some(source), heads).await
    }

    /// The source of a partition, and its successors.
    fn readable(&self, partition: u32) -> (Option<Address>, BTreeSet<Address>) {
        let source = self.topology.source(partition).ok();
        let map = self.topology.map();
        let successors = source.as_ref().map(|source| map.successors(source).clone());
        (source, successors.unwrap_or_default())
    }

    /// The head of a topic at each of these servers.
    async fn heads_of<'a>(
        &self,
        topic: &LogName,
        servers: &'a BTreeSet<Address>,
    ) -> Result<Vec<(&'a Address, Generation)>, Failure> {
        let heads =
            servers.iter().map(async |server| Ok((server, self.head_at(server, topic).await?)));
        try_join_all(heads).await
    }

    /// The part of a topic that all servers with these heads have, and the source with its own. A server whose generation
    /// the source does not know is asked for the end of the one before.
    async fn committed(
        &self,
        topic: &LogName,
        source: Option<LogHead>,
        heads: Vec<(&Address, Generation)>,
    ) -> Result<Committed, Failure> {
        let known = source.map_or(Position::START, |head| head.generation.first);
        let all = heads.into_iter().map(async |(server, generation)| {
            let before = match generation.first > known {
                true => Some(self.last_before(server, topic, generation.first).await?),
                false => None,
            };
            Ok::<_, Failure>(Had { generation, before })
        });
        Ok(Committed::In(try_join_all(all).await?))
    }

    /// The position of the last event of a topic before this one at a replica; the start if there is none.
    async fn last_before(
        &self,
        server: &Address,
        topic: &LogName,
        first: Position,
    ) -> Result<Position, Failure> {
        let read = [Range::Before(first, 1).command(&self.keys.stream(topic))];
        let replies = self.ask_at(server, Part::Replica, &read).await?;
        let entries: Vec<(String, Value)> =
            redis::from_redis_value(replies.into_iter().next().unwrap_or_default())
                .map_err(|_| Failure::Answer("the events of a topic are no list"))?;
        let Some((position, _)) = entries.first() else { return Ok(Position::START) };
        position.parse().map_err(|_| Failure::Answer("an event has no position"))
    }

    /// Reads the head of a topic from one replica. A replica that does not answer on a new connection either is doubted,
    /// so that readers do not wait for it for long. One lost connection is no reason to doubt it: in a fail-over it loses
    /// all of them in the moment in which it is promoted.
    async fn head_at(&self, server: &Address, topic: &LogName) -> Result<Generation, Failure> {
        let get = [redis::cmd("GET").arg(self.keys.head(topic)).take()];
        let mut asked = self.ask_at(server, Part::Replica, &get).await;
        if let Err(failure) = &asked
            && let Meaning::Elsewhere | Meaning::Unsure = failure.meaning(server)
        {
            self.peers.distrust(server);
            asked = self.ask_at(server, Part::Replica, &get).await;
        }
        match asked {
            Ok(replies) => {
                let reply: Value = replies.into_iter().next().unwrap_or_default();
                let nothing = Generation { head: Position::START, first: Position::START };
                Ok(self.head(reply)?.map_or(nothing, |head| head.generation))
            }
            Err(failure) => {
                self.refusals.note(server, &failure);
                let meaning = failure.meaning(server);
                self.take_evidence(server, &meaning);
                if matches!(meaning, Meaning::NotYet) {
                    self.topology.doubt_source(server);
                }
                Err(failure)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(head: (u64, u64), first: (u64, u64)) -> Had {
        let at = |(ms, n)| Position::new(ms, n);
        Had { generation: Generation { head: at(head), first: at(first) }, before: None }
    }

    #[test]
    fn readers_may_see_the_positions_that_all_servers_have() {
        let committed = Committed::In(vec![numbers((20, 7), (1, 1)), numbers((18, 5), (1, 1))]);
        assert!(committed.has(Position::new(18, 5)) && committed.has(Position::new(10, 2)));
        assert!(!committed.has(Position::new(19, 6)));
        assert_eq!(committed.clamp(Position::new(20, 7)), Position::new(18, 5));
        assert_eq!(committed.clamp(Position::new(10, 2)), Position::new(10, 2));
        assert_eq!(Committed::All.clamp(Position::new(20, 7)), Position::new(20, 7));
    }

    #[test]
    fn a_later_head_is_no_proof_of_an_event_that_its_server_has_replaced() {
        // The server went on from 4, ten seconds later, and so has another event 5.
        let committed = Committed::In(vec![numbers((10_105, 6), (10_100, 5))]);
        assert!(committed.has(Position::new(90, 4)));
        assert_eq!(committed.clamp(Position::new(100, 5)), Position::new(10_100, 4));
        assert!(committed.has(Position::new(10_100, 5)));
    }

    #[test]
    fn a_server_that_passes_over_lost_numbers_does_not_have_their_events() {
        // The server has lost 4 to 7, and went on with 8 because a witness knew of them.
        let before = Some(Position::new(90, 3));
        let committed = Committed::In(vec![Had { before, ..numbers((10_105, 9), (10_100, 8)) }]);
        assert!(committed.has(Position::new(90, 3)) && committed.has(Position::new(10_105, 9)));
        assert_eq!(committed.clamp(Position::new(95, 4)), Position::new(90, 3));
        assert_eq!(committed.clamp(Position::new(100, 7)), Position::new(90, 3));
        assert_eq!(committed.clamp(Position::new(100, 8)), Position::new(90, 3));
    }

    #[test]
    fn a_server_without_the_topic_has_nothing() {
        let committed = Committed::In(vec![numbers((0, 0), (0, 0))]);
        assert!(committed.has(Position::START) && !committed.has(Position::new(1, 1)));
        assert_eq!(committed.clamp(Position::new(1, 1)), Position::START);
    }
}

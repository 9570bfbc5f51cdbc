//! The committed part of a topic: events that no fail-over can take back, because every server has it that may take the
//! primary's place.

use std::collections::BTreeSet;

use event_log::{Event, Generation, Position, Topic};
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
    /// The positions that each of these numberings has. There is at least one.
    In(Vec<Generation>),
}

impl Committed {
    /// Returns true if readers may see the event at a position, and everything before it.
    pub(crate) fn has(&self, position: Position) -> bool {
        self.clamp(position) == position
    }

    /// The position from which readers go on if they are not to pass this one: itself, or else the least bound.
    pub(crate) fn clamp(&self, position: Position) -> Position {
        let Self::In(all) = self else { return position };
        let bounds = all.iter().filter_map(|Generation { head, first }| {
            // A server that began a new generation has given the later numbers to other events, at later times.
            let is_replaced = position.ms < first.ms && position.n >= first.n;
            if is_replaced { Some(first.before()) } else { (position > *head).then_some(*head) }
        });
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
        topic: &Topic,
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
            let ((head, events), committed) =
                tokio::try_join!(view, self.committed(topic, &successors))?;
            if self.readable(partition) == (source, successors) {
                return Ok((head, events, committed));
            }
        }
    }

    /// The end of the committed part of a topic at this moment.
    pub(super) async fn committed_now(&self, topic: &Topic) -> Result<Committed, Failure> {
        let (_, successors) = self.readable(keys::partition(topic));
        self.committed(topic, &successors).await
    }

    /// The source of a partition, and its successors.
    fn readable(&self, partition: u32) -> (Option<Address>, BTreeSet<Address>) {
        let source = self.topology.source(partition).ok();
        let map = self.topology.map();
        let successors = source.as_ref().map(|source| map.successors(source).clone());
        (source, successors.unwrap_or_default())
    }

    async fn committed(
        &self,
        topic: &Topic,
        successors: &BTreeSet<Address>,
    ) -> Result<Committed, Failure> {
        if successors.is_empty() {
            return Ok(Committed::All);
        }
        let heads = successors.iter().map(|server| self.head_at(server, topic));
        Ok(Committed::In(try_join_all(heads).await?))
    }

    /// Reads the head of a topic from one replica. A replica that does not answer on a new connection either is doubted,
    /// so that readers do not wait for it for long. One lost connection is no reason to doubt it: in a fail-over it loses
    /// all of them in the moment in which it is promoted.
    async fn head_at(&self, server: &Address, topic: &Topic) -> Result<Generation, Failure> {
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

    fn numbers(head: (u64, u64), first: (u64, u64)) -> Generation {
        let at = |(ms, n)| Position::new(ms, n);
        Generation { head: at(head), first: at(first) }
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
    fn a_server_without_the_topic_has_nothing() {
        let committed = Committed::In(vec![numbers((0, 0), (0, 0))]);
        assert!(committed.has(Position::START) && !committed.has(Position::new(1, 1)));
        assert_eq!(committed.clamp(Position::new(1, 1)), Position::START);
    }
}

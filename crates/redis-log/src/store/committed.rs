//! The committed part of a topic: events that no fail-over can take back, because every server has it that may take the
//! primary's place.

use std::collections::BTreeSet;

use event_log::{Event, Position, Topic};
use futures_util::future::try_join_all;
use redis::Value;

use super::peer::Part;
use super::view::Range;
use super::{Side, Store};
use crate::address::Address;
use crate::error::{Failure, Meaning};
use crate::head::LogHead;
use crate::keys;

/// The end of what readers may see of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Committed {
    /// They may see everything.
    All,
    /// They may see nothing after this position.
    UpTo(Position),
}

impl Committed {
    /// The last position that readers may see of those up to `position`.
    pub(crate) fn clamp(self, position: Position) -> Position {
        match self {
            Self::All => position,
            Self::UpTo(end) => position.min(end),
        }
    }

    /// Drops the events that readers may not see yet.
    pub(super) fn cut(self, events: &mut Vec<Event>) {
        events.retain(|event| self.clamp(event.position()) == event.position());
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
        let map = self.topology.map();
        let source = map.source(partition);
        let successors = source.map(|source| map.successors(source).clone());
        (source.cloned(), successors.unwrap_or_default())
    }

    async fn committed(
        &self,
        topic: &Topic,
        successors: &BTreeSet<Address>,
    ) -> Result<Committed, Failure> {
        let heads = successors.iter().map(|server| self.head_at(server, topic));
        let least = try_join_all(heads).await?.into_iter().min();
        Ok(least.map_or(Committed::All, Committed::UpTo))
    }

    /// Reads the head of a topic from one replica. A replica that does not answer on a new connection either is doubted,
    /// so that readers do not wait for it for long. One lost connection is no reason to doubt it: in a fail-over it loses
    /// all of them in the moment in which it is promoted.
    async fn head_at(&self, server: &Address, topic: &Topic) -> Result<Position, Failure> {
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
                Ok(self.head(reply)?.map_or(Position::START, |head| head.position()))
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

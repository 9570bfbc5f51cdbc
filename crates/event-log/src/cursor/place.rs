//! One topic of a cursor: its position, and a turn of the loop there.

use std::sync::Arc;

use super::wire::{self, InvalidCursor};
use super::{Origin, Outcome, Step};
use crate::{
    Events, Gap, Limit, Log, Mark, Position, ReadError, Reason, Recent, Seek, Tail, Topic, Wake,
};

/// Where a cursor stands in one topic.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) topic: Topic,
    pub(super) position: Position,
    pub(super) tail: Arc<Tail>,
    pub(super) wake: Wake,
    /// Whether it has read up to the head: until the wake-up has changed there is nothing to read.
    current: bool,
    /// A gap found at the opening, to be told first. Rare, hence apart.
    pub(super) gap: Option<Box<Gap>>,
    pub(super) ended: Ended,
    /// At [`Position::START`] after a reset: the position before it. A tail that has not heard of the
    /// reset begins at the start as well, and would tell again what is up to here. Rare, hence apart.
    floor: Option<Box<Position>>,
}

/// Whether a cursor has passed the end of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// More may come.
    No,
    /// The end was reached and is yet to be told.
    Untold,
    /// The end was told, or the reader came with a cursor that was already there.
    Told,
}

/// What is to be had without asking the log.
#[derive(Debug)]
pub(super) enum Near {
    Step(Step),
    Nothing,
    /// The log has to be asked.
    Far,
}

/// Where one topic of a subscription begins.
#[derive(Debug, Clone, Copy)]
pub(super) enum Start {
    Latest,
    Seek(Seek),
    After(Position),
    Invalid,
}

impl Place {
    pub(super) async fn open(log: &dyn Log, topic: Topic, start: Start) -> Result<Self, ReadError> {
        // The tail first: what is appended from here on wakes this reader.
        let tail = log.tail(&topic).await?;
        let (position, gap, resumed) = match start {
            Start::Latest => (tail.head(), None, false),
            Start::Invalid => {
                let head = tail.head();
                let oldest = log.bounds(&topic).await?.and_then(|bounds| bounds.oldest);
                let gap = Gap {
                    reason: Reason::Invalid,
                    missed: None,
                    requested: None,
                    oldest,
                    newest: head,
                    resume: head,
                };
                (head, Some(gap), false)
            }
            Start::Seek(seek) => {
                let sought = log.seek(&topic, seek).await?;
                (sought.position, sought.gap, false)
            }
            Start::After(position) => {
                let gap = match tail.read(position, Limit::ONE, &mut Events::new()) {
                    Recent::Elsewhere => log.read(&topic, position, Limit::ONE).await?.gap,
                    Recent::ToHead | Recent::ToLimit | Recent::AtHead => None,
                };
                (position, gap, gap.is_none())
            }
        };
        let ended = match gap.is_none() && tail.ended_at(position) {
            true if resumed => Ended::Told,
            true => Ended::Untold,
            false => Ended::No,
        };
        let wake = tail.wake();
        let gap = gap.map(Box::new);
        Ok(Self { topic, position, tail, wake, current: false, gap, ended, floor: None })
    }

    pub(super) fn lag(&self) -> u64 {
        self.tail.head().n.saturating_sub(self.position.n)
    }

    /// One turn of the loop for this topic, as far as its tail knows.
    pub(super) fn near(&mut self, topic: usize, limit: Limit) -> Near {
        if self.ended == Ended::Untold {
            self.ended = Ended::Told;
            return Near::Step(Step::End { topic });
        }
        if let Some(gap) = self.gap.take() {
            return Near::Step(self.skip(topic, gap));
        }
        if self.current && !self.wake.has_changed() {
            return Near::Nothing;
        }
        // Seen before the read: what moves the tail after this line ends the next wait at once.
        self.wake.mark_unchanged();
        // The end is the head until the topic begins anew, which is a gap like any other.
        if self.ended == Ended::Told && self.tail.head() == self.position {
            return Near::Nothing;
        }
        let mut events = Events::new();
        let recent = self.recent(limit, &mut events);
        self.current = matches!(recent, Recent::AtHead | Recent::ToHead);
        match recent {
            Recent::ToHead | Recent::ToLimit => {
                self.advance(topic, events).map_or(Near::Nothing, Near::Step)
            }
            // It came with a cursor of the end before this node had heard of it.
            Recent::AtHead if self.tail.ended_at(self.position) => {
                self.ended = Ended::Told;
                Near::Step(Step::End { topic })
            }
            Recent::AtHead => Near::Nothing,
            Recent::Elsewhere => Near::Far,
        }
    }

    /// The same from the log.
    pub(super) async fn far(
        &mut self,
        log: &dyn Log,
        topic: usize,
        limit: Limit,
    ) -> Result<Option<Step>, ReadError> {
        let page = log.read(&self.topic, self.position, limit).await?;
        if let Some(gap) = page.gap {
            return Ok(Some(self.skip(topic, Box::new(gap))));
        }
        let mut events = Events::from(page.events);
        events.truncate(limit.fits(&events));
        Ok(self.advance(topic, events))
    }

    /// What the tail has, unless it is of a past that the reader has left.
    fn recent(&self, limit: Limit, events: &mut Events) -> Recent {
        let recent = self.tail.read(self.position, limit, events);
        if self.position == Position::START
            && let (Some(floor), Some(first)) = (&self.floor, events.first())
            && first.position() <= **floor
        {
            return Recent::Elsewhere;
        }
        recent
    }

    /// Moves behind the events, if there are any.
    fn advance(&mut self, topic: usize, mut events: Events) -> Option<Step> {
        let first = events.first()?;
        assert_eq!(
            first.position().n,
            self.position.n + 1,
            "a log skipped events of {}",
            self.topic
        );
        if let Some(last) = events.last() {
            self.position = last.position();
            match last.mark() {
                Mark::Open => self.ended = Ended::No,
                Mark::Last => self.ended = Ended::Untold,
                Mark::End => {
                    self.ended = Ended::Untold;
                    events.pop();
                }
            }
        }
        Some(match events.is_empty() {
            true => {
                self.ended = Ended::Told;
                Step::End { topic }
            }
            false => Step::Events { topic, events },
        })
    }

    fn skip(&mut self, topic: usize, gap: Box<Gap>) -> Step {
        self.floor = (gap.resume == Position::START).then(|| Box::new(self.position));
        self.position = gap.resume;
        self.current = false;
        self.ended = match self.tail.ended_at(self.position) {
            true => Ended::Untold,
            false => Ended::No,
        };
        Step::Gap { topic, gap }
    }
}

impl Start {
    pub(super) fn all(origin: &Origin, topics_hash: u32, count: usize) -> (Vec<Self>, Outcome) {
        match origin {
            Origin::Latest => (vec![Self::Latest; count], Outcome::Live),
            Origin::Seek(seek) => (vec![Self::Seek(*seek); count], Outcome::Live),
            Origin::Resume(text) => match wire::decode(text, topics_hash, count) {
                Ok(positions) => (positions.into_iter().map(Self::After).collect(), Outcome::Exact),
                Err(InvalidCursor) => (vec![Self::Invalid; count], Outcome::Invalid),
            },
        }
    }
}

//! One topic of a cursor: its position, and a turn of the loop there.

use std::sync::Arc;

use super::wire::{self, InvalidCursor};
use super::{Origin, Outcome, Step};
use crate::{
    Event, Events, Gap, Limit, Log, Mark, Page, Position, ReadError, Reason, Recent, Seek, Sought,
    Tail, Topic, Wake,
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
    /// The page that the opening read, with a gap or events: the first step. Boxed because it is rare
    /// and short-lived.
    opening: Option<Box<Page>>,
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

/// The result of a look at one topic.
#[derive(Debug)]
pub(super) enum Look {
    Step(Step),
    /// The tail has nothing after the position yet.
    Nothing,
    /// The tail does not have the position: the log must be read.
    Elsewhere,
}

/// What the opening of a place has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opened {
    /// The tail or the log has what follows the position.
    Known,
    /// Positions that cannot be read.
    Gap(Reason),
    /// Nothing follows the position in the log, and the tail, whose head this was, does not have it.
    Ahead(Position),
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
    /// Opens a place. The log is read if the tail does not have the position: of the page, at most
    /// `left` is kept for the first step and taken from `left`, which all places of a cursor share.
    pub(super) async fn open(
        log: &dyn Log,
        topic: Topic,
        start: Start,
        left: &mut Limit,
    ) -> Result<(Self, Opened), ReadError> {
        // Before anything is read: a later append wakes this reader.
        let tail = log.tail(&topic).await?;
        let wake = tail.wake();
        let (mut position, mut gap, mut resumed) = (tail.head(), None, false);
        let mut opened = Opened::Known;
        let mut events = Vec::new();
        match start {
            Start::Latest => {}
            Start::Invalid => {
                let oldest = log.bounds(&topic).await?.and_then(|bounds| bounds.oldest);
                gap = Some(Gap {
                    reason: Reason::Invalid,
                    missed: None,
                    requested: None,
                    oldest,
                    newest: position,
                    resume: position,
                });
            }
            Start::Seek(seek) => Sought { position, gap } = log.seek(&topic, seek).await?,
            Start::After(after) => {
                let tail_head = position;
                position = after;
                if tail.read(after, Limit::ONE, &mut Events::new()) == Recent::Elsewhere {
                    let page = log.read(&topic, after, *left).await?;
                    if page.gap.is_none() && page.events.is_empty() {
                        opened = Opened::Ahead(tail_head);
                    }
                    (gap, events) = (page.gap, within(left, page.events));
                }
                resumed = gap.is_none();
            }
        }
        let ended = match gap.is_none() && tail.ended_at(position) {
            true if resumed => Ended::Told,
            true => Ended::Untold,
            false => Ended::No,
        };
        if let Some(gap) = &gap {
            opened = Opened::Gap(gap.reason);
        }
        let has_step = gap.is_some() || !events.is_empty();
        let opening = has_step.then(|| Box::new(Page { gap, events }));
        let place =
            Self { topic, position, tail, wake, current: false, opening, ended, floor: None };
        Ok((place, opened))
    }

    pub(super) fn lag(&self) -> u64 {
        self.tail.head().n.saturating_sub(self.position.n)
    }

    /// One turn of the loop for this topic, as far as its tail knows.
    pub(super) fn look(&mut self, topic: usize, limit: Limit) -> Look {
        if self.ended == Ended::Untold {
            self.ended = Ended::Told;
            return Look::Step(Step::End { topic });
        }
        if let Some(page) = self.opening.take()
            && let Some(step) = self.take(topic, *page, limit)
        {
            return Look::Step(step);
        }
        if self.current && !self.wake.has_changed() {
            return Look::Nothing;
        }
        // Seen before the read: what moves the tail after this line ends the next wait at once.
        self.wake.mark_unchanged();
        // The end is the head until the topic begins anew, which is a gap like any other.
        if self.ended == Ended::Told && self.tail.head() == self.position {
            return Look::Nothing;
        }
        let mut events = Events::new();
        let recent = self.recent(limit, &mut events);
        self.current = matches!(recent, Recent::AtHead | Recent::ToHead);
        match recent {
            Recent::ToHead | Recent::ToLimit => {
                self.advance(topic, events).map_or(Look::Nothing, Look::Step)
            }
            // It came with a cursor of the end before this node had heard of it.
            Recent::AtHead if self.tail.ended_at(self.position) => {
                self.ended = Ended::Told;
                Look::Step(Step::End { topic })
            }
            Recent::AtHead => Look::Nothing,
            Recent::Elsewhere => Look::Elsewhere,
        }
    }

    /// Takes a page of the log: moves to the end of its gap or of its events, as far as the limit goes.
    pub(super) fn take(&mut self, topic: usize, page: Page, limit: Limit) -> Option<Step> {
        if let Some(gap) = page.gap {
            return Some(self.skip(topic, Box::new(gap)));
        }
        let mut events = Events::from(page.events);
        events.truncate(limit.fits(&events));
        self.advance(topic, events)
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

/// Keeps of a page's events as much as is left, and takes it from there.
fn within(left: &mut Limit, mut events: Vec<Event>) -> Vec<Event> {
    // A limit lets the first event through whatever its size. Once nothing is left, no event is kept.
    if left.events == 0 {
        return Vec::new();
    }
    events.truncate(left.fits(&events));
    let bytes: usize = events.iter().map(Event::weight).sum();
    left.events -= events.len();
    match left.bytes.checked_sub(bytes) {
        Some(bytes) => left.bytes = bytes,
        // The page is one event that is larger than all that was left.
        None => *left = Limit { events: 0, bytes: 0 },
    }
    events
}

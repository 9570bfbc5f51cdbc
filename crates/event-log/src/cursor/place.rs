//! One topic of a cursor: its position, and one turn of the cursor's loop in this topic.

use std::sync::Arc;

use super::reads::Answer;
use super::wire::{self, InvalidCursor};
use super::{OpenOptions, Origin, Outcome, Step};
use crate::{
    BreakReason, Event, Events, Gap, Limit, Log, Mark, Page, Position, ReadError, Reason, Recent,
    Seek, Tail, Topic, Wake,
};

/// The place of a cursor in one topic.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) topic: Topic,
    /// The hash of the topic in a cursor's text.
    hash: u32,
    pub(super) position: Position,
    pub(super) tail: Arc<Tail>,
    pub(super) wake: Wake,
    /// Set after a read up to the head: there is nothing to read until the tail moves.
    current: bool,
    pub(super) ended: Ended,
    /// Set at [`Position::START`] after a reset: the position before the reset. A tail that has not heard
    /// of the reset begins at the start as well, and would deliver the events up to this position again.
    /// Boxed because a reset is rare.
    floor: Option<Box<Position>>,
}

/// The state of a cursor at the end of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// More events may follow.
    No,
    /// The cursor has reached the end, and the reader is not told yet.
    Untold,
    /// The reader was told, or came with a cursor that was at the end already.
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

/// Where one topic of a subscription begins.
#[derive(Debug, Clone, Copy)]
pub(super) enum Start {
    Latest,
    Seek(Seek),
    After(Position),
    Invalid,
}

/// The position of a reader that comes with one from before the floor, and its gap, up to the first event that it
/// may read. `None` if no event lies between. Without a gap it is not the reader's
/// own position, which may be forged.
async fn withheld(
    log: &dyn Log,
    topic: &Topic,
    after: Position,
    floor: u64,
) -> Result<(Position, Option<Page>), ReadError> {
    let resume = log.seek(topic, Seek::Since(floor)).await?.position;
    if resume.n == after.n {
        return Ok((resume, None));
    }
    let newest = log.bounds(topic).await?.map_or(resume, |bounds| bounds.head);
    let gap = Gap {
        reason: Reason::History,
        // A position of another numbering has no distance.
        missed: resume.n.checked_sub(after.n),
        requested: Some(after),
        oldest: None,
        newest,
        resume,
    };
    Ok((after, Some(Page::from(gap))))
}

impl Place {
    /// Opens a place, with the answer of the log if the tail does not have the position or something is
    /// gone. Of a page, at most `left` is kept and taken from `left`, which all places of a cursor share.
    pub(super) async fn open(
        log: &dyn Log,
        (index, topic): (usize, Topic),
        (start, floor): (Start, Option<u64>),
        left: &mut Limit,
    ) -> Result<(Self, Option<Answer>), ReadError> {
        // Before anything is read: a later append wakes this reader.
        let tail = log.tail(&topic).await?;
        let wake = tail.wake();
        let tail_head = tail.head();
        let (mut position, mut page, mut resumed) = (tail_head, None, false);
        match start {
            Start::Latest => {}
            Start::Invalid => {
                let oldest = log.bounds(&topic).await?.and_then(|bounds| bounds.oldest);
                page = Some(Page::from(Gap {
                    reason: Reason::Invalid,
                    missed: None,
                    requested: None,
                    oldest,
                    newest: position,
                    resume: position,
                }));
            }
            Start::Seek(seek) => {
                let mut sought = log.seek(&topic, seek).await?;
                if let Some(floor) = floor {
                    let lowest = log.seek(&topic, Seek::Since(floor)).await?;
                    if lowest.position.n > sought.position.n {
                        sought = lowest;
                    }
                }
                (position, page) = (sought.position, sought.gap.map(Page::from));
            }
            Start::After(after) if floor.is_some_and(|floor| after.ms < floor) => {
                (position, page) = withheld(log, &topic, after, floor.unwrap_or_default()).await?;
                resumed = true;
            }
            Start::After(after) => {
                position = after;
                if tail.read(after, Limit::ONE, &mut Events::new()) == Recent::Elsewhere {
                    page = kept(log.read(&topic, after, *left).await?, left);
                }
                resumed = true;
            }
        }
        let has_gap = page.as_ref().is_some_and(|page| page.gap.is_some());
        let ended = match !has_gap && tail.ended_at(position) {
            true if resumed => Ended::Told,
            true => Ended::Untold,
            false => Ended::No,
        };
        let answer = page.map(|page| Answer { topic: index, tail_head, page: Ok(page) });
        let hash = wire::hash([&topic]);
        let place = Self { topic, hash, position, tail, wake, current: false, ended, floor: None };
        Ok((place, answer))
    }

    /// Moves past the end of the topic if nothing else is left of it, as if the reader had been told. Returns the
    /// answer of the opening, unless that held only the end.
    pub(super) fn skip_end(&mut self, answer: Option<Answer>) -> Option<Answer> {
        match self.next_entry(answer.as_ref()) {
            Some(end) if end.mark() == Mark::End => {
                self.position = end.position();
                self.ended = Ended::Told;
                None
            }
            None if self.ended == Ended::Untold => {
                self.ended = Ended::Told;
                answer
            }
            _ => answer,
        }
    }

    /// The entry with which the steps of this place begin, if that tells of a publisher that broke off.
    pub(super) fn next_break(
        &self,
        answer: Option<&Answer>,
    ) -> Option<(Topic, Position, BreakReason)> {
        let next = self.next_entry(answer)?;
        match next.mark() {
            Mark::Broken(reason) => Some((self.topic.clone(), next.position(), reason)),
            _ => None,
        }
    }

    /// The entry after the position at the opening, which had this answer.
    fn next_entry(&self, answer: Option<&Answer>) -> Option<Event> {
        match answer {
            Some(Answer { page: Ok(Page { gap: None, events }), .. }) => events.first().cloned(),
            Some(_) => None,
            None => {
                let mut events = Events::new();
                self.tail.read(self.position, Limit::ONE, &mut events);
                events.pop()
            }
        }
    }

    /// The place in a cursor's text, as of the moment in which it stood at `position`.
    pub(super) const fn entry(&self, position: Position) -> (&Topic, u32, Position) {
        (&self.topic, self.hash, position)
    }

    pub(super) fn lag(&self) -> u64 {
        self.tail.head().n.saturating_sub(self.position.n)
    }

    /// Looks for the next step in the tail.
    pub(super) fn look(&mut self, topic: usize, limit: Limit) -> Look {
        if self.ended == Ended::Untold
            && let Some(end) = self.end(topic)
        {
            return Look::Step(end);
        }
        if self.current && !self.wake.has_changed() {
            return Look::Nothing;
        }
        // Marked before the read: a move of the tail after this line ends the next wait at once.
        self.wake.mark_unchanged();
        // The end stays the head until the topic begins again, which the log reports as a gap.
        if self.ended == Ended::Told && self.tail.head() == self.position {
            return Look::Nothing;
        }
        let mut events = Events::new();
        let recent = self.recent(limit, &mut events);
        self.current = matches!(recent, Recent::AtHead | Recent::ToHead);
        match recent {
            Recent::ToHead | Recent::ToLimit => {
                match self.advance(topic, events) {
                    Some(step) => Look::Step(step),
                    None if self.current => Look::Nothing,
                    // Entries without a step were passed, and more follow.
                    None => self.look(topic, limit),
                }
            }
            // The reader came with the cursor of the end before this node had heard of the end.
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

    /// Reads the tail, except for events from before a reset that the reader has passed.
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

    /// Moves past the events and returns their step, or `None` without events.
    fn advance(&mut self, topic: usize, mut events: Events) -> Option<Step> {
        let first = events.first()?;
        assert_eq!(
            first.position().n,
            self.position.n + 1,
            "a log skipped events of {}",
            self.topic
        );
        if let Some(step) = self.notice(topic, first) {
            self.current &= events.len() == 1;
            (self.position, self.ended) = (first.position(), Ended::No);
            return Some(step);
        }
        let is_break = |event: &Event| matches!(event.mark(), Mark::Broken(_));
        if let Some(broken) = events.iter().position(is_break) {
            events.truncate(broken);
            self.current = false;
        }
        if let Some(last) = events.last() {
            self.position = last.position();
            self.ended = if last.mark().ends() { Ended::Untold } else { Ended::No };
        }
        // An end within the page is history: the topic was opened again.
        events.retain(|event| event.mark().is_event());
        match events.is_empty() {
            true if self.ended == Ended::Untold => self.end(topic),
            true => None,
            false => Some(Step::Events { topic, events }),
        }
    }

    /// The step of an entry that has one of its own.
    fn notice(&self, topic: usize, entry: &Event) -> Option<Step> {
        match entry.mark() {
            Mark::Broken(reason) => {
                Some(Step::Broken { topic, position: entry.position(), reason })
            }
            Mark::Reopened if self.ended == Ended::Told => Some(Step::Reopened { topic }),
            _ => None,
        }
    }

    /// Tells the end at which the place stands, unless the topic was opened again since.
    fn end(&mut self, topic: usize) -> Option<Step> {
        if self.tail.head() > self.position {
            self.ended = Ended::No;
            self.current = false;
            return None;
        }
        self.ended = Ended::Told;
        Some(Step::End { topic })
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
    /// The start of each of the sorted topics.
    pub(super) fn all(opening: &OpenOptions, topics: &[Topic]) -> (Vec<Self>, Outcome) {
        let Origin::Resume(text) = &opening.origin else {
            let start = match opening.origin {
                Origin::Seek(seek) => Self::Seek(seek),
                _ => Self::Latest,
            };
            return (vec![start; topics.len()], Outcome::Live);
        };
        let new = opening.new_topics.map_or(Self::Latest, Self::Seek);
        match wire::decode(text, topics) {
            Ok(positions) => {
                let start = |position: Option<Position>| position.map_or(new, Self::After);
                (positions.into_iter().map(start).collect(), Outcome::Exact)
            }
            Err(InvalidCursor) => (vec![Self::Invalid; topics.len()], Outcome::Invalid),
        }
    }
}

/// Keeps of a page as many events as are left, and takes them from there. `None` if none is left, so that
/// the events have to be read again.
fn kept(mut page: Page, left: &mut Limit) -> Option<Page> {
    if page.gap.is_some() || page.events.is_empty() {
        return Some(page);
    }
    // A limit lets the first event through whatever its size. Once nothing is left, no event is kept.
    if left.events == 0 {
        return None;
    }
    page.events.truncate(left.fits(&page.events));
    let bytes = page.events.iter().map(Event::weight).sum();
    left.events -= page.events.len();
    match left.bytes.checked_sub(bytes) {
        Some(bytes) => left.bytes = bytes,
        // The page is one event that is larger than all that was left.
        None => *left = Limit { events: 0, bytes: 0 },
    }
    Some(page)
}

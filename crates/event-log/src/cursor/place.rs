//! One log of a cursor: its position there, and one turn of the cursor's loop in this log.

use std::sync::Arc;

use super::reads::Answer;
use super::wire::{self, InvalidCursor};
use super::{OpenOptions, Origin, Outcome, Step};
use crate::tail::{Selected, SelectedRead};
use crate::{
    BreakReason, Event, Events, Gap, Limit, Log, LogName, Mark, Page, Part, Position, ReadError,
    Reason, Recent, Seek, Tail, Topic, Wake,
};

/// The place of a cursor in one log.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) log: LogName,
    /// The hash of the log in a cursor's text.
    hash: u32,
    pub(super) position: Position,
    pub(super) tail: Arc<Tail>,
    pub(super) wake: Wake,
    /// Boxed because few places have it: a reader at the tail pays for every byte here.
    rare: Option<Box<RarePlace>>,
    /// Set after a read up to the head: there is nothing to read until the tail moves.
    current: bool,
    /// Set when the position has passed events that the reader did not select, after its last step.
    passed_by: bool,
    pub(super) ended: Ended,
}

/// The parts of a place that few places have.
#[derive(Debug, Default)]
struct RarePlace {
    /// The events that the reader wants; `None` is all.
    selected: Option<Selected>,
    /// Set at [`Position::START`] after a reset: the position before the reset. A tail that has not heard
    /// of the reset begins at the start as well, and would deliver the events up to this position again.
    floor: Option<Position>,
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

/// The result of a look at one place.
#[derive(Debug)]
pub(super) enum Look {
    Step(Step),
    /// The tail has nothing after the position yet.
    Nothing,
    /// The tail does not have the position: the log must be read.
    Elsewhere,
}

/// Where one place of a subscription begins.
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
    name: &LogName,
    after: Position,
    floor: u64,
) -> Result<(Position, Option<Page>), ReadError> {
    let resume = log.seek(name, Seek::Since(floor)).await?.position;
    if resume.n == after.n {
        return Ok((resume, None));
    }
    let newest = log.bounds(name).await?.map_or(resume, |bounds| bounds.head);
    let gap = Gap {
        reason: Reason::History,
        // A position of another numbering has no distance.
        missed: resume.n.checked_sub(after.n),
        missed_at_most: None,
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
        (index, part): (usize, Part),
        (start, floor): (Start, Option<u64>),
        left: &mut Limit,
    ) -> Result<(Self, Option<Answer>), ReadError> {
        // Before anything is read: a later append wakes this reader.
        let name = part.log;
        let tail = log.tail(&name).await?;
        let selected = part.selection.map(|selection| tail.select(&selection));
        let wake = selected.as_ref().map_or_else(|| tail.wake(), |selected| selected.wake());
        let tail_head = tail.head();
        let (mut position, mut page, mut resumed) = (tail_head, None, false);
        match start {
            Start::Latest => {}
            Start::Invalid => {
                let oldest = log.bounds(&name).await?.and_then(|bounds| bounds.oldest);
                page = Some(Page::from(Gap {
                    reason: Reason::Invalid,
                    missed: None,
                    missed_at_most: None,
                    requested: None,
                    oldest,
                    newest: position,
                    resume: position,
                }));
            }
            Start::Seek(seek) => {
                let mut sought = log.seek(&name, seek).await?;
                if let Some(floor) = floor {
                    let lowest = log.seek(&name, Seek::Since(floor)).await?;
                    if lowest.position.n > sought.position.n {
                        sought = lowest;
                    }
                }
                (position, page) = (sought.position, sought.gap.map(Page::from));
            }
            Start::After(after) if floor.is_some_and(|floor| after.ms < floor) => {
                (position, page) = withheld(log, &name, after, floor.unwrap_or_default()).await?;
                resumed = true;
            }
            Start::After(after) => {
                position = after;
                if tail.read(after, Limit::ONE, &mut Events::new()) == Recent::Elsewhere {
                    page = kept(log.read(&name, after, *left).await?, left);
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
        if let (Some(page), Some(_)) = (&mut page, &selected) {
            page.gap = page.gap.map(Gap::of_some);
        }
        let answer = page.map(|page| Answer { place: index, tail_head, page: Ok(page) });
        let place = Self {
            hash: wire::hash([&name]),
            log: name,
            position,
            tail,
            wake,
            rare: selected.map(|selected| {
                Box::new(RarePlace { selected: Some(selected), ..RarePlace::default() })
            }),
            current: false,
            passed_by: false,
            ended,
        };
        Ok((place, answer))
    }

    fn selected(&self) -> Option<&Selected> {
        self.rare.as_ref()?.selected.as_ref()
    }

    fn selected_mut(&mut self) -> Option<&mut Selected> {
        self.rare.as_mut()?.selected.as_mut()
    }

    /// The log, and the part of it that the reader wants.
    pub(super) fn part(&self) -> Part {
        let selection = self.selected().map(|selected| selected.selection().clone());
        Part { log: self.log.clone(), selection }
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
        &mut self,
        answer: Option<&Answer>,
    ) -> Option<(Topic, Position, BreakReason)> {
        let next = self.next_entry(answer)?;
        match next.mark() {
            Mark::Broken(reason) => Some((next.topic().clone(), next.position(), reason)),
            _ => None,
        }
    }

    /// The entry after the position at the opening, which had this answer.
    fn next_entry(&mut self, answer: Option<&Answer>) -> Option<Event> {
        match answer {
            Some(Answer { page: Ok(Page { gap: None, events }), .. }) => {
                events.iter().find(|event| self.wants(event)).cloned()
            }
            Some(_) => None,
            None => {
                let mut events = Events::new();
                self.recent(Limit::ONE, &mut events);
                events.pop()
            }
        }
    }

    fn wants(&self, event: &Event) -> bool {
        self.selected().is_none_or(|selected| selected.selection().selects(event))
    }

    /// The place in a cursor's text, as of the moment in which it stood at `position`.
    pub(super) const fn entry(&self, position: Position) -> (&LogName, u32, Position) {
        (&self.log, self.hash, position)
    }

    /// Returns true unless it selects.
    pub(super) fn reads_all(&self) -> bool {
        self.selected().is_none()
    }

    /// Events between the position and the tail's head; of a selection, an upper bound.
    pub(super) fn lag(&self) -> u64 {
        match self.selected() {
            // Its position stays behind while nothing selected comes.
            Some(_) if self.current && !self.wake.has_changed() => 0,
            _ => self.tail.head().n.saturating_sub(self.position.n),
        }
    }

    /// Moves past events that the reader did not select, as far as the tail knows, if it may. Returns true if the position
    /// has passed any since the last step or the last call.
    pub(super) fn pass_by(&mut self, may_move: bool) -> bool {
        let may_move = may_move && !self.is_before_reset();
        let position = self.position;
        if may_move && let Some(selected) = self.selected_mut() {
            let reached = selected.quiet_until(position);
            self.passed_by |= reached != self.position;
            self.position = reached;
        }
        std::mem::take(&mut self.passed_by)
    }

    /// Looks for the next step in the tail.
    pub(super) fn look(&mut self, place: usize, limit: Limit) -> Look {
        if self.ended == Ended::Untold
            && let Some(end) = self.end(place)
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
        let (recent, reached) = self.recent(limit, &mut events);
        self.current = matches!(recent, Recent::AtHead | Recent::ToHead);
        match recent {
            Recent::ToHead | Recent::ToLimit => {
                match self.advance(place, events, reached) {
                    Some(step) => Look::Step(step),
                    None if self.current => Look::Nothing,
                    // Entries without a step were passed, and more follow.
                    None => self.look(place, limit),
                }
            }
            // The reader came with the cursor of the end before this node had heard of the end.
            Recent::AtHead if self.tail.ended_at(self.position) => {
                self.ended = Ended::Told;
                Look::Step(Step::End { place })
            }
            Recent::AtHead => Look::Nothing,
            Recent::Elsewhere => Look::Elsewhere,
        }
    }

    /// Takes a page of the log: moves to the end of its gap or of its events, as far as the limit goes.
    pub(super) fn take(&mut self, place: usize, page: Page, limit: Limit) -> Option<Step> {
        if let Some(selected) = self.selected_mut() {
            selected.is_elsewhere();
        }
        if let Some(gap) = page.gap {
            return Some(self.skip(place, Box::new(gap)));
        }
        let mut events = Events::from(page.events);
        events.truncate(limit.fits(&events));
        self.assert_next(&events);
        let reached = events.last().map_or(self.position, Event::position);
        if !self.reads_all() {
            events.retain(|event| self.wants(event));
        }
        self.advance(place, events, reached)
    }

    /// Returns true if the tail has events from before a reset that the reader has passed.
    fn is_before_reset(&self) -> bool {
        let floor = self.rare.as_ref().and_then(|rare| rare.floor);
        let oldest = floor.and_then(|floor| Some((floor, self.tail.oldest()?)));
        self.position == Position::START && oldest.is_some_and(|(floor, oldest)| oldest <= floor)
    }

    /// Reads the tail, except for events from before a reset that the reader has passed. Returns the position up to
    /// which the events were copied.
    fn recent(&mut self, limit: Limit, events: &mut Events) -> (Recent, Position) {
        if self.is_before_reset() {
            return (Recent::Elsewhere, self.position);
        }
        let position = self.position;
        if let Some(selected) = self.selected_mut() {
            let SelectedRead { recent, reached, .. } = selected.read(position, limit, events);
            return (recent, reached);
        }
        let recent = self.tail.read(self.position, limit, events);
        self.assert_next(events);
        (recent, events.last().map_or(self.position, Event::position))
    }

    fn assert_next(&self, events: &Events) {
        let next = self.position.n + 1;
        let is_next = events.first().is_none_or(|first| first.position().n == next);
        assert!(is_next, "the log {} skipped events", self.log);
    }

    /// Moves to the position that was reached, past the events that are wanted, and returns their step, or `None` without
    /// events.
    fn advance(&mut self, place: usize, mut events: Events, mut reached: Position) -> Option<Step> {
        if let Some(first) = events.first()
            && let Some(step) = self.notice(place, first)
        {
            self.current &= events.len() == 1;
            (self.position, self.ended) = (first.position(), Ended::No);
            self.passed_by = false;
            return Some(step);
        }
        let is_break = |event: &Event| matches!(event.mark(), Mark::Broken(_));
        if let Some(broken) = events.iter().position(is_break) {
            events.truncate(broken);
            reached = events.last().map_or(self.position, Event::position);
            self.current = false;
        }
        if let Some(last) = events.last() {
            self.ended = if last.mark().ends() { Ended::Untold } else { Ended::No };
        }
        self.passed_by |= !self.reads_all() && reached != self.position;
        self.position = reached;
        // An end within the page is history: the topic was opened again.
        events.retain(|event| event.mark().is_event());
        match events.last() {
            None if self.ended == Ended::Untold => self.end(place),
            None => None,
            Some(last) => {
                self.passed_by &= last.position() != reached;
                Some(Step::Events { place, events })
            }
        }
    }

    /// The step of an entry that has one of its own.
    fn notice(&self, place: usize, entry: &Event) -> Option<Step> {
        match entry.mark() {
            Mark::Broken(reason) => Some(Step::Broken { place, entry: entry.clone(), reason }),
            Mark::Reopened if self.ended == Ended::Told => Some(Step::Reopened { place }),
            _ => None,
        }
    }

    /// Tells the end at which the place stands, unless the topic was opened again since.
    fn end(&mut self, place: usize) -> Option<Step> {
        if self.tail.head() > self.position {
            self.ended = Ended::No;
            self.current = false;
            return None;
        }
        self.ended = Ended::Told;
        Some(Step::End { place })
    }

    fn skip(&mut self, place: usize, mut gap: Box<Gap>) -> Step {
        if !self.reads_all() {
            *gap = gap.of_some();
        }
        let floor = (gap.resume == Position::START).then_some(self.position);
        match &mut self.rare {
            Some(rare) => rare.floor = floor,
            None if floor.is_some() => {
                self.rare = Some(Box::new(RarePlace { floor, ..RarePlace::default() }));
            }
            None => {}
        }
        self.position = gap.resume;
        self.current = false;
        self.passed_by = false;
        self.ended = match self.tail.ended_at(self.position) {
            true => Ended::Untold,
            false => Ended::No,
        };
        Step::Gap { place, gap }
    }
}

impl Start {
    /// The start in each of the sorted logs.
    pub(super) fn all(opening: &OpenOptions, logs: &[LogName]) -> (Vec<Self>, Outcome) {
        let Origin::Resume(text) = &opening.origin else {
            let start = match opening.origin {
                Origin::Seek(seek) => Self::Seek(seek),
                _ => Self::Latest,
            };
            return (vec![start; logs.len()], Outcome::Live);
        };
        let new = opening.new_topics.map_or(Self::Latest, Self::Seek);
        match wire::decode(text, logs) {
            Ok(positions) => {
                let start = |position: Option<Position>| position.map_or(new, Self::After);
                (positions.into_iter().map(start).collect(), Outcome::Exact)
            }
            Err(InvalidCursor) => (vec![Self::Invalid; logs.len()], Outcome::Invalid),
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

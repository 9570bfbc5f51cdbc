//! **A connection is a cursor over an append-only log.** This file implements that sentence.
//!
//! A [`Cursor`] holds one position for each log of a subscription. [`Cursor::poll_next`] is the only way
//! forward for a live reader, a reader that resumes, a slow reader and a long-poll alike:
//!
//! ```text
//!            ┌────────────── read after the position ◄─────────────┐
//!            │                                                     │
//!   the tail's window has it │ the log has it │ a gap │ nothing: wait until the tail moves
//!            └───────┬───────┴───────┬────────┴───┬───┘
//!                    step: advance the position and return
//! ```
//!
//! There is no hand-over from replay to live, and no queue: the log keeps the events that a slow reader
//! has not taken. A cursor keeps its positions, and until its first step the one page that its opening
//! has read.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use smallvec::SmallVec;

use crate::{
    BreakReason, Event, Events, Gap, Limit, Log, Page, Part, Position, ReadError, Reason, Seek,
    Topic,
};

mod place;
mod reads;
pub(crate) mod wire;

use place::{Ended, Look, Place, Start};
use reads::{Answer, Reads};

/// Positions in one log or in several.
#[derive(Debug)]
pub struct Cursor {
    log: Arc<dyn Log>,
    /// Sorted by log, each log once: the order of the wire form. Most cursors have one log, whose place lies
    /// inside the cursor to save a cache miss.
    places: SmallVec<[Place; 1]>,
    /// The place to look at first, so that a busy log does not starve the others.
    turn: u32,
    /// The reads of the log. Boxed and mostly absent: a reader that waits at the tail keeps no room for
    /// them.
    reads: Option<Box<Reads>>,
}

/// Where a subscription begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// With the next event.
    Latest,
    /// Somewhere in the history.
    Seek(Seek),
    /// After the cursor that the client sent: untrusted text.
    Resume(String),
}

/// The options of an opening.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenOptions {
    /// Where the subscription begins.
    pub origin: Origin,
    /// Where a log begins that the client's cursor does not know; `None` is with its next event.
    pub new_topics: Option<Seek>,
    /// True for a reader that is never told of ends: a topic of which nothing but its end is left counts as one
    /// whose end the reader knows.
    pub skips_ends: bool,
    /// Milliseconds since 1970 from which the reader may read. A reader that comes with an older cursor is told
    /// of the events between as a gap of [`Reason::History`].
    pub floor: Option<u64>,
}

/// A cursor that is open.
#[derive(Debug)]
pub struct Opened {
    /// The cursor.
    pub cursor: Cursor,
    /// The result for the client's cursor.
    pub outcome: Outcome,
    /// The parts that the client's cursor does not know, sorted; empty if the client sent none.
    pub new_parts: Vec<Part>,
    /// The gaps that the opening has found. The first steps of the cursor tell them, too.
    pub gaps: Vec<(Part, Gap)>,
    /// The entries of a publisher that broke off that the first steps of the cursor tell, if the opening
    /// [skips ends](OpenOptions::skips_ends).
    pub broken: Vec<(Topic, Position, BreakReason)>,
}

/// The result of an opening; of several logs, the worst result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// The client sent no cursor.
    Live,
    /// Everything after the cursor can be read.
    Exact,
    /// Some events after the cursor were trimmed.
    Gap,
    /// The log has lost events that the reader had seen.
    Rewound,
    /// The topic was deleted, and its numbers began again.
    Reset,
    /// The cursor could not be parsed.
    Invalid,
}

/// A step forward in one log. `place` is an index into [`Cursor::parts`].
#[derive(Debug)]
pub enum Step {
    /// The next events, in order.
    Events {
        /// The place.
        place: usize,
        /// At least one, and at most the limit.
        events: Events,
    },
    /// Positions that cannot be read; the cursor stands behind them now.
    Gap {
        /// The place.
        place: usize,
        /// The positions that are gone. Boxed because a gap is rare.
        gap: Box<Gap>,
    },
    /// The publisher of the events before broke off; the cursor stands behind the entry that says so.
    Broken {
        /// The place.
        place: usize,
        /// The entry, which has the topic.
        entry: Event,
        /// The reason.
        reason: BreakReason,
    },
    /// The topic, of whose end the reader was told, was opened again.
    Reopened {
        /// The place.
        place: usize,
    },
    /// The publisher has ended the topic, and everything before the end was delivered.
    End {
        /// The place.
        place: usize,
    },
    /// All topics have ended.
    Finished,
}

impl Cursor {
    /// Opens a cursor on everything in `topics`; repeated topics count once.
    ///
    /// # Errors
    /// The log cannot be reached.
    pub async fn open(
        log: Arc<dyn Log>,
        topics: Vec<Topic>,
        origin: Origin,
    ) -> Result<(Self, Outcome), ReadError> {
        let parts = log.spaces().parts(topics, Vec::new()).expect("only a pattern needs a space");
        let opened = Self::open_as(log, parts, origin.into()).await?;
        Ok((opened.cursor, opened.outcome))
    }

    /// Opens a cursor on the parts of a subscription, as [`Spaces::parts`](crate::Spaces::parts) gives them.
    ///
    /// # Errors
    /// The log cannot be reached.
    pub async fn open_as(
        log: Arc<dyn Log>,
        parts: Vec<Part>,
        opening: OpenOptions,
    ) -> Result<Opened, ReadError> {
        let logs: Vec<_> = parts.iter().map(|part| part.log.clone()).collect();
        let (starts, mut outcome) = Start::all(&opening, &logs);
        let is_new = |start: &Start| outcome == Outcome::Exact && !matches!(start, Start::After(_));
        let new_parts = parts.iter().zip(&starts).filter(|(_, start)| is_new(start));
        let new_parts = new_parts.map(|(part, _)| part.clone()).collect();
        let mut places = SmallVec::<[Place; 1]>::with_capacity(parts.len());
        let (mut reads, mut gaps, mut broken) = (Reads::default(), Vec::new(), Vec::new());
        let mut left = Limit::PAGE;
        for (part, start) in parts.into_iter().enumerate().zip(starts) {
            let start = (start, opening.floor);
            let (mut place, mut answer) = Place::open(&*log, part, start, &mut left).await?;
            if opening.skips_ends {
                answer = place.skip_end(answer);
                broken.extend(place.next_break(answer.as_ref()));
            }
            if let Some(Answer { page: Ok(Page { gap: Some(gap), .. }), .. }) = &answer {
                outcome = outcome.max(Outcome::of(gap.reason));
                gaps.push((place.part(), *gap));
            }
            places.push(place);
            let Some(answer) = answer else { continue };
            reads.keep(answer);
        }
        // A cursor's text does not record the topics whose end the reader knows. A reader that goes on
        // with other topics is told of the end again.
        if places.iter().any(|place| place.ended != Ended::Told) {
            for place in places.iter_mut().filter(|place| place.ended == Ended::Told) {
                place.ended = Ended::Untold;
            }
        }
        let reads = (!reads.is_empty()).then(|| Box::new(reads));
        let cursor = Self { log, places, turn: 0, reads };
        Ok(Opened { cursor, outcome, new_parts, gaps, broken })
    }

    /// The logs, sorted, and the part of each that the reader wants.
    pub fn parts(&self) -> impl ExactSizeIterator<Item = Part> {
        self.places.iter().map(Place::part)
    }

    /// The part of a place, which is an index of [`Step`].
    ///
    /// # Panics
    /// The cursor has no such place.
    #[must_use]
    pub fn part(&self, place: usize) -> Part {
        self.places[place].part()
    }

    /// Returns true for a cursor of several logs.
    #[must_use]
    pub fn is_several(&self) -> bool {
        self.places.len() > 1
    }

    /// Returns true if all topics have ended and the reader was told.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.places.iter().all(|place| place.ended == Ended::Told)
    }

    /// Events that follow this cursor, as far as the tails on this node know.
    #[must_use]
    pub fn lag(&self) -> u64 {
        self.places.iter().map(Place::lag).sum()
    }

    /// The largest [`lag`](Self::lag) in a single log.
    #[must_use]
    pub fn lag_most(&self) -> u64 {
        self.places.iter().map(Place::lag).max().unwrap_or_default()
    }

    /// Events that this cursor has passed in the logs of which it reads everything, counted by their numbers.
    #[must_use]
    pub fn passed(&self) -> u64 {
        let whole = self.places.iter().filter(|place| place.reads_all());
        whole.map(|place| place.position.n).fold(0, u64::saturating_add)
    }

    /// Moves past events that the reader did not select, as far as the tails on this node know. Returns true if the cursor
    /// has passed any since its last step, so that the last id that the reader got is behind.
    pub fn pass_by(&mut self) -> bool {
        // A position stays where it is while the log is read from there.
        let may_move = self.reads.is_none();
        self.places.iter_mut().fold(false, |passed, place| place.pass_by(may_move) | passed)
    }

    /// The cursor as text, safe as the value of a header.
    #[must_use]
    pub fn wire(&self) -> String {
        wire::encode(self.places.iter().map(|place| place.entry(place.position)))
    }

    /// The cursor as text, as of the moment in which it stood at `position` of one place: the id of an event
    /// inside a [`Step`], after which the cursor itself has moved on.
    #[must_use]
    pub fn wire_at(&self, at: usize, position: Position) -> String {
        wire::encode(
            self.places
                .iter()
                .enumerate()
                .map(|(i, place)| place.entry(if i == at { position } else { place.position })),
        )
    }

    /// The position of a place, for the conformance suite. Other callers get text.
    #[cfg(feature = "conformance")]
    pub(crate) fn position(&self, place: usize) -> Position {
        self.places[place].position
    }

    /// Waits for the next step.
    ///
    /// Cancel-safe: a position moves only in the moment in which its step is returned. A read of the log
    /// that is under way ends with the future.
    pub async fn next(&mut self, limit: Limit) -> Step {
        let waiting = Waiting(self);
        poll_fn(|cx| waiting.0.poll_next(limit, cx)).await
    }

    /// Returns the next step if there is one now, without waiting for a tail to move or a pause to end.
    ///
    /// Cancel-safe, as [`next`](Self::next) is.
    ///
    /// # Errors
    /// The log could not be read when it was last asked about one of the places.
    pub async fn try_next(&mut self, limit: Limit) -> Result<Option<Step>, ReadError> {
        let waiting = Waiting(self);
        let step = poll_fn(|cx| waiting.0.poll_now(limit, cx)).await;
        match step {
            None => waiting.0.read_error().map_or(Ok(None), Err),
            step => Ok(step),
        }
    }

    /// Polls for the next step. A place that its tail cannot serve is read from the log. A read that fails
    /// or brings nothing pauses its place, longer each time up to a bound; news from the tail ends the pause
    /// early.
    ///
    /// No read is under way when a step is returned, so a caller that handles a step holds no connection of
    /// the log. A caller that turns to other work after `Pending` calls
    /// [`cancel_read`](Self::cancel_read) first.
    pub fn poll_next(&mut self, limit: Limit, cx: &mut Context<'_>) -> Poll<Step> {
        loop {
            if let Some(step) = ready!(self.poll_now(limit, cx)) {
                return Poll::Ready(step);
            }
            // Including topics that have ended: a publisher may use their names again.
            let moved = self.places.iter_mut().any(|place| place.wake.poll_changed(cx).is_ready());
            if !moved && !self.is_pause_over(cx) {
                return Poll::Pending;
            }
        }
    }

    /// Drops the read of the log that is under way. The next poll begins the read again.
    ///
    /// A read that is not polled keeps a connection of the log from other readers.
    pub fn cancel_read(&mut self) {
        if let Some(reads) = &mut self.reads {
            reads.cancel();
            self.drop_empty_reads();
        }
    }

    /// The next step if there is one now; pending only while the log is read.
    fn poll_now(&mut self, limit: Limit, cx: &mut Context<'_>) -> Poll<Option<Step>> {
        loop {
            // Before the tails, so that no position moves between a read and its answer.
            if let Some(reads) = &mut self.reads
                && let Some(answer) = ready!(reads.poll_answer(cx))
            {
                match self.take(answer, limit) {
                    Some(step) => return Poll::Ready(Some(step)),
                    None => continue,
                }
            }
            match self.look(limit) {
                Found::Step(step) => return Poll::Ready(Some(step)),
                Found::Unread(place) => self.read(place, limit),
                Found::Nothing => {
                    let is_finished = self.is_finished() && self.read_error().is_none();
                    return Poll::Ready(is_finished.then_some(Step::Finished));
                }
            }
        }
    }

    /// Looks for the next step in the tails, until a place has to be read from the log.
    fn look(&mut self, limit: Limit) -> Found {
        for place in self.turns() {
            match self.places[place].look(place, limit) {
                Look::Step(step) => {
                    self.has_moved(place);
                    return Found::Step(step);
                }
                Look::Nothing => self.forget_pause(place),
                Look::Elsewhere if self.is_paused(place) => {}
                Look::Elsewhere => return Found::Unread(place),
            }
        }
        Found::Nothing
    }

    /// Begins to read a place from the log.
    fn read(&mut self, index: usize, limit: Limit) {
        let place = &self.places[index];
        let positions = (place.position, place.tail.head());
        let reads = self.reads.get_or_insert_default();
        reads.begin(&self.log, (index, &place.log), positions, limit);
    }

    /// Takes the log's answer: returns its step, or pauses the place.
    fn take(&mut self, answer: Answer, limit: Limit) -> Option<Step> {
        let Answer { place, tail_head, page } = answer;
        let before = self.places[place].position;
        let result = match page {
            Ok(page) => match self.places[place].take(place, page, limit) {
                Some(step) => {
                    self.has_moved(place);
                    return Some(step);
                }
                // Entries without a step were passed.
                None if self.places[place].position != before => {
                    self.has_moved(place);
                    return None;
                }
                None => Ok(tail_head),
            },
            // A log that cannot be read must not delay the others.
            Err(error) => Err(error),
        };
        self.reads.get_or_insert_default().pause(place, result);
        None
    }

    fn has_moved(&mut self, place: usize) {
        self.turn = turn_after(place);
        self.forget_pause(place);
    }

    fn is_paused(&self, index: usize) -> bool {
        let place = &self.places[index];
        self.reads
            .as_ref()
            .is_some_and(|reads| reads.is_paused(index, place.position, place.tail.head()))
    }

    fn read_error(&self) -> Option<ReadError> {
        self.reads.as_ref().and_then(|reads| reads.error())
    }

    fn forget_pause(&mut self, place: usize) {
        if let Some(reads) = &mut self.reads {
            reads.forget(place);
            self.drop_empty_reads();
        }
    }

    fn is_pause_over(&mut self, cx: &mut Context<'_>) -> bool {
        self.reads.as_mut().is_some_and(|reads| reads.poll_pause(cx).is_ready())
    }

    fn drop_empty_reads(&mut self) {
        self.reads.take_if(|reads| reads.is_empty());
    }

    /// All places, beginning with the one whose turn it is.
    fn turns(&self) -> impl Iterator<Item = usize> + use<> {
        let (turn, count) = (self.turn as usize, self.places.len());
        (0..count).map(move |offset| (turn + offset) % count)
    }
}

/// The result of a look at all places.
enum Found {
    Step(Step),
    Nothing,
    /// This place has to be read from the log.
    Unread(usize),
}

/// Borrows a cursor for a future, and ends its read of the log with that future.
struct Waiting<'a>(&'a mut Cursor);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.cancel_read();
    }
}

fn turn_after(place: usize) -> u32 {
    // No request names 2^32 topics. If one did, the turn would go back to the first place.
    u32::try_from(place + 1).unwrap_or(0)
}

impl From<Origin> for OpenOptions {
    fn from(origin: Origin) -> Self {
        Self { origin, new_topics: None, skips_ends: false, floor: None }
    }
}

impl Outcome {
    /// The outcome as a word, for a metric or a message.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Exact => "exact",
            Self::Gap => "gap",
            Self::Rewound => "rewound",
            Self::Reset => "reset",
            Self::Invalid => "invalid",
        }
    }

    /// Returns true if the reader goes on in the history that it knew, so that the events between its
    /// cursor and the head are the events that it missed.
    #[must_use]
    pub const fn is_continued(self) -> bool {
        matches!(self, Self::Exact | Self::Gap)
    }

    const fn of(reason: Reason) -> Self {
        match reason {
            Reason::Trimmed | Reason::History => Self::Gap,
            Reason::Rewound => Self::Rewound,
            Reason::Reset => Self::Reset,
            Reason::Invalid => Self::Invalid,
        }
    }
}

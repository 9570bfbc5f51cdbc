//! **A connection is a cursor over an append-only log.** This file is that sentence.
//!
//! A [`Cursor`] holds one position for each topic of a subscription. [`Cursor::next`] is the only way
//! forward, for a live reader, one that resumes, a slow one and a long-poll alike:
//!
//! ```text
//!            ┌────────────── read after the position ◄─────────────┐
//!            │                                                     │
//!   the tail's window has it │ the log has it │ a gap │ nothing: wait until the tail moves
//!            └───────┬───────┴───────┬────────┴───┬───┘
//!                    step: advance the position and return
//! ```
//!
//! There is no hand-over from replay to live, hence none to get wrong, and no queue: what a slow
//! reader has not taken is in the log. A cursor's memory is its positions.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use smallvec::SmallVec;

use crate::{Events, Gap, Limit, Log, Position, ReadError, Reason, Seek, Topic};

mod place;
mod reads;
pub(crate) mod wire;

use place::{Ended, Look, Opened, Place, Start};
use reads::{Answer, Reads};

/// Positions in the logs of one or several topics.
#[derive(Debug)]
pub struct Cursor {
    log: Arc<dyn Log>,
    /// Sorted by topic, each topic once: the order of the wire form. Mostly there is one, which is to
    /// lie where its reader does.
    places: SmallVec<[Place; 1]>,
    topics_hash: u32,
    /// The place to look at first, so that a busy topic does not starve the others.
    turn: u32,
    /// The read of the log under way, and the pauses after earlier ones. Boxed and mostly absent: a
    /// reader that waits at the tail keeps no room for them.
    reads: Option<Box<Reads>>,
}

/// Where a subscription begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// With the next event.
    Latest,
    /// Somewhere in the history.
    Seek(Seek),
    /// After the cursor that the client brought: text from outside.
    Resume(String),
}

/// What became of the beginning, the worst of all topics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// No cursor was brought.
    Live,
    /// Everything after the cursor can be read.
    Exact,
    /// Some of it was trimmed.
    Gap,
    /// The log has lost what the reader had seen.
    Rewound,
    /// The topic began anew.
    Reset,
    /// The cursor was not understood.
    Invalid,
}

/// A step forward in one topic.
#[derive(Debug)]
pub enum Step {
    /// The next events, in order.
    Events {
        /// Which topic, as an index into [`Cursor::topics`].
        topic: usize,
        /// At least one, and at most the limit.
        events: Events,
    },
    /// Positions that cannot be read; the cursor stands behind them now.
    Gap {
        /// Which topic, as an index into [`Cursor::topics`].
        topic: usize,
        /// What is gone. Rare, hence apart.
        gap: Box<Gap>,
    },
    /// The topic's publisher has ended it, and everything before was delivered.
    End {
        /// Which topic, as an index into [`Cursor::topics`].
        topic: usize,
    },
    /// All topics have ended.
    Finished,
}

impl Cursor {
    /// Opens a cursor on `topics` (repeated ones count once).
    ///
    /// # Errors
    /// The log cannot be reached.
    pub async fn open(
        log: Arc<dyn Log>,
        topics: Vec<Topic>,
        origin: Origin,
    ) -> Result<(Self, Outcome), ReadError> {
        let mut topics = topics;
        topics.sort();
        topics.dedup();
        let topics_hash = wire::hash(topics.iter());
        let (starts, mut outcome) = Start::all(&origin, topics_hash, topics.len());
        let mut places = SmallVec::<[Place; 1]>::with_capacity(topics.len());
        let mut reads = Reads::default();
        let mut left = Limit::PAGE;
        for (topic, start) in topics.into_iter().zip(starts) {
            let (place, opened) = Place::open(&*log, topic, start, &mut left).await?;
            match opened {
                Opened::Known => {}
                Opened::Gap(reason) => outcome = outcome.max(Outcome::of(reason)),
                Opened::Ahead(tail_head) => reads.pause(places.len(), Ok(tail_head)),
            }
            places.push(place);
        }
        // A cursor does not say which of its topics' ends its reader has heard of; a reader that
        // goes on with others is told again.
        if places.iter().any(|place| place.ended != Ended::Told) {
            for place in places.iter_mut().filter(|place| place.ended == Ended::Told) {
                place.ended = Ended::Untold;
            }
        }
        let reads = (!reads.is_empty()).then(|| Box::new(reads));
        Ok((Self { log, places, topics_hash, turn: 0, reads }, outcome))
    }

    /// The topics, sorted.
    pub fn topics(&self) -> impl ExactSizeIterator<Item = &Topic> {
        self.places.iter().map(|place| &place.topic)
    }

    /// Whether it is a cursor of several topics.
    #[must_use]
    pub fn is_several(&self) -> bool {
        self.places.len() > 1
    }

    /// Whether all topics have ended and the reader knows.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.places.iter().all(|place| place.ended == Ended::Told)
    }

    /// How many events the log had after this cursor when its node last heard of it.
    #[must_use]
    pub fn lag(&self) -> u64 {
        self.places.iter().map(Place::lag).sum()
    }

    /// The most of these events that are of one topic.
    #[must_use]
    pub fn lag_most(&self) -> u64 {
        self.places.iter().map(Place::lag).max().unwrap_or_default()
    }

    /// How many events of its topics it has passed, by their numbers.
    #[must_use]
    pub fn passed(&self) -> u64 {
        self.places.iter().map(|place| place.position.n).fold(0, u64::saturating_add)
    }

    /// The cursor as text, safe as the value of a header.
    #[must_use]
    pub fn wire(&self) -> String {
        wire::encode(self.topics_hash, self.places.iter().map(|place| place.position))
    }

    /// The cursor as text, as it was when `topic` stood at `position`: for the events of a [`Step`],
    /// which the cursor itself has passed already.
    #[must_use]
    pub fn wire_at(&self, topic: usize, position: Position) -> String {
        let positions = self.places.iter().enumerate();
        wire::encode(
            self.topics_hash,
            positions.map(|(i, place)| if i == topic { position } else { place.position }),
        )
    }

    /// Where it stands in a topic; text is what everybody else gets.
    #[cfg(feature = "conformance")]
    pub(crate) fn position(&self, topic: usize) -> Position {
        self.places[topic].position
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
    /// The log could not be read when it was last asked about one of the topics.
    pub async fn try_next(&mut self, limit: Limit) -> Result<Option<Step>, ReadError> {
        let waiting = Waiting(self);
        let step = poll_fn(|cx| waiting.0.poll_now(limit, cx)).await;
        match step {
            None => waiting.0.read_error().map_or(Ok(None), Err),
            step => Ok(step),
        }
    }

    /// Polls for the next step. A topic that its tail cannot serve is read from the log. A read that
    /// fails or brings nothing pauses its topic, at a growing length and for as long as the caller
    /// waits; the tail's next news ends the pause early.
    ///
    /// No step is returned while a read is under way, so a caller that was given a step holds nothing of
    /// the log. A caller that turns to other work while this is pending calls
    /// [`cancel_read`](Self::cancel_read) first.
    pub fn poll_next(&mut self, limit: Limit, cx: &mut Context<'_>) -> Poll<Step> {
        loop {
            if let Some(step) = ready!(self.poll_now(limit, cx)) {
                return Poll::Ready(step);
            }
            // Topics that have ended too: their names may be used again.
            let moved = self.places.iter_mut().any(|place| place.wake.poll_changed(cx).is_ready());
            if !moved && !self.is_pause_over(cx) {
                return Poll::Pending;
            }
        }
    }

    /// Drops the read of the log under way, if there is one. It is begun anew at the next poll.
    ///
    /// A read that nobody polls keeps a connection of the log from others.
    pub fn cancel_read(&mut self) {
        if let Some(reads) = &mut self.reads {
            reads.cancel();
            self.drop_empty_reads();
        }
    }

    /// The next step if there is one now; pending only while the log is read.
    fn poll_now(&mut self, limit: Limit, cx: &mut Context<'_>) -> Poll<Option<Step>> {
        loop {
            // First, so that no position moves while its topic is read.
            if let Some(reads) = &mut self.reads
                && let Some(answer) = ready!(reads.poll_read(cx))
                && let Some(step) = self.take(answer, limit)
            {
                return Poll::Ready(Some(step));
            }
            match self.look(limit) {
                Found::Step(step) => return Poll::Ready(Some(step)),
                Found::Unread(topic) => self.read(topic, limit),
                Found::Nothing => {
                    let is_finished = self.is_finished() && self.read_error().is_none();
                    return Poll::Ready(is_finished.then_some(Step::Finished));
                }
            }
        }
    }

    /// Looks for the next step in the tails, until a topic has to be read from the log.
    fn look(&mut self, limit: Limit) -> Found {
        for topic in self.turns() {
            match self.places[topic].look(topic, limit) {
                Look::Step(step) => {
                    self.has_moved(topic);
                    return Found::Step(step);
                }
                Look::Nothing => self.forget_pause(topic),
                Look::Elsewhere if self.is_paused(topic) => {}
                Look::Elsewhere => return Found::Unread(topic),
            }
        }
        Found::Nothing
    }

    /// Begins to read a topic from the log.
    fn read(&mut self, topic: usize, limit: Limit) {
        let place = &self.places[topic];
        let positions = (place.position, place.tail.head());
        let reads = self.reads.get_or_insert_default();
        reads.begin(&self.log, (topic, &place.topic), positions, limit);
    }

    /// Takes the log's answer: returns its step, or pauses the topic.
    fn take(&mut self, answer: Answer, limit: Limit) -> Option<Step> {
        let Answer { topic, tail_head, page } = answer;
        let result = match page {
            Ok(page) => match self.places[topic].take(topic, page, limit) {
                Some(step) => {
                    self.has_moved(topic);
                    return Some(step);
                }
                None => Ok(tail_head),
            },
            // One topic that cannot be read keeps no other from its readers.
            Err(error) => Err(error),
        };
        self.reads.get_or_insert_default().pause(topic, result);
        None
    }

    fn has_moved(&mut self, topic: usize) {
        self.turn = turn_after(topic);
        self.forget_pause(topic);
    }

    fn is_paused(&self, topic: usize) -> bool {
        let place = &self.places[topic];
        self.reads
            .as_ref()
            .is_some_and(|reads| reads.is_paused(topic, place.position, place.tail.head()))
    }

    fn read_error(&self) -> Option<ReadError> {
        self.reads.as_ref().and_then(|reads| reads.error())
    }

    fn forget_pause(&mut self, topic: usize) {
        if let Some(reads) = &mut self.reads {
            reads.forget(topic);
            self.drop_empty_reads();
        }
    }

    fn is_pause_over(&mut self, cx: &mut Context<'_>) -> bool {
        self.reads.as_mut().is_some_and(|reads| reads.poll_pause(cx).is_ready())
    }

    fn drop_empty_reads(&mut self) {
        self.reads.take_if(|reads| reads.is_empty());
    }

    /// All topics, from the one whose turn it is.
    fn turns(&self) -> impl Iterator<Item = usize> + use<> {
        let (turn, count) = (self.turn as usize, self.places.len());
        (0..count).map(move |offset| (turn + offset) % count)
    }
}

/// The result of a look at all topics.
enum Found {
    Step(Step),
    Nothing,
    /// This topic has to be read from the log.
    Unread(usize),
}

/// Borrows a cursor for a future, and ends its read of the log with that future.
struct Waiting<'a>(&'a mut Cursor);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.cancel_read();
    }
}

fn turn_after(topic: usize) -> u32 {
    // Nobody reads that many topics at once; if they did, the first would have its turn.
    u32::try_from(topic + 1).unwrap_or(0)
}

impl Outcome {
    /// The word for a metric or a message.
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

    /// Whether the reader goes on in the past that it knew, so that what lies between is what it
    /// missed.
    #[must_use]
    pub const fn is_continued(self) -> bool {
        matches!(self, Self::Exact | Self::Gap)
    }

    const fn of(reason: Reason) -> Self {
        match reason {
            Reason::Trimmed => Self::Gap,
            Reason::Rewound => Self::Rewound,
            Reason::Reset => Self::Reset,
            Reason::Invalid => Self::Invalid,
        }
    }
}

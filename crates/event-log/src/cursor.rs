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
use std::task::{Context, Poll};
use std::time::Duration;

use smallvec::SmallVec;
use tokio::time::sleep;

use crate::{Events, Gap, Limit, Log, Position, ReadError, Reason, Seek, Topic};

mod place;
pub(crate) mod wire;

use place::{Ended, Near, Place, Start};

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

/// Pause after a failed read, doubled each time up to [`RETRY_MAX`]. The reader's connection stays.
const RETRY_MIN: Duration = Duration::from_millis(50);
/// Longest pause between two tries to read.
const RETRY_MAX: Duration = Duration::from_secs(2);

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
        for (topic, start) in topics.into_iter().zip(starts) {
            let place = Place::open(&*log, topic, start).await?;
            if let Some(gap) = &place.gap {
                outcome = outcome.max(Outcome::of(gap.reason));
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
        Ok((Self { log, places, topics_hash, turn: 0 }, outcome))
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

    /// The next step; waits for it if need be. A log that does not answer is asked again, at a
    /// growing pause, for as long as the caller waits.
    ///
    /// Cancel-safe: a position moves only in the moment in which its step is returned.
    pub async fn next(&mut self, limit: Limit) -> Step {
        let mut pause = RETRY_MIN;
        loop {
            if let Some(step) = poll_fn(|cx| self.poll_near(limit, cx)).await {
                return step;
            }
            // What is rare is boxed: a reader that waits at the tail keeps no room for it.
            match Box::pin(self.try_next(limit)).await {
                Ok(Some(step)) => return step,
                Ok(None) => {}
                Err(ReadError::Unavailable(_)) => {
                    Box::pin(sleep(pause)).await;
                    pause = (pause * 2).min(RETRY_MAX);
                }
            }
        }
    }

    /// The next step, as far as the tails of the topics know: waits for one of them to move. `None`
    /// when the log has to be asked, which [`next`](Self::next) does.
    pub fn poll_near(&mut self, limit: Limit, cx: &mut Context<'_>) -> Poll<Option<Step>> {
        loop {
            match self.near(limit) {
                Near::Step(step) => return Poll::Ready(Some(step)),
                Near::Far => return Poll::Ready(None),
                Near::Nothing => {}
            }
            // Those that have ended too: their names may be used again.
            if !self.places.iter_mut().any(|place| place.wake.poll_changed(cx).is_ready()) {
                return Poll::Pending;
            }
        }
    }

    /// The next step if there is one now.
    ///
    /// # Errors
    /// The log cannot be reached.
    pub async fn try_next(&mut self, limit: Limit) -> Result<Option<Step>, ReadError> {
        let mut failed = None;
        for topic in self.turns() {
            let place = &mut self.places[topic];
            let step = match place.near(topic, limit) {
                Near::Step(step) => Some(step),
                Near::Nothing => None,
                Near::Far => match place.far(&*self.log, topic, limit).await {
                    Ok(step) => step,
                    // One topic that cannot be read keeps no other from its readers.
                    Err(error) => {
                        failed = Some(error);
                        None
                    }
                },
            };
            if step.is_some() {
                self.turn = turn_after(topic);
                return Ok(step);
            }
        }
        match failed {
            Some(error) => Err(error),
            None => Ok(self.is_finished().then_some(Step::Finished)),
        }
    }

    /// The next step, as far as the tails know.
    fn near(&mut self, limit: Limit) -> Near {
        for topic in self.turns() {
            match self.places[topic].near(topic, limit) {
                Near::Nothing => {}
                Near::Step(step) => {
                    self.turn = turn_after(topic);
                    return Near::Step(step);
                }
                Near::Far => return Near::Far,
            }
        }
        match self.is_finished() {
            true => Near::Step(Step::Finished),
            false => Near::Nothing,
        }
    }

    /// All topics, from the one whose turn it is.
    fn turns(&self) -> impl Iterator<Item = usize> + use<> {
        let (turn, count) = (self.turn as usize, self.places.len());
        (0..count).map(move |offset| (turn + offset) % count)
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

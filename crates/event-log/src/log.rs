//! The store of events, as the rest of Tailwater sees it.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::{Event, Gap, NewEvent, Position, Tail, Topic};

/// Append-only logs, one a topic.
///
/// Every implementation passes `conformance`, which is where this contract is spelled out in code:
/// numbers without holes, one order for all readers, gaps announced exactly.
#[async_trait]
pub trait Log: fmt::Debug + Send + Sync + 'static {
    /// Appends in the order given; the answer has one result for each, in the same order. One that
    /// fails stops none that follows. `Ok` means stored at the durability the log was opened with.
    async fn append(&self, batch: Vec<Append>) -> Vec<Result<Receipt, AppendError>>;

    /// Reads what follows `after`: a gap and no events if something that followed is gone, else
    /// events, the first of which is the next one. Nothing of either means that `after` is the head.
    async fn read(&self, topic: &Topic, after: Position, limit: Limit) -> Result<Page, ReadError>;

    /// Finds the position from which a reader without a cursor begins.
    async fn seek(&self, topic: &Topic, seek: Seek) -> Result<Sought, ReadError>;

    /// What is there of a topic; `None` if the log does not know it.
    async fn bounds(&self, topic: &Topic) -> Result<Option<Bounds>, ReadError>;

    /// The live end of a topic. Once it is returned, every later event extends it sooner or later, or
    /// it is reset to a head that has passed the event, so that its readers read the log. Only moving
    /// it counts: a reader that stands at its head takes its word that nothing follows. What extends
    /// it is the successor of its head in the same generation, and not only by number.
    async fn tail(&self, topic: &Topic) -> Result<Arc<Tail>, ReadError>;
}

/// One event on its way into a topic.
#[derive(Debug, Clone)]
pub struct Append {
    /// Where to.
    pub topic: Topic,
    /// What.
    pub event: NewEvent,
    /// Makes a retry safe: within the key's lifetime the same key in the same topic is stored once.
    pub key: Option<Key>,
}

/// An idempotency key: 1 to 128 bytes of visible ASCII.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key(Box<str>);

/// Why a text is no idempotency key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    /// The key is empty or longer than [`Key::MAX_BYTES`].
    #[error("an idempotency key has {0} bytes; it must have 1 to {max}", max = Key::MAX_BYTES)]
    Length(usize),
    /// The key holds something other than visible ASCII.
    #[error("an idempotency key must be visible ASCII without spaces")]
    Char,
}

impl Key {
    /// The longest key, in bytes.
    pub const MAX_BYTES: usize = 128;

    /// The key, checked.
    ///
    /// # Errors
    /// Empty, too long, or not visible ASCII.
    pub fn new(text: &str) -> Result<Self, BadKey> {
        if text.is_empty() || text.len() > Self::MAX_BYTES {
            return Err(BadKey::Length(text.len()));
        }
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(BadKey::Char);
        }
        Ok(Self(text.into()))
    }

    /// The key's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The log holds the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// Where it stands.
    pub position: Position,
    /// Whether an earlier append with the same key had put it there.
    pub duplicate: bool,
}

/// Why an event was not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The topic is complete.
    #[error("topic {topic} was ended at {last}; nothing can follow")]
    Ended {
        /// The topic.
        topic: Topic,
        /// Its last position.
        last: Position,
    },
    /// The log is full; nothing was stored.
    #[error("the log is full: {0}")]
    Full(String),
    /// The log did not answer. The event may have been stored; a retry with the same key is safe.
    #[error("the log is unavailable: {0}")]
    Unavailable(String),
}

/// Why nothing was read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The log did not answer.
    #[error("the log is unavailable: {0}")]
    Unavailable(String),
}

/// The most that one read brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Events; 0 counts as 1, since a reader that takes nothing would wait for ever.
    pub events: usize,
    /// Bytes of [`Event::weight`]; the first event comes whatever its size.
    pub bytes: usize,
}

impl Limit {
    /// A single event.
    pub const ONE: Self = Self { events: 1, bytes: 0 };
    /// A page of an event stream: enough that a reader that lags costs a system call for hundreds of
    /// events, little enough that a reader that stalls pins only this.
    pub const PAGE: Self = Self { events: 512, bytes: 64 * 1024 };

    /// How many of the events are within it.
    #[must_use]
    pub fn fits(self, events: &[Event]) -> usize {
        let mut bytes = 0;
        events
            .iter()
            .take(self.events.max(1))
            .take_while(|event| {
                let first = bytes == 0;
                bytes += event.weight();
                first || bytes <= self.bytes
            })
            .count()
    }
}

/// What a read brought.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// What is gone between the position and the first event that can be read. Then `events` is empty.
    pub gap: Option<Gap>,
    /// What follows the position.
    pub events: Vec<Event>,
}

/// Where a reader without a cursor begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seek {
    /// At the oldest event.
    Earliest,
    /// This many events before the head.
    Last(u64),
    /// At the first event of this time or later, in milliseconds since 1970.
    Since(u64),
}

/// Where such a reader is put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sought {
    /// The position before the first event it gets.
    pub position: Position,
    /// Set if events of the asked time may be gone.
    pub gap: Option<Gap>,
}

/// What is there of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The last position given out.
    pub head: Position,
    /// The oldest event that can still be read.
    pub oldest: Option<Position>,
    /// How many events can still be read.
    pub length: u64,
    /// Whether its publisher has ended it.
    pub ended: bool,
}

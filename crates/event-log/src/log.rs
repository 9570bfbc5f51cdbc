//! The interface to the store of events.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::{
    Advance, Bookmark, Event, Fingerprint, Gap, Key, Limit, LogName, Mark, NewEvent, Position,
    Spaces, Tail, Topic,
};

/// Append-only logs: one for each space, and one for each topic that lies in none.
///
/// An append names its topic, and [`spaces`](Self::spaces) decides where it goes. Reads name a log.
///
/// Every implementation passes `conformance`, which tests this contract: numbers without holes, one order
/// for all readers, gaps announced exactly.
#[async_trait]
pub trait Log: fmt::Debug + Send + Sync + 'static {
    /// The spaces of the store.
    fn spaces(&self) -> &Spaces {
        static NONE: Spaces = Spaces::NONE;
        &NONE
    }

    /// Appends the batch in order and returns one result for each append, in the same order. An append that
    /// fails does not stop the appends after it. `Ok` means stored at the durability of this log.
    async fn append(&self, batch: Vec<Append>) -> Vec<Result<Receipt, AppendError>>;

    /// Reads the events that follow `after`. The page has a gap and no events if the next event is gone, and
    /// neither gap nor events if `after` is the head.
    async fn read(&self, log: &LogName, after: Position, limit: Limit) -> Result<Page, ReadError>;

    /// Finds the position from which a reader without a cursor begins.
    async fn seek(&self, log: &LogName, seek: Seek) -> Result<Sought, ReadError>;

    /// Returns the bounds of a log, or `None` if nobody has written to it.
    async fn bounds(&self, log: &LogName) -> Result<Option<Bounds>, ReadError>;

    /// Returns the live end of a log. Every later event extends the tail sooner or later, or the log
    /// resets the tail to a head past the event, so that readers read the log. A reader at the tail's head
    /// does not ask the log, so the log must move the tail. An event that extends the tail is the successor
    /// of the head in the same generation, not only by number.
    async fn tail(&self, log: &LogName) -> Result<Arc<Tail>, ReadError>;

    /// Returns the bookmark that the last copied event of a source has left in a topic. It lives as long as the
    /// topic's numbering.
    async fn bookmark(&self, topic: &Topic, source: &Key) -> Result<Option<Bookmark>, ReadError>;

    /// Returns the position of the first event that was appended with a label, if the log remembers it.
    async fn find(&self, log: &LogName, label: &Key) -> Result<Option<Position>, ReadError>;

    /// Sends a message through the feed of a log, and waits until it arrives at this node. Returns the
    /// time between the two. The log stores nothing for it, so a full log echoes too.
    ///
    /// A caller that echoes repeatedly holds the log's [`tail`](Self::tail): a node that stopped to watch
    /// the log would watch it again for each echo.
    async fn echo(&self, log: &LogName) -> Result<Duration, ReadError>;
}

/// One event on its way into a topic.
#[derive(Debug, Clone)]
pub struct Append {
    /// The topic.
    pub topic: Topic,
    /// The event.
    pub event: NewEvent,
    /// Makes a retry safe: within the key's lifetime, a topic stores an event with this key once.
    pub key: Option<Key>,
    /// The fingerprint that the first event with this key must have, or else the append is refused as
    /// [`AppendError::KeyReused`]. Without one, any event with the key counts as a retry.
    pub fingerprint: Option<Fingerprint>,
    /// Set if the event may only be the successor of this position in its topic. If another entry has come since,
    /// nothing is stored, and the receipt is that of the last entry, as a duplicate. In a space it is not looked at,
    /// because entries of other topics come between.
    pub follows: Option<Position>,
    /// Set if the event is a copy: it is stored only if the bookmark of its source is `from`. If the bookmark is `to`
    /// already, the event is a duplicate. Any other bookmark refuses it as [`AppendError::Moved`].
    pub advance: Option<Advance>,
    /// A name by which [`Log::find`] finds the event's position, as long as the log keeps the event. Of several events with
    /// one label it finds the first.
    pub label: Option<Key>,
    /// False if the log must refuse the event as [`AppendError::NewTopic`] unless it knows the topic. Topics of a space
    /// are all known.
    pub may_begin: bool,
}

impl Append {
    /// An append without a key, to a topic that may be new.
    #[must_use]
    pub const fn new(topic: Topic, event: NewEvent) -> Self {
        Self {
            topic,
            event,
            key: None,
            fingerprint: None,
            follows: None,
            advance: None,
            label: None,
            may_begin: true,
        }
    }

    /// The append as the log of its topic takes it.
    ///
    /// # Errors
    /// The mark is one that a topic in a space cannot have.
    pub fn checked_in(mut self, log: &LogName) -> Result<Self, AppendError> {
        if !log.is_space() {
            return Ok(self);
        }
        if !self.event.mark.is_shareable() {
            return Err(AppendError::InSpace { topic: self.topic, mark: self.event.mark });
        }
        (self.follows, self.may_begin) = (None, true);
        Ok(self)
    }

    /// The append with a key that a publisher chose, which names no other event than this one.
    #[must_use]
    pub fn keyed(self, key: Key) -> Self {
        let fingerprint = Some(Fingerprint::of(&self.event));
        Self { key: Some(key), fingerprint, ..self }
    }

    /// The append with the name of its event. Two events of one name are the same event, whatever they hold.
    #[must_use]
    pub fn named(self, name: Key) -> Self {
        Self { key: Some(name), fingerprint: None, ..self }
    }
}

/// Confirms that the log holds an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// The position of the event.
    pub position: Position,
    /// True if an earlier append with the same key stored the event.
    pub duplicate: bool,
}

/// An append that was not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The publisher has ended the topic.
    #[error("topic {topic} was ended at {last}; nothing can follow")]
    Ended {
        /// The topic.
        topic: Topic,
        /// Its last position.
        last: Position,
    },
    /// Another event was stored under the same key; this one was not stored.
    #[error("the idempotency key was used for another event of topic {topic}, stored at {first}")]
    KeyReused {
        /// The topic.
        topic: Topic,
        /// The position of the event that has the key.
        first: Position,
    },
    /// The bookmark of the source is another one; nothing was stored.
    #[error("the source of topic {topic} has another bookmark: {}", found.as_ref().map_or("none", Bookmark::as_str))]
    Moved {
        /// The topic.
        topic: Topic,
        /// The bookmark that the log has.
        found: Option<Bookmark>,
    },
    /// A topic in a space has no end of its own; nothing was stored.
    #[error("topic {topic} lies in a space, and cannot be {} by itself", .mark.participle())]
    InSpace {
        /// The topic.
        topic: Topic,
        /// The mark of the append.
        mark: Mark,
    },
    /// The log does not know the topic, and the append was not to begin a topic; nothing was stored.
    #[error("topic {topic} is new, and no topic may begin now")]
    NewTopic {
        /// The topic.
        topic: Topic,
    },
    /// The log is full; nothing was stored.
    #[error("the log is full: {0}")]
    Full(String),
    /// The log did not answer. The event may have been stored; a retry with the same key is safe.
    #[error("the log is unavailable: {0}")]
    Unavailable(String),
}

/// A read that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The log did not answer.
    #[error("the log is unavailable: {0}")]
    Unavailable(String),
}

/// The result of a read.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// The positions that are gone before the first readable event. With a gap, `events` is empty.
    pub gap: Option<Gap>,
    /// The events that follow the position.
    pub events: Vec<Event>,
}

impl From<Gap> for Page {
    fn from(gap: Gap) -> Self {
        Self { gap: Some(gap), events: Vec::new() }
    }
}

/// The place in the history where a reader without a cursor begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seek {
    /// At the oldest event.
    Earliest,
    /// This many events before the head.
    Last(u64),
    /// At the first event of this time or later, in milliseconds since 1970.
    Since(u64),
}

/// The result of a [`Seek`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sought {
    /// The position before the first event that the reader gets.
    pub position: Position,
    /// Set if events of the requested time may be gone.
    pub gap: Option<Gap>,
}

/// The events that a log has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The last position given out.
    pub head: Position,
    /// The oldest event that can still be read.
    pub oldest: Option<Position>,
    /// The number of events that can still be read.
    pub length: u64,
    /// True if the publisher has ended the only topic.
    pub ended: bool,
    /// True if the last entry tells that its publisher broke off.
    pub broken: bool,
}

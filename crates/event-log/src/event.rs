//! Events: the entries of a log.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use smallvec::SmallVec;

use crate::{Position, Topic};

/// The type of an event, which SSE clients listen for by name: 1 to 128 bytes without white space,
/// control characters and commas, not beginning with `tailwater.`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct EventType(Arc<str>);

/// A text that is not a valid event type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadEventType {
    /// The type is empty.
    #[error("an event's type must not be empty")]
    Empty,
    /// The type is longer than [`EventType::MAX_BYTES`].
    #[error("an event's type has {0} bytes; the limit is {max}", max = EventType::MAX_BYTES)]
    TooLong(usize),
    /// The type holds a character that no type may have.
    #[error(
        "an event's type must not contain {0:?} (no white space, control characters or commas)"
    )]
    BadChar(char),
    /// The type is one of Tailwater's own control events.
    #[error("event type {0:?} begins with \"tailwater.\", which is reserved")]
    Reserved(String),
}

impl EventType {
    /// The longest type, in bytes.
    pub const MAX_BYTES: usize = 128;
    /// The prefix of the types of control events.
    pub const RESERVED: &'static str = "tailwater.";

    /// A type that publishers may use.
    ///
    /// # Errors
    /// Empty, too long, a character outside the alphabet, or reserved.
    pub fn new(name: &str) -> Result<Self, BadEventType> {
        if name.is_empty() {
            return Err(BadEventType::Empty);
        }
        if name.len() > Self::MAX_BYTES {
            return Err(BadEventType::TooLong(name.len()));
        }
        if name.starts_with(Self::RESERVED) {
            return Err(BadEventType::Reserved(name.to_owned()));
        }
        match name.chars().find(|c| c.is_whitespace() || c.is_control() || *c == ',') {
            Some(c) => Err(BadEventType::BadChar(c)),
            None => Ok(Self(name.into())),
        }
    }

    /// The type's name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// The publisher's trace: the value of the W3C header `traceparent`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceParent(Box<str>);

impl TraceParent {
    /// Parses a header value in the form of version 00: `00-<32 hex>-<16 hex>-<2 hex>`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let lengths = [2, 32, 16, 2];
        let mut parts = text.split('-');
        let well_formed = lengths.iter().all(|len| {
            parts.next().is_some_and(|p| {
                p.len() == *len && p.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
            })
        });
        (well_formed && parts.next().is_none()).then(|| Self(text.into()))
    }

    /// The header's value.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The mark of an event that ends its topic, or does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mark {
    /// An event; more events may follow.
    #[default]
    Open,
    /// The topic's last event.
    Last,
    /// An entry without data that ends the topic. Like any other entry, it has a position.
    End,
    /// An entry without data: the publisher of the events before it broke off. More events may follow.
    Broken(BreakReason),
    /// An entry without data that opens an ended topic again. For a topic that is open the append is redundant, and
    /// its receipt is that of the last entry, as a duplicate.
    Reopened,
    /// No entry: the append deletes the topic with its entries, its numbering and its idempotency keys. The receipt
    /// has the last position, and later positions of the topic are greater.
    Deleted,
}

/// The reason why a publisher is known to have broken off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakReason {
    /// Its connection was lost.
    Disconnected,
    /// It sent nothing, or read no receipts, for too long.
    Timeout,
    /// Events of the source that the topic is copied from are gone: they would have followed here.
    Missing,
}

impl Mark {
    /// Returns true if nothing follows an entry with this mark.
    #[must_use]
    pub const fn ends(self) -> bool {
        matches!(self, Self::Last | Self::End)
    }

    /// Returns true if a topic that shares its log can have an entry with this mark: one that concerns no entry but itself.
    #[must_use]
    pub const fn is_shareable(self) -> bool {
        matches!(self, Self::Open | Self::Broken(_))
    }

    /// The action of an append with this mark on its topic, for a message.
    pub(crate) const fn participle(self) -> &'static str {
        match self {
            Self::Open | Self::Broken(_) => "written",
            Self::Last | Self::End => "ended",
            Self::Reopened => "opened again",
            Self::Deleted => "deleted",
        }
    }

    /// Returns true if an entry with this mark is an event, with data for subscribers.
    #[must_use]
    pub const fn is_event(self) -> bool {
        matches!(self, Self::Open | Self::Last)
    }
}

impl BreakReason {
    /// All reasons.
    pub const ALL: [Self; 3] = [Self::Disconnected, Self::Timeout, Self::Missing];

    /// The reason as a word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disconnected => "disconnected",
            Self::Timeout => "timeout",
            Self::Missing => "missing",
        }
    }
}

/// The parts of an event that few events have.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Extra {
    /// Other topics of the event, in the same space: a reader that selects one of them gets the event, and gets it once.
    pub also: Box<[Topic]>,
    /// A text of the publisher's protocol, which the log keeps and does not read.
    pub attributes: Option<Box<str>>,
}

impl Extra {
    fn weight(&self) -> usize {
        let also = self.also.iter().map(|topic| size_of::<Topic>() + topic.as_str().len());
        size_of::<Self>()
            + also.sum::<usize>()
            + self.attributes.as_ref().map_or(0, |text| text.len())
    }
}

/// An event that no log has stored yet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NewEvent {
    /// The type, which SSE clients listen for by name; `None` is SSE's `message`.
    pub kind: Option<EventType>,
    /// The payload.
    pub data: Box<str>,
    /// Set to end the topic with this event.
    pub mark: Mark,
    /// The publisher's trace.
    pub trace: Option<TraceParent>,
    /// Boxed because few events have it.
    pub extra: Option<Box<Extra>>,
}

/// An event in its log, cheap to clone.
#[derive(Clone)]
pub struct Event {
    /// Stored beside the pointer: a search of a window reads only the positions, without a cache miss for
    /// each event.
    position: Position,
    inner: Arc<Inner>,
}

/// Events in order. Most deliveries have one event; one or two events need no allocation.
pub type Events = SmallVec<[Event; 2]>;

struct Inner {
    topic: Topic,
    new: NewEvent,
    encodings: [OnceLock<Bytes>; Event::ENCODINGS],
    reading: OnceLock<Box<dyn Any + Send + Sync>>,
}

impl Event {
    /// The number of encodings that an event can cache.
    pub const ENCODINGS: usize = 4;

    /// The event of a topic at a position of its log.
    #[must_use]
    pub fn new(topic: Topic, position: Position, new: NewEvent) -> Self {
        let (encodings, reading) = Default::default();
        Self { position, inner: Arc::new(Inner { topic, new, encodings, reading }) }
    }

    /// The topic of the event.
    #[must_use]
    pub fn topic(&self) -> &Topic {
        &self.inner.topic
    }

    /// The topic and the [other topics](Extra::also) of the event.
    pub fn topics(&self) -> impl Iterator<Item = &Topic> {
        let also = self.extra().into_iter().flat_map(|extra| &extra.also);
        std::iter::once(self.topic()).chain(also)
    }

    /// The parts that few events have.
    #[must_use]
    pub fn extra(&self) -> Option<&Extra> {
        self.inner.new.extra.as_deref()
    }

    /// The event's position in its log; `position().ms` is the event's time.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }

    /// The event's type, if the publisher gave one.
    #[must_use]
    pub fn kind(&self) -> Option<&EventType> {
        self.inner.new.kind.as_ref()
    }

    /// The event's payload.
    #[must_use]
    pub fn data(&self) -> &str {
        &self.inner.new.data
    }

    /// The event's mark, which says if the topic ends with this event.
    #[must_use]
    pub fn mark(&self) -> Mark {
        self.inner.new.mark
    }

    /// The trace of the request that published the event.
    #[must_use]
    pub fn trace(&self) -> Option<&TraceParent> {
        self.inner.new.trace.as_ref()
    }

    /// Returns the encoding in a slot. The first call encodes the event, and later calls share the result.
    /// The caller gives the slots their meaning, since this crate knows no wire format.
    ///
    /// # Panics
    /// If `slot` is not below [`Event::ENCODINGS`].
    pub fn encoding(&self, slot: usize, encode: impl FnOnce(&Self) -> Bytes) -> &Bytes {
        self.inner.encodings[slot].get_or_init(|| encode(self))
    }

    /// Returns the event as another protocol reads it. The first call reads it, and later calls share the result; `None` if
    /// a first call has read something of another type.
    pub fn reading<T: Any + Send + Sync>(&self, read: impl FnOnce(&Self) -> T) -> Option<&T> {
        self.inner.reading.get_or_init(|| Box::new(read(self))).downcast_ref()
    }

    /// The approximate bytes of the event in memory, which bound a page or a window.
    #[must_use]
    pub fn weight(&self) -> usize {
        // The payload is kept once as published and about once in an encoding.
        let extra = self.extra().map_or(0, Extra::weight);
        size_of::<Inner>() + 2 * self.data().len() + extra
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.inner.topic, self.position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_that_would_break_a_frame_or_a_filter_are_refused() {
        assert_eq!(EventType::new("order.created").unwrap().as_str(), "order.created");
        for (name, c) in [("a b", ' '), ("a,b", ','), ("a\nb", '\n'), ("a\0", '\0')] {
            assert_eq!(EventType::new(name), Err(BadEventType::BadChar(c)));
        }
        assert_eq!(EventType::new(""), Err(BadEventType::Empty));
        assert!(matches!(EventType::new("tailwater.gap"), Err(BadEventType::Reserved(_))));
        assert_eq!(EventType::new(&"x".repeat(129)), Err(BadEventType::TooLong(129)));
    }

    #[test]
    fn an_encoding_is_made_once() {
        let event = Event::new(Topic::new("t").unwrap(), Position::new(1, 1), NewEvent::default());
        let first = event.encoding(0, |_| Bytes::from_static(b"x")).clone();
        let again = event.clone().encoding(0, |_| unreachable!("already encoded")).clone();
        assert_eq!(first.as_ptr(), again.as_ptr());
    }

    #[test]
    fn a_reading_is_made_once() {
        let event = Event::new(Topic::new("t").unwrap(), Position::new(1, 1), NewEvent::default());
        assert_eq!(event.reading(|event| event.position().n), Some(&1));
        assert_eq!(event.clone().reading(|_| 2_u64), Some(&1));
        assert_eq!(event.reading(|_| "another type"), None);
    }

    #[test]
    fn only_a_well_formed_traceparent_is_taken() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(TraceParent::parse(good).unwrap().as_str(), good);
        for bad in ["", "00-xyz", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x"] {
            assert_eq!(TraceParent::parse(bad), None);
        }
    }
}

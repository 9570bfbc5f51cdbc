//! What a log holds.

use std::fmt;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use smallvec::SmallVec;

use crate::{Position, Topic};

/// The type of an event, which SSE clients listen for by name: 1 to 128 bytes without white space,
/// control characters and commas, not beginning with `tailwater.`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct EventType(Arc<str>);

/// Why a text is no event type.
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
    /// What the types of control events begin with.
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

/// The publisher's trace, as the W3C header `traceparent` gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceParent(Box<str>);

impl TraceParent {
    /// Takes the header's value if it has the form of version 00: `00-<32 hex>-<16 hex>-<2 hex>`.
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

/// Whether more may follow in the topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mark {
    /// An event; more may follow.
    #[default]
    Open,
    /// An event, and the topic's last.
    Last,
    /// No event: it says only that the topic is complete. It has a position like any other entry.
    End,
}

/// An event that no log has taken yet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NewEvent {
    /// What SSE clients listen for by name; `None` is SSE's `message`.
    pub kind: Option<EventType>,
    /// The payload.
    pub data: Box<str>,
    /// Whether the topic ends here.
    pub mark: Mark,
    /// The publisher's trace.
    pub trace: Option<TraceParent>,
}

/// An event in its topic's log, cheap to clone.
#[derive(Clone)]
pub struct Event {
    /// Beside the pointer: a window is searched by it, and what is behind the pointer is far.
    position: Position,
    inner: Arc<Inner>,
}

/// Events in order. Nearly always one is delivered: that, and a second, takes no allocation.
pub type Events = SmallVec<[Event; 2]>;

struct Inner {
    topic: Topic,
    new: NewEvent,
    encodings: [OnceLock<Bytes>; Event::ENCODINGS],
}

impl Event {
    /// How many encodings of itself an event can keep.
    pub const ENCODINGS: usize = 3;

    /// The event at a position of a topic.
    #[must_use]
    pub fn new(topic: Topic, position: Position, new: NewEvent) -> Self {
        Self { position, inner: Arc::new(Inner { topic, new, encodings: Default::default() }) }
    }

    /// The topic it was published to.
    #[must_use]
    pub fn topic(&self) -> &Topic {
        &self.inner.topic
    }

    /// Where it stands in its topic; `position().ms` is its time.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }

    /// Its type, if the publisher gave one.
    #[must_use]
    pub fn kind(&self) -> Option<&EventType> {
        self.inner.new.kind.as_ref()
    }

    /// Its payload.
    #[must_use]
    pub fn data(&self) -> &str {
        &self.inner.new.data
    }

    /// Whether the topic ends with it.
    #[must_use]
    pub fn mark(&self) -> Mark {
        self.inner.new.mark
    }

    /// The trace of the request that published it.
    #[must_use]
    pub fn trace(&self) -> Option<&TraceParent> {
        self.inner.new.trace.as_ref()
    }

    /// One of its encodings, made by the first who asks and shared from then on. What the slots mean
    /// is for the caller to say: the core knows no wire.
    ///
    /// # Panics
    /// If `slot` is not below [`Event::ENCODINGS`].
    pub fn encoding(&self, slot: usize, encode: impl FnOnce(&Self) -> Bytes) -> &Bytes {
        self.inner.encodings[slot].get_or_init(|| encode(self))
    }

    /// Bytes it keeps in memory, roughly: what bounds a page or a window.
    #[must_use]
    pub fn weight(&self) -> usize {
        // The payload stands once as it came and about once in an encoding.
        size_of::<Inner>() + 2 * self.data().len()
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
    fn only_a_well_formed_traceparent_is_taken() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(TraceParent::parse(good).unwrap().as_str(), good);
        for bad in ["", "00-xyz", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x"] {
            assert_eq!(TraceParent::parse(bad), None);
        }
    }
}

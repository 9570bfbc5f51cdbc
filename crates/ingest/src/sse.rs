//! Decodes events from an event stream, the format that browsers read (WHATWG HTML, section 9.2.6).
//!
//! The memory is bounded, because the publisher is not trusted: of data over the limit, only the length is
//! kept. The fields `id` and `retry` are ignored, because the log gives its own ids.

use bytes::Bytes;
use event_log::{Append, BadEventType, EventType, Topic};

use crate::copied::Copied;
use crate::decode::{Decode, Item};
use crate::error::{Code, Error};
use crate::event::event;
use crate::head::RequestHead;
use crate::lines::{Ends, Line, Lines};

/// Parses dispatched events from the bytes of an event stream.
#[derive(Debug)]
pub(crate) struct Parser {
    lines: Lines,
    pending: Pending,
    copied: Copied,
    /// Largest data of an event, in bytes.
    max: usize,
}

/// A dispatched event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    /// The line of its first field, from 1.
    pub(crate) line: u64,
    /// Its type, if the event has one.
    pub(crate) kind: Result<Option<EventType>, BadEventType>,
    /// Its data, or the length of the data if that is over the limit.
    pub(crate) data: Result<String, usize>,
}

/// The fields that were read since the last dispatch.
#[derive(Debug, Default)]
struct Pending {
    /// The line of the first field of any name.
    begun: Option<u64>,
    /// The line of the first field that is stored.
    line: Option<u64>,
    kind: Option<Result<EventType, BadEventType>>,
    /// The lines of data, joined by LF, up to the limit.
    data: String,
    /// The length of all lines of data; `None` before the first line.
    bytes: Option<usize>,
}

/// Bytes for a byte order mark, the name of a field, a colon and a space.
const SLACK_BYTES: usize = 16;

impl Parser {
    /// Parses events with at most `max` bytes of data.
    pub(crate) fn new(max: usize) -> Self {
        let line_max = max.max(EventType::MAX_BYTES).saturating_add(SLACK_BYTES);
        let lines = Lines::new(Ends::Any, line_max);
        Self { lines, pending: Pending::default(), copied: Copied::default(), max }
    }

    /// Takes the next piece. Call it only after [`Parser::take`] has returned `None`.
    pub(crate) fn push(&mut self, chunk: Bytes) {
        self.lines.push(chunk);
    }

    /// Returns the next dispatched event.
    pub(crate) fn take(&mut self) -> Option<Event> {
        loop {
            let line = self.lines.take()?;
            if let Some(event) = self.line(line) {
                return Some(event);
            }
        }
    }

    /// Returns the line at which an event or a comment has begun that is not complete.
    pub(crate) fn unfinished(&self) -> Option<u64> {
        let begun = self.lines.is_within().then(|| self.lines.number() + 1);
        self.pending.line.or(begun)
    }

    /// Returns the reason why the source of the body may have more to come, if it is the stream of a gateway and may.
    pub(crate) const fn more_to_come(&self) -> Option<&'static str> {
        self.copied.unfinished()
    }

    /// Returns the bytes of memory that are held for events to come.
    pub(crate) fn bytes(&self) -> usize {
        self.lines.bytes() + self.pending.data.capacity()
    }

    /// Returns the line of an event that the end of the body cut off, if there is one. By the standard such
    /// an event is not dispatched.
    pub(crate) fn finish(&mut self) -> Option<u64> {
        if let Some(rest) = self.lines.finish() {
            self.line(rest);
        }
        self.pending.begun
    }

    fn line(&mut self, line: Line) -> Option<Event> {
        // A line over the limit is `beyond` bytes longer than its kept start.
        let (line, beyond) = match line {
            Line::Whole(line) => (line, 0),
            Line::TooLong { start, bytes } => (start.clone(), bytes - start.len()),
        };
        let number = self.lines.number();
        if line.is_empty() {
            let event = std::mem::take(&mut self.pending).dispatch(self.max)?;
            if let (Err(BadEventType::Reserved(kind)), Ok(data)) = (&event.kind, &event.data) {
                self.copied.control(kind, data);
            }
            return Some(event);
        }
        let (name, value) = match line.iter().position(|byte| *byte == b':') {
            Some(0) => {
                self.copied.comment(&line[1..]);
                return None;
            }
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (&line[..], &[][..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        if name != b"retry" {
            // A reconnect time belongs to the stream, any other field to an event.
            self.pending.begun.get_or_insert(number);
        }
        match name {
            b"data" => self.pending.data(value, beyond, self.max),
            b"event" => self.pending.kind(value, beyond),
            _ => return None,
        }
        self.pending.line.get_or_insert(number);
        None
    }
}

impl Pending {
    fn data(&mut self, value: &[u8], beyond: usize, max: usize) {
        let value = String::from_utf8_lossy(value);
        let separator = usize::from(self.bytes.is_some());
        let bytes = self.bytes.unwrap_or_default() + separator + value.len() + beyond;
        self.bytes = Some(bytes);
        if bytes > max {
            self.data = String::new();
        } else {
            self.data.push_str(if separator == 1 { "\n" } else { "" });
            self.data.push_str(&value);
        }
    }

    fn kind(&mut self, value: &[u8], beyond: usize) {
        self.kind = match (value, beyond) {
            // An empty type counts as no type.
            ([], 0) => None,
            (_, 0) => Some(EventType::new(&String::from_utf8_lossy(value))),
            _ => Some(Err(BadEventType::TooLong(value.len() + beyond))),
        };
    }

    fn dispatch(self, max: usize) -> Option<Event> {
        let bytes = self.bytes?;
        let data = if bytes > max { Err(bytes) } else { Ok(self.data) };
        Some(Event { line: self.line?, kind: self.kind.transpose(), data })
    }
}

/// Decodes events of one topic from an event stream.
#[derive(Debug)]
pub(crate) struct SseDecoder {
    parser: Parser,
    topic: Topic,
    /// The type and trace of events that have none.
    head: RequestHead,
}

impl SseDecoder {
    pub(crate) fn new(topic: Topic, head: RequestHead, max: usize) -> Self {
        Self { parser: Parser::new(max), topic, head }
    }

    fn append(&self, from: Event) -> Result<Append, Error> {
        let max = self.parser.max;
        let kind = from.kind?.or_else(|| self.head.kind.clone());
        let data =
            from.data.map_err(|bytes| Error::too_large("the event's data", Some(bytes), max))?;
        let event = event(data.into(), kind, false, self.head.trace.clone(), max)?;
        Ok(Append::new(self.topic.clone(), event))
    }
}

impl Decode for SseDecoder {
    fn push(&mut self, chunk: Bytes) {
        self.parser.push(chunk);
    }

    fn take(&mut self) -> Option<Item> {
        let event = self.parser.take()?;
        Some(Item { line: event.line, event: self.append(event) })
    }

    fn unfinished(&self) -> Option<u64> {
        self.parser.unfinished()
    }

    fn bytes(&self) -> usize {
        self.parser.bytes()
    }

    fn finish(&mut self) -> Option<Item> {
        let (line, message) = match (self.parser.finish(), self.parser.more_to_come()) {
            (Some(line), _) => {
                let cut = "the body ended before the blank line that completes this event; it was not stored";
                (line, cut.to_owned())
            }
            (None, Some(why)) if self.head.end => {
                (self.parser.lines.number(), format!("the body does not end its topic: {why}"))
            }
            _ => return None,
        };
        Some(Item { line, event: Err(Error::new(Code::BadBody, message)) })
    }
}

#[cfg(test)]
mod tests;

//! Turns the bytes of an answer into events: an event stream, or JSON lines.

use std::mem;

use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use event_log::{BadEventType, EventType, NewEvent};

/// The form of an answer that streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Server-sent events.
    Events,
    /// JSON values, each on a line of its own.
    Lines,
}

/// Decodes events from an answer that arrives in pieces. Bounds the memory of an event.
#[derive(Debug)]
pub(crate) struct Decoder {
    parts: Parts,
    /// Largest event, in bytes.
    max: usize,
    /// Bytes since the end of the last event.
    begun: usize,
}

#[derive(Debug)]
enum Parts {
    Events(sse::Parser),
    /// The beginning of an incomplete line.
    Lines(Vec<u8>),
}

/// The reason why an answer cannot be stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unstorable {
    /// An event is larger than the limit.
    #[error("an event has more bytes than the limit of {0}")]
    TooLarge(usize),
    /// The type of an event is none that a topic can hold.
    #[error(transparent)]
    Type(#[from] BadEventType),
}

/// The subtypes of `application` and `text` that are JSON lines, without `x-` before them: those that ingest takes.
const LINES: [&str; 5] = ["ndjson", "jsonl", "jsonlines", "json-lines", "ldjson"];

impl Form {
    /// Returns the form of an answer that streams events, or `None` for any other answer.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let encoding = headers.get(CONTENT_ENCODING).map(|value| value.as_bytes());
        if encoding.is_some_and(|encoding| encoding != b"identity") {
            return None;
        }
        let kind = headers.get(CONTENT_TYPE)?.to_str().ok()?;
        let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match kind.split_once('/')? {
            ("text", "event-stream") => Some(Self::Events),
            ("application", "stream+json") => Some(Self::Lines),
            ("application" | "text", subtype) => {
                let name = subtype.rsplit('+').next().unwrap_or_default();
                let is_lines = LINES.contains(&name.strip_prefix("x-").unwrap_or(name));
                is_lines.then_some(Self::Lines)
            }
            _ => None,
        }
    }
}

impl Decoder {
    /// Decodes events of at most `max` bytes.
    pub(crate) fn new(form: Form, max: usize) -> Self {
        let parts = match form {
            Form::Events => Parts::Events(sse::Parser::default()),
            Form::Lines => Parts::Lines(Vec::new()),
        };
        Self { parts, max, begun: 0 }
    }

    /// Returns the events that a piece completes.
    ///
    /// # Errors
    /// An event cannot be stored. The decoder must not be used any more.
    pub(crate) fn feed(&mut self, piece: &[u8]) -> Result<Vec<NewEvent>, Unstorable> {
        let events = match &mut self.parts {
            Parts::Events(parser) => {
                let mut events = Vec::new();
                parser.feed(piece, &mut |event| events.push(self::event(event)));
                events.into_iter().collect::<Result<Vec<_>, _>>()?
            }
            Parts::Lines(partial) => lines(partial, piece),
        };
        // An event that has begun is at most as large as all bytes since the last one, of which a piece that
        // completes events has only a part: pieces are small.
        self.begun = match (self.is_within(), events.is_empty()) {
            (false, _) => 0,
            (true, true) => self.begun + piece.len(),
            (true, false) => piece.len(),
        };
        let is_too_large = |event: &NewEvent| event.data.len() > self.max;
        if events.iter().any(is_too_large) || self.begun > self.max.saturating_add(piece.len()) {
            return Err(Unstorable::TooLarge(self.max));
        }
        Ok(events)
    }

    fn is_within(&self) -> bool {
        match &self.parts {
            Parts::Events(parser) => parser.is_within_event(),
            Parts::Lines(partial) => !partial.is_empty(),
        }
    }

    /// Returns the last event of an answer that ended: a line needs no end. `None` is an answer that ended
    /// within an event.
    pub(crate) fn finish(&mut self) -> Option<Option<NewEvent>> {
        match &mut self.parts {
            Parts::Events(parser) => mem::take(parser).finish().is_none().then_some(None),
            Parts::Lines(partial) => Some(line(&mem::take(partial))),
        }
    }
}

fn event(event: sse::Event) -> Result<NewEvent, BadEventType> {
    let kind = match event.event_type() {
        "message" => None,
        kind => Some(EventType::new(kind)?),
    };
    Ok(NewEvent { kind, data: event.data.into(), ..NewEvent::default() })
}

/// Returns the lines that a piece completes, and keeps the rest.
fn lines(partial: &mut Vec<u8>, piece: &[u8]) -> Vec<NewEvent> {
    let (mut events, mut rest) = (Vec::new(), piece);
    while let Some(end) = memchr::memchr(b'\n', rest) {
        partial.extend_from_slice(&rest[..end]);
        rest = &rest[end + 1..];
        events.extend(line(&mem::take(partial)));
    }
    partial.extend_from_slice(rest);
    events
}

/// Returns the event of a line, unless the line is blank.
fn line(line: &[u8]) -> Option<NewEvent> {
    let text = String::from_utf8_lossy(line.trim_ascii());
    (!text.is_empty()).then(|| NewEvent { data: text.into(), ..NewEvent::default() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAX: usize = 100;

    fn decode<'a>(form: Form, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
        let mut decoder = Decoder::new(form, MAX);
        let mut events = Vec::new();
        for piece in pieces {
            events.extend(decoder.feed(piece).unwrap());
        }
        events.extend(decoder.finish().expect("the answer ended between two events"));
        let shown = |event: NewEvent| {
            let kind = event.kind.map_or(String::new(), |kind| format!("{}=", kind.as_str()));
            format!("{kind}{}", event.data)
        };
        events.into_iter().map(shown).collect()
    }

    #[test]
    fn comments_are_no_events_and_done_is_one() {
        let stream = b": ping\n\nevent: a\ndata: {\"x\":1}\n\nretry: 5\nid: 7\ndata: y\ndata: z\n\ndata: [DONE]\n\n";
        assert_eq!(decode(Form::Events, [&stream[..]]), ["a={\"x\":1}", "y\nz", "[DONE]"]);
    }

    #[test]
    fn each_line_that_is_not_blank_is_an_event_and_the_last_needs_no_end() {
        let lines = b"{\"a\":1}\r\n\n{\"b\":2}\n{\"c\":3}";
        assert_eq!(decode(Form::Lines, [&lines[..]]), ["{\"a\":1}", "{\"b\":2}", "{\"c\":3}"]);
    }

    #[test]
    fn an_answer_that_ends_within_an_event_is_not_complete() {
        for text in ["data: x\n\ndata: y\n", "data: x\n\ndata", "event: a\n"] {
            let mut decoder = Decoder::new(Form::Events, MAX);
            decoder.feed(text.as_bytes()).unwrap();
            assert_eq!(decoder.finish(), None, "{text}");
        }
    }

    #[test]
    fn an_event_over_the_limit_cannot_be_stored_whether_it_ends_or_not() {
        let long = format!("data: {}\n\n", "x".repeat(MAX + 1));
        let mut decoder = Decoder::new(Form::Events, MAX);
        assert_eq!(decoder.feed(long.as_bytes()), Err(Unstorable::TooLarge(MAX)));
        for form in [Form::Events, Form::Lines] {
            let mut decoder = Decoder::new(form, MAX);
            let mut fed = (0..50).map(|_| decoder.feed(b"data: xxxx"));
            assert!(fed.any(|fed| fed == Err(Unstorable::TooLarge(MAX))), "{form:?}");
        }
    }

    #[test]
    fn only_a_readable_stream_has_a_form() {
        let form = |kind: &str, encoding: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, kind.parse().unwrap());
            if let Some(encoding) = encoding {
                headers.insert(CONTENT_ENCODING, encoding.parse().unwrap());
            }
            Form::of(&headers)
        };
        assert_eq!(form("Text/Event-Stream; charset=utf-8", None), Some(Form::Events));
        assert_eq!(form("application/x-ndjson", Some("identity")), Some(Form::Lines));
        assert_eq!(form("text/event-stream", Some("gzip")), None);
        assert_eq!(form("text/jsonl", None), Some(Form::Lines));
        assert_eq!(form("application/vnd.example+x-ndjson;v=1", None), Some(Form::Lines));
        assert_eq!(form("application/stream+json", None), Some(Form::Lines));
        assert_eq!(form("application/json", None), None);
        assert_eq!(form("image/ndjson", None), None);
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_events(
            texts in prop::collection::vec("[a-c:]{0,9}", 0..9),
            size in 1_usize..20,
            is_lines in any::<bool>(),
        ) {
            let (form, text) = if is_lines {
                (Form::Lines, texts.join("\n"))
            } else {
                (Form::Events, texts.iter().map(|text| format!("data: {text}\n\n")).collect())
            };
            let whole = decode(form, [text.as_bytes()]);
            prop_assert_eq!(decode(form, text.as_bytes().chunks(size)), whole);
        }
    }
}

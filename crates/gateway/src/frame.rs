//! Events as bytes of an event stream.
//!
//! Some real client breaks without each of these rules: lines end with LF only; the order is `event`,
//! `data`, `retry`, `id`, so that a truncated event cannot commit its id; every event has an id, because
//! some clients forget the last id at an event without one; `retry` is only sent inside an event that is
//! dispatched. (WHATWG HTML, section 9.2.)

use std::fmt::{Display, Write as _};

use bytes::{BufMut, Bytes, BytesMut};
use event_log::{Event, Position};

use crate::{chunk, envelope, hub, trace};

/// A comment without a blank line after it: some clients take a comment and a blank line for an empty
/// message.
pub(crate) const HEARTBEAT: Bytes = Bytes::from_static(b":\n");

/// Bytes that are reserved for an event's fields besides its data. A longer frame grows its buffer.
const FIELDS_BYTES: usize = 96;

/// The forms of an event on the wire. Each node encodes each form once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// The publisher's data, with the event's type.
    Plain,
    /// The JSON envelope, without an event type, so that one `message` listener sees every topic and type.
    Envelope,
    /// The frame of Mercure, with the publisher's id if there is one.
    Update,
}

/// The layer that frames the HTTP body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// The HTTP library frames the body.
    None,
    /// The gateway writes chunks of HTTP/1.1 itself.
    Chunks,
}

impl Shape {
    const fn slot(self) -> usize {
        match self {
            Self::Plain => 0,
            Self::Envelope => 1,
            Self::Update => 3,
        }
    }

    /// Returns the event's frame as one chunk of HTTP/1.1, with the event's own position as the id.
    /// Nearly all readers are sent this chunk unchanged.
    pub(crate) fn chunk(self, event: &Event) -> &Bytes {
        event.encoding(self.slot(), |event| chunk::of(&self.encode(event)))
    }

    /// Returns the event's frame for a subscription to one topic: the id is the event's own position.
    pub(crate) fn frame(self, event: &Event) -> &[u8] {
        let chunk = self.chunk(event);
        &chunk[chunk::body(chunk)]
    }

    /// Writes the event's frame with an id of the subscription's own, which replaces the event's position, and
    /// with `retry` if that is given.
    pub(crate) fn put_frame(
        self,
        out: &mut BytesMut,
        event: &Event,
        retry_ms: Option<u64>,
        id: impl Display,
    ) {
        let frame = self.frame(event);
        out.put_slice(&frame[..frame.len() - id_line_len(event.position())]);
        if let Some(retry_ms) = retry_ms {
            put_retry(out, retry_ms);
        }
        put_id(out, id);
    }

    fn encode(self, event: &Event) -> BytesMut {
        if self == Self::Update {
            trace::deliver(event);
            return BytesMut::from(hub::frame(event).as_bytes());
        }
        let mut out = BytesMut::with_capacity(event.data().len() + FIELDS_BYTES);
        match self {
            Self::Plain | Self::Update => {
                trace::deliver(event);
                if let Some(kind) = event.kind() {
                    put_line(&mut out, b"event: ", kind.as_str().as_bytes());
                }
                put_data(&mut out, event.data());
            }
            Self::Envelope => put_line(&mut out, b"data: ", envelope::of(event)),
        }
        put_id(&mut out, event.position());
        out
    }
}

impl Framing {
    /// Returns the bytes of one event.
    pub(crate) fn one(self, shape: Shape, event: &Event) -> Bytes {
        let chunk = shape.chunk(event);
        match self {
            Self::Chunks => chunk.clone(),
            Self::None => chunk.slice(chunk::body(chunk)),
        }
    }

    /// Writes one of several events.
    pub(crate) fn put(self, out: &mut BytesMut, shape: Shape, event: &Event) {
        out.put_slice(match self {
            Self::Chunks => shape.chunk(event),
            Self::None => shape.frame(event),
        });
    }

    /// Frames any other part of the stream.
    pub(crate) fn wrap(self, part: Bytes) -> Bytes {
        match self {
            Self::Chunks => chunk::of(&part),
            Self::None => part,
        }
    }
}

/// Writes a control event: JSON data, and the id if there is one.
pub(crate) fn put_control(
    out: &mut BytesMut,
    kind: &str,
    json: &str,
    retry_ms: Option<u64>,
    id: Option<&str>,
) {
    put_line(out, b"event: ", kind.as_bytes());
    put_line(out, b"data: ", json.as_bytes());
    if let Some(retry_ms) = retry_ms {
        put_retry(out, retry_ms);
    }
    match id {
        Some(id) => put_id(out, id),
        None => out.put_u8(b'\n'),
    }
}

/// Writes a control event as a comment of one line. No blank line follows, as in [`HEARTBEAT`].
pub(crate) fn put_comment(out: &mut BytesMut, kind: &str, json: &str) {
    out.extend([b": ", kind.as_bytes(), b" ", json.as_bytes(), b"\n"].into_iter().flatten());
}

/// Writes the time after which a client comes back. A stream that dispatches nothing has it in its first bytes.
pub(crate) fn put_retry(out: &mut BytesMut, retry_ms: u64) {
    put_line(out, b"retry: ", retry_ms.to_string().as_bytes());
}

/// Writes a `data` line for each line of the payload. LF, CR and CRLF each end a line.
fn put_data(out: &mut BytesMut, data: &str) {
    let mut rest = data;
    while let Some(end) = rest.find(['\r', '\n']) {
        put_line(out, b"data: ", &rest.as_bytes()[..end]);
        let crlf = rest[end..].starts_with("\r\n");
        rest = &rest[end + 1 + usize::from(crlf)..];
    }
    put_line(out, b"data: ", rest.as_bytes());
}

fn put_id(out: &mut BytesMut, id: impl Display) {
    writeln!(out, "id: {id}\n").expect("memory takes everything");
}

fn id_line_len(position: Position) -> usize {
    let digits = |number: u64| number.checked_ilog10().unwrap_or(0) as usize + 1;
    "id: -\n\n".len() + digits(position.ms) + digits(position.n)
}

fn put_line(out: &mut BytesMut, field: &[u8], value: &[u8]) {
    out.reserve(field.len() + value.len() + 1);
    out.put_slice(field);
    out.put_slice(value);
    out.put_u8(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use event_log::{EventType, NewEvent, Topic};
    use proptest::prelude::*;

    fn event(kind: Option<&str>, data: &str) -> Event {
        let new = NewEvent {
            kind: kind.map(|kind| EventType::new(kind).unwrap()),
            data: data.into(),
            ..NewEvent::default()
        };
        Event::new(Topic::new("orders/1").unwrap(), Position::new(1_700_000_000_123, 42), new)
    }

    fn text(bytes: &[u8]) -> &str {
        std::str::from_utf8(bytes).unwrap()
    }

    #[test]
    fn frames_on_the_wire() {
        let cases = [
            event(None, "hello"),
            event(Some("price"), "{\"eur\":9}"),
            event(None, ""),
            event(None, "one\ntwo\rthree\r\nfour\n"),
            event(None, "\r\n\r"),
            event(None, " leading space and \u{1f980}"),
        ];
        let frames: String = cases.iter().map(|e| text(Shape::Plain.frame(e)).to_owned()).collect();
        insta::assert_snapshot!(frames);
    }

    /// Parses a frame that arrives in two pieces, cut at `cut`.
    fn parsed(frame: &[u8], cut: usize) -> Vec<sse::Event> {
        let (mut parser, mut events) = (sse::Parser::default(), Vec::new());
        let (head, tail) = frame.split_at(cut % frame.len());
        for part in [head, tail] {
            parser.feed(part, &mut |event| events.push(event));
        }
        events
    }

    proptest! {
        #[test]
        fn a_client_reads_back_what_was_published(
            kind in prop::option::of("[!-+.-~]{1,20}"),
            data in r"([\r\n: a\x00\u{feff}\u{1f980}]|data: |id: 9|\PC){0,20}",
            cut: usize,
        ) {
            let event = event(kind.as_deref(), &data);
            let id = event.position().to_string();
            let plain = parsed(Shape::Plain.frame(&event), cut);
            prop_assert_eq!(plain.len(), 1);
            prop_assert_eq!(&plain[0].data, &data.replace("\r\n", "\n").replace('\r', "\n"));
            prop_assert_eq!(plain[0].event_type(), kind.as_deref().unwrap_or("message"));
            prop_assert_eq!(&plain[0].id, &id);

            let envelope = parsed(Shape::Envelope.frame(&event), cut);
            prop_assert_eq!(envelope.len(), 1);
            let json: serde_json::Value = serde_json::from_str(&envelope[0].data).unwrap();
            prop_assert_eq!(json["data"].as_str(), Some(&*data));
            prop_assert_eq!(json["type"].as_str(), kind.as_deref());
        }
    }

    #[test]
    fn an_envelope_is_a_message_whatever_the_type() {
        insta::assert_snapshot!(text(Shape::Envelope.frame(&event(Some("price"), "a\nb"))), @r#"
        data: {"id":"1700000000123-42","topic":"orders/1","type":"price","data":"a\nb","time":"2023-11-14T22:13:20.123Z"}
        id: 1700000000123-42
        "#);
    }

    #[test]
    fn another_id_changes_only_the_id() {
        for position in [Position::new(0, 1), Position::new(9, 10), Position::new(99_999, u64::MAX)]
        {
            let event = Event::new(Topic::new("t").unwrap(), position, NewEvent::default());
            let mut out = BytesMut::new();
            Shape::Plain.put_frame(&mut out, &event, None, "v1.abc");
            assert_eq!(text(&out), "data: \nid: v1.abc\n\n", "{position}");
            out.clear();
            Shape::Plain.put_frame(&mut out, &event, Some(2500), position);
            assert_eq!(text(&out), format!("data: \nretry: 2500\nid: {position}\n\n"));
        }
    }

    #[test]
    fn a_frame_is_encoded_once() {
        let event = event(None, "x");
        assert_eq!(
            Shape::Plain.frame(&event).as_ptr(),
            Shape::Plain.frame(&event.clone()).as_ptr()
        );
    }
}

//! The form of an event in a stream and in a message: one header line, then the data.
//!
//! The header is `k=v` pairs between spaces: `t` the type, `m` the mark (`last`, `end`, `broken` or `reopened`), `r` the
//! reason of a break, `p` the trace parent, `n` the topic's name in the log of a space, `o` other topics, separated by
//! commas, `a` the attributes, percent-encoded. A reader skips unknown pairs, so that later versions can add some.
//!
//! 0.2.0 knows neither of the last two, and takes such an entry for an event. Therefore the entry has a type and data
//! for that version, which this one drops: a type that no page listens for, and the data of the control event.

use std::borrow::Cow;

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use event_log::{
    BreakReason, Event, EventType, LogName, Mark, NewEvent, Position, Topic, TraceParent,
};

/// The field of a stream's entry that holds the event.
pub(crate) const FIELD: &[u8] = b"d";

/// The type under which 0.2.0 shows a break.
const BROKEN_KIND: &str = "_tailwater.broken";

/// The type under which 0.2.0 shows that a topic was opened again.
const REOPENED_KIND: &str = "_tailwater.reopened";

/// The header line before an event's data, with the topic if others share its log.
pub(crate) fn header(topic: Option<&Topic>, event: &NewEvent) -> String {
    let kind = event.kind.as_ref().map(EventType::as_str);
    let (kind, mark, reason) = match event.mark {
        Mark::Open | Mark::Deleted => (kind, None, None),
        Mark::Last => (kind, Some("last"), None),
        Mark::End => (kind, Some("end"), None),
        Mark::Reopened => (Some(REOPENED_KIND), Some("reopened"), None),
        Mark::Broken(reason) => (Some(BROKEN_KIND), Some("broken"), Some(reason.as_str())),
    };
    let extra = event.extra.as_deref();
    let also = extra
        .filter(|extra| !extra.also.is_empty())
        .map(|extra| extra.also.iter().map(|topic| topic.as_str()).collect::<Vec<_>>().join(","));
    let attributes = extra.and_then(|extra| extra.attributes.as_deref());
    let attributes = attributes.map(|text| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string());
    let pairs = [
        ("n", topic.map(|topic| topic.as_str())),
        ("t", kind),
        ("m", mark),
        ("r", reason),
        ("p", event.trace.as_ref().map(TraceParent::as_str)),
        ("o", also.as_deref()),
        ("a", attributes.as_deref()),
    ];
    let mut text = String::new();
    for (key, value) in pairs {
        if let Some(value) = value {
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(key);
            text.push('=');
            text.push_str(value);
        }
    }
    text.push('\n');
    text
}

/// The data after the header.
pub(crate) fn data<'a>(topic: &Topic, event: &'a NewEvent) -> Cow<'a, str> {
    match event.mark {
        // Neither a topic nor a reason has a character that JSON escapes.
        Mark::Broken(reason) => {
            format!(r#"{{"reason":"{}","topic":"{topic}"}}"#, reason.as_str()).into()
        }
        Mark::Reopened => format!(r#"{{"topic":"{topic}"}}"#).into(),
        Mark::Open | Mark::Last | Mark::End | Mark::Deleted => Cow::Borrowed(&event.data),
    }
}

/// The event at a position of a log. In a space, an entry that another program wrote has the prefix as its topic.
pub(crate) fn event(log: &LogName, position: Position, bytes: &[u8]) -> Event {
    let (named, event) = decode(bytes);
    let topic = log.topic().or(named).unwrap_or_else(|| log.prefix());
    Event::new(topic, position, event)
}

/// Decodes an entry, and the topic that it names. Bytes that do not begin with a [`header`] become the data of an event:
/// an entry that another program wrote must not stop the readers of its log.
pub(crate) fn decode(bytes: &[u8]) -> (Option<Topic>, NewEvent) {
    let raw = || (None, NewEvent { data: lossy(bytes), ..NewEvent::default() });
    decode_header(bytes).unwrap_or_else(raw)
}

fn decode_header(bytes: &[u8]) -> Option<(Option<Topic>, NewEvent)> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let (header, data) = (std::str::from_utf8(&bytes[..end]).ok()?, &bytes[end + 1..]);
    let mut event = NewEvent { data: lossy(data), ..NewEvent::default() };
    let (mut topic, mut said) = (None, None);
    for pair in header.split(' ').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=')? {
            ("n", name) => topic = Topic::new(name).ok(),
            ("t", kind) => event.kind = EventType::new(kind).ok(),
            ("m", "last") => event.mark = Mark::Last,
            ("m", "end") => event.mark = Mark::End,
            ("m", "broken") => event.mark = Mark::Broken(BreakReason::Disconnected),
            ("m", "reopened") => event.mark = Mark::Reopened,
            ("r", reason) => said = BreakReason::ALL.into_iter().find(|r| r.as_str() == reason),
            ("p", trace) => event.trace = TraceParent::parse(trace),
            ("o", also) => {
                let also: Box<_> = also.split(',').filter_map(|n| Topic::new(n).ok()).collect();
                if !also.is_empty() {
                    event.extra.get_or_insert_default().also = also;
                }
            }
            ("a", attributes) => {
                let attributes = percent_decode_str(attributes).decode_utf8_lossy().into();
                event.extra.get_or_insert_default().attributes = Some(attributes);
            }
            _ => {}
        }
    }
    // A later version may know more reasons.
    let mark = match event.mark {
        Mark::Broken(reason) => Mark::Broken(said.unwrap_or(reason)),
        mark => mark,
    };
    if matches!(mark, Mark::Broken(_) | Mark::Reopened) {
        event = NewEvent { mark, trace: event.trace, ..NewEvent::default() };
    }
    Some((topic, event))
}

fn lossy(bytes: &[u8]) -> Box<str> {
    String::from_utf8_lossy(bytes).into()
}

/// A message on a log's channel: an event, or the notice of one.
#[derive(Debug)]
pub(crate) enum Live {
    /// The event itself.
    Event(Event),
    /// The position of an event that is too large for a message.
    Notice(Position),
    /// The position of an event that was erased.
    Erased(Position),
}

/// Begins the message that an event was erased. Nodes that do not know it drop the message.
const ERASED: &str = "x ";

impl Live {
    /// Decodes a message; `None` if it is not one of ours.
    pub(crate) fn decode(log: &LogName, message: &[u8]) -> Option<Self> {
        let end = message.iter().position(|byte| *byte == b'\n');
        let text = std::str::from_utf8(&message[..end.unwrap_or(message.len())]).ok()?;
        if let Some(position) = text.strip_prefix(ERASED) {
            return Some(Self::Erased(position.parse().ok()?));
        }
        let position = text.parse().ok()?;
        Some(match end {
            Some(end) => Self::Event(event(log, position, &message[end + 1..])),
            None => Self::Notice(position),
        })
    }

    pub(crate) fn position(&self) -> Position {
        match self {
            Self::Event(event) => event.position(),
            Self::Notice(position) | Self::Erased(position) => *position,
        }
    }

    /// The message that an event was erased.
    pub(crate) fn erased(position: Position) -> String {
        format!("{ERASED}{position}")
    }
}

#[cfg(test)]
mod tests {
    use event_log::Extra;
    use proptest::prelude::*;

    use super::*;

    fn events() -> impl Strategy<Value = NewEvent> {
        let kind = proptest::option::of("[^\\s\\p{C},]{1,20}")
            .prop_map(|kind| kind.and_then(|kind| EventType::new(&kind).ok()));
        let broken = BreakReason::ALL.map(Mark::Broken);
        let mark = prop_oneof![
            Just(Mark::Open),
            Just(Mark::Last),
            Just(Mark::End),
            Just(Mark::Reopened),
            prop::sample::select(broken.to_vec())
        ];
        let trace = proptest::option::of("00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
            .prop_map(|trace| trace.and_then(|trace| TraceParent::parse(&trace)));
        let topic = "[a-z/]{1,9}".prop_map(|name| Topic::new(&name).unwrap());
        let also = proptest::collection::vec(topic, 0..3);
        let extra = (also, proptest::option::of(any::<String>())).prop_map(|(also, attributes)| {
            let is_some = !also.is_empty() || attributes.is_some();
            let extra = Extra { also: also.into(), attributes: attributes.map(Into::into) };
            is_some.then(|| Box::new(extra))
        });
        let parts = (kind, mark, trace, any::<String>(), extra);
        parts.prop_map(|(kind, mark, trace, data, extra)| match mark {
            Mark::Broken(_) | Mark::Reopened => NewEvent { mark, trace, ..NewEvent::default() },
            _ => NewEvent { kind, mark, trace, data: data.into(), extra },
        })
    }

    proptest! {
        #[test]
        fn an_event_reads_back_as_it_was_written(event in events(), in_space: bool) {
            let topic = Topic::new("orders/42").unwrap();
            let named = in_space.then(|| topic.clone());
            let text = header(named.as_ref(), &event) + &data(&topic, &event);
            prop_assert_eq!(decode(text.as_bytes()), (named, event));
        }

        #[test]
        fn any_bytes_are_an_event(bytes in any::<Vec<u8>>()) {
            decode(&bytes);
            Live::decode(&Topic::new("t").unwrap(), &bytes);
        }
    }

    #[test]
    fn an_entry_in_a_space_has_the_topic_that_it_names_or_the_prefix() {
        let space = LogName::parse("orders/**").unwrap();
        let topic_of =
            |log: &LogName, bytes| event(log, Position::new(7, 3), bytes).topic().clone();
        assert_eq!(topic_of(&space, b"n=orders/42 t=x\ndata").as_str(), "orders/42");
        assert_eq!(topic_of(&space, b"t=x\ndata").as_str(), "orders/");
        let own = Topic::new("demo").unwrap();
        assert_eq!(topic_of(&own, b"n=orders/42\ndata"), own);
    }

    #[test]
    fn an_entry_of_another_program_is_delivered_as_it_is() {
        for raw in ["", "hello", "no header\nbut lines", "{\"a\":1}"] {
            let (_, event) = decode(raw.as_bytes());
            assert_eq!((&*event.data, event.mark, event.kind), (raw, Mark::Open, None));
        }
        assert_eq!(&*decode(b"\xff\xfe").1.data, "\u{fffd}\u{fffd}");
    }

    #[test]
    fn an_entry_without_data_is_an_event_of_its_own_type_for_the_version_before() {
        let event = NewEvent { mark: Mark::Broken(BreakReason::Timeout), ..NewEvent::default() };
        let text = header(None, &event) + &data(&Topic::new("orders/42").unwrap(), &event);
        assert_eq!(
            text,
            "t=_tailwater.broken m=broken r=timeout\n{\"reason\":\"timeout\",\"topic\":\"orders/42\"}"
        );
        // 0.2.0 takes a type that begins with the reserved prefix for none.
        assert!(EventType::new(BROKEN_KIND).is_ok());
        let reopened = NewEvent { mark: Mark::Reopened, ..NewEvent::default() };
        let text = header(None, &reopened) + &data(&Topic::new("orders/42").unwrap(), &reopened);
        assert_eq!(text, "t=_tailwater.reopened m=reopened\n{\"topic\":\"orders/42\"}");
        assert!(EventType::new(REOPENED_KIND).is_ok());
        let (_, later) = decode(b"m=broken r=evaporated\nx");
        assert_eq!(later.mark, Mark::Broken(BreakReason::Disconnected));
    }

    #[test]
    fn unknown_parts_of_a_header_are_skipped() {
        let (_, event) = decode(b"t=tick z=9 m=paused\ndata");
        assert_eq!(event.kind.unwrap().as_str(), "tick");
        assert_eq!((&*event.data, event.mark), ("data", Mark::Open));
    }

    #[test]
    fn a_message_without_an_event_is_a_notice() {
        let topic = Topic::new("t").unwrap();
        assert!(matches!(Live::decode(&topic, b"7-3"), Some(Live::Notice(p)) if p.n == 3));
        let Some(Live::Event(event)) = Live::decode(&topic, b"7-3\nm=last\nx\ny") else {
            panic!("an event travels in its message");
        };
        assert_eq!((event.position().n, event.data(), event.mark()), (3, "x\ny", Mark::Last));
        assert!(Live::decode(&topic, b"x-3\n\n").is_none());
        let erased = Live::erased(Position::new(7, 3));
        assert!(
            matches!(Live::decode(&topic, erased.as_bytes()), Some(Live::Erased(p)) if p.n == 3)
        );
    }
}

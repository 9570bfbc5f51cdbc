//! Decodes events from lines of JSON: `{"topic","type","data","key","end"}`.

use bytes::Bytes;
use event_log::{Append, EventType, Key, Topic};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::body;
use crate::decode::{Decode, Item};
use crate::error::{Code, Error};
use crate::event::event;
use crate::head::RequestHead;
use crate::json;
use crate::lines::{Ends, Line, Lines};

/// Decodes events from lines of JSON.
#[derive(Debug)]
pub(crate) struct NdjsonDecoder {
    lines: Lines,
    /// The topic, type and trace of lines that have none.
    head: RequestHead,
    /// Largest data of an event, in bytes.
    max: usize,
}

/// One line as JSON.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EventLine<'a> {
    topic: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(borrow, default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    key: Option<String>,
    #[serde(default)]
    end: bool,
}

/// The longest JSON escape of one byte of data, `\u0000`.
const ESCAPED_BYTES: usize = 6;
/// Bytes for the rest of a line: topic, type and key, all escaped, have less than 3 KiB.
const SLACK_BYTES: usize = 4096;

impl NdjsonDecoder {
    pub(crate) fn new(head: RequestHead, max: usize) -> Self {
        let line_max = max.saturating_mul(ESCAPED_BYTES).saturating_add(SLACK_BYTES);
        Self { lines: Lines::new(Ends::Lf, line_max), head, max }
    }

    /// Returns the event of a line, or `None` if the line is blank.
    fn item(&self, line: Line) -> Option<Item> {
        let event = match line {
            Line::Whole(line) if line.trim_ascii().is_empty() => return None,
            Line::Whole(line) => parse(&line, &self.head, self.max),
            Line::TooLong { bytes, .. } => Err(Error::new(
                Code::TooLarge,
                format!("the line has {bytes} bytes; the limit of an event's data is {}", self.max),
            )),
        };
        Some(Item { line: self.lines.number(), event })
    }
}

impl Decode for NdjsonDecoder {
    fn push(&mut self, chunk: Bytes) {
        self.lines.push(chunk);
    }

    fn take(&mut self) -> Option<Item> {
        loop {
            let line = self.lines.take()?;
            if let Some(item) = self.item(line) {
                return Some(item);
            }
        }
    }

    fn unfinished(&self) -> Option<u64> {
        self.lines.is_within().then(|| self.lines.number() + 1)
    }

    fn bytes(&self) -> usize {
        self.lines.bytes()
    }

    /// Also decodes a last line without a line end, because not every writer puts one there.
    fn finish(&mut self) -> Option<Item> {
        let line = self.lines.finish()?;
        self.item(line)
    }
}

fn parse(line: &[u8], head: &RequestHead, max: usize) -> Result<Append, Error> {
    let text = str::from_utf8(line).map_err(|error| body::not_utf8("the line", error))?;
    if !json::is_object(text) {
        return Err(Error::new(Code::BadBody, "the line is not an event: it is not a JSON object"));
    }
    let parsed: EventLine<'_> = serde_json::from_str(text).map_err(|error| not_an_event(&error))?;
    let topic = match (&parsed.topic, &head.topic) {
        (Some(topic), _) => Topic::new(topic)?,
        (None, Some(topic)) => topic.clone(),
        (None, None) => {
            return Err(Error::new(
                Code::MissingTopic,
                "no topic is given; name one in the line or as ?topic=NAME",
            ));
        }
    };
    let kind = match &parsed.kind {
        Some(kind) => Some(EventType::new(kind)?),
        None => head.kind.clone(),
    };
    let key = parsed.key.as_deref().map(Key::new).transpose()?;
    let data = match parsed.data {
        Some(data) => text_of(data)?,
        None if parsed.end => Box::default(),
        None => return Err(Error::new(Code::BadBody, "the line has neither data nor end")),
    };
    let event = event(data, kind, parsed.end, head.trace.clone(), max)?;
    let append = Append::new(topic, event);
    Ok(match key {
        Some(key) => append.keyed(key),
        None => append,
    })
}

/// Returns the text of a string, or the JSON of any other value.
fn text_of(data: &RawValue) -> Result<Box<str>, Error> {
    match data.get().starts_with('"') {
        true => serde_json::from_str(data.get()).map_err(|error| not_an_event(&error)),
        false => Ok(json::compact(data.get())),
    }
}

/// Deserialises `null` as a value, not as a missing value.
fn present<'de, D: Deserializer<'de>>(data: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(data).map(Some)
}

/// Drops the line number of the parser, which is always 1.
fn not_an_event(error: &serde_json::Error) -> Error {
    let text = error.to_string();
    let cause = text.split(" at line ").next().unwrap_or_default();
    let column = error.column();
    Error::new(Code::BadBody, format!("the line is not an event: {cause} at column {column}"))
}

#[cfg(test)]
mod tests {
    use event_log::Mark;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::attributes::Attributes;
    use crate::media::Media;

    const MAX: usize = 100;

    fn head(topic: Option<&str>) -> RequestHead {
        RequestHead {
            media: Media::Lines,
            topic: topic.map(|topic| Topic::new(topic).unwrap()),
            kind: Some(EventType::new("default").unwrap()),
            end: false,
            on_break: None,
            key: None,
            trace: None,
            attributes: Attributes::default(),
            expects_event: false,
        }
    }

    fn line(line: &str) -> Append {
        parse(line.as_bytes(), &head(Some("t")), MAX).unwrap()
    }

    fn refusal(line: impl AsRef<[u8]>) -> String {
        let error = parse(line.as_ref(), &head(None), MAX).unwrap_err();
        format!("{}: {error}", error.code().as_str())
    }

    #[test]
    fn the_query_completes_what_a_line_does_not_name() {
        let full = line(r#"{"topic":"u","type":"x","data":"d","key":"k","end":true}"#);
        assert_eq!(full.topic.as_str(), "u");
        assert_eq!(full.event.kind.unwrap().as_str(), "x");
        assert_eq!(full.key.unwrap().as_str(), "k");
        assert_eq!(full.event.mark, Mark::Last);
        let bare = line(r#"{"data":""}"#);
        assert_eq!((bare.topic.as_str(), bare.event.mark), ("t", Mark::Open));
        assert_eq!(bare.event.kind.unwrap().as_str(), "default");
        assert_eq!(line(r#"{"end":true}"#).event.mark, Mark::End);
    }

    #[test]
    fn a_string_is_data_and_any_other_value_is_its_json() {
        for (value, data) in [
            (r#""a\nb\u00e9""#, "a\nb\u{e9}"),
            ("null", "null"),
            ("1.10", "1.10"),
            (r#"{ "b" : [ 1 , 2 ], "a": " " }"#, r#"{"b":[1,2],"a":" "}"#),
        ] {
            assert_eq!(&*line(&format!(r#"{{"data":{value}}}"#)).event.data, data);
        }
    }

    #[test]
    fn data_of_exactly_the_limit_is_accepted_with_any_escapes() {
        let escaped = "\\u0041".repeat(MAX);
        let mut decoder = NdjsonDecoder::new(head(Some("t")), MAX);
        decoder.push(format!("{{\"data\":\"{escaped}\"}}\n").into());
        assert_eq!(decoder.take().unwrap().event.unwrap().event.data.len(), MAX);
    }

    #[test]
    fn every_refusal_names_its_cause() {
        let over = json!({ "topic": "t", "data": "x".repeat(MAX + 1) }).to_string();
        insta::assert_snapshot!(
            [
                refusal("x"),
                refusal("[]"),
                refusal("{\"topic\":\"t\",\"data\":\"x\"} {}"),
                refusal(b"{\"data\":\"\xff\"}"),
                refusal(r#"{"topic":"t","dta":1}"#),
                refusal(r#"{"topic":"t"}"#),
                refusal(r#"{"topic":"t","end":1}"#),
                refusal(r#"{"topic":"t","data":"\ud800"}"#),
                refusal(r#"{"data":1}"#),
                refusal(r#"{"topic":"a b","data":1}"#),
                refusal(r#"{"topic":"t","type":"tailwater.x","data":1}"#),
                refusal(r#"{"topic":"t","key":"","data":1}"#),
                refusal(over),
            ]
            .join("\n")
        );
    }

    proptest! {
        #[test]
        fn any_string_is_data(data in ".{0,20}") {
            let text = json!({ "data": data }).to_string();
            prop_assert_eq!(&*line(&text).event.data, data);
        }

        #[test]
        fn any_line_is_decoded_without_a_panic(line in prop::collection::vec(any::<u8>(), 0..60)) {
            let mut decoder = NdjsonDecoder::new(head(None), MAX);
            decoder.push(line.into());
            while decoder.take().is_some() {}
            decoder.finish();
        }
    }
}

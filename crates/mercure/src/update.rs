//! An update: as it is stored, and as it is sent.
//!
//! An event of the log holds its data as they are. Everything else is in the event's attributes: compact JSON with one letter
//! for each member, which the log stores and does not read.

use std::fmt::Write as _;

use event_log::Position;
use serde::{Deserialize, Serialize};

use crate::hub::Hub;
use crate::id::{BadId, Id};
use crate::text::{self, BadText};
use crate::topic::{BadTopic, Topic};

/// An update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// At least one. The first is the canonical one, and the others are alternates.
    pub topics: Vec<Topic>,
    /// True if only those may have it whose token is for one of its topics.
    pub private: bool,
    /// The id that the publisher brought.
    pub id: Option<Id>,
    /// The type of the event.
    pub kind: Option<Box<str>>,
    /// The time after which a client should reconnect, in milliseconds.
    pub retry_ms: Option<u64>,
    /// The data: any text.
    pub data: String,
}

/// Attributes that are not those of an update.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadUpdate {
    /// They are no JSON object with the members of an update.
    #[error("the attributes are not those of an update: {0}")]
    Json(String),
    /// There is no topic.
    #[error("the attributes name no topic")]
    NoTopic,
    /// A topic is malformed.
    #[error(transparent)]
    Topic(#[from] BadTopic),
    /// The id is malformed.
    #[error(transparent)]
    Id(#[from] BadId),
    /// The type is malformed.
    #[error("the type {0}")]
    Kind(#[from] BadText),
}

/// The attributes. A name is one letter, because it is stored with every event. Other members are for later versions.
#[derive(Serialize, Deserialize)]
struct Attributes<'a> {
    /// The topics.
    #[serde(rename = "t", borrow)]
    topics: Vec<std::borrow::Cow<'a, str>>,
    #[serde(rename = "p", default, skip_serializing_if = "std::ops::Not::not")]
    private: bool,
    #[serde(rename = "i", skip_serializing_if = "Option::is_none")]
    id: Option<std::borrow::Cow<'a, str>>,
    /// The type of the event.
    #[serde(rename = "e", skip_serializing_if = "Option::is_none")]
    kind: Option<std::borrow::Cow<'a, str>>,
    #[serde(rename = "r", skip_serializing_if = "Option::is_none")]
    retry_ms: Option<u64>,
}

impl Update {
    /// The longest type, in bytes: it is kept for each update.
    pub const KIND_BYTES_MAX: usize = 256;

    /// A public update of one topic, without anything else.
    #[must_use]
    pub fn new(topic: Topic, data: String) -> Self {
        Self { topics: vec![topic], private: false, id: None, kind: None, retry_ms: None, data }
    }

    /// Checks the type of an event.
    ///
    /// # Errors
    /// It is empty, too long, or has a character that cannot be seen.
    pub(crate) fn check_kind(kind: &str) -> Result<(), BadText> {
        text::check(kind, Self::KIND_BYTES_MAX)
    }

    /// The canonical topic.
    ///
    /// # Panics
    /// There is no topic.
    #[must_use]
    pub fn canonical(&self) -> &Topic {
        self.topics.first().expect("an update has a topic")
    }

    /// The attributes with which the update is stored, beside its data.
    ///
    /// # Panics
    /// Never: texts and numbers are JSON.
    #[must_use]
    pub fn attributes(&self) -> String {
        let attributes = Attributes {
            topics: self.topics.iter().map(|topic| topic.as_str().into()).collect(),
            private: self.private,
            id: self.id.as_ref().map(|id| id.as_str().into()),
            kind: self.kind.as_deref().map(Into::into),
            retry_ms: self.retry_ms,
        };
        serde_json::to_string(&attributes).expect("texts and numbers are JSON")
    }

    /// Reads an update from the attributes and the data of an event.
    ///
    /// # Errors
    /// The attributes are not those of an update.
    pub fn read(attributes: &str, data: &str, hub: &Hub) -> Result<Self, BadUpdate> {
        let read: Attributes<'_> =
            serde_json::from_str(attributes).map_err(|error| BadUpdate::Json(error.to_string()))?;
        if read.topics.is_empty() {
            return Err(BadUpdate::NoTopic);
        }
        if let Some(kind) = &read.kind {
            Self::check_kind(kind)?;
        }
        let topics = read.topics.iter().map(|topic| Topic::stored(topic, hub));
        Ok(Self {
            topics: topics.collect::<Result<_, _>>()?,
            private: read.private,
            id: read.id.as_deref().map(Id::new).transpose()?,
            kind: read.kind.map(|kind| kind.as_ref().into()),
            retry_ms: read.retry_ms,
            data: data.to_owned(),
        })
    }

    /// The id on the wire of the update at a position: the publisher's, or the one that the hub makes.
    #[must_use]
    pub fn id_at(&self, position: Position) -> Id {
        self.id.clone().unwrap_or_else(|| Id::of(position))
    }

    /// The bytes of the update on an event stream: `event`, `retry`, `id`, `data`, and the blank line.
    #[must_use]
    pub fn frame(&self, id: &Id) -> String {
        self.frame_of(id, &self.data)
    }

    /// The bytes of the update with data that are kept elsewhere.
    ///
    /// # Panics
    /// Never: memory takes everything.
    #[must_use]
    pub fn frame_of(&self, id: &Id, data: &str) -> String {
        let mut out = String::with_capacity(data.len() + id.as_str().len() + 64);
        if let Some(kind) = &self.kind {
            writeln!(out, "event: {kind}").expect("memory takes everything");
        }
        if let Some(retry_ms) = self.retry_ms {
            writeln!(out, "retry: {retry_ms}").expect("memory takes everything");
        }
        writeln!(out, "id: {id}").expect("memory takes everything");
        put_data(&mut out, data);
        out.push('\n');
        out
    }
}

/// Writes a `data` line for each line of the data. LF, CR and CRLF each end a line.
fn put_data(out: &mut String, data: &str) {
    let mut rest = data;
    while let Some(end) = rest.find(['\r', '\n']) {
        put_line(out, &rest[..end]);
        let is_crlf = rest[end..].starts_with("\r\n");
        rest = &rest[end + 1 + usize::from(is_crlf)..];
    }
    put_line(out, rest);
}

fn put_line(out: &mut String, line: &str) {
    out.extend(["data: ", line, "\n"]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hub() -> Hub {
        Hub::new("https://example.com/.well-known/mercure").unwrap()
    }

    fn topics(texts: &[&str]) -> Vec<Topic> {
        texts.iter().map(|text| Topic::new(text, &hub()).unwrap()).collect()
    }

    fn full() -> Update {
        Update {
            topics: topics(&["https://example.com/books/1", "b"]),
            private: true,
            id: Some(Id::new("urn:x:1").unwrap()),
            kind: Some("price".into()),
            retry_ms: Some(2500),
            data: "one\ntwo\r\nthree\rfour".to_owned(),
        }
    }

    #[test]
    fn attributes_are_short_and_leave_out_what_is_absent() {
        assert_eq!(
            full().attributes(),
            r#"{"t":["https://example.com/books/1","b"],"p":true,"i":"urn:x:1","e":"price","r":2500}"#
        );
        let plain = Update::new(topics(&["a"]).remove(0), "x".to_owned());
        assert_eq!(plain.attributes(), r#"{"t":["a"]}"#);
        assert_eq!(plain.canonical().as_str(), "a");
    }

    #[test]
    fn attributes_of_a_later_version_are_read_as_far_as_they_are_known() {
        let read = Update::read(r#"{"t":["a"],"later":{"x":1}}"#, "", &hub()).unwrap();
        assert_eq!(read, Update::new(topics(&["a"]).remove(0), String::new()));
    }

    #[test]
    fn other_attributes_are_refused() {
        for attributes in [
            "",
            "null",
            "{}",
            r#"{"t":[]}"#,
            r#"{"t":["*"]}"#,
            r#"{"t":["a"],"i":"earliest"}"#,
            r#"{"t":["a"],"e":"x\ny"}"#,
            r#"{"t":["a"],"r":-1}"#,
        ] {
            assert!(Update::read(attributes, "", &hub()).is_err(), "{attributes}");
        }
    }

    #[test]
    fn a_frame_has_its_fields_in_the_order_of_the_protocol() {
        let update = full();
        assert_eq!(
            update.frame(&update.id_at(Position::new(1, 1))),
            "event: price\nretry: 2500\nid: urn:x:1\ndata: one\ndata: two\ndata: three\ndata: four\n\n"
        );
        let plain = Update::new(topics(&["a"]).remove(0), String::new());
        assert_eq!(
            plain.frame(&plain.id_at(Position::new(0, 1))),
            "id: urn:uuid:00000000-0000-8694-8000-000000000001\ndata: \n\n"
        );
    }

    proptest! {
        #[test]
        fn an_update_reads_back_as_it_was_stored(
            texts in prop::collection::vec(r#"[a-z"\\/]{1,9}|\PC{1,20}"#, 1..4),
            private: bool,
            id in prop::option::of(r#"[a-z"\\]{1,9}"#),
            kind in prop::option::of("[a-z ]{1,9}"),
            retry_ms: Option<u64>,
            data in r"([\r\n: a\x00\u{feff}]|\PC){0,20}",
        ) {
            let all: Result<Vec<_>, _> = texts.iter().map(|text| Topic::new(text, &hub())).collect();
            prop_assume!(all.is_ok() && id.as_deref() != Some("earliest"));
            let update = Update {
                topics: all.unwrap(),
                private,
                id: id.map(|id| Id::new(&id).unwrap()),
                kind: kind.map(Into::into),
                retry_ms,
                data,
            };
            prop_assert_eq!(Update::read(&update.attributes(), &update.data, &hub()), Ok(update));
        }

        #[test]
        fn a_client_reads_back_what_was_published(
            kind in prop::option::of("[!-9;-~]{1,20}"),
            id in "[!-~]{2,9}",
            data in r"([\r\n: a\x00\u{feff}\u{1f980}]|data: |id: 9|\PC){0,20}",
        ) {
            prop_assume!(!id.starts_with('#'));
            let mut update = Update::new(topics(&["a"]).remove(0), data);
            update.kind = kind.as_deref().map(Into::into);
            let frame = update.frame(&Id::new(&id).unwrap());
            let (mut parser, mut events) = (sse::Parser::default(), Vec::new());
            parser.feed(frame.as_bytes(), &mut |event| events.push(event));
            prop_assert_eq!(events.len(), 1);
            prop_assert_eq!(&events[0].data, &update.data.replace("\r\n", "\n").replace('\r', "\n"));
            prop_assert_eq!(events[0].event_type(), kind.as_deref().unwrap_or("message"));
            prop_assert_eq!(&events[0].id, &id);
        }
    }
}

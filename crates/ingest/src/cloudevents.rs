//! Decodes CNCF CloudEvents 1.0. The whole envelope becomes the data of an event, so that a subscriber receives
//! a CloudEvent. In binary mode the envelope is made of the headers and the body.
//!
//! Does not check the formats of `time`, `datacontenttype` and `dataschema`: only subscribers read them.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use event_log::{Append, EventType, Key, Topic, TraceParent};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use crate::attributes::Attributes;
use crate::error::{Code, Error};
use crate::event::event;
use crate::head::RequestHead;
use crate::media::{essence, is_json};
use crate::{body, json};

/// The attributes of a CloudEvent that ingest uses.
#[derive(Debug, Deserialize)]
struct Envelope<'a> {
    id: String,
    source: String,
    specversion: String,
    #[serde(rename = "type")]
    kind: String,
    subject: Option<String>,
    traceparent: Option<String>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    data_base64: Option<String>,
}

/// The only supported version of the envelope.
const VERSION: &str = "1.0";

/// Decodes one CloudEvent. The topic comes from `head`, else from the subject. The key comes from `head`,
/// else from source and id. The trace comes from the envelope, else from `head`. `head` also decides if the
/// topic ends.
///
/// # Errors
/// The text is not JSON or not a CloudEvent, its topic or type is missing or invalid, it has too many bytes, or
/// a header says something else of it.
pub(crate) fn one(text: &str, head: &RequestHead, max: usize) -> Result<Append, Error> {
    if !json::is_object(text) {
        return Err(bad("the body is not a CloudEvent: it is not a JSON object"));
    }
    agree(text, &head.attributes)?;
    decode(text, head, max)
}

/// Decodes one CloudEvent in binary mode: `head` has its attributes, and the body is its data.
///
/// # Errors
/// As for [`one`], or the content type says that the data is JSON, and it is not.
pub(crate) fn binary(data: Vec<u8>, head: &RequestHead, max: usize) -> Result<Append, Error> {
    decode(&envelope(&head.attributes, data)?, head, max)
}

fn decode(text: &str, head: &RequestHead, max: usize) -> Result<Append, Error> {
    let envelope: Envelope<'_> = serde_json::from_str(text)
        .map_err(|error| bad(format!("the body is not a CloudEvent: {error}")))?;
    envelope.check()?;
    let topic = match (&head.topic, &envelope.subject) {
        (Some(topic), _) => topic.clone(),
        (None, Some(subject)) => Topic::new(subject)?,
        (None, None) => {
            return Err(Error::new(
                Code::MissingTopic,
                "no topic is given; publish to ?topic=NAME or give the CloudEvent a subject",
            ));
        }
    };
    let trace = envelope.traceparent.as_deref().and_then(TraceParent::parse);
    let kind = EventType::new(&envelope.kind)?;
    let event = event(
        json::compact(text),
        Some(kind),
        head.end,
        trace.or_else(|| head.trace.clone()),
        max,
    )?;
    let append = Append::new(topic, event);
    Ok(match &head.key {
        Some(key) => append.keyed(key.clone()),
        // A broker on the way may add attributes to the event at each try.
        None => append.named(envelope.key()),
    })
}

/// Decodes a batch of CloudEvents. Each succeeds or fails by itself.
///
/// # Errors
/// The text is not a JSON array.
pub(crate) fn batch(
    text: &str,
    head: &RequestHead,
    max: usize,
) -> Result<Vec<Result<Append, Error>>, Error> {
    let batch: Vec<&RawValue> = serde_json::from_str(text)
        .map_err(|error| bad(format!("the body is not a JSON array of CloudEvents: {error}")))?;
    Ok(batch.into_iter().map(|envelope| one(envelope.get(), head, max)).collect())
}

/// Checks that headers say the same as the envelope: a sender may repeat attributes there (HTTP protocol
/// binding, section 3.2.3).
fn agree(text: &str, headers: &Attributes) -> Result<(), Error> {
    if headers.is_empty() {
        return Ok(());
    }
    let members: BTreeMap<String, &RawValue> = serde_json::from_str(text)
        .map_err(|error| bad(format!("the body is not a CloudEvent: {error}")))?;
    for (name, header) in headers.iter() {
        let member = members.get(name).map_or("null", |member| member.get());
        // The header of a number or a boolean is its JSON.
        let value = serde_json::from_str::<String>(member);
        if header != value.as_deref().unwrap_or(member) {
            return Err(bad(format!(
                "the header ce-{name} is {header:?}, but {name} of the body is {member}"
            )));
        }
    }
    Ok(())
}

/// Writes the envelope of an event in binary mode, so that its data has every byte of the body. The data is a
/// JSON value if it is JSON, a string if it is other text, and else in base64 (JSON format, section 3.1).
fn envelope(attributes: &Attributes, data: Vec<u8>) -> Result<String, Error> {
    let data = member(attributes.content_type(), data)?;
    let attributes = attributes.iter().map(|(name, value)| (name, raw(value)));
    let members: BTreeMap<_, _> = attributes.chain(data).collect();
    Ok(raw(&members).get().to_owned())
}

/// Returns the name and value of the envelope's member for the data; no data has none.
fn member(
    content_type: Option<&str>,
    data: Vec<u8>,
) -> Result<Option<(&'static str, Box<RawValue>)>, Error> {
    if data.is_empty() {
        return Ok(None);
    }
    let in_base64 = |data: &[u8]| Ok(Some(("data_base64", raw(&BASE64.encode(data)))));
    let Some(content_type) = content_type else {
        // In an envelope, data without a content type is JSON.
        return match serde_json::from_slice::<&RawValue>(&data) {
            Ok(json) => Ok(Some(("data", json.to_owned()))),
            Err(_) => in_base64(&data),
        };
    };
    if is_json(&essence(content_type)) {
        let text = body::text("the data", data)?;
        let json = serde_json::from_str::<&RawValue>(&text).map_err(|error| {
            bad(format!("the data is not JSON, but Content-Type is {content_type:?}: {error}"))
        })?;
        return Ok(Some(("data", json.to_owned())));
    }
    match String::from_utf8(data) {
        Ok(text) if is_utf8(content_type) => Ok(Some(("data", raw(&text)))),
        Ok(text) => in_base64(text.as_bytes()),
        Err(error) => in_base64(error.as_bytes()),
    }
}

/// Returns true unless a content type names another charset.
fn is_utf8(content_type: &str) -> bool {
    content_type.split(';').skip(1).all(|parameter| {
        let (name, value) = parameter.split_once('=').unwrap_or_default();
        let value = value.trim().trim_matches('"').to_ascii_lowercase();
        !name.trim().eq_ignore_ascii_case("charset")
            || matches!(value.as_str(), "utf-8" | "utf8" | "us-ascii" | "ascii")
    })
}

fn raw(value: &(impl Serialize + ?Sized)) -> Box<RawValue> {
    to_raw_value(value).expect("strings and maps of JSON always serialise")
}

impl Envelope<'_> {
    fn check(&self) -> Result<(), Error> {
        if self.specversion != VERSION {
            let version = &self.specversion;
            return Err(bad(format!(
                "specversion is {version:?}; the only supported version is {VERSION:?}"
            )));
        }
        let texts = [
            ("id", Some(&self.id)),
            ("source", Some(&self.source)),
            ("subject", self.subject.as_ref()),
        ];
        for (name, text) in texts {
            if text.is_some_and(String::is_empty) {
                return Err(bad(format!("{name} must not be empty")));
            }
        }
        if self.data.is_some() && self.data_base64.is_some() {
            return Err(bad(
                "data and data_base64 are both given; a CloudEvent has only one of them",
            ));
        }
        Ok(())
    }

    /// Derives the key from source and id, which together are unique among all CloudEvents. A hash fits them
    /// into a key. The hash must resist forgery, because a collision makes another publisher's event a
    /// duplicate.
    fn key(&self) -> Key {
        let mut hash = sha1_smol::Sha1::new();
        // The length separates ("ab", "c") from ("a", "bc").
        hash.update(&(self.source.len() as u64).to_be_bytes());
        hash.update(self.source.as_bytes());
        hash.update(self.id.as_bytes());
        let digits = hash.digest().to_string();
        Key::new(&format!("ce-{}", &digits[..32])).expect("a hash in hex is a key")
    }
}

fn bad(message: impl Into<String>) -> Error {
    Error::new(Code::BadBody, message)
}

#[cfg(test)]
mod tests {
    use event_log::Mark;
    use serde_json::{Value, json};

    use super::*;
    use crate::media::Media;

    fn head(topic: Option<&str>) -> RequestHead {
        RequestHead {
            media: Media::CloudEvent,
            topic: topic.map(|topic| Topic::new(topic).unwrap()),
            kind: None,
            end: false,
            on_break: None,
            key: None,
            trace: None,
            attributes: Attributes::default(),
            expects_event: false,
        }
    }

    fn structured(changes: &Value) -> String {
        let mut envelope = json!({
            "specversion": "1.0", "id": "1", "source": "/shop", "type": "order.paid",
        });
        let members = envelope.as_object_mut().unwrap();
        for (name, value) in changes.as_object().unwrap() {
            match value {
                Value::Null => members.remove(name),
                _ => members.insert(name.clone(), value.clone()),
            };
        }
        envelope.to_string()
    }

    fn key(changes: &Value) -> String {
        let append = one(&structured(changes), &head(Some("t")), 1000).unwrap();
        append.key.unwrap().as_str().to_owned()
    }

    /// Decodes an event in binary mode with this content type, and returns its data.
    fn binary_data(content_type: Option<&str>, data: impl AsRef<[u8]>) -> Result<Value, Error> {
        let mut request = axum::http::Request::builder()
            .header("ce-specversion", "1.0")
            .header("ce-id", "1")
            .header("ce-source", "/shop")
            .header("ce-type", "order.paid");
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        let attributes = Attributes::of_data(request.body(()).unwrap().headers()).unwrap();
        let head = RequestHead { attributes, ..head(Some("t")) };
        let append = binary(data.as_ref().to_vec(), &head, 1000)?;
        Ok(append.event.data.parse().unwrap())
    }

    fn refusal(changes: &Value) -> String {
        let error = one(&structured(changes), &head(None), 1000).unwrap_err();
        format!("{}: {error}", error.code().as_str())
    }

    #[test]
    fn the_envelope_becomes_the_data_and_its_type_the_type() {
        let text = "{\"specversion\": \"1.0\", \"id\": \"1\",\n \"source\": \"/shop\", \
                    \"type\": \"order.paid\", \"data\": {\"n\": 1.0}}";
        let append = one(text, &head(Some("t")), 1000).unwrap();
        assert_eq!(append.event.kind.unwrap().as_str(), "order.paid");
        assert_eq!(append.event.mark, Mark::Open);
        assert_eq!(
            &*append.event.data,
            r#"{"specversion":"1.0","id":"1","source":"/shop","type":"order.paid","data":{"n":1.0}}"#
        );
    }

    #[test]
    fn data_in_binary_mode_has_every_byte_of_the_body() {
        for (content_type, data, member) in [
            (Some("application/json"), "{\"n\": 1.0}".as_bytes(), json!({ "data": { "n": 1.0 } })),
            (Some("Application/X+JSON; charset=utf-8"), b" null ", json!({ "data": null })),
            (Some("application/json"), "\u{feff}1".as_bytes(), json!({ "data": 1 })),
            (Some("text/plain"), b"1", json!({ "data": "1" })),
            (
                Some("text/plain; charset=\"UTF-8\""),
                "\u{e9}".as_bytes(),
                json!({ "data": "\u{e9}" }),
            ),
            (Some("text/plain;charset=utf-16le"), b"a\0", json!({ "data_base64": "YQA=" })),
            (Some("text/plain"), b"caf\xe9", json!({ "data_base64": "Y2Fm6Q==" })),
            (Some("image/png"), b"\x89PNG", json!({ "data_base64": "iVBORw==" })),
            (Some("application/x-ndjson"), b"{}\n{}\n", json!({ "data": "{}\n{}\n" })),
            (Some("text/event-stream"), b"data: 1\n\n", json!({ "data": "data: 1\n\n" })),
            (Some("application/json"), b"", json!({})),
            (None, b"", json!({})),
            (None, b"[1]", json!({ "data": [1] })),
            (None, b"hello", json!({ "data_base64": "aGVsbG8=" })),
        ] {
            let mut expected: Value = structured(&json!({})).parse().unwrap();
            expected.as_object_mut().unwrap().extend(member.as_object().unwrap().clone());
            if let Some(content_type) = content_type {
                expected["datacontenttype"] = content_type.into();
            }
            assert_eq!(binary_data(content_type, data).unwrap(), expected);
        }
    }

    #[test]
    fn data_that_is_not_json_as_its_content_type_says_is_refused() {
        assert_eq!(
            binary_data(Some("application/json"), "{").unwrap_err().to_string(),
            "the data is not JSON, but Content-Type is \"application/json\": EOF while parsing an object at line 1 \
             column 1"
        );
        let error = binary_data(Some("application/json"), b"\xff").unwrap_err();
        assert_eq!(error.to_string(), "the data is not UTF-8 at byte 0");
    }

    #[test]
    fn the_topic_of_the_query_precedes_the_subject() {
        let text = structured(&json!({ "subject": "orders/42" }));
        assert_eq!(one(&text, &head(None), 1000).unwrap().topic.as_str(), "orders/42");
        assert_eq!(one(&text, &head(Some("t")), 1000).unwrap().topic.as_str(), "t");
    }

    #[test]
    fn the_key_follows_from_source_and_id_alone() {
        let first = key(&json!({}));
        assert_eq!(first, key(&json!({ "data": 5, "type": "other" })));
        assert_ne!(first, key(&json!({ "id": "2" })));
        assert_ne!(
            key(&json!({ "source": "ab", "id": "c" })),
            key(&json!({ "source": "a", "id": "bc" }))
        );
        // The key must never change, because a publisher may retry across an upgrade.
        insta::assert_snapshot!(first);
    }

    #[test]
    fn a_traceparent_of_the_envelope_is_kept() {
        let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let text = structured(&json!({ "traceparent": trace }));
        let append = one(&text, &head(Some("t")), 1000).unwrap();
        assert_eq!(append.event.trace.unwrap().as_str(), trace);
    }

    #[test]
    fn every_refusal_names_its_cause() {
        insta::assert_snapshot!(
            [
                refusal(&json!({ "id": null })),
                refusal(&json!({ "source": "" })),
                refusal(&json!({ "type": 7 })),
                refusal(&json!({ "specversion": "0.3" })),
                refusal(&json!({ "data": 1, "data_base64": "AQ==" })),
                refusal(&json!({})),
                refusal(&json!({ "subject": "" })),
                refusal(&json!({ "subject": "a b" })),
                refusal(&json!({ "subject": "t", "type": "a b" })),
                refusal(&json!({ "subject": "t", "data": "x".repeat(1000) })),
            ]
            .join("\n")
        );
    }
}

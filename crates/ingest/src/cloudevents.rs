//! CNCF CloudEvents 1.0 in structured mode: the whole envelope becomes the data of an event, so that a
//! subscriber receives a CloudEvent.
//!
//! The formats of `time`, `datacontenttype` and `dataschema` are not checked: they are the
//! subscriber's to read, and nothing here depends on them.

use event_log::{Append, EventType, Key, Topic, TraceParent};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::error::{Code, Error};
use crate::event::event;
use crate::head::Head;
use crate::json;

/// The attributes that mean something here.
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

/// The one version of the envelope.
const VERSION: &str = "1.0";

/// One CloudEvent. `head` says what the envelope leaves open: the topic, else it is the subject; the
/// key, else it follows from source and id; the trace; and whether the topic ends.
///
/// # Errors
/// No JSON, no CloudEvent, or one that names no valid topic and type, or too much of it.
pub(crate) fn one(text: &str, head: &Head, max: usize) -> Result<Append, Error> {
    if !json::is_object(text) {
        return Err(bad("the body is no CloudEvent: it is not a JSON object"));
    }
    let envelope: Envelope<'_> = serde_json::from_str(text)
        .map_err(|error| bad(format!("the body is no CloudEvent: {error}")))?;
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
    let key = match &head.key {
        Some(key) => key.clone(),
        None => envelope.key(),
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
    Ok(Append { topic, event, key: Some(key) })
}

/// A batch of CloudEvents, each by itself.
///
/// # Errors
/// The text is no JSON array.
pub(crate) fn batch(
    text: &str,
    head: &Head,
    max: usize,
) -> Result<Vec<Result<Append, Error>>, Error> {
    let batch: Vec<&RawValue> = serde_json::from_str(text)
        .map_err(|error| bad(format!("the body is no JSON array of CloudEvents: {error}")))?;
    Ok(batch.into_iter().map(|envelope| one(envelope.get(), head, max)).collect())
}

impl Envelope<'_> {
    fn check(&self) -> Result<(), Error> {
        if self.specversion != VERSION {
            let version = &self.specversion;
            return Err(bad(format!("specversion is {version:?}; the only one is {VERSION:?}")));
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
            return Err(bad("data and data_base64 are both given; a CloudEvent has one of them"));
        }
        Ok(())
    }

    /// Source and id together are unique among all CloudEvents. A hash keeps them within a key, and
    /// one that resists forgery, for a collision would make another's event a duplicate.
    fn key(&self) -> Key {
        let mut hash = sha1_smol::Sha1::new();
        // The length tells ("ab", "c") from ("a", "bc").
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

    fn head(topic: Option<&str>) -> Head {
        Head {
            media: Media::CloudEvent,
            topic: topic.map(|topic| Topic::new(topic).unwrap()),
            kind: None,
            end: false,
            key: None,
            trace: None,
        }
    }

    fn envelope(changes: &Value) -> String {
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
        let append = one(&envelope(changes), &head(Some("t")), 1000).unwrap();
        append.key.unwrap().as_str().to_owned()
    }

    fn refusal(changes: &Value) -> String {
        let error = one(&envelope(changes), &head(None), 1000).unwrap_err();
        format!("{}: {error}", error.code().as_str())
    }

    #[test]
    fn the_envelope_is_the_data_and_its_type_the_type() {
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
    fn the_query_comes_before_the_subject() {
        let text = envelope(&json!({ "subject": "orders/42" }));
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
        // It must never change: a publisher may retry across an upgrade.
        insta::assert_snapshot!(first);
    }

    #[test]
    fn a_traceparent_of_the_envelope_is_kept() {
        let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let text = envelope(&json!({ "traceparent": trace }));
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

//! Decodes CNCF CloudEvents 1.0 in structured mode. The whole envelope becomes the data of an event, so that
//! a subscriber receives a CloudEvent.
//!
//! Does not check the formats of `time`, `datacontenttype` and `dataschema`: only subscribers read them.

use event_log::{Append, EventType, Key, Topic, TraceParent};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::error::{Code, Error};
use crate::event::event;
use crate::head::RequestHead;
use crate::json;

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
/// The text is not JSON or not a CloudEvent, its topic or type is missing or invalid, or it has too many
/// bytes.
pub(crate) fn one(text: &str, head: &RequestHead, max: usize) -> Result<Append, Error> {
    if !json::is_object(text) {
        return Err(bad("the body is not a CloudEvent: it is not a JSON object"));
    }
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
    Ok(Append { key: Some(key), ..Append::new(topic, event) })
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
    fn the_topic_of_the_query_precedes_the_subject() {
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
        // The key must never change, because a publisher may retry across an upgrade.
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

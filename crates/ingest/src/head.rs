//! The head of a request to publish: its query and headers.

use axum::http::HeaderMap;
use axum::http::request::Parts;
use event_log::{EventType, Key, Topic, TraceParent};

use crate::attributes::Attributes;
use crate::breaks::OnBreak;
use crate::error::{Code, Error};
use crate::media::Media;

/// The parsed query and headers of a request to publish, which agree with each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RequestHead {
    pub(crate) media: Media,
    /// The topic of the query. Always `Some` if the form of the body cannot name topics itself.
    pub(crate) topic: Option<Topic>,
    /// The type of events that have no type of their own.
    pub(crate) kind: Option<EventType>,
    /// True if the topic ends with the body.
    pub(crate) end: bool,
    /// The entry that the topic gets if the body breaks off, if the query says so.
    pub(crate) on_break: Option<OnBreak>,
    pub(crate) key: Option<Key>,
    pub(crate) trace: Option<TraceParent>,
    /// The attributes of a CloudEvent in the headers.
    pub(crate) attributes: Attributes,
    /// True if the sender takes the body of an answer for a CloudEvent (`Prefer: reply`, Knative's data plane),
    /// and would treat a receipt as a failure to deliver.
    pub(crate) expects_event: bool,
}

const IDEMPOTENCY_KEY: &str = "idempotency-key";

impl RequestHead {
    /// # Errors
    /// A part of the query or the headers is unknown, malformed, or means nothing for the form of the body.
    /// Ignoring such a part would promise the publisher something that does not happen.
    pub(crate) fn parse(parts: &Parts) -> Result<Self, Error> {
        let mut head = Self::query(parts.uri.query().unwrap_or_default())?;
        head.media = Media::of(&parts.headers)?;
        head.key = key(&parts.headers)?;
        head.trace = trace(&parts.headers);
        head.attributes = match head.media {
            Media::BinaryCloudEvent => Attributes::of_data(&parts.headers)?,
            Media::CloudEvent if Attributes::are_in(&parts.headers) => {
                Attributes::read(&parts.headers)?
            }
            Media::CloudEvents if Attributes::are_in(&parts.headers) => {
                return Err(Error::new(
                    Code::BadBody,
                    "ce- headers are given, but each CloudEvent of a batch has its own attributes",
                ));
            }
            _ => Attributes::default(),
        };
        head.expects_event = prefers_reply(&parts.headers);
        head.check()?;
        Ok(head)
    }

    fn query(query: &str) -> Result<Self, Error> {
        let (mut topic, mut kind, mut end, mut on_break) = (None, None, None, None);
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let slot = match &*name {
                "topic" => &mut topic,
                "type" => &mut kind,
                "end" => &mut end,
                "on-break" => &mut on_break,
                _ => {
                    return Err(bad_parameter(format!(
                        "unknown parameter {name:?}; the parameters are topic, type, end and \
                         on-break"
                    )));
                }
            };
            if slot.replace(value).is_some() {
                return Err(bad_parameter(format!("parameter {name:?} is given twice")));
            }
        }
        let end = match end.as_deref() {
            None | Some("false") => false,
            Some("true") => true,
            Some(other) => {
                return Err(bad_parameter(format!("end is {other:?}; it must be true or false")));
            }
        };
        let on_break = match on_break.as_deref() {
            None => None,
            Some("signal") => Some(OnBreak::Signal),
            Some("end") => Some(OnBreak::End),
            Some(other) => {
                let message = format!("on-break is {other:?}; it must be signal or end");
                return Err(bad_parameter(message));
            }
        };
        Ok(Self {
            media: Media::Data,
            topic: topic.as_deref().map(Topic::new).transpose()?,
            kind: kind.as_deref().map(EventType::new).transpose()?,
            end,
            on_break,
            key: None,
            trace: None,
            attributes: Attributes::default(),
            expects_event: false,
        })
    }

    /// Refuses a head that lacks a part, or has a part too many, for the form of its body.
    fn check(&self) -> Result<(), Error> {
        match self.media {
            Media::Data | Media::Sse => self.need_topic("publish to ?topic=NAME"),
            Media::Lines if self.end => self.need_topic("end=true needs ?topic=NAME"),
            Media::Lines if self.on_break.is_some() => {
                self.need_topic("on-break needs ?topic=NAME")
            }
            Media::CloudEvent | Media::BinaryCloudEvent | Media::CloudEvents
                if self.kind.is_some() =>
            {
                Err(bad_parameter("type is given, but a CloudEvent has its own type"))
            }
            Media::CloudEvents if self.end => {
                Err(bad_parameter("end is given, but a batch may have several topics"))
            }
            Media::Lines | Media::CloudEvent | Media::BinaryCloudEvent | Media::CloudEvents => {
                Ok(())
            }
        }?;
        if self.on_break.is_some() && !matches!(self.media, Media::Lines | Media::Sse) {
            return Err(bad_parameter("on-break is given, but this body does not stream events"));
        }
        match self.media {
            Media::Lines | Media::Sse | Media::CloudEvents if self.key.is_some() => Err(
                Error::new(Code::BadKey, "an Idempotency-Key names one event; this body has many"),
            ),
            _ => Ok(()),
        }
    }

    fn need_topic(&self, how: &str) -> Result<(), Error> {
        match self.topic {
            Some(_) => Ok(()),
            None => Err(Error::new(Code::MissingTopic, format!("no topic is given; {how}"))),
        }
    }
}

fn key(headers: &HeaderMap) -> Result<Option<Key>, Error> {
    let mut keys = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(key) = keys.next() else {
        return Ok(None);
    };
    if keys.next().is_some() {
        return Err(Error::new(Code::BadKey, "Idempotency-Key is given twice"));
    }
    // A key is ASCII. The replacement character makes any other text an invalid key.
    let key = key.to_str().unwrap_or("\u{fffd}");
    Ok(Some(Key::new(key)?))
}

/// Ignores a malformed `traceparent`, as W3C Trace Context requires.
pub(crate) fn trace(headers: &HeaderMap) -> Option<TraceParent> {
    TraceParent::parse(headers.get("traceparent")?.to_str().ok()?)
}

/// Looks for the preference `reply` (RFC 7240, section 2).
fn prefers_reply(headers: &HeaderMap) -> bool {
    let values = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    let mut preferences = values.flat_map(|value| value.split(','));
    preferences.any(|preference| {
        let name = preference.split([';', '=']).next().unwrap_or_default();
        name.trim().eq_ignore_ascii_case("reply")
    })
}

fn bad_parameter(message: impl Into<String>) -> Error {
    Error::new(Code::BadParameter, message)
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn parse(query: &str, headers: &[(&str, &str)]) -> Result<RequestHead, Error> {
        let mut request = Request::builder().uri(format!("/v1/events?{query}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        RequestHead::parse(&request.body(()).unwrap().into_parts().0)
    }

    fn refusal(query: &str, headers: &[(&str, &str)]) -> String {
        let error = parse(query, headers).unwrap_err();
        format!("{}: {error}", error.code().as_str())
    }

    const LINES: (&str, &str) = ("content-type", "application/x-ndjson");
    const CLOUD_EVENT: (&str, &str) = ("content-type", "application/cloudevents+json");
    const CLOUD_EVENTS: (&str, &str) = ("content-type", "application/cloudevents-batch+json");
    const KEY: (&str, &str) = ("idempotency-key", "k-1");

    #[test]
    fn percent_escapes_of_a_query_are_decoded() {
        let head = parse("topic=orders%2F42&type=order.paid&end=true", &[KEY]).unwrap();
        assert_eq!(head.topic.unwrap().as_str(), "orders/42");
        assert_eq!(head.kind.unwrap().as_str(), "order.paid");
        assert_eq!(head.key.unwrap().as_str(), "k-1");
        assert!(head.end);
    }

    #[test]
    fn a_malformed_traceparent_is_ignored() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert!(parse("topic=t", &[("traceparent", good)]).unwrap().trace.is_some());
        assert!(parse("topic=t", &[("traceparent", "x")]).unwrap().trace.is_none());
    }

    #[test]
    fn every_refusal_names_its_cause() {
        insta::assert_snapshot!(
            [
                refusal("", &[]),
                refusal("topic=", &[]),
                refusal("topic=a%20b", &[]),
                refusal("topic=%FF", &[]),
                refusal("topic=tailwater.probe", &[]),
                refusal("topic=t&topic=u", &[]),
                refusal("topic=t&colour=red", &[]),
                refusal("topic=t&end=yes", &[]),
                refusal("topic=t&on-break=end", &[]),
                refusal("topic=t&on-break=no", &[LINES]),
                refusal("on-break=end", &[LINES]),
                refusal("topic=t&type=", &[]),
                refusal("topic=t&type=tailwater.gap", &[]),
                refusal("topic=t", &[("idempotency-key", "")]),
                refusal("topic=t", &[("idempotency-key", "a b")]),
                refusal("topic=t", &[("idempotency-key", "caf\u{e9}")]),
                refusal("topic=t", &[KEY, KEY]),
                refusal("topic=t", &[KEY, LINES]),
                refusal("end=true", &[LINES]),
                refusal("type=x", &[CLOUD_EVENT]),
                refusal("topic=t&end=true", &[CLOUD_EVENTS]),
            ]
            .join("\n")
        );
    }
}

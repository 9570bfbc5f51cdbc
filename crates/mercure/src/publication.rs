//! A request to publish: a POST of a form.

use crate::dialect::Dialect;
use crate::form::{self, BadField};
use crate::hub::Hub;
use crate::id::{BadId, Id};
use crate::text::BadText;
use crate::topic::{BadTopic, Topic};
use crate::update::Update;

/// The largest body, in bytes.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;
/// Topics of one update. Each is tried against the selectors of every subscriber.
pub const TOPICS_MAX: usize = 1000;
/// The media type of a body.
pub const MEDIA_TYPE: &str = "application/x-www-form-urlencoded";
/// The media type of an acknowledgement, whose body is the id of the update and whose status is [`STATUS`].
pub const ANSWER_TYPE: &str = "text/plain; charset=utf-8";
/// The status of an acknowledgement.
pub const STATUS: u16 = 200;

/// A form that is no update.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPublication {
    /// The body is larger than [`BODY_BYTES_MAX`].
    #[error("the body has {0} bytes; the limit is {BODY_BYTES_MAX}")]
    TooLarge(usize),
    /// The body has another media type.
    #[error("the body is {0:?}; it must be {MEDIA_TYPE}")]
    MediaType(String),
    /// A field is no UTF-8.
    #[error(transparent)]
    Field(#[from] BadField),
    /// There is no topic.
    #[error("missing \"topic\" field")]
    NoTopic,
    /// There are more topics than [`TOPICS_MAX`].
    #[error("{0} topics in one update; the limit is {TOPICS_MAX}")]
    TooManyTopics(usize),
    /// A topic is malformed.
    #[error(transparent)]
    Topic(#[from] BadTopic),
    /// Only the hub publishes to the topic.
    #[error("the topic {0:?} is under the path of the hub, which is reserved")]
    Reserved(String),
    /// The id is malformed or reserved.
    #[error(transparent)]
    Id(#[from] BadId),
    /// The type is malformed.
    #[error("the type {0}")]
    Kind(#[from] BadText),
    /// The type is the hub's own.
    #[error("the type {0:?} is reserved")]
    ReservedKind(String),
    /// The time to reconnect is no number.
    #[error("retry is {0:?}; it must be milliseconds, in decimal digits below 2^64")]
    Retry(String),
}

impl BadPublication {
    /// Returns true if something is larger than its limit.
    #[must_use]
    pub const fn is_too_large(&self) -> bool {
        matches!(
            self,
            Self::TooLarge(_)
                | Self::Topic(BadTopic::Text(BadText::TooLong { .. }))
                | Self::Id(BadId::Text(BadText::TooLong { .. }))
                | Self::Kind(BadText::TooLong { .. })
        )
    }
}

/// Parses the form of a publication. Of a field other than `topic` the first counts; an empty one counts as absent,
/// except `private`, whose presence alone counts. Other fields are ignored.
///
/// # Errors
/// The body is too large, of another media type, no UTF-8, or a field is missing or malformed.
pub fn parse(
    dialect: Dialect,
    content_type: Option<&str>,
    body: &[u8],
    hub: &Hub,
) -> Result<Update, BadPublication> {
    if body.len() > BODY_BYTES_MAX {
        return Err(BadPublication::TooLarge(body.len()));
    }
    let media = content_type.unwrap_or_default();
    let essence = media.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case(MEDIA_TYPE) {
        return Err(BadPublication::MediaType(essence.chars().take(64).collect()));
    }
    let (mut topics, mut private) = (Vec::new(), false);
    let [mut id, mut kind, mut retry, mut data] = [const { None::<String> }; 4];
    for field in form::fields(body) {
        let (name, value) = field?;
        let place = match &*name {
            "topic" => {
                topics.push(value);
                continue;
            }
            "private" => {
                private = true;
                continue;
            }
            "id" => &mut id,
            "type" => &mut kind,
            "retry" => &mut retry,
            "data" => &mut data,
            _ => continue,
        };
        place.get_or_insert(value);
    }
    let [id, kind, retry] = [id, kind, retry].map(|text| text.filter(|text| !text.is_empty()));
    Ok(Update {
        topics: topics_of(&topics, hub)?,
        private,
        id: id.as_deref().map(Id::new).transpose()?,
        kind: kind.map(|kind| kind_of(dialect, kind)).transpose()?,
        // A browser obeys 0 and reconnects at once, for ever. The reference hub does not pass it on either.
        retry_ms: retry.as_deref().map(retry_of).transpose()?.filter(|ms| *ms > 0),
        data: data.unwrap_or_default(),
    })
}

/// The topics of an update, each once.
fn topics_of(texts: &[String], hub: &Hub) -> Result<Vec<Topic>, BadPublication> {
    if texts.is_empty() {
        return Err(BadPublication::NoTopic);
    }
    if texts.len() > TOPICS_MAX {
        return Err(BadPublication::TooManyTopics(texts.len()));
    }
    let mut known = std::collections::HashSet::new();
    let mut topics = Vec::new();
    for text in texts.iter().filter(|text| known.insert(text.as_str())) {
        let topic = Topic::new(text, hub)?;
        if topic.is_reserved() {
            return Err(BadPublication::Reserved(text.clone()));
        }
        topics.push(topic);
    }
    Ok(topics)
}

fn kind_of(dialect: Dialect, kind: String) -> Result<Box<str>, BadPublication> {
    Update::check_kind(&kind)?;
    match dialect.presence_event() == Some(&*kind) {
        true => Err(BadPublication::ReservedKind(kind)),
        false => Ok(kind.into()),
    }
}

/// Digits only: the parser would also take a leading `+`.
fn retry_of(text: &str) -> Result<u64, BadPublication> {
    let is_digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|_| is_digits);
    number.ok_or(BadPublication::Retry(text.chars().take(64).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hub() -> Hub {
        Hub::new("https://example.com/.well-known/mercure").unwrap()
    }

    fn of(dialect: Dialect, body: &str) -> Result<Update, BadPublication> {
        parse(dialect, Some(MEDIA_TYPE), body.as_bytes(), &hub())
    }

    #[test]
    fn a_form_becomes_an_update() {
        let body = "topic=https%3A%2F%2Fexample.com%2F1&topic=b&topic=b&data=a%0Ab&private=&id=x&type=t&retry=5&more=1&data=z";
        let update = of(Dialect::V1, body).unwrap();
        let topics: Vec<_> = update.topics.iter().map(Topic::as_str).collect();
        assert_eq!(topics, ["https://example.com/1", "b"]);
        assert!(update.private);
        assert_eq!(update.id, Some(Id::new("x").unwrap()));
        assert_eq!((update.kind.as_deref(), update.retry_ms), (Some("t"), Some(5)));
        assert_eq!(update.data, "a\nb");
    }

    #[test]
    fn only_a_topic_is_needed() {
        let update = of(Dialect::V0, "topic=a&id=&type=&retry=0&data=").unwrap();
        assert_eq!(update, Update::new(Topic::new("a", &hub()).unwrap(), String::new()));
        assert_eq!(of(Dialect::V0, "topic=a&retry="), Ok(update));
    }

    #[test]
    fn the_word_mercure_is_a_type_of_0_x_only() {
        assert!(of(Dialect::V0, "topic=a&type=mercure").is_ok());
        let refused = of(Dialect::V1, "topic=a&type=mercure");
        assert_eq!(refused, Err(BadPublication::ReservedKind("mercure".to_owned())));
    }

    #[test]
    fn malformed_fields_are_refused_with_the_reason() {
        for (body, message) in [
            ("data=x", "missing \"topic\" field"),
            ("topic=", "the topic is empty"),
            ("topic=*", "the topic \"*\" is reserved: as a selector it stands for every topic"),
            ("topic=a&topic=%0A", "the topic has U+000A, a control or format character"),
            ("topic=%FF", "the field \"topic\" is not UTF-8"),
            (
                "topic=/.well-known/mercure/subscriptions/a/b",
                "the topic \"/.well-known/mercure/subscriptions/a/b\" is under the path of the hub, which is reserved",
            ),
            ("topic=a&id=%23x", "the id \"#x\" begins with \"#\", which is reserved"),
            ("topic=a&id=earliest", "the id \"earliest\" is reserved"),
            ("topic=a&id=x%00", "the id has U+0000, a control or format character"),
            ("topic=a&type=x%0Ay", "the type has U+000A, a control or format character"),
            (
                "topic=a&retry=%2B5",
                "retry is \"+5\"; it must be milliseconds, in decimal digits below 2^64",
            ),
            (
                "topic=a&retry=18446744073709551616",
                "retry is \"18446744073709551616\"; it must be milliseconds, in decimal digits below 2^64",
            ),
        ] {
            for dialect in Dialect::ALL {
                assert_eq!(of(dialect, body).unwrap_err().to_string(), message);
            }
        }
    }

    #[test]
    fn bounds_are_named_with_the_value() {
        let large = vec![b'x'; BODY_BYTES_MAX + 1];
        let refused = parse(Dialect::V1, Some(MEDIA_TYPE), &large, &hub()).unwrap_err();
        assert_eq!(refused.to_string(), "the body has 1048577 bytes; the limit is 1048576");
        assert!(refused.is_too_large());
        let topics: Vec<_> = (0..=TOPICS_MAX).map(|n| format!("topic={n}")).collect();
        let refused = of(Dialect::V1, &topics.join("&")).unwrap_err();
        assert_eq!(refused.to_string(), "1001 topics in one update; the limit is 1000");
        assert!(of(Dialect::V1, &topics[1..].join("&")).is_ok());
        for field in ["topic", "topic=a&id", "topic=a&type"] {
            let body = format!("{field}={}", "x".repeat(3000));
            assert!(of(Dialect::V1, &body).unwrap_err().is_too_large(), "{field}");
        }
    }

    #[test]
    fn the_media_type_is_that_of_forms() {
        let of = |media| parse(Dialect::V0, media, b"topic=a", &hub());
        assert!(of(Some("Application/X-WWW-Form-Urlencoded; charset=UTF-8")).is_ok());
        let json = of(Some("application/json")).unwrap_err().to_string();
        assert_eq!(
            json,
            "the body is \"application/json\"; it must be application/x-www-form-urlencoded"
        );
        assert!(of(None).is_err());
    }
}

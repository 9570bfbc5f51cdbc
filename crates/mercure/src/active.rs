//! Active subscriptions: the answers that list them, and the updates that report them.
//!
//! A document speaks the dialect of its subscription; a collection speaks that of the request. `match_type` and `match` of
//! 1.0 stand in the path where 0.x has its topic.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::Serialize;
use serde_json::Value;

use crate::dialect::Dialect;
use crate::hub::Hub;
use crate::id::Id;
use crate::selector::{Kind, Selector};
use crate::topic::Topic;
use crate::update::Update;

/// A subscription of a subscriber. One with several selectors has several.
#[derive(Debug, Clone, Copy)]
pub struct Active<'a> {
    /// The selector.
    pub selector: &'a Selector,
    /// The id that the hub has given to the subscriber: of a connection, and never of a client.
    pub subscriber: &'a str,
    /// False if it has just ended.
    pub is_active: bool,
    /// The data of the token's issuer.
    pub payload: Option<&'a Value>,
}

/// The subscriptions that a request asks for, by its path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// All.
    All,
    /// Those of one selector.
    Of(Wanted),
    /// That of one selector and one subscriber.
    One(Wanted, String),
}

/// The selector that a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    kind: Kind,
    text: String,
}

/// A path below that of active subscriptions which names none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPath {
    /// It has another number of segments, or an empty one.
    #[error(
        "the path names no subscriptions: it is /subscriptions, then a selector, then a subscriber"
    )]
    Segments,
    /// A segment is no UTF-8.
    #[error("the path is not UTF-8")]
    Encoding,
    /// The match type is not known.
    #[error("the match type {0:?} is not supported; it is exact or urlpattern")]
    Kind(String),
}

/// The path of all subscriptions, below that of the hub.
const PATH: &str = "/subscriptions";
/// The name of the vocabulary of 0.x.
const CONTEXT: &str = "https://mercure.rocks/";

/// The octets that an expansion of a template escapes: all but those that never need it (RFC 6570).
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// The octets that an entity tag cannot have, and the sign of an escape.
const ETAG_ESCAPED: &AsciiSet = &percent_encoding::CONTROLS.add(b' ').add(b'"').add(b'%');

/// The document of a subscription. Members are in the order in which they are written.
#[derive(Serialize)]
struct Document<'a> {
    #[serde(rename = "@context", skip_serializing_if = "Option::is_none")]
    context: Option<&'static str>,
    id: String,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    match_type: Option<&'static str>,
    #[serde(rename = "match", skip_serializing_if = "Option::is_none")]
    matched: Option<&'a str>,
    subscriber: &'a str,
    active: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a Value>,
    #[serde(rename = "lastEventID", skip_serializing_if = "Option::is_none")]
    last_event_id_v0: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_event_id: Option<&'a str>,
}

/// The document of a collection.
#[derive(Serialize)]
struct Collection<'a> {
    #[serde(rename = "@context", skip_serializing_if = "Option::is_none")]
    context: Option<&'static str>,
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(rename = "lastEventID", skip_serializing_if = "Option::is_none")]
    last_event_id_v0: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_event_id: Option<&'a str>,
    subscriptions: Vec<Document<'a>>,
}

impl Active<'_> {
    /// The path of the subscription, which is also the topic of the updates about it.
    #[must_use]
    pub fn id(&self, hub: &Hub) -> String {
        let escape = |text| utf8_percent_encode(text, ESCAPED);
        let selector = escape(self.selector.as_str());
        let kind = self.selector.kind().match_type().map(|kind| format!("/{kind}"));
        let (hub, kind) = (hub.path(), kind.unwrap_or_default());
        format!("{hub}{PATH}{kind}/{selector}/{}", escape(self.subscriber))
    }

    /// The private update that reports the subscription.
    ///
    /// # Panics
    /// Never: texts and JSON are JSON.
    #[must_use]
    pub fn update(&self, hub: &Hub) -> Update {
        let dialect = self.selector.kind().dialect();
        let document = self.document(hub, true);
        let data = serde_json::to_string(&document).expect("texts and JSON are JSON");
        // It may be longer than a topic of a publisher, because it holds a whole selector, escaped.
        let mut update = Update::new(Topic::unchecked(&document.id, hub), data);
        update.private = true;
        update.kind = dialect.presence_event().map(Into::into);
        update
    }

    /// The body of the answer about this subscription.
    ///
    /// # Panics
    /// Never: texts and JSON are JSON.
    #[must_use]
    pub fn body(&self, hub: &Hub, last_event_id: Option<&Id>) -> String {
        let dialect = self.selector.kind().dialect();
        let (last_event_id_v0, last_event_id) = last(dialect, last_event_id);
        let document = self.document(hub, true);
        let document = Document { last_event_id_v0, last_event_id, ..document };
        serde_json::to_string(&document).expect("texts and JSON are JSON")
    }

    fn document(&self, hub: &Hub, has_context: bool) -> Document<'_> {
        let (text, kind) = (self.selector.as_str(), self.selector.kind());
        let is_old = kind.dialect() == Dialect::V0;
        Document {
            context: (is_old && has_context).then_some(CONTEXT),
            id: self.id(hub),
            kind: if is_old { "Subscription" } else { "subscription" },
            topic: is_old.then_some(text),
            match_type: kind.match_type(),
            matched: (!is_old).then_some(text),
            subscriber: self.subscriber,
            active: self.is_active,
            payload: self.payload,
            last_event_id_v0: None,
            last_event_id: None,
        }
    }
}

/// The body of the answer about several subscriptions. `path` is that of the request, as it came.
///
/// # Panics
/// Never: texts and JSON are JSON.
#[must_use]
pub fn collection(
    dialect: Dialect,
    path: &str,
    hub: &Hub,
    all: &[Active<'_>],
    last_event_id: Option<&Id>,
) -> String {
    let is_old = dialect == Dialect::V0;
    let (last_event_id_v0, last_event_id) = last(dialect, last_event_id);
    let collection = Collection {
        context: is_old.then_some(CONTEXT),
        id: path,
        kind: if is_old { "Subscriptions" } else { "subscriptions" },
        last_event_id_v0,
        last_event_id,
        // A document of 0.x has its context from the collection, unless that has none.
        subscriptions: all.iter().map(|active| active.document(hub, !is_old)).collect(),
    };
    serde_json::to_string(&collection).expect("texts and JSON are JSON")
}

/// The entity tag of any answer about active subscriptions: it changes with each update.
#[must_use]
pub fn etag(last_event_id: Option<&Id>) -> String {
    format!("\"{}\"", utf8_percent_encode(id_or_earliest(last_event_id), ETAG_ESCAPED))
}

/// The two members for the last update, of which a dialect has one.
fn last(dialect: Dialect, id: Option<&Id>) -> (Option<&str>, Option<&str>) {
    let id = Some(id_or_earliest(id));
    match dialect {
        Dialect::V0 => (id, None),
        Dialect::V1 => (None, id),
    }
}

fn id_or_earliest(id: Option<&Id>) -> &str {
    id.map_or(Id::EARLIEST, Id::as_str)
}

impl Asked {
    /// Reads the path of a request, as it came. `None` if it is none of active subscriptions.
    ///
    /// A path of two segments is of 1.0 if the first names a match type, and of 0.x otherwise.
    ///
    /// # Errors
    /// The path names no subscriptions, is no UTF-8, or has a match type that is not known.
    pub fn parse(path: &str, hub: &Hub) -> Option<Result<Self, BadPath>> {
        let rest = path.strip_prefix(hub.path())?.strip_prefix(PATH)?;
        match rest.strip_prefix('/') {
            None => rest.is_empty().then_some(Ok(Self::All)),
            Some(rest) => Some(Self::of_segments(&rest.split('/').collect::<Vec<_>>())),
        }
    }

    fn of_segments(segments: &[&str]) -> Result<Self, BadPath> {
        let decode = |segment: &&str| match segment.is_empty() {
            true => Err(BadPath::Segments),
            false => percent_decode_str(segment)
                .decode_utf8()
                .map(Into::into)
                .map_err(|_| BadPath::Encoding),
        };
        let texts: Vec<String> = segments.iter().map(decode).collect::<Result<_, _>>()?;
        let wanted = |kind, text: &str| Wanted { kind, text: text.to_owned() };
        match &texts[..] {
            [topic] => Ok(Self::Of(wanted(Kind::Topic, topic))),
            [first, second] => Ok(match Kind::of_match_type(first) {
                Some(kind) => Self::Of(wanted(kind, second)),
                None => Self::One(wanted(Kind::Topic, first), second.clone()),
            }),
            [kind, text, subscriber] => {
                let unknown = || BadPath::Kind(kind.chars().take(64).collect());
                let kind = Kind::of_match_type(kind).ok_or_else(unknown)?;
                Ok(Self::One(wanted(kind, text), subscriber.clone()))
            }
            _ => Err(BadPath::Segments),
        }
    }

    /// The dialect that the path speaks; `None` if both have it, and the token tells.
    #[must_use]
    pub fn dialect(&self) -> Option<Dialect> {
        match self {
            Self::All => None,
            Self::Of(wanted) | Self::One(wanted, _) => Some(wanted.kind.dialect()),
        }
    }

    /// Returns true if a subscription is among those that are asked for.
    #[must_use]
    pub fn includes(&self, active: &Active<'_>) -> bool {
        let (wanted, subscriber) = match self {
            Self::All => return true,
            Self::Of(wanted) => (wanted, None),
            Self::One(wanted, subscriber) => (wanted, Some(subscriber)),
        };
        wanted.kind == active.selector.kind()
            && wanted.text == active.selector.as_str()
            && subscriber.is_none_or(|subscriber| subscriber == active.subscriber)
    }

    /// The topic that a token must be for: the path of the request, as it came.
    #[must_use]
    pub fn topic(path: &str, hub: &Hub) -> Topic {
        Topic::unchecked(path, hub)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    const SUBSCRIBER: &str = "urn:uuid:bb3de268-05b0-4c65-b44e-8f9acefc29d6";

    fn hub() -> Hub {
        Hub::new("https://example.com/.well-known/mercure").unwrap()
    }

    fn selector(kind: Kind, text: &str) -> Selector {
        Selector::new(kind, text, &hub()).unwrap()
    }

    fn active<'a>(selector: &'a Selector, payload: Option<&'a Value>) -> Active<'a> {
        Active { selector, subscriber: SUBSCRIBER, is_active: true, payload }
    }

    #[test]
    fn a_subscription_of_0_x_is_a_document_of_linked_data() {
        let (selector, payload) =
            (selector(Kind::Topic, "https://example.com/{id}"), json!({"a": 1}));
        let active = active(&selector, Some(&payload));
        let id = "/.well-known/mercure/subscriptions/https%3A%2F%2Fexample.com%2F%7Bid%7D/urn%3Auuid%3Abb3de268-05b0-4c65-b44e-8f9acefc29d6";
        assert_eq!(active.id(&hub()), id);
        assert_eq!(
            active.body(&hub(), Some(&Id::new("x").unwrap())),
            format!(
                r#"{{"@context":"https://mercure.rocks/","id":"{id}","type":"Subscription","topic":"https://example.com/{{id}}","subscriber":"{SUBSCRIBER}","active":true,"payload":{{"a":1}},"lastEventID":"x"}}"#
            )
        );
        let update = active.update(&hub());
        assert!(update.private && update.kind.is_none() && update.canonical().as_str() == id);
        assert!(update.data.ends_with(r#""active":true,"payload":{"a":1}}"#), "{}", update.data);
    }

    #[test]
    fn a_subscription_of_1_0_is_plain_json_under_an_event_of_its_own() {
        let selector = selector(Kind::UrlPattern, "/b/:id");
        let ended = Active { is_active: false, ..active(&selector, None) };
        let id = "/.well-known/mercure/subscriptions/urlpattern/%2Fb%2F%3Aid/urn%3Auuid%3Abb3de268-05b0-4c65-b44e-8f9acefc29d6";
        let document = format!(
            r#"{{"id":"{id}","type":"subscription","match_type":"urlpattern","match":"/b/:id","subscriber":"{SUBSCRIBER}","active":false}}"#
        );
        let update = ended.update(&hub());
        assert_eq!((update.data.as_str(), update.kind.as_deref()), (&*document, Some("mercure")));
        assert!(update.private && update.canonical().is_reserved());
        let body = ended.body(&hub(), None);
        assert!(body.ends_with(r#""active":false,"last_event_id":"earliest"}"#), "{body}");
    }

    #[test]
    fn an_update_about_the_longest_selector_reads_back() {
        let selector = selector(Kind::Exact, &"/".repeat(Selector::MAX_BYTES));
        let update = active(&selector, None).update(&hub());
        assert_eq!(Update::read(&update.attributes(), &update.data, &hub()), Ok(update));
    }

    #[test]
    fn a_collection_speaks_the_dialect_of_the_request() {
        let (old, new) = (selector(Kind::Topic, "a"), selector(Kind::Exact, "b"));
        let all = [active(&old, None), active(&new, None)];
        let last = Id::new("x").unwrap();
        let path = "/.well-known/mercure/subscriptions";
        let body = |dialect| collection(dialect, path, &hub(), &all, Some(&last));
        let v0: Value = serde_json::from_str(&body(Dialect::V0)).unwrap();
        assert_eq!(v0["@context"], "https://mercure.rocks/");
        assert_eq!((&v0["type"], &v0["lastEventID"]), (&json!("Subscriptions"), &json!("x")));
        assert_eq!(v0["id"], path);
        assert_eq!(v0["subscriptions"][0].get("@context"), None);
        assert_eq!(v0["subscriptions"][0]["topic"], "a");
        assert_eq!(v0["subscriptions"][1]["match"], "b");
        let v1: Value = serde_json::from_str(&body(Dialect::V1)).unwrap();
        assert_eq!((&v1["type"], &v1["last_event_id"]), (&json!("subscriptions"), &json!("x")));
        assert_eq!(v1.get("@context"), None);
        assert_eq!(v1["subscriptions"][1]["match_type"], "exact");
    }

    #[test]
    fn a_path_names_the_subscriptions_of_either_dialect() {
        let parse =
            |rest: &str| Asked::parse(&format!("/.well-known/mercure/subscriptions{rest}"), &hub());
        let wanted = |kind, text: &str| Wanted { kind, text: text.to_owned() };
        for (rest, expected) in [
            ("", Asked::All),
            ("/a%2Fb", Asked::Of(wanted(Kind::Topic, "a/b"))),
            ("/a%2Fb/s", Asked::One(wanted(Kind::Topic, "a/b"), "s".to_owned())),
            ("/exact/a", Asked::Of(wanted(Kind::Exact, "a"))),
            (
                "/urlpattern/%2F%3Aid/s",
                Asked::One(wanted(Kind::UrlPattern, "/:id"), "s".to_owned()),
            ),
        ] {
            assert_eq!(parse(rest), Some(Ok(expected)), "{rest}");
        }
        for (rest, expected) in [
            ("/", BadPath::Segments),
            ("/a//b", BadPath::Segments),
            ("/exact/a/b/c", BadPath::Segments),
            ("/Exact/a/b", BadPath::Kind("Exact".to_owned())),
            ("/%ff", BadPath::Encoding),
        ] {
            assert_eq!(parse(rest), Some(Err(expected)), "{rest}");
        }
        assert_eq!(parse("x"), None);
        assert_eq!(Asked::parse("/subscriptions", &hub()), None);
        assert_eq!(Asked::All.dialect(), None);
    }

    #[test]
    fn an_entity_tag_is_the_last_id_without_what_a_tag_cannot_have() {
        assert_eq!(etag(Some(&Id::new("urn:a b\"%").unwrap())), "\"urn:a%20b%22%25\"");
        assert_eq!(etag(None), "\"earliest\"");
    }

    proptest! {
        #[test]
        fn the_path_of_a_subscription_names_it_alone(
            text in r"[a-z/%{}:]{1,9}|\PC{1,20}",
            kind in prop::sample::select(vec![Kind::Topic, Kind::Exact]),
            subscriber in r"\PC{1,20}",
        ) {
            // Paths cannot tell this one from a path of 1.0.
            prop_assume!(kind == Kind::Exact || Kind::of_match_type(&text).is_none());
            let Ok(selector) = Selector::new(kind, &text, &hub()) else { return Ok(()) };
            let active = Active { selector: &selector, subscriber: &subscriber, is_active: true, payload: None };
            let asked = Asked::parse(&active.id(&hub()), &hub()).unwrap().unwrap();
            prop_assert!(asked.includes(&active));
            let other = Active { subscriber: "longer than any of the others", ..active };
            prop_assert!(!asked.includes(&other));
            prop_assert_eq!(asked.dialect(), Some(kind.dialect()));
        }
    }
}

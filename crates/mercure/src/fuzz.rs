//! Properties of this crate's parsers, as functions of any bytes, for the package `fuzz`. A function
//! panics if its property does not hold.

use event_log::Position;
use serde_json::Value;

use crate::active::{Active, Asked};
use crate::publication::{self, MEDIA_TYPE};
use crate::{
    Carriers, Claims, Dialect, Head, Hub, Id, Kind, Refusal, Selector, Space, Subscription, Topic,
    Update,
};

/// The longest sentence of a refusal here, in bytes: it may quote a selector, each byte of it escaped.
const REFUSAL_BYTES_MAX: usize = 8 * Selector::MAX_BYTES;

fn hub() -> Option<Hub> {
    Hub::new("https://example.com/.well-known/mercure").ok()
}

/// Parses a subscription: the lines are the query, `Last-Event-ID`, `Authorization`, and a cookie. Each selector
/// survives the path of its subscription.
pub fn subscription(bytes: &[u8]) {
    let Some(hub) = hub() else { return };
    let mut lines = bytes.splitn(4, |byte| *byte == b'\n');
    let query = String::from_utf8_lossy(lines.next().unwrap_or_default());
    let (last_event_id, authorization, cookie) = (lines.next(), lines.next(), lines.next());
    let cookies = cookie.as_slice();
    let carriers = Carriers { authorization, cookies, query: &query };
    for is_query_token_allowed in [false, true] {
        let head = Head { carriers, last_event_id };
        let read = match Subscription::parse(&head, &hub, is_query_token_allowed) {
            Ok(read) => read,
            Err(error) => return refused(&error.into()),
        };
        assert!((1..=Selector::MAX).contains(&read.selectors.len()));
        assert!(read.cursor.is_none() || read.names_cursor);
        for selector in &read.selectors {
            assert_eq!(selector.kind().dialect(), read.dialect);
            let active = Active { selector, subscriber: "s", is_active: true, payload: None };
            let Some(Ok(asked)) = Asked::parse(&active.id(&hub), &hub) else {
                panic!("{selector:?} has no path")
            };
            // A selector of 0.x with the name of a match type has a path of 1.0.
            let is_hidden =
                selector.kind() == Kind::Topic && Kind::of_match_type(selector.as_str()).is_some();
            assert!(asked.includes(&active) || is_hidden, "{selector:?}");
        }
    }
}

/// Parses a publication. An update survives the log, and a client finds it in its frame.
pub fn publication(bytes: &[u8]) {
    let Some(hub) = hub() else { return };
    for dialect in Dialect::ALL {
        let update = match publication::parse(dialect, Some(MEDIA_TYPE), bytes, &hub) {
            Ok(update) => update,
            Err(error) => {
                refused(&error.into());
                continue;
            }
        };
        assert!(!update.canonical().is_reserved());
        let again = Update::read(&update.attributes(), &update.data, &hub);
        assert_eq!(again.as_ref(), Ok(&update));
        let id = update.id_at(Position::new(1, 1));
        let frame = update.frame(&id);
        assert!(frame.ends_with("\n\n") && !frame.trim_end_matches('\n').contains("\n\n"));
        assert_eq!(frame.lines().filter(|line| line.starts_with("id: ")).count(), 1);
        if let Ok(space) = Space::new("mercure/") {
            let name = space.name(update.canonical().as_str());
            let back = space.topic(&name);
            assert!(back.is_none_or(|topic| topic == update.canonical().as_str()), "{name}");
        }
    }
}

/// Compiles a selector, the first line, of every kind, and matches the topic in the second. A selector is equal to itself
/// alone, and an exact one matches its own text.
pub fn selector(bytes: &[u8]) {
    let Some(hub) = hub() else { return };
    let text = String::from_utf8_lossy(bytes);
    let (selector, topic) = text.split_once('\n').unwrap_or((&text, ""));
    let topic = Topic::new(topic, &hub);
    for kind in [Kind::Topic, Kind::Exact, Kind::UrlPattern] {
        let Ok(compiled) = Selector::new(kind, selector, &hub) else { continue };
        assert_eq!(Selector::new(kind, selector, &hub).as_ref(), Ok(&compiled));
        if let Ok(topic) = &topic {
            let matches = compiled.matches(topic);
            assert!(
                kind != Kind::Exact || matches == (selector == topic.as_str() || selector == "*")
            );
            assert!(kind != Kind::Topic || matches || selector != topic.as_str());
        }
    }
}

/// Reads the claims of a token, a stored update and an id, and the path of a request.
pub fn stored(bytes: &[u8]) {
    let Some(hub) = hub() else { return };
    let text = String::from_utf8_lossy(bytes);
    if let Ok(claims) = serde_json::from_str::<Value>(&text) {
        for request in [None, Some(Dialect::V0), Some(Dialect::V1)] {
            match Claims::parse(&claims, request, &hub) {
                Ok(claims) => assert!(!claims.may_publish(&[])),
                Err(error) => refused(&error.into()),
            }
        }
    }
    if let Ok(update) = Update::read(&text, "data", &hub) {
        assert_eq!(Update::read(&update.attributes(), "data", &hub), Ok(update));
    }
    if let Ok(id) = Id::new(&text) {
        assert!(id.position().is_none_or(|position| Id::of(position) == id));
    }
    drop(Asked::parse(&text, &hub));
}

fn refused(refusal: &Refusal) {
    for dialect in Dialect::ALL {
        assert!((400..=413).contains(&refusal.status(dialect)));
    }
    let body = refusal.body();
    assert!(body.len() <= REFUSAL_BYTES_MAX, "{} bytes", body.len());
}

//! The table of the two dialects: a test for each of its rows.

#![allow(clippy::unwrap_used, reason = "the helpers are part of the tests")]

use event_log::Position;
use mercure::active::Active;
use mercure::publication::{self, ANSWER_TYPE, MEDIA_TYPE, STATUS};
use mercure::{
    Carriers, Claims, Cursor, Dialect, Head, Hub, Id, Kind, Refusal, Selector, Subscription, Topic,
    Update,
};
use serde_json::{Value, json};

fn hub() -> Hub {
    Hub::new("https://example.com/.well-known/mercure").unwrap()
}

fn subscribe(query: &str) -> Result<Subscription, Refusal> {
    let carriers = Carriers { query, ..Carriers::default() };
    let head = Head { carriers, last_event_id: None };
    Ok(Subscription::parse(&head, &hub(), true)?)
}

fn publish(dialect: Dialect, form: &str) -> Result<Update, Refusal> {
    Ok(publication::parse(dialect, Some(MEDIA_TYPE), form.as_bytes(), &hub())?)
}

/// Returns true if a subscription gets the update.
fn gets(query: &str, topics: &str) -> bool {
    let subscription = subscribe(query).unwrap();
    let update = publish(subscription.dialect, topics).unwrap();
    let matches = |selector: &Selector| update.topics.iter().any(|topic| selector.matches(topic));
    subscription.selectors.iter().any(matches)
}

#[test]
fn the_url_of_a_hub_is_the_well_known_one_or_any_other() {
    assert_eq!(hub().path(), Hub::PATH);
    let other = Hub::new("https://example.com/live").unwrap();
    assert!(Topic::new("/live/subscriptions", &other).unwrap().is_reserved());
    assert!(!Topic::new("/.well-known/mercure", &other).unwrap().is_reserved());
}

#[test]
fn the_parameters_of_a_subscription() {
    assert_eq!(subscribe("topic=a&topic=b").unwrap().selectors.len(), 2);
    let read = subscribe("match=a&match_exact=b&match_urlpattern=/c").unwrap();
    let kinds: Vec<_> = read.selectors.iter().map(Selector::kind).collect();
    assert_eq!(kinds, [Kind::Exact, Kind::Exact, Kind::UrlPattern]);
    for query in ["matchUrlPattern=a", "match_=a", "matches=a", "MATCH=a", "topic=a&match=b", ""] {
        let refusal = subscribe(query).unwrap_err();
        assert_eq!(Dialect::ALL.map(|dialect| refusal.status(dialect)), [400, 400], "{query}");
    }
}

#[test]
fn the_matching_of_topics() {
    // 0.x: everything, equal, or a template.
    assert!(gets("topic=*", "topic=a"));
    assert!(gets("topic=https://example.com/{id}", "topic=https://example.com/1"));
    assert!(gets("topic=a%20b", "topic=a+b"));
    assert!(!gets("topic=https://example.com/:id", "topic=https://example.com/1"));
    // 1.0: everything, the same bytes, or a URL pattern.
    assert!(gets("match=*", "topic=a") && gets("match_urlpattern=*", "topic=a"));
    assert!(!gets("match=https://example.com/{id}", "topic=https://example.com/1"));
    assert!(!gets("match=e%CC%81", "topic=%C3%A9"));
    assert!(gets("match_urlpattern=/books/:id", "topic=https://example.com/books/1"));
    // An alternate topic is as good as the canonical one.
    assert!(gets("topic=b", "topic=a&topic=b") && gets("match=b", "topic=a&topic=b"));
}

#[test]
fn the_parameter_of_a_cursor() {
    let after = Some(Cursor::After(Id::new("x").unwrap()));
    assert_eq!(subscribe("topic=a&lastEventID=x").unwrap().cursor, after);
    assert_eq!(subscribe("match=a&last_event_id=x").unwrap().cursor, after);
    assert_eq!(subscribe("match=a&lastEventID=x").unwrap().cursor, None);
    for query in ["topic=a&lastEventID=y", "match=a&last_event_id=y"] {
        let carriers = Carriers { query, ..Carriers::default() };
        let head = Head { carriers, last_event_id: Some(b"x") };
        assert_eq!(Subscription::parse(&head, &hub(), false).unwrap().cursor, after);
    }
}

#[test]
fn the_header_of_the_cursor_of_an_answer() {
    let headers = Dialect::ALL.map(Dialect::cursor_header);
    assert_eq!(headers, ["Last-Event-ID", "Mercure-Last-Event-ID"]);
}

#[test]
fn the_claim_of_a_token() {
    let lists = json!({ "publish": ["/a/{id}"], "subscribe": ["/a/{id}"], "payload": 1 });
    let details = json!([{
        "type": "https://mercure.rocks/authorization-detail",
        "actions": ["publish", "subscribe"],
        "topics": [{ "match": "/a/:id", "match_type": "urlpattern" }],
        "payload": 1
    }]);
    let topic = Topic::new("/a/1", &hub()).unwrap();
    for (name, claim, kind, text) in [
        ("mercure", &lists, Kind::Topic, "/a/1"),
        ("https://mercure.rocks/", &lists, Kind::Topic, "/a/1"),
        ("authorization_details", &details, Kind::UrlPattern, "/a/:id"),
    ] {
        let claims = Claims::parse(&json!({ name: claim }), None, &hub()).unwrap();
        assert_eq!(claims.dialect(), Some(kind.dialect()));
        assert!(claims.may_publish(std::slice::from_ref(&topic)), "{name}");
        assert!(claims.may_read(&topic), "{name}");
        let subscription = Selector::new(kind, text, &hub()).unwrap();
        assert_eq!(claims.payload(&subscription, &hub()), Some(&json!(1)), "{name}");
    }
}

#[test]
fn the_carriers_of_a_token() {
    let cookies: &[&[u8]] = &[b"mercureAuthorization=c0; __Secure-mercure_access_token=c1"];
    let token = |query, authorization| {
        let head =
            Head { carriers: Carriers { authorization, cookies, query }, last_event_id: None };
        Subscription::parse(&head, &hub(), true).map(|read| read.token.unwrap().text.to_string())
    };
    let header = Some(&b"Bearer h"[..]);
    assert_eq!(token("topic=a&authorization=q", header).unwrap(), "h");
    assert_eq!(token("topic=a&authorization=q", None).unwrap(), "q");
    assert_eq!(token("topic=a", None).unwrap(), "c0");
    assert_eq!(token("match=a", header).unwrap(), "h");
    assert_eq!(token("match=a", None).unwrap(), "c1");
    for query in ["match=a&authorization=q", "match=a&access_token=q"] {
        let refusal = Refusal::from(token(query, None).unwrap_err());
        assert_eq!(refusal.status(Dialect::V1), 400, "{query}");
    }
    assert_eq!(Dialect::ALL.map(Dialect::token_type), [None, Some("at+jwt")]);
    assert_eq!(Dialect::V1.required_claims(), ["exp", "aud", "iss"]);
    assert!(Dialect::V0.required_claims().is_empty());
}

#[test]
fn the_reports_of_subscriptions() {
    let report = |kind, text| {
        let selector = Selector::new(kind, text, &hub()).unwrap();
        let active =
            Active { selector: &selector, subscriber: "s", is_active: true, payload: None };
        let update = active.update(&hub());
        let id = update.id_at(Position::new(1, 1));
        (serde_json::from_str::<Value>(&update.data).unwrap(), update.frame(&id))
    };
    let (old, frame) = report(Kind::Topic, "/a/{b}");
    assert_eq!(old["type"], "Subscription");
    assert_eq!(old["id"], "/.well-known/mercure/subscriptions/%2Fa%2F%7Bb%7D/s");
    assert!(frame.starts_with("id: "), "{frame}");
    let (new, frame) = report(Kind::UrlPattern, "/a/:b");
    assert_eq!(new["type"], "subscription");
    assert_eq!(new["id"], "/.well-known/mercure/subscriptions/urlpattern/%2Fa%2F%3Ab/s");
    assert!(frame.starts_with("event: mercure\nid: "), "{frame}");
    assert_eq!(
        Dialect::ALL.map(Dialect::active_type),
        ["application/ld+json", "application/mercure+json"]
    );
    assert_eq!(publish(Dialect::V1, "topic=a&type=mercure").unwrap_err().status(Dialect::V1), 400);
    assert!(publish(Dialect::V0, "topic=a&type=mercure").is_ok());
}

#[test]
fn the_reports_of_subscriptions_match_what_their_readers_ask_for() {
    let selector = Selector::new(Kind::Exact, "https://example.com/a", &hub()).unwrap();
    let active =
        Active { selector: &selector, subscriber: "urn:s", is_active: true, payload: None };
    let update = active.update(&hub());
    let pattern = "/.well-known/mercure/subscriptions/:match_type/:match/:subscriber";
    let asks = Selector::new(Kind::UrlPattern, pattern, &hub()).unwrap();
    assert!(asks.matches(update.canonical()));
    let old = Selector::new(Kind::Topic, "https://example.com/a", &hub()).unwrap();
    let update = Active { selector: &old, ..active }.update(&hub());
    let template = "/.well-known/mercure/subscriptions{/topic}{/subscriber}";
    assert!(Selector::new(Kind::Topic, template, &hub()).unwrap().matches(update.canonical()));
}

#[test]
fn the_answer_to_a_publication() {
    // 0.x takes any 2xx, so one answer is for both.
    assert_eq!((STATUS, ANSWER_TYPE), (200, "text/plain; charset=utf-8"));
    for dialect in Dialect::ALL {
        let update = publish(dialect, "topic=a&id=mine").unwrap();
        assert_eq!(update.id_at(Position::new(1, 1)).as_str(), "mine");
        let update = publish(dialect, "topic=a").unwrap();
        assert!(update.id_at(Position::new(1, 1)).as_str().starts_with("urn:uuid:"));
    }
}

#[test]
fn a_failure_of_authorization() {
    let statuses = |refusal: Refusal| Dialect::ALL.map(|dialect| refusal.status(dialect));
    assert_eq!(statuses(Refusal::no_token()), [401, 401]);
    assert_eq!(statuses(Refusal::bad_token()), [401, 401]);
    assert_eq!(statuses(Refusal::scope()), [401, 403]);
    let head = Carriers { authorization: Some(b"Basic eA=="), query: "topic=a", cookies: &[] };
    let refused = Subscription::parse(&Head { carriers: head, last_event_id: None }, &hub(), true);
    assert_eq!(statuses(refused.unwrap_err().into()), [401, 400]);
    let metadata = "resource_metadata=\"https://example.com/.well-known/oauth-protected-resource/.well-known/mercure\"";
    assert_eq!(
        Refusal::no_token().challenge(Dialect::V1, &hub()),
        Some(format!("Bearer {metadata}"))
    );
    assert_eq!(
        Refusal::scope().challenge(Dialect::V1, &hub()),
        Some(format!("Bearer error=\"insufficient_scope\", {metadata}"))
    );
    assert_eq!(Refusal::bad_token().challenge(Dialect::V0, &hub()).as_deref(), Some("Bearer"));
}

#[test]
fn a_private_update_needs_the_subscription_and_the_token() {
    let update = publish(Dialect::V1, "topic=/books/1&topic=/users/7&private=no").unwrap();
    assert!(update.private);
    let claims = |text: &str| {
        let claims = json!({ "mercure": { "subscribe": [text] } });
        Claims::parse(&claims, Some(Dialect::V1), &hub()).unwrap()
    };
    // The topic that the token is for need not be the one that the subscription asks for.
    assert!(claims("/users/7").may_receive(&update));
    assert!(!claims("/users/8").may_receive(&update));
    assert!(!Claims::default().may_receive(&update));
}

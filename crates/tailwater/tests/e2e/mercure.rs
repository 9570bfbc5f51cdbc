//! A Mercure hub: every difference of the two dialects at a real node, and a cluster under its clients.

mod cluster;
mod hub;

use loadtest::client::http;
use serde_json::json;

use hub::{BOOK, Hub, PATH, Stream, form, v0, v1};

/// The status, the challenge and the body of the answer to a subscription that is refused.
async fn status(hub: &Hub, query: &str, headers: &[(&str, &str)]) -> (u16, Option<String>, String) {
    let mut http = http::Client::new(hub.node.addr());
    let path = format!("{PATH}?{query}");
    let answer = http.request("GET".parse().unwrap(), &path, headers, "".into()).await.unwrap();
    let challenge = answer.headers.get("www-authenticate");
    let challenge = challenge.map(|value| value.to_str().unwrap().to_owned());
    (answer.status, challenge, answer.text())
}

#[tokio::test]
async fn a_publication_is_answered_with_its_id_in_both_dialects() {
    let hub = Hub::start(&[]).await;
    for token in [v0(&["*"], &[]), v1(&[BOOK], &[])] {
        let answer = hub.post(Some(&token), &form(&[("topic", BOOK), ("id", "urn:x:1")])).await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "urn:x:1"));
        assert_eq!(answer.headers["content-type"], "text/plain; charset=utf-8");
        let answer = hub.post(Some(&token), &form(&[("topic", BOOK)])).await;
        assert!(answer.text().starts_with("urn:uuid:"), "{}", answer.text());
    }
}

#[tokio::test]
async fn a_refused_publication_has_the_status_of_its_dialect_and_stores_nothing() {
    let hub = Hub::start(&["--mercure-anonymous"]).await;
    let mut all = hub.open("topic=*", &[]).await;
    let other = "https://example.com/other";
    let (old, new) = (v0(&[BOOK], &[]), v1(&[BOOK], &[]));
    let both = form(&[("topic", BOOK), ("topic", other)]);
    assert_eq!(hub.post(None, &both).await.status, 401);
    assert_eq!(hub.post(Some("x.y.z"), &both).await.status, 401);
    assert_eq!(hub.post(Some(&old), &both).await.status, 401);
    let refused = hub.post(Some(&new), &both).await;
    assert_eq!(refused.status, 403);
    let challenge = refused.headers["www-authenticate"].to_str().unwrap();
    assert!(challenge.contains("error=\"insufficient_scope\""), "{challenge}");
    assert_eq!(refused.headers["content-type"], "text/plain; charset=utf-8");
    let reserved = form(&[("topic", BOOK), ("type", "mercure")]);
    assert_eq!(hub.post(Some(&new), &reserved).await.status, 400);
    for fields in [
        &[("data", "x")][..],
        &[("topic", "*")],
        &[("topic", "/.well-known/mercure/x")],
        &[("topic", BOOK), ("id", "#x")],
        &[("topic", BOOK), ("retry", "-1")],
    ] {
        assert_eq!(hub.post(Some(&old), &form(fields)).await.status, 400, "{fields:?}");
    }
    let large = form(&[("topic", BOOK), ("data", &"x".repeat(1024 * 1024))]);
    assert_eq!(hub.post(Some(&old), &large).await.status, 413);
    hub.publish(&old, &[("topic", BOOK), ("data", "the only one")]).await;
    let event = all.event().await;
    assert_eq!(event.data, "the only one");
}

#[tokio::test]
async fn the_parameters_of_a_subscription_tell_its_dialect() {
    let hub = Hub::start(&["--mercure-anonymous"]).await;
    for query in ["", "topic=", "matchURLPattern=a", "topic=a&match=b", "match=%FF"] {
        let (status, _, text) = status(&hub, query, &[]).await;
        assert_eq!(status, 400, "{query}: {text}");
    }
    let token = v0(&["*"], &[]);
    let (author, own) = ("https://example.com/authors/1", "https://example.com/books/{id}");
    // The last column is the topic of an update that the query gets.
    for (query, gets, last) in [
        ("topic=*", "ab", "z"),
        ("topic=https://example.com/books/1", "a", BOOK),
        ("topic=https://example.com/books/%7Bid%7D", "a", BOOK),
        ("topic=/books/1&topic=https://example.com/authors/%7Bid%7D", "b", author),
        ("match=*", "ab", "z"),
        ("match=https://example.com/books/1", "a", BOOK),
        ("match_exact=https://example.com/books/%7Bid%7D", "", own),
        ("match_urlpattern=https://example.com/:kind/:id", "ab", author),
        ("match_urlpattern=https://example.com/books/:id&match=z", "a", "z"),
    ] {
        let mut stream = hub.open(query, &[]).await;
        hub.publish(&token, &[("topic", BOOK), ("data", "a")]).await;
        hub.publish(&token, &[("topic", author), ("data", "b")]).await;
        // An alternate topic is as good as the canonical one.
        hub.publish(&token, &[("topic", "y"), ("topic", last), ("data", "end")]).await;
        let mut got = String::new();
        loop {
            match stream.event().await.data.as_str() {
                "end" => break,
                data => got.push_str(data),
            }
        }
        assert_eq!(got, gets, "{query}");
    }
}

#[tokio::test]
async fn a_cursor_comes_in_the_header_or_the_parameter_and_the_answer_names_it() {
    let hub = Hub::start(&["--mercure-anonymous"]).await;
    let token = v0(&["*"], &[]);
    let uuid = hub.publish(&token, &[("topic", BOOK), ("data", "1")]).await;
    hub.publish(&token, &[("topic", BOOK), ("data", "2"), ("id", "an id \u{e9}")]).await;
    hub.publish(&token, &[("topic", BOOK), ("data", "3"), ("id", "mine")]).await;
    hub.publish(&token, &[("topic", BOOK), ("data", "4")]).await;
    for (dialect, header) in [("topic", "last-event-id"), ("match", "mercure-last-event-id")] {
        let query = format!("{dialect}={BOOK}");
        let parameter = if dialect == "topic" { "lastEventID" } else { "last_event_id" };
        let stream = hub.open(&query, &[]).await;
        assert_eq!(stream.header(header), None);
        for (cursor, named, first) in [
            (&*uuid, &*uuid, "2"),
            ("an id \u{e9}", "an id \u{e9}", "3"),
            ("mine", "mine", "4"),
            ("earliest", "earliest", "1"),
            ("nobody's", "earliest", "1"),
            ("#5", "earliest", "1"),
        ] {
            let encoded: String = form(&[(parameter, cursor)]);
            let mut stream = hub.open(&format!("{query}&{encoded}"), &[]).await;
            assert_eq!(stream.header(header).as_deref(), Some(named), "{query} {cursor}");
            assert_eq!(stream.event().await.data, first, "{query} {cursor}");
            // The header counts before the parameter.
            let headers = [("last-event-id", cursor)];
            let mut stream = hub.open(&format!("{query}&{parameter}=earliest"), &headers).await;
            assert_eq!(stream.header(header).as_deref(), Some(named), "{query} {cursor}");
            assert_eq!(stream.event().await.data, first, "{query} {cursor}");
        }
    }
}

#[tokio::test]
async fn a_frame_has_the_order_of_the_protocol_and_control_events_come_only_if_asked_for() {
    let hub = Hub::start(&["--mercure-anonymous"]).await;
    let token = v0(&["*"], &[]);
    let mut plain = hub.open("topic=*", &[]).await;
    let mut told = hub.open("topic=*&control=on", &[]).await;
    let fields = [("topic", BOOK), ("data", "a\nb"), ("id", "x"), ("type", "t"), ("retry", "900")];
    hub.publish(&token, &fields).await;
    let text = plain.until("data: b\n\n").await;
    assert!(text.ends_with("event: t\nretry: 900\nid: x\ndata: a\ndata: b\n\n"), "{text}");
    assert!(text.starts_with(":\nretry: ") && !text.contains("tailwater."), "{text}");
    let text = told.until("data: b\n\n").await;
    assert!(text.contains("event: tailwater.ready\n"), "{text}");
    assert_eq!(
        plain.header("link").as_deref(),
        Some("<http://localhost/.well-known/mercure>; rel=\"mercure\"")
    );
}

#[tokio::test]
async fn a_token_comes_in_the_header_or_the_cookie_of_its_dialect() {
    let hub = Hub::start(&[]).await;
    let (old, new) = (v0(&["*"], &["*"]), v1(&[BOOK], &[BOOK]));
    let bearer = |token: &str| format!("Bearer {token}");
    let v0_cookie = format!("mercureAuthorization={old}");
    let v1_cookie = format!("__Secure-mercure_access_token={new}");
    for (query, name, value) in [
        ("topic=a", "authorization", bearer(&old)),
        ("match=a", "authorization", bearer(&new)),
        // While clients migrate, a token of one dialect serves a subscription of the other.
        ("match=a", "authorization", bearer(&old)),
        ("topic=a", "cookie", v0_cookie.clone()),
        ("match=a", "cookie", v1_cookie.clone()),
    ] {
        hub.open(query, &[(name, &value)]).await;
    }
    let no_token = "Bearer resource_metadata=\"http://localhost/.well-known/oauth-protected-resource/.well-known/mercure\"";
    for (query, headers, expected, challenge) in [
        ("topic=a", &[][..], 401, Some("Bearer")),
        ("match=a", &[], 401, Some(no_token)),
        ("topic=a", &[("cookie", &*v1_cookie)], 401, Some("Bearer")),
        ("match=a", &[("cookie", &*v0_cookie)], 401, Some(no_token)),
        ("topic=a", &[("authorization", "Bearer x.y.z")], 401, Some("Bearer")),
        ("topic=a", &[("authorization", "Basic eA==")], 401, Some("Bearer")),
        (
            "topic=a",
            &[
                ("cookie", &*v0_cookie),
                ("origin", "https://evil.example"),
                ("sec-fetch-site", "cross-site"),
            ],
            401,
            Some("Bearer"),
        ),
    ] {
        let (status, told, text) = status(&hub, query, headers).await;
        assert_eq!((status, told.as_deref()), (expected, challenge), "{query} {headers:?} {text}");
    }
    let basic = [("authorization", "Basic eA==")];
    assert_eq!(status(&hub, "match=a", &basic).await.0, 400);
    // A token of another service of the issuer has no rights here.
    let foreign = hub::sign("JWT", &json!({ "sub": "ann", "exp": hub::in_an_hour() }));
    let foreign = bearer(&foreign);
    assert_eq!(status(&hub, "topic=a", &[("authorization", &foreign)]).await.0, 401);
    assert_eq!(status(&hub, "match=a", &[("authorization", &foreign)]).await.0, 403);
    // The rights of 1.0 in a token without the form of 1.0.
    let loose = hub::sign("JWT", &hub::v1_claims(&[BOOK], &[BOOK]));
    assert_eq!(status(&hub, "match=a", &[("authorization", &bearer(&loose))]).await.0, 401);
}

#[tokio::test]
async fn a_token_in_the_query_needs_the_flag_and_0_x() {
    let (old, new) = (v0(&["*"], &["*"]), v1(&[BOOK], &[BOOK]));
    let closed = Hub::start(&[]).await;
    assert_eq!(status(&closed, &format!("topic=a&authorization={old}"), &[]).await.0, 401);
    let open = Hub::start(&["--mercure-query-tokens"]).await;
    open.open(&format!("topic=a&authorization={old}"), &[]).await;
    assert_eq!(status(&open, &format!("match=a&authorization={new}"), &[]).await.0, 400);
    assert!(open.node.log().contains("--mercure-query-tokens takes tokens from the query"));
}

#[tokio::test]
async fn a_private_update_is_for_those_with_the_claim_only() {
    let hub = Hub::start(&["--mercure-anonymous"]).await;
    let bearer = |token: String| format!("Bearer {token}");
    let with = bearer(v0(&[], &["https://example.com/users/{id}"]));
    let with_new = bearer(v1(&[], &["https://example.com/users/7"]));
    let without = bearer(v0(&[], &["https://example.com/users/8"]));
    let publisher = v0(&["*"], &[]);
    let mut readers = Vec::new();
    for (query, token, may) in [
        ("topic=*", Some(&with), true),
        (&format!("topic={BOOK}"), Some(&with), true),
        ("match_urlpattern=https://example.com/books/:id", Some(&with_new), true),
        ("topic=*", Some(&without), false),
        (&*format!("match={BOOK}"), Some(&without), false),
        ("topic=*", None, false),
    ] {
        let headers: Vec<_> = token.iter().map(|token| ("authorization", token.as_str())).collect();
        readers.push((hub.open(query, &headers).await, may, query.to_owned()));
    }
    let user = "https://example.com/users/7";
    let private = [("topic", BOOK), ("topic", user), ("data", "private"), ("private", "on")];
    hub.publish(&publisher, &private).await;
    hub.publish(&publisher, &[("topic", BOOK), ("data", "public")]).await;
    for (mut stream, may, query) in readers {
        let expected = if may { "private" } else { "public" };
        assert_eq!(stream.event().await.data, expected, "{query}");
    }
    // Once more from the history.
    let mut again = hub.open("topic=*&lastEventID=earliest", &[("authorization", &without)]).await;
    assert_eq!(again.event().await.data, "public");
}

#[tokio::test]
async fn a_stream_ends_with_its_token() {
    let hub = Hub::start(&[]).await;
    // Clocks may differ by 30 s.
    let claims = json!({ "mercure": { "subscribe": ["*"] }, "exp": hub::in_an_hour() - 3600 - 26 });
    let token = format!("Bearer {}", hub::sign("JWT", &claims));
    let mut stream = hub.open("topic=a", &[("authorization", &token)]).await;
    stream.ends().await;
}

#[tokio::test]
async fn a_subscriber_beside_the_hub_reads_its_updates() {
    let hub = Hub::start(&[]).await;
    let claims = json!({
        "sub": "ann", "exp": hub::in_an_hour(),
        "tailwater": { "subscribe": ["mercure/**"], "publish": ["mercure/**"] }
    });
    let token = format!("Bearer {}", hub::sign("JWT", &claims));
    let headers = [("authorization", &*token)];
    let path = "/v1/events?topic=mercure/**&envelope=json&control=off";
    let mut beside = Stream::open(hub.node.addr(), path, &headers).await;
    let mut of_hub = hub.open("topic=https://example.com/%7B%2Bany%7D", &headers).await;
    hub.publish(&v0(&["*"], &[]), &[("topic", BOOK), ("data", "hello"), ("type", "t")]).await;
    let envelope: serde_json::Value = serde_json::from_str(&beside.event().await.data).unwrap();
    assert_eq!(envelope["topic"], format!("mercure/{BOOK}"));
    assert_eq!((&envelope["data"], &envelope["type"]), (&json!("hello"), &json!("t")));
    assert_eq!(of_hub.event().await.data, "hello");
    // An event of another publisher is an update.
    let mut http = http::Client::new(hub.node.addr());
    let path = format!("/v1/events?topic=mercure/{BOOK}&type=u");
    assert_eq!(http.post(&path, &headers, "from beside").await.unwrap().status, 200);
    let event = of_hub.event().await;
    assert_eq!((event.data.as_str(), event.event_type()), ("from beside", "u"));
}

#[tokio::test]
async fn a_page_of_another_origin_reads_the_head_and_asks_before_it_publishes() {
    let hub = Hub::start(&["--mercure-anonymous", "--cors-origin=https://app.example"]).await;
    let origin = [("origin", "https://app.example")];
    let stream = hub.open("match=a&last_event_id=earliest", &origin).await;
    assert_eq!(
        stream.header("access-control-allow-origin").as_deref(),
        Some("https://app.example")
    );
    assert_eq!(stream.header("access-control-allow-credentials").as_deref(), Some("true"));
    let exposed = stream.header("access-control-expose-headers").unwrap();
    for name in ["last-event-id", "mercure-last-event-id", "link"] {
        assert!(exposed.split(", ").any(|one| one == name), "{exposed}");
    }
    let mut http = http::Client::new(hub.node.addr());
    let asked = http.request("OPTIONS".parse().unwrap(), PATH, &origin, "".into()).await.unwrap();
    assert_eq!(asked.status, 200);
    assert!(asked.headers.contains_key("access-control-allow-methods"));
    let path = "/.well-known/oauth-protected-resource/.well-known/mercure";
    let metadata = http.get(path).await.unwrap().json::<serde_json::Value>().unwrap();
    assert_eq!(metadata["resource"], "http://localhost/.well-known/mercure");
}

#[tokio::test]
async fn a_node_without_the_flag_has_no_hub() {
    let node = crate::support::serve().start().await.unwrap();
    assert_eq!(crate::support::status(node.addr(), &format!("{PATH}?topic=a")).await, Some(404));
    let mut http = http::Client::new(node.addr());
    assert_eq!(http.post(PATH, &[], "topic=a").await.unwrap().status, 404);
}

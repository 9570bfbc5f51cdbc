//! Tickets and stream cookies: how a page brings its right.

use std::sync::Arc;
use std::time::Duration;

use ::access::{
    Access, Form, Machines, Page, Patterns, Rights, Settings, TicketKeys, Tickets, machine_hash,
};
use ::metrics::Registry;
use gateway::Config;
use serde_json::{Value, json};

use crate::client::{PATIENCE, Response};
use crate::log::Publish as _;
use crate::node::Node;

const APP: &str = "https://app.example";
const ANN: &str = "token-of-ann";
const BOB: &str = "token-of-bob";
const MINUTE: Duration = Duration::from_mins(1);

/// A closed node, and tickets with its keys of which a test chooses the time.
struct Closed {
    node: Node,
    access: Access,
    keys: TicketKeys,
}

impl Closed {
    async fn start() -> Self {
        Self::with("__Host-tailwater", &[APP]).await
    }

    async fn with(cookie: &str, origins: &[&str]) -> Self {
        let everybody = Arc::new(Rights {
            subscribe: Patterns::new(["public/**"]).unwrap(),
            ..Rights::default()
        });
        let keys = TicketKeys::random();
        let line = |token: &str, subject: &str| {
            let hash = machine_hash(token);
            format!("{hash} {subject} {{\"subscribe\":[\"user/{{sub}}\",\"all/**\"]}}\n")
        };
        let machines = line(ANN, "ann") + &line(BOB, "bob");
        let settings = Settings {
            machines: Machines::parse(&machines, &everybody).unwrap(),
            tickets: Some(Tickets::new(keys.clone(), Arc::clone(&everybody))),
            everybody,
            cookie: cookie.into(),
            ..Settings::default()
        };
        let access = Access::closed(settings, &Registry::new());
        let origins: Vec<_> = origins.iter().map(ToString::to_string).collect();
        let cors = cors::Policy::allow(&origins).unwrap();
        let config = Config { access: access.clone(), cors, ..Config::default() };
        Self { node: Node::with(config).await, access, keys }
    }

    /// A ticket or a cookie of a party, made with the node's keys.
    async fn made(&self, token: &str, topics: &[&str], form: Form, life: Duration) -> String {
        let bearer = format!("Bearer {token}");
        let brought = self.access.credentials(Some(bearer.as_bytes()), &[], None, Page::Allowed);
        let grant = self.access.admit(&brought).await.unwrap();
        let tickets = Tickets::new(self.keys.clone(), Arc::default());
        let text = tickets.issue(&grant, topics, form, Some(life)).unwrap().text;
        match form {
            Form::Ticket => text,
            Form::Cookie => format!("__Host-tailwater={text}"),
        }
    }

    async fn ticket(&self, token: &str, topic: &str) -> String {
        self.made(token, &[topic], Form::Ticket, MINUTE).await
    }

    /// A ticket that nobody has used in time.
    async fn spent(&self, token: &str, topic: &str) -> String {
        self.made(token, &[topic], Form::Ticket, Duration::ZERO).await
    }

    async fn cookie(&self, token: &str, topic: &str) -> String {
        self.made(token, &[topic], Form::Cookie, MINUTE).await
    }

    /// Asks for a ticket.
    async fn ask(&self, token: &str, headers: &[(&str, &str)], body: &Value) -> Response {
        let bearer = format!("Bearer {token}");
        let own = [("authorization", &*bearer), ("sec-fetch-site", "cross-site"), ("origin", APP)];
        // The headers of the test win.
        let is_new = |(name, _): &&(&str, &str)| !headers.iter().any(|(other, _)| other == name);
        let all: Vec<_> = own.iter().filter(is_new).chain(headers).copied().collect();
        self.node.send("POST /v1/tickets", &bytes(&all), &body.to_string()).await
    }

    async fn open(&self, query: &str, headers: &[(&str, &str)]) -> Response {
        self.node.request(&format!("GET /v1/events?{query}"), &bytes(headers)).await
    }
}

fn bytes<'a>(headers: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a [u8])> {
    headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect()
}

/// The code of a refusal, with its status.
async fn refusal(mut answer: Response) -> (u16, String) {
    let code = answer.json().await["error"]["code"].as_str().unwrap().to_owned();
    (answer.status, code)
}

fn text(json: &Value, name: &str) -> String {
    json[name].as_str().unwrap_or_else(|| panic!("no {name} in {json}")).to_owned()
}

#[tokio::test]
async fn a_ticket_opens_a_stream_that_brings_the_ticket_for_the_next() {
    let closed = Closed::start().await;
    let mut answer = closed.ask(ANN, &[], &json!({ "topics": ["user/ann"] })).await;
    assert_eq!((answer.status, answer.header("cache-control")), (200, Some("no-store")));
    assert_eq!(answer.cookie, None, "nobody asked for one");
    let json = answer.json().await;
    let until = ::access::Timestamp::parse(&text(&json, "expires")).unwrap();
    let left = until.after(::access::Timestamp::now());
    assert!(left <= MINUTE && left > MINUTE / 2, "{left:?}");

    let mut ticket = text(&json, "ticket");
    let mut cursor = String::new();
    for round in 0..3 {
        let query = format!("topic=user/ann&last_event_id={cursor}&ticket={ticket}");
        let mut stream = closed.open(&query, &[("origin", APP)]).await;
        assert_eq!(stream.status, 200, "{}", stream.head);
        ticket = text(&stream.control("ready").await.1, "ticket");
        closed.node.log.publish("user/ann", &format!("event {round}")).await;
        let event = stream.event().await;
        assert_eq!(event.data, format!("event {round}"));
        cursor = event.id;
    }
    // A stream that a token or everybody's right opened has no use for one.
    let bearer = format!("Bearer {ANN}");
    for (query, headers) in
        [("topic=user/ann", &[("authorization", &*bearer)][..]), ("topic=public/news", &[])]
    {
        let (_, json) = closed.open(query, headers).await.control("ready").await;
        assert_eq!(json.get("ticket"), None, "{query}");
    }
}

#[tokio::test]
async fn the_last_word_of_a_stream_brings_a_ticket_too() {
    let closed = Closed::start().await;
    let ticket = closed.ticket(ANN, "user/ann").await;
    let mut stream = closed.open(&format!("topic=user/ann&ticket={ticket}"), &[]).await;
    stream.ready().await;
    let drain = closed.node.gateway.drain(Duration::ZERO, Duration::ZERO, PATIENCE);
    let (_, (_, json)) = tokio::join!(drain, stream.control("reconnect"));
    assert_eq!(json["reason"], "drain");
    let verified = Tickets::new(closed.keys.clone(), Arc::default());
    let next = text(&json, "ticket");
    assert_ne!(next, ticket);
    // Another node with the same keys takes it.
    let settings = Settings { tickets: Some(verified), ..Settings::default() };
    let other = Access::closed(settings, &Registry::new());
    let brought = other.credentials(None, &[], Some(&next), Page::Allowed);
    assert!(other.admit(&brought).await.unwrap().allows(::access::Right::Subscribe, "user/ann"));
}

#[tokio::test]
async fn a_ticket_is_for_its_topics_and_never_a_token() {
    let closed = Closed::start().await;
    let ticket = closed.ticket(ANN, "user/ann").await;
    let other = closed.open(&format!("topic=all/a&ticket={ticket}"), &[]).await;
    assert_eq!(refusal(other).await, (403, "forbidden".to_owned()));
    let more = closed.open(&format!("topic=user/ann&topic=all/a&ticket={ticket}"), &[]).await;
    assert_eq!(refusal(more).await, (403, "forbidden".to_owned()));
    // It adds to what everybody may do.
    let both = closed.open(&format!("topic=user/ann&topic=public/a&ticket={ticket}"), &[]).await;
    assert_eq!(both.status, 200);
    let cookie = closed.cookie(ANN, "user/ann").await;
    let as_ticket = cookie.strip_prefix("__Host-tailwater=").unwrap();
    for bad in [ANN, as_ticket, "x", "a.b.c"] {
        let refused = closed.open(&format!("topic=user/ann&ticket={bad}"), &[]).await;
        assert_eq!(refused.header("www-authenticate"), Some("bearer error=\"invalid_token\""));
        assert_eq!(refusal(refused).await, (401, "bad_token".to_owned()), "{bad}");
    }
    let as_cookie = format!("__Host-tailwater={ticket}");
    let refused = closed.open("topic=user/ann", &[("cookie", &as_cookie)]).await;
    assert_eq!(refused.status, 401, "a ticket that was stolen from a URL is no cookie");
}

#[tokio::test]
async fn a_ticket_that_is_over_is_told_in_a_stream_and_a_poll_gets_the_status() {
    let closed = Closed::start().await;
    let query = format!("topic=user/ann&ticket={}", closed.spent(ANN, "user/ann").await);
    let mut stream = closed.open(&query, &[("last-event-id", "5-1"), ("origin", APP)]).await;
    assert_eq!((stream.status, stream.header("access-control-allow-origin")), (200, Some(APP)));
    let (event, json) = stream.control("reconnect").await;
    assert_eq!((json["reason"].as_str(), &*event.id), (Some("token_expired"), "5-1"));
    assert_eq!(json.get("ticket"), None);
    assert!(stream.retry() >= Some(Duration::from_mins(5)), "{:?}", stream.retry());
    stream.ends().await;
    let poll = closed.open(&query, &[("accept", "application/json")]).await;
    assert_eq!(refusal(poll).await, (401, "token_expired".to_owned()));
}

/// An `EventSource` repeats its URL, so each reconnect brings the old ticket beside the cookie.
#[tokio::test]
async fn a_ticket_beside_a_cookie() {
    let closed = Closed::start().await;
    let (topic, cookie) = ("user/ann", closed.cookie(ANN, "user/ann").await);
    let valid = closed.ticket(ANN, topic).await;
    let spent = closed.spent(ANN, topic).await;
    let of_bob = (closed.ticket(BOB, "all/a").await, closed.spent(BOB, "all/a").await);
    for (ticket, status) in [
        ("", 200),
        (&*valid, 200),
        (&*spent, 200),
        ("nonsense", 200),
        // Two valid ones of two parties.
        (&*of_bob.0, 401),
        (&*of_bob.1, 200),
    ] {
        let query = format!("topic={topic}&ticket={ticket}");
        let mut answer = closed.open(&query, &[("cookie", &cookie)]).await;
        assert_eq!(answer.status, status, "{ticket}");
        match status {
            200 => assert_eq!(answer.ready().await, "live", "{ticket}"),
            _ => assert_eq!(refusal(answer).await, (401, "bad_token".to_owned())),
        }
    }
    // A cookie that is no good is no reason to refuse a good ticket.
    for bad in ["__Host-tailwater=x", "__Host-tailwater=a.b.c"] {
        let query = format!("topic={topic}&ticket={valid}");
        let mut stream = closed.open(&query, &[("cookie", bad)]).await;
        assert!(stream.control("ready").await.1["ticket"].is_string(), "{bad}");
    }
}

/// A page has one cookie and may have several streams.
#[tokio::test]
async fn a_ticket_opens_its_topics_beside_a_cookie_for_others() {
    let closed = Closed::start().await;
    let cookie = closed.cookie(ANN, "user/ann").await;
    let ticket = closed.ticket(ANN, "all/a").await;
    let query = format!("topic=all/a&ticket={ticket}");
    let mut stream = closed.open(&query, &[("cookie", &cookie)]).await;
    assert_eq!(stream.status, 200, "{}", stream.head);
    assert!(stream.control("ready").await.1["ticket"].is_string());
    // When its time is over, the page is told: an error would end the EventSource.
    let query = format!("topic=all/a&ticket={}", closed.spent(ANN, "all/a").await);
    let mut stream = closed.open(&query, &[("cookie", &cookie)]).await;
    let (_, json) = stream.control("reconnect").await;
    assert_eq!(json["reason"], "token_expired");
    let forbidden = closed.open("topic=all/a", &[("cookie", &cookie)]).await;
    assert_eq!(refusal(forbidden).await, (403, "forbidden".to_owned()));
}

#[tokio::test]
async fn a_header_counts_alone() {
    let closed = Closed::start().await;
    let bearer = format!("Bearer {ANN}");
    let (own, other) = (closed.ticket(ANN, "all/a").await, closed.ticket(BOB, "all/a").await);
    let spent = closed.spent(BOB, "all/a").await;
    for (ticket, status) in [(own, 200), (spent, 200), (other, 401)] {
        let query = format!("topic=user/ann&ticket={ticket}");
        let answer = closed.open(&query, &[("authorization", &bearer)]).await;
        assert_eq!(answer.status, status);
    }
}

#[tokio::test]
async fn a_redirect_takes_the_ticket_out_of_the_url_and_sets_the_cookie() {
    let closed = Closed::start().await;
    let ticket = closed.ticket(ANN, "user/ann").await;
    for (site, attributes) in [
        (None, "HttpOnly; Secure; SameSite=Lax"),
        (Some("same-origin"), "HttpOnly; Secure; SameSite=Lax"),
        (Some("same-site"), "HttpOnly; Secure; SameSite=Lax"),
        (Some("cross-site"), "HttpOnly; Secure; SameSite=None; Partitioned"),
    ] {
        let site = site.map(|site| ("sec-fetch-site", site));
        let headers: Vec<_> = [("origin", APP)].into_iter().chain(site).collect();
        let query =
            format!("topic=user/ann&%72enew=cookie&types=a%2Cb&%74icket={ticket}&renew=cookie");
        let moved = closed.open(&query, &headers).await;
        assert_eq!(moved.status, 308, "{}", moved.head);
        assert_eq!(moved.header("location"), Some("events?topic=user/ann&types=a%2cb"));
        assert_eq!(moved.header("access-control-allow-origin"), Some(APP));
        assert_eq!(moved.header("access-control-allow-credentials"), Some("true"));
        assert!(moved.header("vary").unwrap().contains("origin"));
        assert_eq!(moved.header("cache-control"), Some("no-store"));
        let (pair, rest) = moved.cookie.clone().unwrap();
        let (life, rest) = rest.strip_prefix("Path=/; Max-Age=").unwrap().split_once("; ").unwrap();
        assert!(life.parse::<u64>().unwrap() > 60, "{life}");
        assert_eq!(rest, attributes);
        let headers: Vec<_> = headers.into_iter().chain([("cookie", &*pair)]).collect();
        let mut stream = closed.open("topic=user/ann", &headers).await;
        let (_, json) = stream.control("ready").await;
        assert_eq!(json.get("ticket"), None, "the cookie has come back");
    }
}

#[tokio::test]
async fn a_cookie_under_another_name_works_over_plain_http() {
    let closed = Closed::with("tw", &[]).await;
    let body = json!({ "topics": ["user/ann"], "cookie": true });
    let answer = closed.ask(ANN, &[("sec-fetch-site", "same-origin")], &body).await;
    let (pair, rest) = answer.cookie.unwrap();
    assert!(pair.starts_with("tw=") && rest.ends_with("; HttpOnly; SameSite=Lax"), "{rest}");
    let mut stream = closed.open("topic=user/ann", &[("cookie", &pair)]).await;
    assert_eq!(stream.ready().await, "live");
}

#[tokio::test]
async fn a_cookie_counts_for_pages_that_may_use_it() {
    let closed = Closed::start().await;
    let cookie = closed.cookie(ANN, "user/ann").await;
    for (origin, site, status) in [
        (None, None, 200),
        (None, Some("same-origin"), 200),
        (None, Some("none"), 200),
        (None, Some("same-site"), 403),
        (None, Some("cross-site"), 403),
        (Some(APP), Some("cross-site"), 200),
        (Some(APP), None, 200),
        (Some("https://evil.example"), Some("same-site"), 403),
        (Some("null"), Some("cross-site"), 403),
        (Some("null"), Some("same-origin"), 403),
    ] {
        let origin = origin.map(|origin| ("origin", origin));
        let site = site.map(|site| ("sec-fetch-site", site));
        let headers: Vec<_> =
            [("cookie", &*cookie)].into_iter().chain(origin).chain(site).collect();
        let answer = closed.open("topic=user/ann", &headers).await;
        assert_eq!(answer.status, status, "{origin:?} {site:?}");
        if status == 403 {
            assert_eq!(refusal(answer).await.1, "cross_site");
        }
    }
    // The page may still read what everybody may.
    let headers = [("cookie", &*cookie), ("origin", "null"), ("sec-fetch-site", "cross-site")];
    assert_eq!(closed.open("topic=public/a", &headers).await.status, 200);
}

#[tokio::test]
async fn the_cookie_of_an_allowed_page_is_good_for_a_ticket() {
    let closed = Closed::start().await;
    let cookie = closed.cookie(ANN, "user/ann").await;
    let body = json!({ "topics": ["user/ann"] }).to_string();
    for (origin, status) in [(APP, 200), ("https://evil.example", 403)] {
        let headers = [("cookie", &*cookie), ("origin", origin), ("sec-fetch-site", "cross-site")];
        let answer = closed.node.send("POST /v1/tickets", &bytes(&headers), &body).await;
        assert_eq!(answer.status, status, "{origin}");
    }
}

#[tokio::test]
async fn a_refused_ticket_says_why() {
    let closed = Closed::start().await;
    let own = json!({ "topics": ["user/ann"] });
    for (token, body, expected) in [
        (ANN, json!({ "topics": ["user/bob"] }), (403, "forbidden")),
        (ANN, json!({ "topics": ["user/ann", "user/bob"] }), (403, "forbidden")),
        (ANN, json!({ "topics": [] }), (400, "bad_body")),
        (ANN, json!({ "topics": ["a b"] }), (400, "bad_topic")),
        (ANN, json!({ "topics": vec!["all/a"; 65] }), (400, "too_many_topics")),
        (ANN, json!({ "topics": ["a".repeat(20_000)] }), (413, "too_large")),
        (ANN, json!("user/ann"), (400, "bad_body")),
        ("unknown", own.clone(), (401, "bad_token")),
    ] {
        let answer = closed.ask(token, &[], &body).await;
        assert_eq!(answer.header("access-control-allow-origin"), Some(APP), "{body}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{body}");
        let (status, code) = refusal(answer).await;
        assert_eq!((status, &*code), expected, "{token} {body}");
    }
    // Nothing brought: also for what everybody may read, because a ticket is somebody's.
    for topic in ["user/ann", "public/a"] {
        let body = json!({ "topics": [topic] }).to_string();
        let answer = closed.node.send("POST /v1/tickets", &[], &body).await;
        assert_eq!(answer.header("www-authenticate"), Some("bearer"));
        assert_eq!(refusal(answer).await, (401, "no_token".to_owned()));
    }
    let open = Node::start().await;
    let off = open.send("POST /v1/tickets", &[], &own.to_string()).await;
    assert_eq!(refusal(off).await, (404, "tickets_off".to_owned()));
}

#[tokio::test]
async fn a_page_that_signs_out_takes_the_cookie_away() {
    let closed = Closed::start().await;
    for (site, attributes) in [
        ("same-origin", "Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Lax"),
        ("cross-site", "Path=/; Max-Age=0; HttpOnly; Secure; SameSite=None; Partitioned"),
    ] {
        let headers = [("origin", APP), ("sec-fetch-site", site)];
        let answer = closed.node.request("DELETE /v1/tickets", &bytes(&headers)).await;
        assert_eq!(answer.status, 204);
        assert_eq!(answer.header("access-control-allow-origin"), Some(APP));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let cookie = answer.cookie.expect("the answer sets a cookie");
        assert_eq!(cookie, ("__Host-tailwater=".to_owned(), attributes.to_owned()));
    }
}

//! Pages of other origins: every kind of response carries the headers of the CORS policy.

use gateway::Config;

use crate::log::Publish as _;
use crate::node::Node;

/// The headers of an answer that a page may read.
const EXPOSED: &str = "retry-after, www-authenticate, tailwater-outcome, tailwater-cursor, tailwater-node, \
                       tailwater-gap, tailwater-broken, last-event-id, mercure-last-event-id, link";

const APP: (&str, &[u8]) = ("origin", b"https://app.example");
const EVIL: (&str, &[u8]) = ("origin", b"https://evil.example");
const JSON: (&str, &[u8]) = ("accept", b"application/json");
const ALLOW_ORIGIN: &str = "access-control-allow-origin";
const VARY: &str = "origin, access-control-request-method, access-control-request-headers";

async fn node(origins: &[&str]) -> Node {
    let origins: Vec<_> = origins.iter().map(ToString::to_string).collect();
    let cors = cors::Policy::allow(&origins).unwrap();
    Node::with(Config { cors, max_connections: ROOM, ..Config::default() }).await
}

/// Maximum number of connections of a node in these tests.
const ROOM: usize = 4;

/// Calls `check` for every kind of response of a gateway, with a request line, a header and the
/// expected status. `check` sends at most two requests.
async fn each_answer(node: &Node, mut check: impl AsyncFnMut(&str, (&str, &[u8]), u16)) {
    const STREAM: (&str, &[u8]) = ("accept", b"text/event-stream");
    const GET: &str = "GET /v1/events?topic=t";
    const HEAD: &str = "HEAD /v1/events?topic=t";
    node.log.publish("ended", "a").await;
    node.log.end("ended").await;
    let mut stream = node.subscribe("topic=ended&from=earliest").await;
    stream.ready().await;
    stream.data(1).await;
    let (end, _) = stream.control("end").await;
    let ended = format!("GET /v1/events?topic=ended&last_event_id={}", end.id);
    for (line, header, status) in [
        (GET, STREAM, 200),
        (GET, JSON, 200),
        (HEAD, STREAM, 200),
        (HEAD, JSON, 200),
        (&*ended, STREAM, 204),
        ("GET /v1/events", STREAM, 400),
        ("GET /v1/events", JSON, 400),
    ] {
        check(line, header, status).await;
        node.until("tailwater_connections", 0.0).await;
    }
    let mut full = Vec::new();
    for _ in 0..ROOM {
        full.push(node.subscribe("topic=t").await);
    }
    check(GET, STREAM, 200).await;
    check(GET, JSON, 429).await;
}

#[tokio::test]
async fn a_listed_page_may_read_every_answer_and_another_none() {
    let node = node(&["https://other.example", "https://app.example"]).await;
    each_answer(&node, async |line, header, status| {
        for (origin, allowed) in [(&APP, Some("https://app.example")), (&EVIL, None)] {
            let response = node.request(line, &[header, *origin]).await;
            assert_eq!(response.status, status, "{line}");
            assert_eq!(response.header(ALLOW_ORIGIN), allowed, "{line}: {}", response.head);
            let exposed = response.header("access-control-expose-headers");
            assert_eq!(exposed, Some(EXPOSED), "{line}");
            let credentials = response.header("access-control-allow-credentials");
            assert_eq!(credentials, allowed.map(|_| "true"), "{line}");
            assert_eq!(response.header("vary"), Some(VARY), "{line}");
        }
    })
    .await;
}

#[tokio::test]
async fn any_page_may_read_every_answer_if_any_origin_is_allowed() {
    let node = node(&["*"]).await;
    each_answer(&node, async |line, header, status| {
        let response = node.request(line, &[header, APP]).await;
        assert_eq!((response.status, response.header(ALLOW_ORIGIN)), (status, Some("*")), "{line}");
    })
    .await;
}

#[tokio::test]
async fn no_answer_names_an_origin_if_none_is_allowed() {
    let node = node(&[]).await;
    each_answer(&node, async |line, header, _| {
        let response = node.request(line, &[header, APP]).await;
        assert!(!response.head.contains("access-control"), "{line}: {}", response.head);
        assert_eq!(response.header("vary"), None, "{line}");
    })
    .await;
}

#[tokio::test]
async fn a_browser_that_asks_first_is_told_what_a_page_may_do() {
    let node = node(&["https://app.example"]).await;
    for (origin, allowed) in [(APP, Some("https://app.example")), (EVIL, None)] {
        let asks = [origin, ("access-control-request-method", b"GET")];
        let mut response = node.request("OPTIONS /v1/events?topic=t", &asks).await;
        assert_eq!((response.status, response.header(ALLOW_ORIGIN)), (200, allowed));
        let names = |header: &str| response.header(header).unwrap_or_default().to_owned();
        assert_eq!(names("access-control-allow-methods"), "get, head, post, put, delete");
        assert!(names("access-control-allow-headers").contains("authorization"));
        assert_eq!(names("access-control-max-age"), "7200");
        assert_eq!(response.header("vary"), Some(VARY));
        assert_eq!(response.text().await, "");
    }
}

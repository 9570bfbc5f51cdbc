//! Pages of other origins at a closed node: every route, method and outcome, for every kind of origin.

use loadtest::machine::Tailwater;
use reqwest::{Client, Method, Response};

use super::Mint;
use crate::support::serve;

/// The headers of an answer that a page may read.
const EXPOSED: &str = "retry-after, www-authenticate, tailwater-outcome, tailwater-cursor, tailwater-node, \
                       tailwater-gap, tailwater-broken, last-event-id, mercure-last-event-id, link";

const APP: &str = "https://app.example";
const OWN: &str = "user/ann";

/// A page, as far as its request tells.
#[derive(Debug, Clone, Copy)]
struct Page {
    origin: Option<&'static str>,
    site: Option<&'static str>,
    /// True if `--cors-origin` lists its origin.
    is_listed: bool,
}

const PAGES: [Page; 6] = [
    Page { origin: None, site: None, is_listed: false },
    Page { origin: None, site: Some("same-origin"), is_listed: false },
    Page { origin: Some(APP), site: Some("cross-site"), is_listed: true },
    Page { origin: Some(APP), site: Some("same-site"), is_listed: true },
    Page { origin: Some("https://evil.example"), site: Some("cross-site"), is_listed: false },
    Page { origin: Some("null"), site: Some("cross-site"), is_listed: false },
];

/// A request, and the statuses with a good token, a bad one, and none.
struct Case {
    method: Method,
    path: &'static str,
    accept: &'static str,
    body: &'static str,
    statuses: [u16; 3],
}

fn cases() -> Vec<Case> {
    let case = |method, path, accept, body, statuses| Case { method, path, accept, body, statuses };
    let (stream, json, any) = ("text/event-stream", "application/json", "*/*");
    let ticket = r#"{"topics":["user/ann"],"cookie":true}"#;
    let (get, post) = (Method::GET, Method::POST);
    vec![
        case(get.clone(), "/v1/events?topic=user/ann", stream, "", [200, 401, 401]),
        case(get.clone(), "/v1/events?topic=user/bob", stream, "", [403, 401, 401]),
        case(get.clone(), "/v1/events", stream, "", [400, 400, 400]),
        case(get.clone(), "/v1/events?topic=user/ann", json, "", [200, 401, 401]),
        case(get.clone(), "/v1/events?topic=user/bob", json, "", [403, 401, 401]),
        case(Method::HEAD, "/v1/events?topic=user/ann", stream, "", [200, 401, 401]),
        case(post.clone(), "/v1/events?topic=user/ann", any, "x", [200, 401, 401]),
        case(post.clone(), "/v1/events?topic=user/bob", any, "x", [403, 401, 401]),
        case(Method::PUT, "/v1/events?topic=user/ann", any, "x", [200, 401, 401]),
        case(Method::DELETE, "/v1/events?topic=user/ann", any, "", [405, 405, 405]),
        case(get.clone(), "/v1/topics/user/ann", any, "", [200, 401, 401]),
        case(get.clone(), "/v1/topics/user/bob", any, "", [403, 401, 401]),
        case(post.clone(), "/v1/topics/user/ann", any, "x", [400, 401, 401]),
        case(post.clone(), "/v1/tickets", any, ticket, [200, 401, 401]),
        case(post.clone(), "/v1/tickets", any, r#"{"topics":["user/bob"]}"#, [403, 401, 401]),
        case(post.clone(), "/v1/tickets", any, "x", [400, 401, 400]),
        case(get, "/v1/tickets", any, "", [405, 405, 405]),
        case(post, "/v1/revocations", any, r#"{"sub":"bob"}"#, [403, 401, 401]),
    ]
}

async fn ask(node: &Tailwater, case: &Case, page: Page, token: Option<&str>) -> Response {
    let url = format!("http://{}{}", node.addr(), case.path);
    let mut request = Client::new().request(case.method.clone(), url).header("accept", case.accept);
    let token = token.map(|token| format!("Bearer {token}"));
    let headers = [
        ("origin", page.origin),
        ("sec-fetch-site", page.site),
        ("authorization", token.as_deref()),
    ];
    for (name, value) in headers {
        if let Some(value) = value {
            request = request.header(name, value);
        }
    }
    if !case.body.is_empty() {
        request = request.body(case.body);
    }
    request.send().await.unwrap()
}

/// Returns a header, which stands there once at most.
fn header(answer: &Response, name: &str) -> Option<String> {
    let mut all = answer.headers().get_all(name).iter();
    let first = all.next().map(|value| value.to_str().unwrap().to_owned());
    assert!(all.next().is_none(), "{name} twice");
    first
}

#[tokio::test]
async fn every_answer_depends_on_the_origin_and_only_listed_pages_may_read_it() {
    let _first = rustls::crypto::ring::default_provider().install_default();
    let mint = Mint::new("one");
    let node = mint.close(serve()).flag("--cors-origin", APP).start().await.unwrap();
    let good = mint.token(OWN);
    // The topic exists.
    let first = Case { statuses: [200; 3], ..cases().remove(6) };
    assert_eq!(ask(&node, &first, PAGES[0], Some(&good)).await.status(), 200);
    for page in PAGES {
        for case in &cases() {
            for (token, status) in [Some(&*good), Some("bad"), None].into_iter().zip(case.statuses)
            {
                let kind =
                    token.map_or("none", |token| if token == "bad" { "bad" } else { "good" });
                let at = format!("{} {} {} {page:?} {kind}", case.method, case.path, case.accept);
                let answer = ask(&node, case, page, token).await;
                // Another page may change nothing, whatever it brings.
                let is_stopped = page.origin.is_some()
                    && !page.is_listed
                    && ![Method::GET, Method::HEAD].contains(&case.method);
                let expected = if is_stopped { 403 } else { status };
                assert_eq!(answer.status(), expected, "{at}");
                let vary = header(&answer, "vary").unwrap_or_else(|| panic!("{at}: no vary"));
                assert!(vary.split(", ").any(|name| name == "origin"), "{at}: {vary}");
                let allowed = page.is_listed.then_some(APP);
                let named = header(&answer, "access-control-allow-origin");
                assert_eq!(named.as_deref(), allowed, "{at}");
                let credentials = header(&answer, "access-control-allow-credentials");
                assert_eq!(credentials.as_deref(), allowed.map(|_| "true"), "{at}");
                let exposed = header(&answer, "access-control-expose-headers");
                assert_eq!(exposed.as_deref(), Some(EXPOSED), "{at}");
                assert_eq!(header(&answer, "set-cookie").is_some(), {
                    expected == 200 && case.path == "/v1/tickets"
                });
            }
        }
        for path in ["/v1/events?topic=t", "/v1/topics/t", "/v1/tickets", "/v1/revocations"] {
            let case =
                Case { method: Method::OPTIONS, path, accept: "*/*", body: "", statuses: [200; 3] };
            let answer = ask(&node, &case, page, None).await;
            assert_eq!(answer.status(), 200, "{path} {page:?}");
            let named = header(&answer, "access-control-allow-origin");
            assert_eq!(named.as_deref(), page.is_listed.then_some(APP), "{path} {page:?}");
            assert!(header(&answer, "vary").unwrap().contains("origin"), "{path} {page:?}");
            let headers = header(&answer, "access-control-allow-headers").unwrap();
            for needed in ["authorization", "last-event-id", "content-type", "idempotency-key"] {
                assert!(headers.split(", ").any(|name| name == needed), "{path}: {headers}");
            }
            assert_eq!(header(&answer, "access-control-max-age").as_deref(), Some("7200"));
        }
    }
}

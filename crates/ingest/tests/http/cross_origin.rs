//! Pages of other origins that publish.

use ingest::Config;

use crate::server::Server;

const APP: (&str, &str) = ("origin", "https://app.example");
const EVIL: (&str, &str) = ("origin", "https://evil.example");
const ALLOWED: &str = "access-control-allow-origin: https://app.example\r\n";
const EXPOSED: &str = "access-control-expose-headers: retry-after, www-authenticate, tailwater-";

async fn server() -> Server {
    let cors = cors::Policy::allow(&["https://app.example".to_owned()]).unwrap();
    Server::with(Config { cors, ..Config::default() }).await
}

#[tokio::test]
async fn a_listed_page_may_read_receipts_topics_and_errors_and_another_page_none() {
    let server = server().await;
    for (request, body, status) in [
        ("POST /v1/events?topic=t", "x", 200),
        ("PUT /v1/events?topic=t", "x", 200),
        ("POST /v1/events", "x", 400),
        ("GET /v1/topics/t", "", 200),
        ("GET /v1/topics/unknown", "", 404),
        ("DELETE /v1/events?topic=t", "", 405),
        ("PATCH /v1/topics/t", "x", 405),
    ] {
        for (origin, is_allowed) in [(APP, true), (EVIL, false)] {
            let answer = server.send(request, &[origin], body).await;
            assert_eq!(answer.status, status, "{request}");
            assert_eq!(answer.head.contains(ALLOWED), is_allowed, "{request}: {}", answer.head);
            assert!(answer.head.contains(EXPOSED), "{request}: {}", answer.head);
            assert!(answer.head.contains("vary: origin, "), "{request}: {}", answer.head);
        }
    }
}

#[tokio::test]
async fn a_browser_that_asks_first_is_told_what_a_page_may_do() {
    let server = server().await;
    for path in ["/v1/events?topic=t", "/v1/topics/a/b"] {
        let asks = [APP, ("access-control-request-method", "POST")];
        let answer = server.send(&format!("OPTIONS {path}"), &asks, "").await;
        assert_eq!((answer.status, &*answer.body), (200, ""), "{path}");
        for expected in [
            ALLOWED,
            "access-control-allow-methods: GET, HEAD, POST, PUT, DELETE\r\n",
            "authorization",
        ] {
            assert!(answer.head.contains(expected), "{path}: {}", answer.head);
        }
    }
    assert!(server.data("t").await.is_empty());
}

#[tokio::test]
async fn no_answer_names_an_origin_if_none_is_allowed() {
    let server = Server::start().await;
    for (request, status) in [("POST /v1/events?topic=t", 200), ("OPTIONS /v1/events", 405)] {
        let answer = server.send(request, &[APP], "x").await;
        assert_eq!(answer.status, status, "{request}");
        assert!(!answer.head.contains("access-control"), "{request}: {}", answer.head);
    }
}

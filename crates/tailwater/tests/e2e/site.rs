//! The requests that a node answers at all, by their host and the page that asks.

use std::net::SocketAddr;

use loadtest::machine::Redis;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::{PATIENCE, ingest, serve};

const EVENTS: &str = "/v1/events?topic=t";
const SUBSCRIBE: (&str, &str) = ("GET", EVENTS);
const PUBLISH: (&str, &str) = ("POST", EVENTS);

/// Sends a request with these header lines, and returns the head and the first bytes of the answer.
async fn ask(to: SocketAddr, (method, path): (&str, &str), headers: &[&str]) -> String {
    let mut socket = TcpStream::connect(to).await.unwrap();
    let headers: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    let (length, body) = if method == "GET" { ("", "") } else { ("content-length: 1\r\n", "x") };
    let request = format!("{method} {path} HTTP/1.1\r\n{headers}{length}\r\n{body}");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let head = async {
        while !answer.windows(4).any(|end| end == b"\r\n\r\n") {
            assert!(socket.read_buf(&mut answer).await.unwrap() > 0, "closed before the answer");
        }
    };
    timeout(PATIENCE, head).await.expect("an answer in time");
    String::from_utf8(answer).unwrap()
}

async fn status(to: SocketAddr, request: (&str, &str), headers: &[&str]) -> u16 {
    ask(to, request, headers).await[9..12].parse().unwrap()
}

#[tokio::test]
async fn a_node_on_a_loopback_address_answers_local_and_allowed_names_only() {
    let node = serve().flag("--allow-host", "tail.example").start().await.unwrap();
    let requests = [SUBSCRIBE, PUBLISH, ("GET", "/"), ("GET", "/v1/topics/t"), ("GET", EVENTS)];
    for request in requests {
        for (host, is_answered) in [
            ("host: localhost", true),
            ("host: 127.0.0.1:8080", true),
            ("host: [::1]:1", true),
            ("host: tail.example:8080", true),
            ("host: evil.example", false),
            ("host: localhost.evil.example", false),
        ] {
            let answer = ask(node.addr(), request, &[host]).await;
            assert_eq!(!answer.starts_with("HTTP/1.1 403"), is_answered, "{request:?} {answer}");
        }
    }
    for path in ["/livez", "/metrics", "/debug/log"] {
        let admin = node.admin_addr();
        assert_eq!(status(admin, ("GET", path), &["host: localhost"]).await, 200, "{path}");
        assert_eq!(status(admin, ("GET", path), &["host: evil.example"]).await, 403, "{path}");
    }
    let answer = ask(node.addr(), SUBSCRIBE, &["host: evil.example"]).await;
    assert!(answer.contains("nosniff"), "{answer}");
}

#[tokio::test]
async fn a_request_without_a_host_or_with_two_is_refused() {
    let node = serve().start().await.unwrap();
    for request in [SUBSCRIBE, PUBLISH, ("GET", "/")] {
        assert_eq!(status(node.addr(), request, &[]).await, 400, "{request:?}");
        let two = ["host: localhost", "host: localhost"];
        assert_eq!(status(node.addr(), request, &two).await, 400, "{request:?}");
    }
}

#[tokio::test]
async fn only_own_and_allowed_pages_publish_and_other_clients_always() {
    let node = serve().flag("--cors-origin", "https://app.example").start().await.unwrap();
    let own = format!("origin: http://{}", node.addr());
    let host = format!("host: {}", node.addr());
    let cases: [(&[&str], u16); 8] = [
        (&[], 200),
        (&[&own], 200),
        (&["origin: https://app.example", "sec-fetch-site: cross-site"], 200),
        // The console behind a proxy that rewrites the host.
        (&["origin: https://public.example", "sec-fetch-site: same-origin"], 200),
        (&["origin: https://evil.example"], 403),
        (&["origin: null"], 403),
        (&["sec-fetch-site: same-site"], 403),
        (&[&own, "sec-fetch-site: cross-site"], 403),
    ];
    for (headers, expected) in cases {
        let headers = [&[&*host], headers].concat();
        for method in ["POST", "PUT"] {
            let answered = status(node.addr(), (method, EVENTS), &headers).await;
            assert_eq!(answered, expected, "{method} {headers:?}");
        }
        // Reading is the matter of CORS.
        assert_eq!(status(node.addr(), SUBSCRIBE, &headers).await, 200, "{headers:?}");
    }
    let page = ["host: localhost", "origin: https://app.example"];
    let answered = status(node.admin_addr(), ("PUT", "/debug/log"), &page).await;
    assert_eq!(answered, 403, "the admin port has no pages of other origins");
}

#[tokio::test]
async fn a_node_without_a_gateway_keeps_to_the_rules_as_well() {
    let redis = Redis::start().await.unwrap();
    let node = ingest(&redis).start().await.unwrap();
    for (headers, expected) in [
        (&["host: localhost"][..], 200),
        (&["host: evil.example"], 403),
        (&["host: localhost", "origin: https://evil.example"], 403),
        (&[], 400),
    ] {
        assert_eq!(status(node.addr(), PUBLISH, headers).await, expected, "{headers:?}");
    }
}

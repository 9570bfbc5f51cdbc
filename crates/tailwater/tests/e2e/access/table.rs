//! Every route, with every kind of credentials, over every transport.

use std::net::SocketAddr;

use loadtest::machine::Tailwater;
use reqwest::{Client, Method, Response, Version};
use serde_json::{Value, json};

use super::mint::now;
use super::{Claims, Mint};
use crate::support::{metric, serve};
use crate::tls::Issued;

/// The topic that the good token is for.
const OWN: &str = "user/ann";

/// A kind of credentials, and the answer to it.
struct Brought {
    name: &'static str,
    token: Option<String>,
    /// The topic that is asked for.
    topic: &'static str,
    /// The status and the code of a refusal; `None` if the routes answer as they do.
    refusal: Option<(u16, &'static str)>,
    /// The reason in the metric.
    reason: Option<&'static str>,
}

/// A route, and the answer to a good token.
struct Route {
    name: &'static str,
    method: Method,
    /// With the topic in the place of `{}`.
    path: &'static str,
    headers: &'static [(&'static str, &'static str)],
    body: &'static str,
    status: u16,
    /// True if the body names the topic, so that a topic which is not granted is an error of the event.
    is_per_event: bool,
}

fn routes() -> Vec<Route> {
    let json = &[("accept", "application/json")];
    let stream = &[("accept", "text/event-stream")];
    let route = |name, method, path, headers, body, status| Route {
        name,
        method,
        path,
        headers,
        body,
        status,
        is_per_event: false,
    };
    let (get, post) = (Method::GET, Method::POST);
    let of_event = |name, kind, body| Route {
        is_per_event: true,
        ..route(name, Method::POST, "/v1/events", kind, body, 200)
    };
    vec![
        route("stream", get.clone(), "/v1/events?topic={}", stream, "", 200),
        route("long-poll", get.clone(), "/v1/events?topic={}", json, "", 200),
        route("head", Method::HEAD, "/v1/events?topic={}", stream, "", 200),
        route(
            "stream by POST",
            post.clone(),
            "/v1/subscriptions",
            stream,
            r#"{"topic":"{}"}"#,
            200,
        ),
        route(
            "long-poll by POST",
            post.clone(),
            "/v1/subscriptions",
            json,
            r#"{"topic":"{}"}"#,
            200,
        ),
        route("publish", post.clone(), "/v1/events?topic={}", &[], "x", 200),
        route("put", Method::PUT, "/v1/events?topic={}", &[], "x", 200),
        route(
            "sse body",
            post.clone(),
            "/v1/events?topic={}",
            &[("content-type", "text/event-stream")],
            "data: x\n\n",
            200,
        ),
        of_event(
            "ndjson",
            &[("content-type", "application/x-ndjson")],
            "{\"topic\":\"{}\",\"data\":\"x\"}\n",
        ),
        route(
            "cloudevent",
            post.clone(),
            "/v1/events?topic={}",
            &[("content-type", "application/cloudevents+json")],
            r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data":1}"#,
            200,
        ),
        route(
            "cloudevents",
            post.clone(),
            "/v1/events?topic={}",
            &[("content-type", "application/cloudevents-batch+json")],
            r#"[{"specversion":"1.0","id":"1","source":"/s","type":"t","data":1}]"#,
            200,
        ),
        route("topic", get.clone(), "/v1/topics/{}", &[], "", 200),
        route("members", get, "/v1/topics/{}/subscribers", &[], "", 200),
        route("ticket", post.clone(), "/v1/tickets", &[], r#"{"topics":["{}"]}"#, 200),
    ]
}

fn brought(mint: &Mint) -> Vec<Brought> {
    let claims = || Mint::claims(OWN, 3600);
    let with = |name: &str, value: Value| {
        let mut claims = claims();
        claims.insert(name.to_owned(), value);
        mint.sign(&claims)
    };
    let bad = |name, token: String, reason| Brought {
        name,
        token: Some(token),
        topic: OWN,
        refusal: Some((401, "bad_token")),
        reason: Some(reason),
    };
    let good = mint.token(OWN);
    let (unsigned, _) = good.rsplit_once('.').unwrap();
    let (_, other) =
        mint.token("x").rsplit_once('.').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let expired: Claims = Mint::claims(OWN, -60);
    vec![
        Brought {
            refusal: Some((401, "no_token")),
            token: None,
            ..bad("none", String::new(), "no_token")
        },
        bad("malformed", "abc".to_owned(), "not_jwt"),
        bad("wrong signature", format!("{unsigned}.{other}"), "signature"),
        bad("alg none", mint.unsigned(&claims()), "alg"),
        bad("HS256 with the public key", mint.confused(&claims()), "alg"),
        Brought {
            refusal: Some((401, "token_expired")),
            ..bad("expired", mint.sign(&expired), "expired")
        },
        bad("not yet valid", with("nbf", json!(now() + 600)), "not_yet"),
        bad("wrong issuer", with("iss", json!("https://issuer.example/")), "issuer"),
        bad(
            "issuer of a wrong type",
            with("iss", json!(["https://issuer.example"])),
            "malformed_claim",
        ),
        bad("wrong audience", with("aud", json!("others")), "audience"),
        bad("audience of a wrong type", with("aud", json!([1])), "malformed_claim"),
        bad("no audience", with("aud", Value::Null), "missing_claim"),
        bad("expiry of a wrong type", with("exp", json!("soon")), "malformed_claim"),
        bad("expiry in milliseconds", with("exp", json!(now() * 1000)), "malformed_claim"),
        bad(
            "rights of a wrong type",
            with("tailwater", json!({"subscribe": "x"})),
            "malformed_claim",
        ),
        bad("unknown key", Mint::new("two").token(OWN), "unknown_kid"),
        Brought {
            topic: "user/bob",
            refusal: Some((403, "forbidden")),
            ..bad("another topic", good.clone(), "topic")
        },
        Brought { refusal: None, reason: None, ..bad("good", good, "") },
    ]
}

/// A client of one transport.
struct Transport {
    name: &'static str,
    client: Client,
    base: String,
}

fn transports(clear: SocketAddr, tls: SocketAddr) -> Vec<Transport> {
    let _first = rustls::crypto::ring::default_provider().install_default();
    let builder = || Client::builder().tls_danger_accept_invalid_certs(true);
    let at = |name, client: reqwest::ClientBuilder, base| Transport {
        name,
        client: client.build().unwrap(),
        base,
    };
    let (http, https) = (format!("http://{clear}"), format!("https://localhost:{}", tls.port()));
    vec![
        at("HTTP/1.1", builder().http1_only(), http.clone()),
        at("HTTP/1.1 over TLS", builder().http1_only(), https.clone()),
        at("h2c", builder().http2_prior_knowledge(), http),
        at("HTTP/2 over TLS", builder(), https),
    ]
}

async fn ask(transport: &Transport, route: &Route, brought: &Brought) -> Response {
    let url = format!("{}{}", transport.base, route.path.replace("{}", brought.topic));
    let mut request = transport.client.request(route.method.clone(), url);
    for (name, value) in route.headers {
        request = request.header(*name, *value);
    }
    if let Some(token) = &brought.token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    if !route.body.is_empty() {
        request = request.body(route.body.replace("{}", brought.topic));
    }
    request.send().await.unwrap()
}

/// The code of an error, in an answer or in the receipt of its one event.
async fn code(response: Response) -> Option<String> {
    let text = response.text().await.unwrap();
    let json: Value = serde_json::from_str(text.lines().next()?).ok()?;
    let error = json.get("error").or_else(|| json["receipts"][0].get("error"))?;
    error["code"].as_str().map(str::to_owned)
}

async fn failures(nodes: [&Tailwater; 2], reason: &str) -> f64 {
    let name = format!("tailwater_auth_failures_total{{reason=\"{reason}\"}}");
    let mut sum = 0.0;
    for node in nodes {
        sum += metric(&node.metrics().await.unwrap(), &name).unwrap();
    }
    sum
}

#[tokio::test]
async fn every_route_refuses_every_bad_token_on_every_transport_and_says_why() {
    let mint = Mint::new("one");
    let node = || mint.close(serve()).flag("--presence", "user/*");
    let clear = node().start().await.unwrap();
    let issued = Issued::new();
    let tls = issued.encrypt(node()).start().await.unwrap();
    let transports = transports(clear.addr(), tls.addr());
    let routes = routes();
    for brought in brought(&mint) {
        let before = match brought.reason {
            Some(reason) => failures([&clear, &tls], reason).await,
            None => 0.0,
        };
        for transport in &transports {
            for route in &routes {
                let at = format!("{}, {}, {}", brought.name, route.name, transport.name);
                let response = ask(transport, route, &brought).await;
                let is_http2 = response.version() == Version::HTTP_2;
                assert_eq!(is_http2, transport.name.contains('2'), "{at}");
                let status = response.status().as_u16();
                let challenge = response.headers().get("www-authenticate").cloned();
                let Some((expected, expected_code)) = brought.refusal else {
                    assert_eq!(status, route.status, "{at}");
                    continue;
                };
                let is_of_event = route.is_per_event && expected == 403;
                assert_eq!(status, if is_of_event { 200 } else { expected }, "{at}");
                assert_eq!(challenge.is_some(), expected == 401, "{at}");
                if let Some(challenge) = challenge {
                    assert!(challenge.to_str().unwrap().starts_with("Bearer"), "{at}");
                }
                if route.method != Method::HEAD {
                    assert_eq!(code(response).await.as_deref(), Some(expected_code), "{at}");
                }
            }
        }
        if let Some(reason) = brought.reason {
            let counted = failures([&clear, &tls], reason).await - before;
            let expected = (routes.len() * transports.len()) as f64;
            assert_eq!(counted, expected, "{} counts {reason}", brought.name);
        }
    }
    for node in [&clear, &tls] {
        assert!(!node.log().contains("eyJ"), "a token is in the log: {}", node.log());
    }
}

#[tokio::test]
async fn of_several_topics_one_that_is_forbidden_refuses_the_request_and_of_several_events_itself()
{
    let mint = Mint::new("one");
    let node = mint.close(serve()).start().await.unwrap();
    let _first = rustls::crypto::ring::default_provider().install_default();
    let client = Client::new();
    let bearer = format!("Bearer {}", mint.token(OWN));
    let url = format!("http://{}/v1/events", node.addr());
    let both = format!("{url}?topic={OWN}&topic=user/bob");
    let response = client.get(both).header("authorization", &bearer).send().await.unwrap();
    assert_eq!(response.status(), 403);
    let text = response.text().await.unwrap();
    assert!(text.contains("user/bob") && !text.contains(OWN), "{text}");

    let lines = format!(
        "{{\"topic\":\"{OWN}\",\"data\":\"1\"}}\n{{\"topic\":\"user/bob\",\"data\":\"2\"}}\n\
         {{\"topic\":\"{OWN}\",\"data\":\"3\"}}\n"
    );
    let publish = client.post(&url).header("authorization", &bearer);
    let publish = publish.header("content-type", "application/x-ndjson").body(lines);
    let receipts = publish.send().await.unwrap().text().await.unwrap();
    let stored: Vec<_> = receipts.lines().map(|line| line.contains("\"id\"")).collect();
    assert_eq!(stored, [true, false, true], "{receipts}");
    assert!(receipts.lines().nth(1).unwrap().contains("forbidden"), "{receipts}");

    // A topic that exists and one that does not look the same to somebody without the right.
    let mut answers = Vec::new();
    for topic in ["user/bob", "user/eve"] {
        let of = format!("http://{}/v1/topics/{topic}", node.addr());
        let response = client.get(of).header("authorization", &bearer).send().await.unwrap();
        answers.push((response.status(), response.text().await.unwrap().replace(topic, "T")));
    }
    assert_eq!(answers[0], answers[1]);
}

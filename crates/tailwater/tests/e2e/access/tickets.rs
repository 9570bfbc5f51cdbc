//! Tickets and stream cookies, as a browser brings them.

use loadtest::machine::Tailwater;
use reqwest::redirect::Policy;
use reqwest::{Client, Response};
use serde_json::{Value, json};

use super::Mint;
use crate::support::serve;

const APP: &str = "https://app.example";

fn client() -> Client {
    let _first = rustls::crypto::ring::default_provider().install_default();
    Client::builder().redirect(Policy::none()).build().unwrap()
}

async fn node(mint: &Mint) -> Tailwater {
    mint.close(serve()).flag("--cors-origin", APP).start().await.unwrap()
}

/// Asks for a ticket for the user's topic.
async fn ticket(node: &Tailwater, token: &str, body: Value) -> Response {
    let url = format!("http://{}/v1/tickets", node.addr());
    let bearer = format!("Bearer {token}");
    client().post(url).header("authorization", bearer).body(body.to_string()).send().await.unwrap()
}

async fn text_of(node: &Tailwater, token: &str) -> String {
    let answer = ticket(node, token, json!({ "topics": ["user/ann"] })).await;
    assert_eq!(answer.status(), 200);
    let json: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    json["ticket"].as_str().unwrap().to_owned()
}

async fn get(node: &Tailwater, query: &str, headers: &[(&str, &str)]) -> Response {
    let url = format!("http://{}/v1/events?topic=user/ann{query}", node.addr());
    let request =
        headers.iter().fold(client().get(url), |r, (name, value)| r.header(*name, *value));
    request.send().await.unwrap()
}

/// The first events of a stream.
async fn beginning(mut stream: Response) -> String {
    let mut text = String::new();
    while !text.contains("\n\n") {
        let Some(chunk) = stream.chunk().await.unwrap() else { break };
        text.push_str(&String::from_utf8_lossy(&chunk));
    }
    text
}

#[tokio::test]
async fn a_ticket_opens_a_stream_that_carries_the_ticket_for_the_next() {
    let mint = Mint::new("one");
    let node = node(&mint).await;
    let ticket = text_of(&node, &mint.token("user/ann")).await;
    let ready = beginning(get(&node, &format!("&ticket={ticket}"), &[]).await).await;
    let data = ready.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
    let json: Value = serde_json::from_str(data).unwrap();
    let next = json["ticket"].as_str().expect("a renewed ticket").to_owned();
    let again = beginning(get(&node, &format!("&ticket={next}"), &[]).await).await;
    assert!(again.contains("tailwater.ready"), "{again}");
    // It is for its topic, and no token is ever taken from a URL.
    let other = format!("http://{}/v1/events?topic=user/bob&ticket={next}", node.addr());
    assert_eq!(client().get(other).send().await.unwrap().status(), 403);
    let token = mint.token("user/ann");
    assert_eq!(get(&node, &format!("&ticket={token}"), &[]).await.status(), 401);
}

#[tokio::test]
async fn a_redirect_takes_the_ticket_out_of_the_url_and_the_cookie_takes_its_place() {
    let mint = Mint::new("one");
    let node = node(&mint).await;
    let ticket = text_of(&node, &mint.token("user/ann")).await;
    let query = format!("&heartbeat=20&ticket={ticket}&renew=cookie");
    for (site, attributes) in [
        ("same-origin", "Secure; SameSite=Lax"),
        ("cross-site", "Secure; SameSite=None; Partitioned"),
    ] {
        let moved = get(&node, &query, &[("origin", APP), ("sec-fetch-site", site)]).await;
        assert_eq!(moved.status(), 308);
        let header = |name: &str| moved.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(header("location"), "events?topic=user/ann&heartbeat=20");
        assert_eq!(header("access-control-allow-origin"), APP);
        assert!(header("vary").contains("origin"));
        let cookie = header("set-cookie");
        assert!(
            cookie.starts_with("__Host-tailwater=") && cookie.ends_with(attributes),
            "{cookie}"
        );
        let pair = cookie.split(';').next().unwrap();
        // EventSource repeats its URL: a ticket that is over comes with the cookie.
        for again in ["", "&ticket=spent", &*format!("&ticket={ticket}")] {
            let stream = get(&node, again, &[("cookie", pair)]).await;
            assert!(beginning(stream).await.contains("tailwater.ready"), "{again}");
        }
        // A page of an origin that nobody listed cannot use the cookie.
        for (origin, status) in [("https://evil.example", 403), ("null", 403), (APP, 200)] {
            let headers = [("cookie", pair), ("origin", origin), ("sec-fetch-site", "cross-site")];
            assert_eq!(get(&node, "", &headers).await.status(), status, "{origin}");
        }
    }
}

#[tokio::test]
async fn an_event_source_with_a_ticket_that_is_over_is_told_in_its_stream() {
    let mint = Mint::new("one");
    let node = node(&mint).await;
    // The token lasts for a few seconds more than its ticket needs.
    let token = mint.sign(&Mint::claims("user/ann", -24));
    let ticket = text_of(&node, &token).await;
    let open = get(&node, &format!("&ticket={ticket}"), &[]).await;
    let mut all = String::new();
    let mut open = open;
    while let Ok(Some(chunk)) = open.chunk().await {
        all.push_str(&String::from_utf8_lossy(&chunk));
    }
    // Without a ticket: a new token is needed.
    assert!(all.contains("data: {\"reason\":\"token_expired\"}"), "{all}");
    crate::support::until("the ticket is over", async || {
        let stream = get(&node, &format!("&ticket={ticket}"), &[]).await;
        assert_eq!(stream.status(), 200, "an EventSource would die of an error");
        let text = beginning(stream).await;
        text.contains("tailwater.reconnect") && text.contains("retry: ")
    })
    .await;
    assert_eq!(
        get(&node, &format!("&ticket={ticket}"), &[("accept", "application/json")]).await.status(),
        401
    );
}

#[tokio::test]
async fn two_valid_credentials_of_two_parties_are_refused() {
    let mint = Mint::new("one");
    let node = node(&mint).await;
    let ticket = text_of(&node, &mint.token("user/ann")).await;
    let mut claims = Mint::claims("user/*", 600);
    claims.insert("sub".to_owned(), json!("bob"));
    let bob = format!("Bearer {}", mint.sign(&claims));
    let refused = get(&node, &format!("&ticket={ticket}"), &[("authorization", &bob)]).await;
    assert_eq!(refused.status(), 401);
    assert!(refused.text().await.unwrap().contains("two parties"));
}

#[tokio::test]
async fn bad_requests_for_tickets_name_their_fault() {
    let mint = Mint::new("one");
    let node = node(&mint).await;
    let token = mint.token("**");
    for (body, status, part) in [
        (json!({}), 400, "topics"),
        (json!({ "topics": [] }), 400, "no topic"),
        (json!({ "topics": ["a b"] }), 400, "' '"),
        (json!({ "topics": ["a"], "life": 1 }), 400, "life"),
        (json!({ "topics": vec!["a"; 65] }), 400, "65"),
        (json!({ "topics": ["a".repeat(20_000)] }), 413, "16384"),
    ] {
        let answer = ticket(&node, &token, body.clone()).await;
        assert_eq!(answer.status(), status, "{body}");
        let text = answer.text().await.unwrap();
        assert!(text.contains(part), "{text}");
    }
}

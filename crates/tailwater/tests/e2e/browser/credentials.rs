//! Credentials in Chromium: a plain `EventSource` with a cookie on one origin and on one site, with a ticket
//! from another site; gateways that are killed, tokens that end, rights that are revoked.
//!
//! `localhost` is one site whatever the port, and 127.0.0.1 is another; both count as secure.

use axum::Router;
use axum::response::Html;
use axum::routing::get;
use loadtest::client::http;
use loadtest::client::publisher::Publisher;
use loadtest::machine::{Haproxy, Redis, Tailwater};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::{Duration, sleep};

use super::chromium::Chromium;
use crate::access::Mint;
use crate::support::{PATIENCE, gateway, ingest};

const COOKIE: &str = include_str!("pages/cookie.js");
const TICKET: &str = include_str!("pages/ticket.js");

/// A closed cluster behind a load balancer, and a server of pages that have other origins.
struct Protected {
    mint: Mint,
    gateways: [Tailwater; 2],
    ingest: Tailwater,
    haproxy: Haproxy,
    pages: u16,
    _redis: Redis,
}

impl Protected {
    async fn start() -> Self {
        let page = get(|| async { Html("<!doctype html><title>page</title>") });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let pages = listener.local_addr().unwrap().port();
        let routes = Router::new().route("/", page);
        tokio::spawn(async move { axum::serve(listener, routes).await });
        let (redis, mint) = (Redis::start().await.unwrap(), Mint::new("one"));
        let directory = tempfile::tempdir().unwrap();
        let keys = directory.path().join("ticket.keys");
        std::fs::write(&keys, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n").unwrap();
        let origins = format!("http://localhost:{pages},http://127.0.0.1:{pages}");
        let start = async |name: &str| {
            let node = mint.close(gateway(&redis, name)).flag("--cors-origin", &*origins);
            node.flag("--ticket-keys", keys.display().to_string()).start().await.unwrap()
        };
        let gateways = [start("gw-1").await, start("gw-2").await];
        let ingest = mint.close(ingest(&redis)).flag("--anonymous", "publish=steady");
        let ingest = ingest.start().await.unwrap();
        let haproxy = Haproxy::start(&[&gateways[0], &gateways[1]]).await.unwrap();
        Self { mint, gateways, ingest, haproxy, pages, _redis: redis }
    }

    /// The address of the load balancer, as a page calls it.
    fn base(&self) -> String {
        format!("http://localhost:{}", self.haproxy.addr().port())
    }

    /// Runs a page's script with its names filled in.
    async fn run(&self, browser: &Chromium, page: &str, names: &[(&str, &str)]) {
        let base = json!(self.base()).to_string();
        let script = names.iter().fold(page.to_owned(), |script, (name, value)| {
            script.replace(&format!("${{{name}}}"), value).replace(name, value)
        });
        let script = format!("const BASE = {base};\n(async () => {{ {script} }})();");
        browser.run(&script).await;
    }

    /// Publishes numbers, kills the gateway that serves the page on the way, and checks that the page has every
    /// event once.
    async fn survives(&mut self, browser: &Chromium) {
        const LAST: u32 = 90;
        browser.until("return readies.length", |n| n == &json!(1)).await;
        let node = browser.run("return readies[0].node").await;
        let mut publisher = Publisher::new(self.ingest.addr(), PATIENCE);
        let mut receipts = Vec::new();
        for n in 1..=LAST {
            let receipt = publisher.publish("steady", &format!("key-{n}"), n.to_string()).await;
            receipts.push(json!([receipt.unwrap().at.to_string(), n.to_string()]));
            if n == LAST / 3 {
                let serving = self.gateways.iter_mut().find(|one| node == one.node());
                serving.expect("one of the two serves the page").kill_nine().unwrap();
            }
            sleep(Duration::from_millis(20)).await;
        }
        browser.until("return got.length", |n| n.as_u64() >= Some(u64::from(LAST))).await;
        assert_eq!(browser.run("return got").await, Value::Array(receipts));
        assert_eq!(browser.run("return readies[readies.length - 1].outcome").await, "exact");
        assert_eq!(browser.run("return failed").await, json!(0));
    }
}

#[tokio::test]
async fn an_event_source_with_a_cookie_resumes_on_one_origin_and_ends_when_it_is_revoked() {
    let mut cluster = Protected::start().await;
    let browser = Chromium::start().await;
    browser.open(&format!("{}/", cluster.base())).await;
    let token = cluster.mint.token("steady");
    let names = [("TOKEN", &*token), ("WITH_CREDENTIALS", "false")];
    cluster.run(&browser, COOKIE, &names).await;
    cluster.survives(&browser).await;

    let mut claims = Mint::claims("none", 600);
    claims.insert("tailwater".to_owned(), json!({ "admin": true }));
    claims.insert("sub".to_owned(), json!("root"));
    let bearer = format!("Bearer {}", cluster.mint.sign(&claims));
    let headers = [("authorization", &*bearer)];
    let revoked = http::Client::new(cluster.ingest.addr())
        .post("/v1/revocations", &headers, r#"{"sub":"ann"}"#)
        .await
        .unwrap();
    assert_eq!(revoked.status, 200, "{}", revoked.text());
    browser.until("return told.includes('revoked')", |told| told == &json!(true)).await;
    // It comes back once, gets 403 and stops.
    browser.until("return failed", |failed| failed == &json!(1)).await;
    browser.quit().await;
}

#[tokio::test]
async fn an_event_source_with_a_cookie_resumes_on_one_site_if_it_asks_for_credentials() {
    let mut cluster = Protected::start().await;
    let browser = Chromium::start().await;
    let page = format!("http://localhost:{}/", cluster.pages);
    browser.open(&page).await;
    let token = cluster.mint.token("steady");
    cluster.run(&browser, COOKIE, &[("TOKEN", &*token), ("WITH_CREDENTIALS", "true")]).await;
    cluster.survives(&browser).await;
    // Without credentials the browser sends no cookie, and the refusal is final.
    browser.open(&page).await;
    cluster.run(&browser, COOKIE, &[("TOKEN", &*token), ("WITH_CREDENTIALS", "false")]).await;
    browser.until("return failed", |failed| failed == &json!(1)).await;
    assert_eq!(browser.run("return answered").await, json!(200));
    browser.quit().await;
}

#[tokio::test]
async fn an_event_source_with_tickets_resumes_from_another_site() {
    let mut cluster = Protected::start().await;
    let browser = Chromium::start().await;
    browser.open(&format!("http://127.0.0.1:{}/", cluster.pages)).await;
    let tokens = json!([cluster.mint.token("steady")]).to_string();
    cluster.run(&browser, TICKET, &[("TOKENS", &tokens)]).await;
    cluster.survives(&browser).await;
    browser.quit().await;
}

#[tokio::test]
async fn a_page_whose_token_ends_brings_another_and_loses_nothing() {
    let cluster = Protected::start().await;
    let browser = Chromium::start().await;
    browser.open(&format!("http://127.0.0.1:{}/", cluster.pages)).await;
    // The first token lasts for some seconds: its leeway is nearly over.
    let short = cluster.mint.sign(&Mint::claims("steady", -18));
    let tokens = json!([short, cluster.mint.token("steady")]).to_string();
    cluster.run(&browser, TICKET, &[("TOKENS", &tokens)]).await;
    browser.until("return readies.length", |n| n == &json!(1)).await;
    let mut publisher = Publisher::new(cluster.ingest.addr(), PATIENCE);
    let mut expected = Vec::new();
    let mut number = 0;
    while browser.run("return readies.length").await == json!(1) || number < 20 {
        number += 1;
        assert!(number < 2000, "the token does not end");
        publisher.publish("steady", &format!("key-{number}"), number.to_string()).await.unwrap();
        expected.push(json!(number.to_string()));
        sleep(Duration::from_millis(20)).await;
    }
    browser.until("return got.length", |n| n.as_u64() >= Some(number)).await;
    assert_eq!(browser.run("return got.map(e => e[1])").await, Value::Array(expected));
    assert_eq!(browser.run("return told").await, json!(["token_expired"]));
    browser.quit().await;
}

//! The page of a relay, whose answer survives a reload.

use serde_json::json;

use super::{Browser, Kind};
use crate::relay::client::relay;
use crate::relay::upstream::{TOKENS, Upstream};

const ANSWER: &str = "return document.querySelector('#answer').textContent";

async fn has_tokens(browser: &Browser, count: usize) {
    let all: String = (0..count).map(|n| format!("token-{n} ")).collect();
    browser.until(ANSWER, |shown| shown == &json!(all)).await;
}

#[tokio::test]
async fn the_answer_of_a_page_survives_a_reload() {
    let upstream = Upstream::start().await;
    let node = relay(&upstream, None).start().await.unwrap();
    let browser = Browser::start(Kind::Chromium).await;
    browser.open(&format!("http://{}/relay/", node.addr())).await;
    upstream.allow(40);
    browser.click("#send").await;
    has_tokens(&browser, 40).await;
    browser.screenshot("relay-before").await;

    browser.run("location.reload()").await;
    browser.find("#card[data-state=running]").await;
    has_tokens(&browser, 40).await;
    upstream.allow(80);
    has_tokens(&browser, 80).await;
    browser.screenshot("relay-reloaded").await;
    upstream.allow(usize::MAX);
    browser.find("#card[data-state=complete]").await;
    has_tokens(&browser, TOKENS).await;
    assert_eq!(upstream.requests().len(), 1);

    upstream.allow(10);
    browser.click("#send").await;
    has_tokens(&browser, 10).await;
    browser.click("#stop").await;
    browser.find("#card[data-state=broken]").await;
    upstream.until_cancelled(1).await;
    browser.screenshot("relay-stopped").await;
    browser.quit().await;
}

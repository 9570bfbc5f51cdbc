//! Chromium, headless: the console, and a plain `EventSource` whose gateway is killed.

mod chromium;
mod credentials;

use std::time::Duration;

use loadtest::client::publisher::Publisher;
use loadtest::machine::{Haproxy, Redis};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::support::{PATIENCE, gateway, ingest, publish, publish_numbers, serve};
use chromium::Chromium;

#[tokio::test]
async fn the_console_shows_what_is_published_and_publishes() {
    let node = serve().start().await.unwrap();
    let browser = Chromium::start().await;
    browser.open(&format!("http://{}/", node.addr())).await;
    browser.type_into("#topics", "demo").await;
    browser.click("#subscribe").await;
    browser.find("#state[data-state=live]").await;
    assert_eq!(browser.text("#node").await, "serve");
    assert_eq!(browser.text("#outcome").await, "live");

    let id = publish(node.addr(), "demo", "{\"celsius\":21.5}").await;
    let row = browser.text(&format!("#events .event[data-id='{id}']")).await;
    assert!(row.contains("21.5"), "{row}");

    browser.type_into("#publish-data", "from the page").await;
    browser.click("#publish-send").await;
    browser.find("#publish-result[data-outcome=stored]").await;
    let query = "return [...document.querySelectorAll('#events .event')]\
                 .filter(row => row.textContent.includes('from the page')).length";
    browser.until(query, |found| found == &json!(1)).await;
    assert_eq!(browser.count("#events .event").await, 2);
    browser.screenshot("console").await;
    browser.quit().await;
}

#[tokio::test]
async fn the_console_shows_a_gap_and_goes_on() {
    let redis = Redis::start().await.unwrap();
    let ingest = ingest(&redis).flag("--history-events", "10").start().await.unwrap();
    let mut node = serve().redis(&redis).start().await.unwrap();
    let browser = Chromium::start().await;
    browser.open(&format!("http://{}/?topic=demo", node.addr())).await;
    browser.find("#state[data-state=live]").await;
    let first = publish_numbers(ingest.addr(), "demo", 1..=1, 0).await.remove(0);
    browser.find(&format!("#events .event[data-id='{first}']")).await;

    node.kill_nine().unwrap();
    let ids = publish_numbers(ingest.addr(), "demo", 2..=1000, 0).await;
    node.restart().await.unwrap();
    let last = ids.last().unwrap();
    browser.find(&format!("#events .event[data-id='{last}']")).await;
    let topic = loadtest::client::http::get(ingest.addr(), "/v1/topics/demo").await.unwrap();
    let length = topic.json::<Value>().unwrap()["length"].as_u64().unwrap();
    let missed = 1000 - length - 1;
    let gap = browser.text(&format!(".gap[data-missed='{missed}']")).await;
    assert!(gap.contains(&missed.to_string()), "{gap}");
    assert_eq!(browser.text("#outcome").await, "gap");
    assert!(gap.contains("trimmed"), "{gap}");
    let colour = browser
        .run("return getComputedStyle(document.querySelector('.gap')).color.match(/\\d+/g)")
        .await;
    let rgb: Vec<u32> =
        colour.as_array().unwrap().iter().map(|c| c.as_str().unwrap().parse().unwrap()).collect();
    assert!(rgb[0] > 2 * rgb[1].max(rgb[2]), "the text is not red: {rgb:?}");
    browser.screenshot("gap").await;
    browser.quit().await;
}

#[tokio::test]
async fn the_console_of_a_closed_node_brings_the_token_that_it_is_given() {
    let mint = crate::access::Mint::new("one");
    let node = mint.close(serve()).start().await.unwrap();
    let browser = Chromium::start().await;
    browser.open(&format!("http://{}/?topic=user/ann", node.addr())).await;
    browser.find("#state[data-state=ended]").await;
    let needed = "this needs a token";
    assert!(browser.text("#trouble").await.to_lowercase().contains(needed));
    browser.type_into("#publish-data", "without a token").await;
    browser.click("#publish-send").await;
    browser.find("#publish-result[data-outcome=refused]").await;
    assert!(browser.text("#publish-result").await.to_lowercase().contains(needed));
    browser.screenshot("console-refused").await;
    browser.type_into("#token", "no token").await;
    browser.click("#subscribe").await;
    let refused = "return document.querySelector('#trouble').textContent";
    browser.until(refused, |text| text.as_str().unwrap().contains("enter another")).await;
    browser.run("document.querySelector('#token').value = ''").await;
    browser.run("document.querySelector('#publish-data').value = ''").await;
    browser.type_into("#token", &mint.token("user/ann")).await;
    browser.click("#subscribe").await;
    browser.find("#state[data-state=live]").await;
    browser.type_into("#publish-data", "with a token").await;
    browser.click("#publish-send").await;
    browser.find("#publish-result[data-outcome=stored]").await;
    browser.find("#events .event").await;
    let url = browser
        .run("return performance.getEntriesByType('resource').map(e => e.name).join()")
        .await;
    assert!(!url.as_str().unwrap().contains(&mint.token("user/ann")), "the token is in a URL");
    browser.screenshot("console-token").await;
    browser.click("#theme").await;
    browser.screenshot("console-token-dark").await;
    // The token opens what it is for, and stays when the page comes anew.
    browser.open(&format!("http://{}/?topic=user/ann", node.addr())).await;
    browser.find("#state[data-state=live]").await;
    browser.open(&format!("http://{}/?topic=user/bob", node.addr())).await;
    browser.find("#state.refused").await;
    let forbidden = browser.text("#trouble").await;
    assert!(forbidden.contains("user/bob") && forbidden.contains("no right"), "{forbidden}");
    browser.screenshot("console-forbidden-dark").await;
    browser.quit().await;
}

/// The most characters of one event's data that the console shows, a last indentation, and the line that says
/// how much is left out.
const SHOWN_CHARS_MAX: usize = 262_144 + 66 + 100;

#[tokio::test]
async fn the_console_opens_a_hostile_event_as_bounded_text() {
    let node = serve().start().await.unwrap();
    let browser = Chromium::start().await;
    browser.open(&format!("http://{}/?topic=t", node.addr())).await;
    browser.find("#state[data-state=live]").await;
    // Each level would be indented two characters more than the one around it.
    let deep = format!("{}1{}", "[".repeat(8_000), "]".repeat(8_000));
    let wide = format!("{}{}1{}", "[".repeat(30), "1,".repeat(100_000), "]".repeat(30));
    let plain = format!("{{\"a\":{{\"b\":[1,{{}},[]]}},\"c\":\"{}\"}}", "\u{e9}".repeat(40));
    let topic = "t&type=%E2%80%AEgpj.exe";
    let ids = [
        publish(node.addr(), topic, &deep).await,
        publish(node.addr(), topic, &wide).await,
        publish(node.addr(), topic, &plain).await,
        publish(node.addr(), topic, &format!("{}\n", "no JSON ".repeat(32_000))).await,
    ];
    let mut shown = Vec::new();
    for id in &ids {
        let row = format!("#events .event[data-id='{id}']");
        assert_eq!(browser.text(&format!("{row} .type")).await, "\\u{202e}gpj.exe");
        browser.click(&format!("{row} .event-head")).await;
        let pre = format!("return document.querySelector(\"{row} pre\").textContent");
        let text = browser.run(&pre).await.as_str().expect("the event is open").to_owned();
        assert!(text.chars().count() <= SHOWN_CHARS_MAX, "{}", text.len());
        shown.push(text);
    }
    // A value below the last level stays on its line, and all of it is there.
    assert_eq!(shown[0].replace([' ', '\n'], ""), deep);
    assert_eq!(shown[0].lines().count(), 2 * 32 + 1);
    assert!(shown[1].contains(" more characters are not shown"), "{}", &shown[1][..200]);
    let c = "\u{e9}".repeat(40);
    let indented = [
        "{",
        "  \"a\": {",
        "    \"b\": [",
        "      1,",
        "      {},",
        "      []",
        "    ]",
        "  },",
        &format!("  \"c\": \"{c}\""),
        "}",
    ];
    assert_eq!(shown[2], indented.join("\n"));
    assert!(shown[3].starts_with("no JSON no JSON"));
    browser.screenshot("hostile").await;
    browser.quit().await;
}

/// The whole code of a page that receives events: it needs no library and keeps no cursor.
const PAGE: &str = "\
    window.got = []; window.readies = []; window.failed = 0; \
    const source = new EventSource('/v1/events?topic=steady'); \
    source.onmessage = e => got.push([e.lastEventId, e.data]); \
    source.onerror = () => { if (source.readyState === EventSource.CLOSED) failed += 1 }; \
    source.addEventListener('tailwater.ready', e => readies.push(JSON.parse(e.data)));";

const LAST: u32 = 200;

#[tokio::test]
async fn a_plain_event_source_survives_the_death_of_its_gateway_and_has_every_event_once() {
    let redis = Redis::start().await.unwrap();
    let ingest = ingest(&redis).start().await.unwrap();
    let mut gateways = [
        gateway(&redis, "gw-1").start().await.unwrap(),
        gateway(&redis, "gw-2").start().await.unwrap(),
    ];
    let haproxy = Haproxy::start(&[&gateways[0], &gateways[1]]).await.unwrap();
    let browser = Chromium::start().await;
    browser.open(&format!("http://{}/", haproxy.addr())).await;
    browser.run(PAGE).await;
    browser.until("return readies.length", |n| n == &json!(1)).await;
    let node = browser.run("return readies[0].node").await;
    let node = node.as_str().unwrap().to_owned();

    let mut publisher = Publisher::new(ingest.addr(), PATIENCE);
    let mut receipts = Vec::new();
    for n in 1..=LAST {
        let receipt = publisher.publish("steady", &format!("key-{n}"), n.to_string()).await;
        receipts.push(json!([receipt.unwrap().at.to_string(), n.to_string()]));
        if n == LAST / 3 {
            let serving = gateways.iter_mut().find(|gateway| gateway.node() == node);
            serving.expect("one of the two gateways serves the page").kill_nine().unwrap();
        }
        sleep(Duration::from_millis(20)).await;
    }
    browser.until("return got.length", |n| n.as_u64() >= Some(u64::from(LAST))).await;
    assert_eq!(browser.run("return got").await, Value::Array(receipts));
    let readies = browser.run("return readies").await;
    assert_eq!(readies.as_array().unwrap().len(), 2, "{readies}");
    assert_eq!(readies[1]["outcome"], "exact");
    assert_ne!(readies[1]["node"], node.as_str());
    assert_eq!(browser.run("return failed").await, json!(0));
    browser.quit().await;
}

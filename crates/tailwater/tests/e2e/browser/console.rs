//! The console.

use loadtest::machine::Redis;
use serde_json::{Value, json};

use super::{Browser, Kind};
use crate::support::{ingest, publish, publish_numbers, serve};

#[tokio::test]
async fn the_console_shows_what_is_published_and_publishes_in_chromium() {
    shows_what_is_published_and_publishes(Kind::Chromium).await;
}

#[tokio::test]
async fn the_console_shows_what_is_published_and_publishes_in_firefox() {
    shows_what_is_published_and_publishes(Kind::Firefox).await;
}

async fn shows_what_is_published_and_publishes(kind: Kind) {
    let node = serve().start().await.unwrap();
    let browser = Browser::start(kind).await;
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
    let browser = Browser::start(Kind::Chromium).await;
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
    let browser = Browser::start(Kind::Chromium).await;
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
    let browser = Browser::start(Kind::Chromium).await;
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

#[tokio::test]
async fn the_console_follows_a_pattern_and_shows_the_topic_of_each_event() {
    let redis = Redis::start().await.unwrap();
    let ingest = ingest(&redis).flag("--space", "orders/").flag("--space-history-events", "10");
    let ingest = ingest.start().await.unwrap();
    let mut node = serve().redis(&redis).flag("--space", "orders/").start().await.unwrap();
    let browser = Browser::start(Kind::Chromium).await;
    browser.open(&format!("http://{}/", node.addr())).await;
    browser.type_into("#topics", "orders/*").await;
    browser.click("#subscribe").await;
    browser.find("#state[data-state=live]").await;
    for (topic, data) in [("orders/1", "{\"euros\":10}"), ("orders/2", "{\"euros\":20}")] {
        let id = publish(node.addr(), topic, data).await;
        let row = format!("#events .event[data-id='{id}'][data-topic='{topic}'] .topic");
        assert_eq!(browser.text(&row).await, topic);
    }
    // The form publishes to a topic that the pattern matches.
    browser.type_into("#publish-data", "from the page").await;
    browser.click("#publish-send").await;
    browser.find("#events .event[data-topic='orders/demo']").await;
    browser.screenshot("pattern").await;
    // Of a gap, nobody knows how many events the pattern would have matched.
    node.kill_nine().unwrap();
    publish_numbers(ingest.addr(), "orders/2/lines", 1..=1000, 0).await;
    let last = publish(ingest.addr(), "orders/2", "last").await;
    node.restart().await.unwrap();
    browser.find(&format!("#events .event[data-id='{last}']")).await;
    let gap = browser.text(".gap").await;
    assert!(gap.contains("At most") && gap.contains("events missed in orders/*"), "{gap}");
    browser.quit().await;
}

//! A Mercure hub at moments that pass.

use std::sync::Arc;

use event_log::{LogName, MemoryLog, Retention, Spaces};
use gateway::Config;

use crate::log::Publish as _;
use crate::node::Node;

const PATH: &str = "GET /.well-known/mercure";

async fn start(config: Config) -> Node {
    let spaces = Spaces::new(["mercure/"]).unwrap();
    let log = Arc::new(MemoryLog::with_spaces(Retention::default(), spaces));
    let settings = mercure::Settings {
        hub: mercure::Hub::new("https://example.com/.well-known/mercure").unwrap(),
        space: mercure::Space::new("mercure/").unwrap(),
        is_anonymous_allowed: true,
        is_query_token_allowed: false,
    };
    let config = Config { mercure: Some(Arc::new(settings)), ..config };
    Node::on(config, Arc::clone(&log), log).await
}

#[tokio::test]
async fn a_full_gateway_tells_a_browser_to_come_back_and_is_no_error() {
    let node = start(Config { max_connections: 1, ..Config::default() }).await;
    let first = node.request(&format!("{PATH}?topic=*"), &[]).await;
    assert_eq!(first.status, 200);
    let mut refused = node.request(&format!("{PATH}?topic=*"), &[]).await;
    assert_eq!((refused.status, refused.header("content-type")), (200, Some("text/event-stream")));
    let text = refused.text().await;
    let retry = text.strip_prefix(":\nretry: ").and_then(|text| text.strip_suffix('\n'));
    let retry: u64 = retry.unwrap_or_else(|| panic!("{text}")).parse().unwrap();
    assert!((2000..=4000).contains(&retry), "{retry}");
}

#[tokio::test]
async fn a_gap_is_in_the_head_and_one_in_mid_stream_passes() {
    let node = start(Config::default()).await;
    let space = LogName::parse("mercure/**").unwrap();
    let first = node.log.publish("mercure/a", "0").await;
    node.log.publish_numbers("mercure/a", 1..9).await;
    node.log.trim(&space, 2);
    let cursor = mercure::Id::of(first).to_string();
    let headers = [("last-event-id", cursor.as_bytes())];
    let mut stream = node.request(&format!("{PATH}?topic=a"), &headers).await;
    assert_eq!(stream.header("last-event-id"), Some("earliest"));
    assert_eq!(stream.header("tailwater-outcome"), Some("gap"));
    assert!(
        stream.header("tailwater-gap").is_some_and(|gap| gap.contains("missed-at-most=6")),
        "{}",
        stream.head
    );
    assert_eq!(stream.data(2).await, ["7", "8"]);
    node.log.flush();
    node.log.publish("mercure/a", "after").await;
    assert_eq!(stream.data(1).await, ["after"]);
}

#[tokio::test]
async fn control_events_have_ids_to_come_back_with() {
    let node = start(Config::default()).await;
    let first = node.log.publish("mercure/a", "0").await;
    let mut stream = node.request(&format!("{PATH}?topic=a&control=on"), &[]).await;
    let (event, ready) = stream.control("ready").await;
    let id = mercure::Id::of(first).to_string();
    assert_eq!((event.id.as_str(), ready["cursor"].as_str()), (&*id, Some(&*id)));
    node.log.publish("mercure/a", "1").await;
    let headers = [("last-event-id", id.as_bytes())];
    let mut again = node.request(&format!("{PATH}?match=a"), &headers).await;
    assert_eq!(again.header("mercure-last-event-id"), Some(&*id));
    assert_eq!(again.data(1).await, ["1"]);
}

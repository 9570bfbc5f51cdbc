//! Subjects beyond their rates.

use std::sync::Arc;

use access::{Access, Machines, Rights, Settings, machine_hash};
use ingest::Config;
use metrics::Registry;

use crate::closed::{ANN, BOB, NDJSON};
use crate::server::Server;

#[tokio::test]
async fn a_subject_beyond_its_rate_is_told_to_retry_and_costs_no_other_subject() {
    let everybody = Arc::new(Rights::default());
    let line = |token: &str, rest: &str| format!("{} {rest}\n", machine_hash(token));
    let lines = [
        // Zero bytes: whatever the time, one event with data is one too many.
        line("token-of-ann", r#"ann {"publish":["a/*"],"quotas":{"publish_bytes":0}}"#),
        line("token-of-bob", r#"bob {"publish":["a/*"],"quotas":{"publish_rate":1}}"#),
    ];
    let machines = Machines::parse(&lines.concat(), &everybody).unwrap();
    let settings = Settings { machines, everybody, ..Settings::default() };
    let access = Access::closed(settings, &Registry::new());
    let server = Server::with(Config { access, ..Config::default() }).await;
    let refused = server.send("POST /v1/events?topic=a/1", &[ANN], "x").await;
    assert_eq!(refused.status, 429, "{}", refused.body);
    assert!(refused.head.to_lowercase().contains("retry-after"), "{}", refused.head);
    assert!(refused.body.contains(r#""code":"quota""#), "{}", refused.body);
    assert!(refused.body.contains("the limit is 0 (the claim quotas.publish_bytes)"));
    let lines = "{\"data\":\"1\"}\n{\"data\":\"2\"}\n";
    let refused = server.send("POST /v1/events?topic=a/1", &[ANN, NDJSON], lines).await;
    assert_eq!(refused.body.matches(r#""code":"quota""#).count(), 2, "{}", refused.body);
    assert!(server.data("a/1").await.is_empty());
    let stored = server.send("POST /v1/events?topic=a/1", &[BOB, NDJSON], lines).await;
    assert_eq!(stored.status, 200, "{}", stored.body);
    assert_eq!(server.data("a/1").await.len(), 2);
    // 10 seconds' worth may come at once. Nothing behind the first event that is refused is stored.
    let lines: String = (0..60).map(|n| format!("{{\"data\":\"{n}\"}}\n")).collect();
    let part = server.send("POST /v1/events?topic=a/2", &[BOB, NDJSON], lines).await;
    assert_eq!(part.status, 200, "{}", part.body);
    let stored = server.data("a/2").await;
    assert!((8..60).contains(&stored.len()), "{}", part.body);
    assert!(stored.iter().enumerate().all(|(n, data)| *data == n.to_string()), "{stored:?}");
    assert!(part.body.contains("the limit is 1 (the claim quotas.publish_rate)"), "{}", part.body);
    let refused = |limit: &str| {
        let label = format!("{{limit=\"{limit}\",part=\"subject\"}}");
        server.metric(&format!("tailwater_limit_refusals_total{label}"))
    };
    assert_eq!(refused("subject_publish_bytes"), 2);
    assert_eq!(refused("subject_publish_rate"), 1);
}

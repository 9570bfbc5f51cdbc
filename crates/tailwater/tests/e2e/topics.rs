//! `tailwater topics`.

use loadtest::client::sse::Connection;
use loadtest::machine::Redis;
use serde_json::Value;

use crate::cli::tailwater;
use crate::support::{gateway, ingest, publish, publish_numbers, until};

#[tokio::test]
async fn an_operator_finds_deletes_and_erases() {
    let redis = Redis::start().await.unwrap();
    let ingest = ingest(&redis).start().await.unwrap();
    let gateway = gateway(&redis, "gateway").start().await.unwrap();
    let ids = publish_numbers(ingest.addr(), "orders/1", 1..=20, 500).await;
    publish(ingest.addr(), "orders/2", "x").await;
    publish(ingest.addr(), "chat/1", "x").await;
    let path = "/v1/events?topic=orders/2";
    let mut stream = Connection::open(gateway.addr(), path, &[]).await.unwrap();
    stream.next_event().await.unwrap();

    let url = redis.url();
    let list = async |more: &[&str]| {
        let args = [&["topics", "list", "--redis", &url], more].concat();
        tailwater(&args).await.success()
    };
    let said = list(&["orders/**"]).await;
    let lines: Vec<_> = said.stdout.lines().map(str::trim).collect();
    assert_eq!(lines.len(), 4, "{said:?}");
    assert!(lines[1].starts_with("20 ") && lines[1].ends_with("0  orders/1"), "{lines:?}");
    assert!(lines[2].starts_with("1 ") && lines[2].ends_with("1  orders/2"), "{lines:?}");
    assert!(lines[3].starts_with("21 ") && lines[3].ends_with("in 2 topics"), "{lines:?}");
    let said = list(&["--json", "--limit", "1"]).await;
    let largest: Value = serde_json::from_str(said.stdout.trim()).unwrap();
    assert_eq!(largest["topic"], "orders/1", "{largest}");
    assert_eq!(
        (&largest["oldest"], &largest["head"]),
        (&ids[0].clone().into(), &ids[19].clone().into())
    );

    let erase = ["topics", "erase", "--redis", &url, "orders/1", &ids[4]];
    assert!(tailwater(&erase).await.success().stdout.contains(&format!("erased {}", ids[4])));
    tailwater(&erase).await.failure(&["orders/1 holds no event"]);
    let path = "/v1/events?topic=orders/1&from=earliest";
    let mut replay = Connection::open(gateway.addr(), path, &[]).await.unwrap();
    let mut heard = Vec::new();
    while heard.len() < 21 {
        let event = replay.next_event().await.unwrap();
        heard.push(match event.event_type() {
            "tailwater.gap" => {
                let gap: Value = serde_json::from_str(&event.data).unwrap();
                assert_eq!(
                    (&gap["reason"], &gap["missed"]),
                    (&"trimmed".into(), &1.into()),
                    "{gap}"
                );
                "gap".to_owned()
            }
            "tailwater.ready" => "ready".to_owned(),
            _ => event.data.trim().to_owned(),
        });
    }
    let mut expected: Vec<_> = (1..=20).map(|n| n.to_string()).collect();
    expected[4] = "gap".to_owned();
    expected.insert(0, "ready".to_owned());
    assert_eq!(heard, expected);

    let delete = ["topics", "delete", "--redis", &url, "orders/2", "nothing"];
    let said = tailwater(&delete).await;
    said.failure(&["no such topic: nothing"]);
    let gap = stream.next_event().await.unwrap();
    assert!(gap.event_type() == "tailwater.gap" && gap.data.contains("reset"), "{gap:?}");
    until("it is gone", async || !list(&[]).await.stdout.contains("orders/2")).await;
    tailwater(&["topics", "delete", "--redis", &url, "tailwater.revocations"])
        .await
        .failure(&["reserved"]);
    tailwater(&["topics", "erase", "--redis", &url, "t", "x"])
        .await
        .failure(&["no id of an event"]);
}

//! Topics that share a log.

use event_log::{BreakReason, Mark};
use ingest::Config;
use serde_json::json;
use tokio::time::sleep;

use crate::closed::{ANN, BOB, CAT, NDJSON, closed};
use crate::server::Server;

const SPACE: &str = "orders/**";
const CHUNKED: (&str, &str) = ("transfer-encoding", "chunked");

async fn start() -> Server {
    Server::in_spaces(Config::default(), &["orders/"]).await
}

/// The topics of the events of the space, and their numbers.
async fn stored(server: &Server) -> Vec<(String, u64)> {
    let events = server.events(SPACE).await;
    events.iter().map(|event| (event.topic().to_string(), event.position().n)).collect()
}

#[tokio::test]
async fn topics_of_a_space_are_numbered_together() {
    let server = start().await;
    for (topic, n) in [("orders/1", 1), ("orders/2/lines", 2), ("alone", 1), ("orders/1", 3)] {
        let receipt = server.post(&format!("topic={topic}"), "x").await.json();
        assert_eq!(receipt["topic"], topic);
        assert!(receipt["id"].as_str().unwrap().ends_with(&format!("-{n}")), "{receipt}");
    }
    // A key names an event of its topic.
    let key = [("idempotency-key", "k")];
    for (topic, duplicate) in [("orders/1", false), ("orders/2", false), ("orders/1", true)] {
        let query = format!("POST /v1/events?topic={topic}");
        assert_eq!(server.send(&query, &key, "y").await.json()["duplicate"], duplicate);
    }
    let topics = ["orders/1", "orders/2/lines", "orders/1", "orders/1", "orders/2"];
    let expected: Vec<_> = topics.iter().map(|topic| (*topic).to_owned()).zip(1..).collect();
    assert_eq!(stored(&server).await, expected);
}

#[tokio::test]
async fn a_topic_of_a_space_cannot_be_ended_deleted_or_opened_again() {
    let server = start().await;
    server.post("topic=orders/1", "1").await;
    let refused = "409 in_space: topic orders/1 lies in a space, and cannot be";
    for (request, participle) in [
        ("POST /v1/events?topic=orders/1&end=true", "ended"),
        ("POST /v1/events?topic=orders/1&on-break=end", "ended"),
        ("DELETE /v1/topics/orders/1", "deleted"),
        ("POST /v1/topics/orders/1?reopen=true", "opened again"),
    ] {
        for body in ["", "x"] {
            let answer = server.send(request, &[NDJSON], body).await;
            assert_eq!(answer.refusal(), format!("{refused} {participle} by itself"), "{request}");
        }
    }
    // The body of a stream is not read.
    let mut stream = server.connect().await;
    let head = "POST /v1/events?topic=orders/1&end=true";
    stream.head(head, &[("content-type", "text/event-stream"), CHUNKED]).await;
    assert!(stream.until("in_space").await.contains("409"));
    assert_eq!(stored(&server).await, [("orders/1".to_owned(), 1)]);
    // Beside the space all of this goes.
    assert_eq!(server.post("topic=orders&end=true", "x").await.status, 200);
    assert_eq!(server.send("POST /v1/topics/orders?reopen=true", &[], "").await.status, 200);
    assert_eq!(server.send("DELETE /v1/topics/orders", &[], "").await.status, 204);
}

#[tokio::test]
async fn a_line_that_would_end_a_topic_of_a_space_stops_no_other() {
    let server = start().await;
    let lines = [
        json!({ "topic": "orders/1", "data": "a" }),
        json!({ "topic": "orders/1", "data": "b", "end": true }),
        json!({ "topic": "alone", "data": "c", "end": true }),
        json!({ "topic": "orders/2", "data": "d" }),
    ];
    let body = lines.map(|line| line.to_string()).join("\n");
    let answer = server.send("POST /v1/events", &[NDJSON], body).await;
    assert_eq!(answer.status, 200);
    let receipts: Vec<serde_json::Value> =
        answer.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let codes: Vec<_> = receipts.iter().map(|line| line["error"]["code"].as_str()).collect();
    assert_eq!(codes, [None, Some("in_space"), None, None]);
    assert_eq!(receipts[1]["line"], 2);
    let expected = [("orders/1".to_owned(), 1), ("orders/2".to_owned(), 2)];
    assert_eq!(stored(&server).await, expected);
}

#[tokio::test]
async fn a_topic_of_a_space_describes_the_log_that_it_shares() {
    let server = start().await;
    for path in ["/v1/topics/orders/1", "/v1/topics/orders/**"] {
        assert!(server.get(path).await.refusal().starts_with("404 unknown_topic: "));
    }
    server.post("topic=orders/1", "1").await;
    let id = server.post("topic=orders/2", "2").await.json()["id"].clone();
    let oldest = server.events(SPACE).await[0].position().to_string();
    let shared = json!({
        "head": id, "oldest": oldest, "length": 2, "ended": false, "broken": false,
    });
    // Also for a topic to which nobody has published.
    for topic in ["orders/1", "orders/9/lines"] {
        let mut shown = server.get(&format!("/v1/topics/{topic}")).await.json();
        let names = shown.as_object_mut().unwrap();
        assert_eq!(names.remove("topic"), Some(topic.into()));
        assert_eq!(names.remove("space"), Some(SPACE.into()));
        assert_eq!(shown, shared);
    }
    for path in ["/v1/topics/orders/**", "/v1/topics/orders%2F%2A%2A"] {
        let mut shown = server.get(path).await.json();
        assert_eq!(shown.as_object_mut().unwrap().remove("topic"), Some(SPACE.into()));
        assert_eq!(shown, shared);
    }
    // A topic of its own is described as ever, and no pattern but that of a whole space names a log.
    server.post("topic=alone", "x").await;
    assert_eq!(server.get("/v1/topics/alone").await.json().get("space"), None);
    for pattern in ["orders/*", "users/**", "**"] {
        let refusal = server.get(&format!("/v1/topics/{pattern}")).await.refusal();
        assert!(refusal.starts_with("400 bad_topic: "), "{refusal}");
    }
}

#[tokio::test]
async fn a_break_is_of_its_topic_and_not_of_the_space() {
    let server = start().await;
    let mut broken = server.connect().await;
    let head = "POST /v1/events?topic=orders/1";
    broken.head(head, &[("content-type", "text/event-stream"), CHUNKED]).await;
    broken.chunk("data: 1\n\n").await;
    broken.until("\"id\"").await;
    // Events of other topics do not go on with the stream.
    server.post("topic=orders/2", "2").await;
    drop(broken);
    while server.metric("tailwater_publish_breaks_total{outcome=\"stored\"}") == 0 {
        sleep(std::time::Duration::from_millis(5)).await;
    }
    let events = server.events(SPACE).await;
    let last = events.last().unwrap();
    let lost = Mark::Broken(BreakReason::Disconnected);
    assert_eq!((last.topic().as_str(), last.mark(), events.len()), ("orders/1", lost, 3));
    for topic in ["orders/1", "orders/2"] {
        assert_eq!(server.get(&format!("/v1/topics/{topic}")).await.json()["broken"], false);
    }
}

#[tokio::test]
async fn a_space_is_described_to_those_who_may_read_or_publish_to_all_of_it() {
    let config = Config { access: closed(), ..Config::default() };
    let server = Server::in_spaces(config, &["a/"]).await;
    assert_eq!(server.send("POST /v1/events?topic=a/1", &[ANN], "x").await.status, 200);
    for (who, topic, status) in [
        (ANN, "a/1", 200),
        (BOB, "a/1", 200),
        (CAT, "a/1", 403),
        // Ann and Bob have rights to `a/*`, which is not all of it.
        (ANN, "a/**", 403),
        (BOB, "a/**", 403),
        (CAT, "a/**", 403),
    ] {
        let answer = server.send(&format!("GET /v1/topics/{topic}"), &[who], "").await;
        assert_eq!(answer.status, status, "{who:?} {topic}");
    }
    // The right comes before the space: nobody learns from a refusal where a topic lies.
    let answer = server.send("DELETE /v1/topics/a/1", &[BOB], "").await;
    assert_eq!(answer.refusal(), "403 forbidden: topic \"a/1\": no right to publish");
    let answer = server.send("DELETE /v1/topics/a/1", &[ANN], "").await;
    assert!(answer.refusal().starts_with("409 in_space: "), "{answer:?}");
}

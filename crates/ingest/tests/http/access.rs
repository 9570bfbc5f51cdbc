//! Publishers with rights: each event is checked, keys belong to their subject, and a body ends with its right.

use std::time::Duration;

use access::{Revocation, Timestamp};

use crate::closed::{ANN, BOB, CAT, NDJSON, server, with_access};

const CLOUD_EVENTS: (&str, &str) = ("content-type", "application/cloudevents-batch+json");

#[tokio::test]
async fn each_form_of_a_body_is_checked_for_its_topic() {
    let server = server().await;
    let forms = [
        ("text/plain", "x"),
        (
            "application/cloudevents+json",
            r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data":1}"#,
        ),
        (
            "application/cloudevents-batch+json",
            r#"[{"specversion":"1.0","id":"2","source":"/s","type":"t","data":1}]"#,
        ),
        ("text/event-stream", "data: x\n\n"),
        ("application/x-ndjson", "{\"data\":\"x\"}\n"),
    ];
    for (kind, body) in forms {
        let kind = ("content-type", kind);
        for (topic, who, status) in [
            ("a/2", Some(ANN), 200),
            ("a/2", Some(BOB), 403),
            ("a/2", None, 401),
            ("open", None, 200),
            ("open", Some(BOB), 200),
        ] {
            let headers: Vec<_> = who.into_iter().chain([kind]).collect();
            let request = format!("POST /v1/events?topic={topic}");
            let answer = server.send(&request, &headers, body).await;
            assert_eq!(answer.status, status, "{kind:?} {topic} {who:?}: {}", answer.body);
        }
    }
    assert_eq!(server.data("a/2").await.len(), forms.len());
}

#[tokio::test]
async fn the_end_of_a_topic_is_a_right_of_its_own() {
    let server = server().await;
    assert_eq!(server.send("POST /v1/events?topic=a/2&end=true", &[ANN], "x").await.status, 403);
    assert!(server.data("a/2").await.is_empty());
    assert_eq!(server.send("POST /v1/events?topic=a/1&end=true", &[ANN], "x").await.status, 200);
}

#[tokio::test]
async fn nobody_silences_the_event_of_another_with_its_key() {
    let server = server().await;
    let key = ("idempotency-key", "order-1");
    for (who, is_duplicate) in [(ANN, false), (BOB, false), (ANN, true), (BOB, true)] {
        let answer = server.send("POST /v1/events?topic=shared", &[who, key], "x").await;
        assert_eq!(answer.body.contains("\"duplicate\":true"), is_duplicate, "{}", answer.body);
    }
    assert_eq!(server.data("shared").await.len(), 2);
    // Those without credentials are a party of their own. The same holds for keys of CloudEvents.
    let envelope = r#"[{"specversion":"1.0","id":"1","source":"/s","type":"t"}]"#;
    for (kind, body) in [(key, "x"), (CLOUD_EVENTS, envelope)] {
        for (who, is_duplicate) in [(None, false), (Some(BOB), false), (None, true)] {
            let headers: Vec<_> = who.into_iter().chain([kind]).collect();
            let answer = server.send("POST /v1/events?topic=open", &headers, body).await;
            assert_eq!(answer.body.contains("\"duplicate\":true"), is_duplicate, "{answer:?}");
        }
    }
    assert_eq!(server.data("open").await.len(), 4);
}

#[tokio::test]
async fn of_several_events_those_that_are_allowed_are_stored() {
    let server = server().await;
    let lines = "{\"topic\":\"a/1\",\"data\":\"1\"}\n{\"topic\":\"b\",\"data\":\"2\"}\n\
                 {\"topic\":\"a/2\",\"data\":\"3\"}\n";
    let answer = server.send("POST /v1/events", &[ANN, NDJSON], lines).await;
    assert_eq!(answer.status, 200);
    let receipts: Vec<_> = answer.body.lines().map(|line| line.contains("\"forbidden\"")).collect();
    assert_eq!(receipts, [false, true, false], "{}", answer.body);
    assert!(answer.body.contains(r#"topic \"b\": no right to publish"#), "{}", answer.body);

    let envelope = |topic: &str| {
        format!(
            r#"{{"specversion":"1.0","id":"{topic}","source":"/s","type":"t","subject":"{topic}"}}"#
        )
    };
    let batch = format!("[{},{},{}]", envelope("b"), envelope("a/1"), envelope("c"));
    let answer = server.send("POST /v1/events", &[ANN, CLOUD_EVENTS], batch).await;
    assert_eq!(answer.status, 200);
    let receipts = answer.json()["receipts"].clone();
    let codes: Vec<_> = (0..3).map(|index| receipts[index]["error"]["code"].as_str()).collect();
    assert_eq!(codes, [Some("forbidden"), None, Some("forbidden")], "{}", answer.body);
    assert_eq!((server.data("a/1").await.len(), server.data("a/2").await.len()), (2, 1));
    assert!(server.data("b").await.is_empty() && server.data("c").await.is_empty());
    // One line and two envelopes were refused, each by itself.
    assert_eq!(server.metric("tailwater_events_published_total{outcome=\"refused\"}"), 3);
}

#[tokio::test]
async fn a_party_without_any_right_to_publish_is_refused_before_it_sends_a_body() {
    let server = server().await;
    for (who, query, status) in [
        (None, "?topic=a/1", 401),
        (Some(CAT), "?topic=a/1", 403),
        // It may publish, and not end.
        (Some(ANN), "?topic=a/2&end=true", 403),
    ] {
        let mut connection = server.connect().await;
        let chunked = [NDJSON, ("transfer-encoding", "chunked"), ("connection", "close")];
        let headers: Vec<_> = who.into_iter().chain(chunked).collect();
        connection.head(&format!("POST /v1/events{query}"), &headers).await;
        let head = connection.until("\r\n\r\n").await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{who:?} {query}: {head}");
        assert_eq!(head.contains("www-authenticate: Bearer\r\n"), status == 401, "{head}");
    }
}

#[tokio::test]
async fn a_topic_is_described_to_those_who_may_read_it_or_publish_to_it() {
    let server = server().await;
    assert_eq!(server.send("POST /v1/events?topic=a/1", &[ANN], "x").await.status, 200);
    for (who, topic, status) in [
        (Some(ANN), "a/1", 200),
        (Some(BOB), "a/1", 200),
        (Some(BOB), "a/2", 404),
        (None, "open", 404),
        (None, "a/1", 401),
        (None, "a/2", 401),
    ] {
        let answer = server.send(&format!("GET /v1/topics/{topic}"), who.as_slice(), "").await;
        assert_eq!(answer.status, status, "{who:?} {topic}: {}", answer.body);
        let head = server.send(&format!("HEAD /v1/topics/{topic}"), who.as_slice(), "").await;
        assert_eq!((head.status, &*head.body), (status, ""), "{who:?} {topic}");
    }
    // A topic that exists is refused in the same words as one that does not.
    let words = async |topic: &str| {
        let answer = server.send(&format!("GET /v1/topics/{topic}"), &[CAT], "").await;
        answer.refusal().replace(topic, "T")
    };
    assert_eq!(words("a/1").await, words("a/9").await);
    assert_eq!(words("a/1").await, "403 forbidden: topic \"T\": no right to subscribe");
}

#[tokio::test]
async fn a_right_that_is_revoked_ends_a_body_in_mid_stream() {
    let (server, access) = with_access().await;
    let mut connection = server.connect().await;
    let headers = [ANN, NDJSON, ("transfer-encoding", "chunked"), ("connection", "close")];
    connection.head("POST /v1/events?topic=a/2", &headers).await;
    connection.chunk("{\"data\":\"1\"}\n").await;
    connection.until("\r\n\r\n").await;
    assert!(connection.line().await.contains("\"id\""));
    let until = Timestamp::now().later(Duration::from_secs(60));
    let revocation = Revocation::new(Some("ann".to_owned()), None, until).unwrap();
    access.revocations().add(&revocation).unwrap();
    connection.chunk("{\"data\":\"2\"}\n").await;
    let line = connection.line().await;
    assert!(line.contains("\"code\":\"revoked\""), "{line}");
    connection.chunk("{\"data\":\"3\"}\n").await;
    connection.until("0\r\n\r\n").await;
    assert_eq!(server.data("a/2").await, ["1"]);
    assert_eq!(server.send("POST /v1/events?topic=a/2", &[ANN], "3").await.status, 403);
}

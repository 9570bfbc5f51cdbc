//! Topics that are deleted.

use event_log::Mark;
use ingest::Config;

use crate::closed::{ANN, BOB, CAT, closed};
use crate::double::{Reaction, ScriptedLog};
use crate::server::Server;

#[tokio::test]
async fn a_deleted_topic_is_unknown_and_begins_anew() {
    let server = Server::start().await;
    let key = [("idempotency-key", "k")];
    server.send("POST /v1/events?topic=orders/4@2", &key, "old").await;
    server.post("topic=orders/4@2&end=true", "last").await;
    server.post("topic=other", "x").await;
    let last = server.events("orders/4@2").await[1].position();
    let answer = server.send("DELETE /v1/topics/orders%2F4%402", &[], "").await;
    assert_eq!((answer.status, &*answer.body), (204, ""));
    let unknown = "404 unknown_topic: the log has no topic orders/4@2";
    assert_eq!(server.get("/v1/topics/orders/4@2").await.refusal(), unknown);
    assert_eq!(server.send("DELETE /v1/topics/orders/4@2", &[], "").await.refusal(), unknown);
    assert_eq!(server.data("other").await, ["x"]);

    // Neither its end nor its keys are left.
    let again = server.send("POST /v1/events?topic=orders/4@2", &key, "new").await.json();
    assert_eq!(again["duplicate"], false);
    let events = server.events("orders/4@2").await;
    assert_eq!((events[0].data(), events[0].mark()), ("new", Mark::Open));
    assert!(events[0].position().n == 1 && events[0].position().ms > last.ms);
}

#[tokio::test]
async fn a_topic_that_cannot_be_deleted_is_a_refusal() {
    let log = ScriptedLog::new([Reaction::Works, Reaction::Unavailable, Reaction::Works]);
    let server = Server::on(Config::default(), log).await;
    assert_eq!(server.post("topic=t", "x").await.status, 200);
    let answer = server.send("DELETE /v1/topics/t", &[], "").await;
    assert_eq!(answer.status, 503);
    assert!(answer.head.contains("retry-after: "), "{answer:?}");
    let reserved = server.send("DELETE /v1/topics/tailwater.revocations", &[], "").await;
    assert!(reserved.refusal().starts_with("400 bad_topic: "), "{reserved:?}");
    assert_eq!(server.data("t").await, ["x"]);
}

#[tokio::test]
async fn a_topic_is_deleted_by_those_who_may_publish_to_it_and_end_it() {
    let server = Server::with(Config { access: closed(), ..Config::default() }).await;
    for topic in ["a/1", "a/2"] {
        let query = format!("POST /v1/events?topic={topic}");
        assert_eq!(server.send(&query, &[ANN], "x").await.status, 200);
    }
    for (who, topic, refusal) in [
        (ANN, "a/2", "403 forbidden: topic \"a/2\": no right to end"),
        (BOB, "a/1", "403 forbidden: topic \"a/1\": no right to publish"),
        (CAT, "a/1", "403 forbidden: topic \"a/1\": no right to publish"),
        (CAT, "a/9", "403 forbidden: topic \"a/9\": no right to publish"),
    ] {
        let answer = server.send(&format!("DELETE /v1/topics/{topic}"), &[who], "").await;
        assert_eq!(answer.refusal(), refusal);
    }
    assert_eq!(server.send("DELETE /v1/topics/a/1", &[], "").await.status, 401);
    assert_eq!(server.data("a/1").await, ["x"]);
    assert_eq!(server.send("DELETE /v1/topics/a/1", &[ANN], "").await.status, 204);
    assert!(server.data("a/1").await.is_empty());
}

#[tokio::test]
async fn an_ended_topic_is_opened_again_and_goes_on() {
    let server = Server::start().await;
    let reopen = async || server.send("POST /v1/topics/a/b?reopen=true", &[], "").await;
    assert_eq!(reopen().await.refusal(), "404 unknown_topic: the log has no topic a/b");
    server.post("topic=a/b", "1").await;
    let open = reopen().await.json();
    assert_eq!((&open["duplicate"], &open["topic"]), (&true.into(), &"a/b".into()));
    server.post("topic=a/b&end=true", "2").await;
    assert_eq!(server.post("topic=a/b", "3").await.status, 409);
    let answer = reopen().await;
    assert_eq!((answer.status, answer.json()["duplicate"].as_bool()), (200, Some(false)));
    let id = server.events("a/b").await[2].position();
    assert_eq!(answer.json()["id"], id.to_string());
    let shown = server.get("/v1/topics/a/b").await.json();
    assert_eq!((&shown["ended"], &shown["length"]), (&false.into(), &3.into()));
    assert_eq!(server.post("topic=a/b", "3").await.status, 200);
    let marks: Vec<_> = server.events("a/b").await.iter().map(|event| event.mark()).collect();
    assert_eq!(marks, [Mark::Open, Mark::Last, Mark::Reopened, Mark::Open]);
    for query in ["", "?reopen=false", "?reopen=true&x=1"] {
        let answer = server.send(&format!("POST /v1/topics/a/b{query}"), &[], "").await;
        assert!(answer.refusal().starts_with("400 bad_parameter: "), "{answer:?}");
    }
}

#[tokio::test]
async fn a_topic_is_opened_again_by_those_who_may_publish_to_it_and_end_it() {
    let server = Server::with(Config { access: closed(), ..Config::default() }).await;
    for topic in ["a/1", "a/2"] {
        let query = format!("POST /v1/events?topic={topic}");
        assert_eq!(server.send(&query, &[ANN], "x").await.status, 200);
    }
    let reopen = async |who: &[(&str, &str)], topic: &str| {
        server.send(&format!("POST /v1/topics/{topic}?reopen=true"), who, "").await
    };
    assert_eq!(reopen(&[ANN], "a/1").await.status, 200);
    let refusal = "403 forbidden: topic \"a/2\": no right to end";
    assert_eq!(reopen(&[ANN], "a/2").await.refusal(), refusal);
    assert_eq!(reopen(&[BOB], "a/1").await.status, 403);
    assert_eq!(reopen(&[], "a/1").await.status, 401);
}

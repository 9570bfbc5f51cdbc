//! Answers that are written while the primary of their topics is killed.

use std::time::Duration;

use loadtest::lab::{Deployment, Topology};
use reqwest::StatusCode;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{interval, sleep};

use super::client::{Caller, Seen, at, chat_data, http, read, relay};
use super::upstream::{TOKENS, Upstream, chat_body};

/// Answers at a time: enough for every primary of a cluster.
const ANSWERS: usize = 24;
/// The time between two tokens, with which an answer takes longer than a fail-over begins.
const PACE: Duration = Duration::from_millis(8);
/// The token at which the replicas may lose their primary, and the one at which it is killed.
const LAG_AT: u32 = 100;
const KILL_AT: u32 = 150;

#[tokio::test]
async fn answers_survive_a_primary_under_sentinels() {
    let (ended, gaps) = kill_primary(Topology::Sentinel, "replica:1", false).await;
    assert_eq!((ended, gaps), (ANSWERS, 0), "an event that a replica has is not lost");
}

#[tokio::test]
async fn answers_survive_a_primary_of_a_cluster() {
    let (ended, _) = kill_primary(Topology::Cluster, "memory", false).await;
    assert_eq!(ended, ANSWERS);
}

#[tokio::test]
async fn events_that_a_fail_over_has_lost_are_told() {
    let (ended, gaps) = kill_primary(Topology::Sentinel, "memory", true).await;
    assert_eq!((ended, gaps), (ANSWERS, ANSWERS));
}

/// Kills the primary under answers, and returns the number of topics that came to their end, and of those with a gap.
///
/// Every caller gets every byte. A reader of the topic gets every event once and in order, or is told of a gap with the
/// exact number of those that are missing.
async fn kill_primary(topology: Topology, durability: &str, lags: bool) -> (usize, usize) {
    let mut deployment = Deployment::start(topology).await.unwrap();
    let upstream = Upstream::start().await;
    let node = |name: &str| {
        let node = relay(&upstream, None).node(name).flag("--redis", deployment.url());
        node.flag("--durability", durability)
    };
    let first = node("first").start().await.unwrap();
    let second = node("second").start().await.unwrap();
    let (relay, other) = (first.addr(), second.addr());
    let mut answers = JoinSet::new();
    for _ in 0..ANSWERS {
        answers.spawn(async move {
            let caller = Caller::chat(relay).await;
            (caller.location.clone(), caller.rest().await)
        });
    }
    let stream = async {
        let mut ticks = interval(PACE);
        for token in 1..=TOKENS + 1 {
            ticks.tick().await;
            upstream.allow(token);
        }
    };
    let kill = async {
        sleep(PACE * LAG_AT).await;
        if lags {
            deployment.strand_replicas().await.unwrap();
        }
        sleep(PACE * (KILL_AT - LAG_AT)).await;
        deployment.kill_primary().await.unwrap();
    };
    tokio::join!(stream, kill);
    let (mut ended, mut gaps) = (0, 0);
    while let Some(answer) = answers.join_next().await {
        let (location, body) = answer.unwrap();
        assert!(body.unwrap() == chat_body(), "a caller gets every byte");
        // A stream that tells of gaps, as an EventSource would have it.
        let told = location.replace("control=off", "control=on");
        let response = http().get(at(other, &told)).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let missing = missing(&read(response).await.0);
        ended += usize::from(missing.is_some());
        gaps += usize::from(missing.is_some_and(|missing| missing > 0));
    }
    assert_eq!(upstream.requests().len(), ANSWERS);
    (ended, gaps)
}

/// Returns the number of events that gaps have told of, or `None` if the answer was not stored to its end.
fn missing(seen: &[Seen]) -> Option<usize> {
    let (expected, mut next, mut missing) = (chat_data(), 0, 0);
    for event in seen {
        match event.kind.as_str() {
            "tailwater.gap" => {
                let gap: Value = serde_json::from_str(&event.data).unwrap();
                let missed = usize::try_from(gap["missed"].as_u64().expect("a number")).unwrap();
                next += missed;
                missing += missed;
            }
            "error" => {
                assert!(event.data.contains("\"unstorable\""), "{}", event.data);
                return None;
            }
            kind if kind.starts_with("tailwater.") => {}
            _ => {
                assert_eq!(Some(&event.data), expected.get(next), "after {next} events");
                next += 1;
            }
        }
    }
    assert_eq!(next, expected.len(), "the topic ends after everything");
    Some(missing)
}

//! Idempotency keys: a retry is stored once.

use super::Lab;
use super::stage::{ALL, Stage, event, marked, numbers, topic};
use crate::{Append, AppendError, EventType, Key, Mark, NewEvent, Position, Receipt, TraceParent};

pub(super) async fn the_same_key_in_the_same_topic_is_stored_once(lab: &dyn Lab) {
    let stage = Stage::new(lab);
    let topic = topic("key");
    let mut firsts = Vec::new();
    for key in ["a", "b", "A", &"k".repeat(Key::MAX_BYTES), "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"] {
        let first = stage.try_publish(&topic, event(key), Some(key)).await.expect("it is stored");
        assert!(!first.duplicate);
        firsts.push((key.to_owned(), first.position));
    }
    stage.publish(&topic, event("without a key")).await;
    let logs = [lab.log(), lab.second().await];
    for (key, position) in &firsts {
        for log in &logs {
            let key = Key::new(key).expect("a key");
            let again = stage.truth.publish(&**log, &topic, event(key.as_str()), Some(key)).await;
            let again = again.expect("a retry is answered");
            assert_eq!((again.position, again.duplicate), (*position, true));
        }
    }
    let head = stage.truth.of(&topic, |history| history.bounds().map(|bounds| bounds.head.n));
    assert_eq!(head, Some(6), "the truth took nothing twice");
    let page = stage.log.read(&topic, Position::START, ALL).await.expect("the log answers");
    assert_eq!(numbers(&page.events), [1, 2, 3, 4, 5, 6]);
}

pub(super) async fn the_same_key_in_another_topic_is_another_event(lab: &dyn Lab) {
    let stage = Stage::new(lab);
    for topic in ["a", "b"].map(topic) {
        let receipt = stage.try_publish(&topic, event("x"), Some("key")).await;
        let receipt = receipt.expect("it is stored");
        assert_eq!((receipt.position.n, receipt.duplicate), (1, false));
    }
}

pub(super) async fn keys_work_within_a_batch_and_leave_others_alone(lab: &dyn Lab) {
    let stage = Stage::new(lab);
    let topic = topic("key-batch");
    let keys = [Some("a"), None, Some("a"), Some("b"), None, Some("b"), Some("a")];
    let batch = keys.map(|key| Append {
        key: key.map(|key| Key::new(key).expect("a key")),
        ..Append::new(topic.clone(), event("x"))
    });
    let receipts = stage.log.append(batch.to_vec()).await.into_iter();
    let receipts = receipts.map(|receipt| receipt.expect("it is answered"));
    let got: Vec<_> = receipts.map(|r| (r.position.n, r.duplicate)).collect();
    let (new, again) = (false, true);
    assert_eq!(got, [(1, new), (2, new), (1, again), (3, new), (4, new), (3, again), (1, again)]);
}

/// Another event under a used key must not be lost in silence.
pub(super) async fn a_used_key_is_refused_for_another_event(lab: &dyn Lab) {
    let stage = Stage::new(lab);
    let topic = topic("key-reused");
    let first = stage.try_publish(&topic, event("x"), Some("key")).await.expect("it is stored");
    // The truth lies in the key, not in the event, which may be gone.
    stage.fill(&topic, 5).await;
    stage.trim(&topic, 1).await;
    let kind = EventType::new("kind").ok();
    let others = [
        event("y"),
        marked("x", Mark::Last),
        marked("", Mark::End),
        NewEvent { kind, ..event("x") },
    ];
    let refused = AppendError::KeyReused { topic: topic.clone(), first: first.position };
    for log in [lab.log(), lab.second().await] {
        for other in &others {
            let key = Some(Key::new("key").expect("a key"));
            let answer = stage.truth.publish(&*log, &topic, other.clone(), key).await;
            assert_eq!(answer, Err(refused.clone()), "{other:?}");
        }
    }
    let keyed = |data| Append::new(topic.clone(), event(data)).keyed(Key::new("b").expect("a key"));
    let answers = stage.log.append(vec![keyed("x"), keyed("y"), keyed("x")]).await;
    let stored = answers[0].clone().expect("it is stored").position;
    assert_eq!(stored.n, 7);
    assert_eq!(answers[1], Err(AppendError::KeyReused { topic: topic.clone(), first: stored }));
    assert_eq!(answers[2], Ok(Receipt { position: stored, duplicate: true }));
    // A retry is one again, with a trace of its own.
    let trace = TraceParent::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    let retry = stage.try_publish(&topic, NewEvent { trace, ..event("x") }, Some("key")).await;
    assert_eq!(retry, Ok(Receipt { duplicate: true, ..first }));
}

/// The name of an event, as a CloudEvent has one, makes a retry of whatever has the same name.
pub(super) async fn the_name_of_an_event_is_enough(lab: &dyn Lab) {
    let stage = Stage::new(lab);
    let topic = topic("key-named");
    let named = |data| Append::new(topic.clone(), event(data)).named(Key::new("n").expect("a key"));
    let keyed = Append::new(topic.clone(), event("z")).keyed(Key::new("n").expect("a key"));
    for (append, duplicate) in [(named("x"), false), (named("y"), true), (keyed, true)] {
        let answers = stage.log.append(vec![append]).await;
        let receipt = answers[0].as_ref().expect("it is answered");
        assert_eq!((receipt.position.n, receipt.duplicate), (1, duplicate));
    }
}

/// A retry gets the receipt of its event even after the event is gone.
pub(super) async fn a_retry_is_answered_after_its_event_was_trimmed(lab: &dyn Lab) {
    let stage = Stage::new(lab);
    let topic = topic("key-trim");
    let first = stage.try_publish(&topic, event("x"), Some("key")).await.expect("it is stored");
    stage.fill(&topic, 5).await;
    stage.trim(&topic, 1).await;
    let again = stage.try_publish(&topic, event("x"), Some("key")).await.expect("it is answered");
    assert_eq!((again.position, again.duplicate), (first.position, true));
}

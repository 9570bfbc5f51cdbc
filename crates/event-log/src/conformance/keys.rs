//! Idempotency keys: a retry is stored once.

use super::Lab;
use super::stage::{ALL, Stage, event, numbers, topic};
use crate::{Append, Key, Position};

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
            let key = Some(Key::new(key).expect("a key"));
            let again = stage.truth.publish(&**log, &topic, event("other"), key).await;
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

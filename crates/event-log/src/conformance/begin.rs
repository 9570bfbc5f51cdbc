//! Appends that may not begin a topic.

use super::Lab;
use super::stage::{Stage, event, marked, topic};
use crate::{Append, AppendError, Key, Log, Mark, NewEvent, Receipt, Topic};

/// Appends an event that may not begin its topic.
async fn follow(
    log: &dyn Log,
    topic: &Topic,
    event: NewEvent,
    key: Option<&str>,
) -> Result<Receipt, AppendError> {
    let key = key.map(|key| Key::new(key).expect("a key of letters"));
    let append = Append::new(topic.clone(), event);
    let append = match key {
        Some(key) => append.keyed(key),
        None => append,
    };
    let append = Append { may_begin: false, ..append };
    let answers = log.append(vec![append]).await;
    let [answer] = <[_; 1]>::try_from(answers).expect("one answer for one append");
    answer
}

pub(super) async fn an_event_that_may_not_begin_its_topic_is_refused_and_leaves_nothing(
    lab: &dyn Lab,
) {
    for log in [lab.log(), lab.second().await] {
        let topic = topic("begin");
        let refused = Err(AppendError::NewTopic { topic: topic.clone() });
        for key in [None, Some("key")] {
            for mark in [Mark::Open, Mark::Last, Mark::End] {
                let answer = follow(&*log, &topic, marked("x", mark), key).await;
                assert_eq!(answer, refused, "{mark:?}");
            }
        }
        assert_eq!(log.bounds(&topic).await.expect("the log answers"), None);
        // In one batch: what comes before the first event is refused, what comes after it is not.
        let may = Append::new(topic.clone(), event("x"));
        let must_not = Append { may_begin: false, ..may.clone() };
        let answers = log.append(vec![must_not.clone(), may, must_not]).await;
        assert_eq!(answers.len(), 3);
        assert_eq!(answers[0], refused);
        let numbers = answers[1..].iter().map(|answer| answer.as_ref().map(|r| r.position.n));
        assert!(numbers.eq([Ok(1), Ok(2)]), "{answers:?}");
    }
}

pub(super) async fn a_topic_is_known_after_its_events_are_gone_and_after_its_end(lab: &dyn Lab) {
    let stage = Stage::new(lab);
    let topic = topic("known");
    stage.fill(&topic, 3).await;
    let log = lab.second().await;
    let fourth = follow(&*log, &topic, event("x"), Some("key")).await.expect("it is known");
    assert_eq!(fourth.position.n, 4);
    lab.trim(&topic, 0).await;
    let retry = follow(&*log, &topic, event("x"), Some("key")).await.expect("it is answered");
    assert_eq!((retry.position, retry.duplicate), (fourth.position, true));
    let end = follow(&*log, &topic, marked("", Mark::Last), None).await.expect("it is known");
    assert_eq!(end.position.n, 5);
    let late = follow(&*log, &topic, event("late"), None).await;
    assert_eq!(late, Err(AppendError::Ended { topic, last: end.position }));
}

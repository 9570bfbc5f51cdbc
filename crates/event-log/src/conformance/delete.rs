//! Topics that were deleted.

use super::Lab;
use super::stage::{ALL, Stage, event, marked, numbers, topic};
use crate::{Append, AppendError, Key, Mark, Origin, Outcome, Position, Reason, Seek, Step};

pub(super) async fn a_deleted_topic_is_reset_for_readers_that_are_connected(lab: &dyn Lab) {
    let stage = Stage::new(lab);
    for last in [Mark::Open, Mark::Last, Mark::End] {
        let (topic, other) = (topic("delete-live"), topic("delete-other"));
        let topics = [topic.clone(), other.clone()];
        let mut readers = Vec::new();
        for log in [lab.log(), lab.second().await] {
            readers.push(stage.reader(&log, &topics, Origin::Latest).await);
        }
        stage.fill(&topic, 3).await;
        stage.publish(&topic, marked("last", last)).await;
        let index = usize::from(topic > other);
        for reader in &mut readers {
            while reader.ledgers()[index].n() < if last == Mark::End { 3 } else { 4 } {
                stage.step(reader, ALL).await;
            }
        }
        let deleted = stage.publish(&topic, marked("", Mark::Deleted)).await;
        assert_eq!(deleted.n, 4, "the last position is told");
        for reader in &mut readers {
            // Before anything is published again.
            loop {
                match stage.step(reader, ALL).await {
                    Step::Gap { gap, .. } => {
                        assert_eq!((gap.reason, gap.resume.n), (Reason::Reset, 0));
                        break;
                    }
                    Step::End { .. } => {}
                    other => panic!("{other:?} instead of the reset"),
                }
            }
        }
        let first = stage.publish(&topic, event("again")).await;
        assert!(first.n == 1 && first.ms > deleted.ms, "{first} after {deleted}");
        for reader in &mut readers {
            let Step::Events { events, .. } = stage.step(reader, ALL).await else {
                panic!("the topic goes on");
            };
            assert_eq!(events[0].data(), "again");
        }
    }
}

pub(super) async fn a_cursor_of_a_deleted_topic_is_reset(lab: &dyn Lab) {
    let stage = Stage::new(lab);
    let topic = topic("delete-resume");
    let positions = stage.fill(&topic, 3).await;
    stage.publish(&topic, marked("", Mark::Deleted)).await;
    for again in [0, 1, 5] {
        stage.fill(&topic, if again == 5 { 4 } else { again }).await;
        for position in &positions[1..] {
            for log in [lab.log(), lab.second().await] {
                let (mut reader, outcome) = stage.resumed(&log, &topic, *position).await;
                assert_eq!(outcome, Outcome::Reset, "{position}");
                let step = stage.step(&mut reader, ALL).await;
                let Step::Gap { gap, .. } = step else { panic!("{step:?} instead of the reset") };
                assert_eq!((gap.reason, gap.resume.n), (Reason::Reset, 0));
                stage.read_to(&mut reader, again, ALL).await;
            }
        }
        let (mut reader, outcome) =
            stage.resumed(&lab.second().await, &topic, Position::START).await;
        assert_eq!(outcome, Outcome::Exact, "it has seen nothing");
        stage.read_to(&mut reader, again, ALL).await;
    }
}

pub(super) async fn nothing_is_left_of_a_deleted_topic(lab: &dyn Lab) {
    let stage = Stage::new(lab);
    let topic = topic("delete-all");
    let absent = stage.try_publish(&topic, marked("", Mark::Deleted), None).await;
    assert!(absent.expect("it is answered").duplicate, "there was nothing");
    stage.try_publish(&topic, event("x"), Some("key")).await.expect("it is stored");
    stage.publish(&topic, marked("", Mark::End)).await;
    stage.publish(&topic, marked("", Mark::Deleted)).await;
    let again = stage.try_publish(&topic, marked("", Mark::Deleted), None).await;
    assert!(again.expect("it is answered").duplicate, "nothing is left");
    for log in [lab.log(), lab.second().await] {
        assert_eq!(log.bounds(&topic).await.expect("the log answers"), None);
        let page = log.read(&topic, Position::START, ALL).await.expect("the log answers");
        assert!(page.events.is_empty() && page.gap.is_none(), "{page:?}");
        let topics = std::slice::from_ref(&topic);
        let reader = stage.reader(&log, topics, Origin::Seek(Seek::Earliest)).await;
        assert_eq!(reader.outcome(), Outcome::Live);
        let append = Append { may_begin: false, ..Append::new(topic.clone(), event("x")) };
        let answer = log.append(vec![append]).await.remove(0);
        assert_eq!(answer, Err(AppendError::NewTopic { topic: topic.clone() }));
    }
    // The key is free again, for any event.
    let second = stage.try_publish(&topic, event("y"), Some("key")).await.expect("it is stored");
    assert_eq!((second.position.n, second.duplicate), (1, false));
    let retry = stage.try_publish(&topic, event("y"), Some("key")).await.expect("it is answered");
    assert_eq!((retry.position, retry.duplicate), (second.position, true));
}

pub(super) async fn a_deletion_has_its_place_among_the_appends_of_a_batch(lab: &dyn Lab) {
    let stage = Stage::new(lab);
    let topic = topic("delete-batch");
    let append = |data, mark| Append::new(topic.clone(), marked(data, mark));
    let keyed = |data| append(data, Mark::Open).keyed(Key::new("k").expect("a key"));
    let batch = vec![keyed("a"), append("", Mark::Deleted), keyed("b"), append("c", Mark::Open)];
    let receipts = stage.log.append(batch).await;
    let got: Vec<_> = receipts.iter().map(|r| r.as_ref().expect("it is answered")).collect();
    assert_eq!(got.iter().map(|r| r.position.n).collect::<Vec<_>>(), [1, 1, 1, 2]);
    assert!(got.iter().all(|receipt| !receipt.duplicate));
    let page = stage.log.read(&topic, Position::START, ALL).await.expect("the log answers");
    assert_eq!(numbers(&page.events), [1, 2]);
    assert_eq!(page.events[0].data(), "b");
}

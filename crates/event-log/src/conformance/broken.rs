//! Publishers that broke off.

use super::Lab;
use super::stage::{ALL, Stage, event, marked, numbers, topic};
use crate::{
    Append, AppendError, BreakReason, Limit, Mark, NewEvent, OpenOptions, Origin, Part, Position,
    Receipt, Seek, Step,
};

const BROKEN: Mark = Mark::Broken(BreakReason::Disconnected);

pub(super) async fn a_break_is_a_step_of_its_own_in_its_place(lab: &dyn Lab) {
    let stage = Stage::new(lab);
    for limit in [Limit::ONE, ALL] {
        let topic = topic("broken");
        let topics = std::slice::from_ref(&topic);
        let mut live = Vec::new();
        for log in [lab.log(), lab.second().await] {
            live.push(stage.reader(&log, topics, Origin::Latest).await);
        }
        stage.fill(&topic, 2).await;
        let at = stage.publish(&topic, marked("", BROKEN)).await;
        stage.fill(&topic, 2).await;
        stage.publish(&topic, marked("", Mark::Broken(BreakReason::Timeout))).await;
        let origin = Origin::Seek(Seek::Earliest);
        live.push(stage.reader(&lab.second().await, topics, origin).await);
        for reader in &mut live {
            let mut told = Vec::new();
            while reader.ledgers()[0].n() < 6 {
                match stage.step(reader, limit).await {
                    Step::Events { events, .. } => told.extend(numbers(&events)),
                    Step::Broken { entry, reason, .. } => {
                        assert_eq!(entry.position() == at, reason == BreakReason::Disconnected);
                        told.push(entry.position().n);
                    }
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!(told, [1, 2, 3, 4, 5, 6]);
            assert!(!reader.cursor().is_finished());
        }
        stage.nothing_but_the_next(&mut live[0], &topic).await;
    }
}

pub(super) async fn a_topic_is_broken_while_the_break_is_its_last_entry(lab: &dyn Lab) {
    let stage = Stage::new(lab);
    let topic = topic("broken-state");
    let broken = async |lab: &dyn Lab| {
        let bounds = lab.second().await.bounds(&topic).await.expect("the log answers");
        bounds.expect("the topic is known").broken
    };
    stage.publish(&topic, event("x")).await;
    assert!(!broken(lab).await);
    stage.publish(&topic, marked("", BROKEN)).await;
    assert!(broken(lab).await);
    stage.publish(&topic, event("x")).await;
    assert!(!broken(lab).await, "another publisher goes on");
}

/// A break counts only if no other publisher has gone on: the entry must be true when it is stored.
pub(super) async fn an_entry_that_is_to_follow_another_is_stored_only_there(lab: &dyn Lab) {
    let stage = Stage::new(lab);
    let topic = topic("follows");
    let [_, first, last] = <[Position; 3]>::try_from(stage.fill(&topic, 2).await).expect("three");
    let append = |mark, follows| Append {
        follows: Some(follows),
        ..Append::new(topic.clone(), NewEvent { mark, ..NewEvent::default() })
    };
    let one = async |append: Append| stage.log.append(vec![append]).await.remove(0);
    for mark in [BROKEN, Mark::End] {
        let answer = one(append(mark, first)).await;
        assert_eq!(answer, Ok(Receipt { position: last, duplicate: true }), "{mark:?}");
    }
    let stored = one(append(BROKEN, last)).await.expect("it is stored");
    assert_eq!((stored.position.n, stored.duplicate), (3, false));
    // A retry finds itself.
    let again = one(append(BROKEN, last)).await;
    assert_eq!(again, Ok(Receipt { position: stored.position, duplicate: true }));
    let end = one(append(Mark::End, stored.position)).await.expect("it is stored").position;
    assert_eq!(end.n, 4);
    assert_eq!(
        one(append(BROKEN, end)).await,
        Err(AppendError::Ended { topic: topic.clone(), last: end })
    );
}

/// A reader without control events is told at its opening of a break that comes next.
pub(super) async fn an_opening_knows_the_break_that_comes_next(lab: &dyn Lab) {
    let stage = Stage::new(lab);
    let topic = topic("broken-next");
    let at = stage.publish(&topic, event("x")).await;
    let broken = stage.publish(&topic, marked("", BROKEN)).await;
    stage.publish(&topic, event("y")).await;
    for log in [lab.log(), lab.second().await] {
        for (after, expected) in [(Position::START, None), (at, Some(broken)), (broken, None)] {
            let origin = Origin::Resume(after.to_string());
            let opening = OpenOptions { skips_ends: true, ..OpenOptions::from(origin) };
            let opened = crate::Cursor::open_as(log.clone(), vec![Part::of(&topic)], opening).await;
            let told = opened.expect("the log answers").broken;
            assert_eq!(told.first().map(|(_, position, _)| *position), expected, "{after}");
        }
    }
}

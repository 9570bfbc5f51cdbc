//! Ended topics that are opened again.

use super::Lab;
use super::stage::{ALL, Stage, event, marked, numbers, topic};
use crate::{AppendError, Limit, Mark, Origin, Outcome, Position, Seek, Step};

pub(super) async fn an_open_topic_cannot_be_opened_and_an_ended_one_goes_on(lab: &dyn Lab) {
    let stage = Stage::new(lab);
    for end in [Mark::Last, Mark::End] {
        let topic = topic("reopen");
        let reopen = async || {
            let answer = stage.try_publish(&topic, marked("", Mark::Reopened), None).await;
            answer.expect("it is answered")
        };
        let nothing = reopen().await;
        assert!(nothing.duplicate && nothing.position.n == 0, "there is no such topic");
        let first = stage.publish(&topic, event("1")).await;
        let open = reopen().await;
        assert_eq!((open.position, open.duplicate), (first, true));
        stage.publish(&topic, marked("2", end)).await;
        let opened = reopen().await;
        assert_eq!((opened.position.n, opened.duplicate), (3, false));
        assert!(reopen().await.duplicate, "a second time changes nothing");
        for log in [lab.log(), lab.second().await] {
            let bounds = log.bounds(&topic).await.expect("the log answers").expect("a topic");
            assert!(!bounds.ended);
        }
        let next = stage.publish(&topic, event("4")).await;
        assert_eq!(next.n, 4);
        let last = stage.publish(&topic, marked("5", Mark::Last)).await;
        let late = stage.try_publish(&topic, event("late"), None).await;
        assert_eq!(late, Err(AppendError::Ended { topic: topic.clone(), last }));
    }
}

pub(super) async fn a_connected_reader_is_told_that_the_topic_goes_on(lab: &dyn Lab) {
    let stage = Stage::new(lab);
    for end in [Mark::Last, Mark::End] {
        let (topic, other) = (topic("reopen-live"), topic("reopen-other"));
        let mut readers = Vec::new();
        for log in [lab.log(), lab.second().await] {
            readers.push(stage.reader(&log, &[topic.clone(), other.clone()], Origin::Latest).await);
        }
        stage.publish(&topic, marked("1", end)).await;
        for reader in &mut readers {
            while !matches!(stage.step(reader, ALL).await, Step::End { .. }) {}
        }
        stage.publish(&topic, marked("", Mark::Reopened)).await;
        for reader in &mut readers {
            let step = stage.step(reader, ALL).await;
            assert!(matches!(step, Step::Reopened { .. }), "{step:?}");
        }
        stage.publish(&topic, event("3")).await;
        for reader in &mut readers {
            let step = stage.step(reader, ALL).await;
            let Step::Events { events, .. } = step else { panic!("{step:?}") };
            assert_eq!(numbers(&events), [3]);
        }
    }
}

/// An end that was repealed is history: it must not stop a reader that comes later.
pub(super) async fn a_later_reader_gets_all_events_and_no_end(lab: &dyn Lab) {
    let stage = Stage::new(lab);
    for end in [Mark::Last, Mark::End] {
        let topic = topic("reopen-late");
        let mut positions = vec![Position::START, stage.publish(&topic, event("1")).await];
        positions.push(stage.publish(&topic, marked("2", end)).await);
        for reopened in [false, true] {
            positions.push(stage.publish(&topic, marked("", Mark::Reopened)).await);
            if reopened {
                positions.push(stage.publish(&topic, event("more")).await);
            }
            let expected: Vec<u64> = positions[1..].iter().map(|p| p.n).collect();
            let is_event = |n: &u64| *n == 1 || *n == 2 && end == Mark::Last || *n == 6;
            for log in [lab.log(), lab.second().await] {
                for limit in [Limit::ONE, ALL] {
                    for from in &positions {
                        let (mut reader, outcome) = stage.resumed(&log, &topic, *from).await;
                        assert_eq!(outcome, Outcome::Exact, "{from}");
                        let events: Vec<u64> = expected
                            .iter()
                            .copied()
                            .filter(|n| *n > from.n && is_event(n))
                            .collect();
                        let mut got = Vec::new();
                        while got.len() < events.len() {
                            match stage.step(&mut reader, limit).await {
                                Step::Events { events, .. } => got.extend(numbers(&events)),
                                other => panic!("{other:?} for a reader from {from}"),
                            }
                        }
                        assert_eq!(got, events, "{from}");
                        assert!(!reader.cursor().is_finished(), "{from}");
                    }
                }
                let topics = std::slice::from_ref(&topic);
                let reader = stage.reader(&log, topics, Origin::Seek(Seek::Last(0))).await;
                assert!(!reader.cursor().is_finished());
            }
            if !reopened {
                positions.push(stage.publish(&topic, marked("", Mark::End)).await);
            }
        }
    }
}

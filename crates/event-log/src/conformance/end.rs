//! Topics that a publisher has ended.

use super::Lab;
use super::reader::Reader;
use super::stage::{ALL, Stage, event, marked, topic};
use crate::{AppendError, Limit, Mark, Origin, Outcome, Position, Seek, Step, Topic};

pub(super) async fn a_live_reader_is_told_of_the_end_once(lab: &dyn Lab) {
    for mark in [Mark::Last, Mark::End] {
        for log in [lab.log(), lab.second().await] {
            let stage = Stage::new(lab);
            let topic = topic("live-end");
            let topics = std::slice::from_ref(&topic);
            let mut reader = stage.reader(&log, topics, Origin::Latest).await;
            stage.fill(&topic, 3).await;
            stage.publish(&topic, marked("last", mark)).await;
            let last = if mark == Mark::Last { 4 } else { 3 };
            stage.read_to(&mut reader, last, Limit::ONE).await;
            assert!(!reader.cursor().is_finished(), "it has not been told");
            told_and_finished(&stage, &mut reader).await;
        }
    }
}

pub(super) async fn nothing_follows_the_end(lab: &dyn Lab) {
    for mark in [Mark::Last, Mark::End] {
        let stage = Stage::new(lab);
        let topic = topic("after-end");
        stage.publish(&topic, event("first")).await;
        let receipt = stage.try_publish(&topic, marked("last", mark), Some("key")).await;
        let last = receipt.expect("the log takes the end").position;
        for log in [lab.log(), lab.second().await] {
            for refused in [event("late"), marked("late", Mark::Last)] {
                let answer = stage.truth.publish(&*log, &topic, refused, None).await;
                assert_eq!(answer, Err(AppendError::Ended { topic: topic.clone(), last }));
            }
            // A second end, like a retry of the first, succeeds.
            let end = stage.truth.publish(&*log, &topic, marked("", Mark::End), None).await;
            let end = end.expect("an end is idempotent");
            assert_eq!((end.position, end.duplicate), (last, true));
            let retry = stage.try_publish(&topic, marked("last", mark), Some("key")).await;
            let retry = retry.expect("a retry is answered");
            assert_eq!((retry.position, retry.duplicate), (last, true));
        }
    }
}

pub(super) async fn every_position_of_an_ended_topic_resumes_to_the_end(lab: &dyn Lab) {
    for mark in [Mark::Last, Mark::End] {
        let stage = Stage::new(lab);
        let topic = topic("resume-end");
        let mut positions = stage.fill(&topic, 4).await;
        positions.push(stage.publish(&topic, marked("", mark)).await);
        for position in positions {
            for log in [lab.log(), lab.second().await] {
                let (mut reader, outcome) = stage.resumed(&log, &topic, position).await;
                assert_eq!(outcome, Outcome::Exact);
                assert_eq!(reader.cursor().is_finished(), position.n == 5, "{position}");
                match position.n {
                    5 => finished(&stage, &mut reader).await,
                    _ => told_and_finished(&stage, &mut reader).await,
                }
            }
        }
    }
}

pub(super) async fn a_reader_that_comes_after_the_end_is_told(lab: &dyn Lab) {
    let stage = Stage::new(lab);
    let topic = topic("late-comer");
    stage.fill(&topic, 4).await;
    stage.publish(&topic, marked("", Mark::End)).await;
    for keep in [5, 2, 0] {
        stage.trim(&topic, keep).await;
        let seeks = [Seek::Earliest, Seek::Last(0), Seek::Last(3)].map(Origin::Seek);
        for origin in seeks.into_iter().chain([Origin::Latest]) {
            let topics = std::slice::from_ref(&topic);
            let mut reader = stage.reader(&lab.second().await, topics, origin).await;
            told_and_finished(&stage, &mut reader).await;
        }
        let (mut behind, _) = stage.resumed(&lab.second().await, &topic, Position::START).await;
        told_and_finished(&stage, &mut behind).await;
    }
}

pub(super) async fn several_topics_are_finished_when_all_are(lab: &dyn Lab) {
    let stage = Stage::new(lab);
    let topics: [Topic; 3] = ["a", "b", "c"].map(topic);
    let mut reader = stage.reader(&stage.log, &topics, Origin::Latest).await;
    for ended in &topics {
        for topic in &topics {
            let is_ended = stage.truth.of(topic, |history| history.is_ended());
            if !is_ended {
                stage.publish(topic, event("x")).await;
            }
        }
        stage.publish(ended, marked("", Mark::End)).await;
        // Read up to this topic's end; no other end may come first.
        loop {
            match stage.step(&mut reader, Limit::ONE).await {
                Step::End { .. } => break,
                Step::Finished => panic!("only some have ended"),
                Step::Events { .. }
                | Step::Gap { .. }
                | Step::Broken { .. }
                | Step::Reopened { .. } => {}
            }
        }
    }
    while !reader.cursor().is_finished() {
        stage.step(&mut reader, Limit::ONE).await;
    }
    finished(&stage, &mut reader).await;
}

/// A publisher may use a topic again after the store has forgotten it. A connected reader of this topic and
/// others must be told.
pub(super) async fn an_ended_topic_that_begins_anew_is_a_reset(lab: &dyn Lab) {
    let stage = Stage::new(lab);
    let [ended, other] = ["ended", "other"].map(topic);
    let topics = [ended.clone(), other.clone()];
    let mut reader = stage.reader(&stage.log, &topics, Origin::Latest).await;
    stage.publish(&ended, marked("last", Mark::Last)).await;
    while !matches!(stage.step(&mut reader, ALL).await, Step::End { .. }) {}
    stage.flush().await;
    stage.publish(&ended, event("again")).await;
    let ended = topics.iter().filter(|topic| **topic < ended).count();
    loop {
        match stage.step(&mut reader, ALL).await {
            Step::Events { place, events } if place == ended => {
                assert_eq!(events[0].data(), "again");
                break;
            }
            Step::Events { .. } | Step::Gap { .. } => {}
            other => panic!("{other:?} although the topic goes on"),
        }
    }
}

async fn told_and_finished(stage: &Stage<'_>, reader: &mut Reader) {
    loop {
        match stage.step(reader, Limit::ONE).await {
            Step::End { .. } => break,
            Step::Finished => panic!("it was never told of the end"),
            Step::Events { .. }
            | Step::Gap { .. }
            | Step::Broken { .. }
            | Step::Reopened { .. } => {}
        }
    }
    finished(stage, reader).await;
}

async fn finished(stage: &Stage<'_>, reader: &mut Reader) {
    assert!(reader.cursor().is_finished());
    for _ in 0..2 {
        let step = stage.step(reader, Limit::ONE).await;
        assert!(matches!(step, Step::Finished), "{step:?} after the end");
    }
}

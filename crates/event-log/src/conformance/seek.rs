//! Readers that begin in the history without a cursor.

use std::time::Duration;

use super::Lab;
use super::stage::{ALL, Stage, event, topic};
use crate::{Origin, Outcome, Position, Seek, Step, Topic};

pub(super) async fn latest_begins_with_the_next_event(lab: &dyn Lab) {
    let stage = Stage::new(lab);
    for filled in [0, 3] {
        let topic = topic("latest");
        stage.fill(&topic, filled).await;
        for log in [lab.log(), lab.second().await] {
            let topics = std::slice::from_ref(&topic);
            let mut reader = stage.reader(&log, topics, Origin::Latest).await;
            assert_eq!(reader.outcome(), Outcome::Live);
            stage.nothing_but_the_next(&mut reader, &topic).await;
        }
    }
}

pub(super) async fn earliest_and_last_n_begin_where_they_say(lab: &dyn Lab) {
    let stage = Stage::new(lab);
    let topic = topic("last");
    for seek in [Seek::Earliest, Seek::Last(0), Seek::Last(3)] {
        begins_before(&stage, &topic, seek, 1).await;
    }
    stage.fill(&topic, 10).await;
    let cases = [
        (Seek::Earliest, 1),
        (Seek::Last(0), 11),
        (Seek::Last(1), 10),
        (Seek::Last(9), 2),
        (Seek::Last(10), 1),
        (Seek::Last(11), 1),
        (Seek::Last(u64::MAX), 1),
    ];
    for (seek, first) in cases {
        begins_before(&stage, &topic, seek, first).await;
    }
    stage.trim(&topic, 4).await;
    for (seek, first) in cases {
        let first = first.max(7);
        begins_before(&stage, &topic, seek, first).await;
    }
    stage.trim(&topic, 0).await;
    for (seek, _) in cases {
        begins_before(&stage, &topic, seek, 11).await;
    }
}

pub(super) async fn since_begins_with_the_first_event_of_that_time_or_later(lab: &dyn Lab) {
    let stage = Stage::new(lab);
    let topic = topic("since");
    begins_before(&stage, &topic, Seek::Since(1), 1).await;
    let mut positions = Vec::<Position>::new();
    while positions.len() < 5 {
        // Until the log's clock has moved on: the check needs a time between two events.
        tokio::time::sleep(Duration::from_millis(5)).await;
        positions.push(stage.publish(&topic, event("x")).await);
    }
    for (first, position) in (1..).zip(&positions) {
        begins_before(&stage, &topic, Seek::Since(position.ms), first).await;
        begins_before(&stage, &topic, Seek::Since(position.ms - 1), first).await;
        begins_before(&stage, &topic, Seek::Since(position.ms + 1), first + 1).await;
    }
    begins_before(&stage, &topic, Seek::Since(0), 1).await;
    begins_before(&stage, &topic, Seek::Since(u64::MAX), 6).await;
    stage.trim(&topic, 2).await;
    let since = |ms| sought_gap(&stage, &topic, Seek::Since(ms));
    assert!(since(positions[1].ms).await, "what is gone may be of that time");
    assert!(since(positions[3].ms).await, "so may it if the oldest that is left is");
    assert!(!since(positions[3].ms + 1).await, "nothing of that time is gone");
    assert!(!since(u64::MAX).await, "nothing of that time is gone");
    stage.trim(&topic, 0).await;
    assert!(since(positions[4].ms).await, "what is gone may be of that time");
    assert!(!since(positions[4].ms + 1).await, "nothing of that time is gone");
}

async fn sought_gap(stage: &Stage<'_>, topic: &Topic, seek: Seek) -> bool {
    let sought = stage.log.seek(topic, seek).await.expect("the log answers");
    let second = stage.lab.second().await.seek(topic, seek).await.expect("the log answers");
    assert_eq!(sought, second, "{seek:?}");
    let topics = std::slice::from_ref(topic);
    let mut reader = stage.reader(&stage.log, topics, Origin::Seek(seek)).await;
    let outcome = if sought.gap.is_some() { Outcome::Gap } else { Outcome::Live };
    assert_eq!(reader.outcome(), outcome, "{seek:?}");
    if let Some(gap) = sought.gap {
        assert_eq!((gap.missed, gap.requested, gap.resume), (None, None, sought.position));
        let step = stage.step(&mut reader, ALL).await;
        assert!(matches!(step, Step::Gap { gap: ref told, .. } if **told == gap), "{step:?}");
    }
    sought.gap.is_some()
}

/// Checks on any node that the reader's first event is `first` and that all later events follow.
async fn begins_before(stage: &Stage<'_>, topic: &Topic, seek: Seek, first: u64) {
    for log in [stage.lab.log(), stage.lab.second().await] {
        let sought = log.seek(topic, seek).await.expect("the log answers");
        assert_eq!(sought.position.n + 1, first, "{seek:?}");
        let topics = std::slice::from_ref(topic);
        let mut reader = stage.reader(&log, topics, Origin::Seek(seek)).await;
        assert_eq!(reader.cursor().position(0), sought.position, "{seek:?}");
        let head = stage.truth.of(topic, |h| h.bounds().map_or(0, |bounds| bounds.head.n));
        stage.read_to(&mut reader, head, ALL).await;
    }
}

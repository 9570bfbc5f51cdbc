//! Readers that resume from a position.

use super::Lab;
use super::stage::{ALL, Stage, after, event, numbers, step, topic};
use crate::{Cursor, Outcome, Position, Reason, Step};

pub(super) async fn every_position_of_a_history_resumes_exactly(lab: &dyn Lab) {
    const N: u64 = 12;
    let stage = Stage::new(lab);
    let topic = topic("resume");
    let positions = stage.fill(&topic, N).await;
    let mut readers = Vec::new();
    for position in positions {
        for log in [lab.log(), lab.second().await] {
            let page = log.read(&topic, position, ALL).await.expect("the log answers");
            assert_eq!(page.gap, None);
            assert_eq!(numbers(&page.events), (position.n + 1..=N).collect::<Vec<_>>());
            let (mut reader, outcome) = stage.resumed(&log, &topic, position).await;
            assert_eq!(outcome, Outcome::Exact, "{position}");
            stage.read_to(&mut reader, N, ALL).await;
            readers.push(reader);
        }
    }
    let next = stage.publish(&topic, event("the next")).await;
    for reader in &mut readers {
        let Step::Events { events, .. } = stage.step(reader, ALL).await else { panic!("a gap") };
        assert_eq!(numbers(&events), [next.n]);
    }
}

pub(super) async fn a_cursor_from_the_future_is_rewound(lab: &dyn Lab) {
    let stage = Stage::new(lab);
    let topic = topic("future");
    let head = stage.fill(&topic, 5).await[5];
    let mut cursors = Vec::new();
    for future in [
        Position::new(head.ms, head.n + 10),
        Position::new(head.ms + 60_000, head.n + 10),
        Position::new(head.ms + 60_000, 2),
        Position::new(u64::MAX, u64::MAX),
    ] {
        for log in [lab.log(), lab.second().await] {
            let (mut cursor, outcome) =
                Cursor::open(log, vec![topic.clone()], after(future)).await.expect("it opens");
            assert_eq!(outcome, Outcome::Rewound, "{future}");
            let Step::Gap { gap, .. } = step(&mut cursor, ALL).await else { panic!("no gap") };
            assert_eq!((gap.reason, gap.missed), (Reason::Rewound, None), "{future}");
            assert_eq!((gap.requested, gap.newest, gap.resume), (Some(future), head, head));
            cursors.push(cursor);
        }
    }
    let next = stage.publish(&topic, event("the next")).await;
    for mut cursor in cursors {
        let Step::Events { events, .. } = step(&mut cursor, ALL).await else { panic!("a gap") };
        assert_eq!(numbers(&events), [next.n]);
    }
}

/// The extreme positions that a client can send break nothing, and their readers get live events.
pub(super) async fn no_position_is_too_strange(lab: &dyn Lab) {
    let stage = Stage::new(lab);
    let topic = topic("strange");
    let head = stage.fill(&topic, 5).await[5];
    stage.trim(&topic, 2).await;
    let edges = |middle: u64| [0, 1, middle - 1, middle, middle + 1, u64::MAX - 1, u64::MAX];
    let mut cursors = Vec::new();
    for ms in edges(head.ms) {
        for n in edges(head.n) {
            let strange = after(Position::new(ms, n));
            let opened = Cursor::open(lab.log(), vec![topic.clone()], strange).await;
            cursors.push(((ms, n), opened.expect("it opens").0));
        }
    }
    let next = stage.publish(&topic, event("the next")).await;
    for (at, mut cursor) in cursors {
        let mut last = None;
        while last != Some(next) {
            if let Step::Events { events, .. } = step(&mut cursor, ALL).await {
                last = events.last().map(crate::Event::position);
            }
        }
        assert_eq!(cursor.wire(), next.to_string(), "{at:?}");
    }
}

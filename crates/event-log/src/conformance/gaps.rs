//! Gaps are announced exactly.

use super::Lab;
use super::stage::{ALL, Stage, after, event, numbers, step, topic};
use crate::{Cursor, Limit, Origin, Outcome, Position, Reason, Step};

pub(super) async fn trimming_announces_the_exact_number_missed(lab: &dyn Lab) {
    const N: u64 = 12;
    const KEEP: u64 = 5;
    let stage = Stage::new(lab);
    let topic = topic("trimmed");
    let positions = stage.fill(&topic, N).await;
    stage.trim(&topic, usize::try_from(KEEP).expect("small")).await;
    for position in positions {
        let missed = (N - KEEP).saturating_sub(position.n);
        let page = stage.log.read(&topic, position, ALL).await.expect("the log answers");
        match page.gap {
            Some(gap) => {
                assert_eq!((gap.reason, gap.missed), (Reason::Trimmed, Some(missed)));
                assert!(page.events.is_empty(), "a gap comes alone");
                assert_eq!((gap.requested, gap.newest.n), (Some(position), N));
                assert_eq!((gap.oldest.map(|p| p.n), gap.resume.n), (Some(N - KEEP + 1), N - KEEP));
                let rest = stage.log.read(&topic, gap.resume, ALL).await.expect("the log answers");
                assert_eq!(rest.gap, None);
                assert_eq!(numbers(&rest.events), (N - KEEP + 1..=N).collect::<Vec<_>>());
            }
            None => {
                assert_eq!(missed, 0, "{position}");
                assert_eq!(numbers(&page.events), (position.n + 1..=N).collect::<Vec<_>>());
            }
        }
        let fresh = lab.second().await;
        let (mut reader, outcome) = stage.resumed(&fresh, &topic, position).await;
        assert_eq!(outcome, if missed > 0 { Outcome::Gap } else { Outcome::Exact }, "{position}");
        stage.read_to(&mut reader, N, Limit::ONE).await;
    }
}

pub(super) async fn a_reader_whose_events_are_all_gone_goes_on_live(lab: &dyn Lab) {
    const N: u64 = 6;
    let stage = Stage::new(lab);
    let topic = topic("all-gone");
    let positions = stage.fill(&topic, N).await;
    stage.trim(&topic, 0).await;
    let mut readers = Vec::new();
    for position in positions {
        let (mut reader, _) = stage.resumed(&lab.second().await, &topic, position).await;
        stage.read_to(&mut reader, N, ALL).await;
        readers.push(reader);
    }
    let next = stage.publish(&topic, event("the next")).await;
    for reader in &mut readers {
        stage.read_to(reader, next.n, ALL).await;
    }
}

pub(super) async fn a_connected_reader_is_told_of_events_trimmed_before_it(lab: &dyn Lab) {
    let stage = Stage::new(lab);
    let topic = topic("trimmed-under");
    let (mut here, _) = stage.resumed(&stage.log, &topic, Position::START).await;
    let (mut there, _) = stage.resumed(&lab.second().await, &topic, Position::START).await;
    stage.fill(&topic, 300).await;
    for keep in [200, 90, 0] {
        for reader in [&mut here, &mut there] {
            stage.step(reader, Limit { events: 7, bytes: usize::MAX }).await;
        }
        stage.trim(&topic, keep).await;
    }
    let next = stage.publish(&topic, event("the next")).await;
    for reader in [&mut here, &mut there] {
        stage.read_to(reader, next.n, ALL).await;
    }
}

pub(super) async fn a_wiped_topic_is_reset_for_a_reader_that_resumes(lab: &dyn Lab) {
    let stage = Stage::new(lab);
    let topic = topic("wiped");
    let head = stage.fill(&topic, 5).await[5];
    stage.flush().await;
    let page = stage.log.read(&topic, head, ALL).await.expect("the log answers");
    assert_eq!(
        page.gap.map(|gap| (gap.reason, gap.resume)),
        Some((Reason::Reset, Position::START))
    );
    let fresh = lab.second().await;
    let (mut reader, outcome) = stage.resumed(&fresh, &topic, head).await;
    assert_eq!(outcome, Outcome::Reset);
    let Step::Gap { gap, .. } = stage.step(&mut reader, ALL).await else { panic!("no gap") };
    assert_eq!((gap.reason, gap.missed, gap.oldest), (Reason::Reset, None, None));
    stage.nothing_but_the_next(&mut reader, &topic).await;
}

pub(super) async fn a_wiped_topic_is_reset_for_a_connected_reader(lab: &dyn Lab) {
    let stage = Stage::new(lab);
    let topic = topic("wiped");
    let head = stage.fill(&topic, 5).await[5];
    let (mut reader, _) = stage.resumed(&stage.log, &topic, head).await;
    stage.nothing_but_the_next(&mut reader, &topic).await;
    stage.flush().await;
    let Step::Gap { gap, .. } = stage.step(&mut reader, ALL).await else { panic!("no gap") };
    assert_eq!((gap.reason, gap.missed), (Reason::Reset, None));
    stage.nothing_but_the_next(&mut reader, &topic).await;
}

pub(super) async fn a_wiped_topic_that_grew_past_the_old_number_is_read_from_its_beginning(
    lab: &dyn Lab,
) {
    let stage = Stage::new(lab);
    let topic = topic("regrown");
    let positions = stage.fill(&topic, 5).await;
    let (mut connected, _) = stage.resumed(&stage.log, &topic, positions[5]).await;
    stage.flush().await;
    stage.fill(&topic, 9).await;
    for position in &positions[1..] {
        for log in [lab.log(), lab.second().await] {
            let page = log.read(&topic, *position, ALL).await.expect("the log answers");
            let gap = page.gap.expect("another generation");
            assert_eq!((gap.reason, gap.missed), (Reason::Reset, None), "{position}");
            assert_eq!(gap.resume.n, 0, "{position}");
        }
        let (mut resumed, outcome) = stage.resumed(&lab.second().await, &topic, *position).await;
        assert_eq!(outcome, Outcome::Reset, "{position}");
        stage.read_to(&mut resumed, 9, ALL).await;
    }
    // The connected reader was at 5, which is a number of the new generation too.
    let Step::Gap { gap, .. } = stage.step(&mut connected, ALL).await else { panic!("no gap") };
    assert_eq!(gap.reason, Reason::Reset);
    stage.read_to(&mut connected, 9, ALL).await;
}

pub(super) async fn a_gap_is_told_once(lab: &dyn Lab) {
    let stage = Stage::new(lab);
    let topic = topic("once");
    let positions = stage.fill(&topic, 8).await;
    stage.trim(&topic, 3).await;
    let fresh = lab.second().await;
    let opened = Cursor::open(fresh.clone(), vec![topic.clone()], after(positions[2])).await;
    let (mut cursor, _) = opened.expect("it opens");
    let Step::Gap { gap, .. } = step(&mut cursor, ALL).await else { panic!("no gap") };
    assert_eq!(gap.missed, Some(3));
    // The cursor of the gap is a position from which no event is missing.
    let opened = Cursor::open(fresh, vec![topic], Origin::Resume(cursor.wire())).await;
    let (mut again, outcome) = opened.expect("it opens");
    assert_eq!(outcome, Outcome::Exact);
    for cursor in [&mut cursor, &mut again] {
        let Step::Events { events, .. } = step(cursor, ALL).await else { panic!("a gap") };
        assert_eq!(numbers(&events), [6, 7, 8]);
    }
}

//! One cursor over several topics.

use std::sync::Arc;

use super::Lab;
use super::ledger::Ledger;
use super::stage::{ALL, Stage, event, numbers, topic};
use crate::{Cursor, Events, Limit, OpenOptions, Origin, Outcome, Part, Seek, Step, Topic};

pub(super) async fn every_delivered_prefix_resumes_exactly(lab: &dyn Lab) {
    const N: u64 = 6;
    let stage = Stage::new(lab);
    let topics: [Topic; 3] = ["one", "two", "three"].map(topic);
    let fresh = lab.second().await;
    let mut reader = stage.reader(&stage.log, &topics, Origin::Latest).await;
    for _ in 0..N {
        for topic in &topics {
            stage.publish(topic, event("x")).await;
        }
    }
    // The events that a client has seen when it is cut off after any event, and the client's cursor.
    let mut prefixes: Vec<(Vec<Ledger>, String)> = Vec::new();
    let all = |ledgers: &[Ledger]| ledgers.iter().all(|ledger| ledger.n() == N);
    while !all(reader.ledgers()) {
        let mut ledgers = reader.ledgers().to_vec();
        let step = stage.step(&mut reader, Limit { events: 2, bytes: usize::MAX }).await;
        let Step::Events { place, events } = step else { panic!("{step:?}: nothing is gone") };
        for event in events {
            let wire = reader.cursor().wire_at(place, event.position());
            let step = Step::Events { place, events: Events::from_iter([event.clone()]) };
            let entered = stage.truth.of(event.topic(), |h| ledgers[place].enter(&step, h));
            entered.expect("a part of a true step is true");
            prefixes.push((ledgers.clone(), wire));
        }
        let last = prefixes.last().map(|(_, wire)| wire.clone());
        assert_eq!(last, Some(reader.cursor().wire()), "the last event's cursor is the cursor");
    }
    for (ledgers, wire) in prefixes {
        for log in [&stage.log, &fresh] {
            assert!(wire.bytes().all(|b| b.is_ascii_alphanumeric() || b"._~=,;+-".contains(&b)));
            let mut again = stage.reader(log, &topics, Origin::Resume(wire.clone())).await;
            assert!(all(reader.ledgers()) && again.cursor().wire() == wire);
            again.roll_back(ledgers.clone());
            while !all(again.ledgers()) {
                let step = stage.step(&mut again, Limit::ONE).await;
                assert!(matches!(step, Step::Events { .. }), "{step:?}: nothing is gone");
            }
        }
    }
}

pub(super) async fn a_cursor_survives_a_change_of_topics(lab: &dyn Lab) {
    let stage = Stage::new(lab);
    let mut topics = ["one", "two", "three"].map(topic);
    topics.sort();
    for topic in &topics {
        stage.fill(topic, 2).await;
    }
    let mut reader = stage.reader(&stage.log, &topics[..2], Origin::Seek(Seek::Earliest)).await;
    for _ in 0..2 {
        stage.step(&mut reader, ALL).await;
    }
    let wire = reader.cursor().wire();
    for topic in &topics {
        stage.fill(topic, 2).await;
    }
    // The node must hear of the events first: a reader at the tail reads them from there.
    while (0..2).any(|topic| reader.cursor().position(topic).n < 4) {
        stage.step(&mut reader, ALL).await;
    }
    // A reader takes other topics with this cursor and is given these numbers of each.
    let given = |topics: &[Topic], cursor: String, new_topics| {
        let opening = OpenOptions { new_topics, ..OpenOptions::from(Origin::Resume(cursor)) };
        let (log, parts) = (Arc::clone(&stage.log), topics.iter().map(Part::of).collect());
        async move {
            let opened = Cursor::open_as(log, parts, opening).await.expect("it opens");
            let mut cursor = opened.cursor;
            let mut given = vec![vec![]; cursor.parts().len()];
            while let Some(step) = cursor.try_next(ALL).await.expect("it is read") {
                let Step::Events { place, events } = step else { panic!("{step:?}") };
                given[place].extend(numbers(&events));
            }
            (opened.outcome, opened.new_parts, given)
        }
    };
    let [_, two, three] = &topics;
    let fewer = given(&topics[1..2], wire.clone(), None).await;
    assert_eq!(fewer, (Outcome::Exact, vec![], vec![vec![3, 4]]));
    let others = given(&topics[1..], wire.clone(), None).await;
    assert_eq!(others, (Outcome::Exact, vec![Part::of(three)], vec![vec![3, 4], vec![]]));
    let from_earliest = given(&topics, wire, Some(Seek::Earliest)).await;
    let all = vec![vec![3, 4], vec![3, 4], vec![1, 2, 3, 4]];
    assert_eq!(from_earliest, (Outcome::Exact, vec![Part::of(three)], all));
    // A client that begins to read a second topic puts its cursor together.
    let last = stage.publish(two, event("last")).await;
    let named = format!("{two}@{last},other@1-1");
    let named = given(&topics[1..], named, Some(Seek::Last(1))).await;
    assert_eq!(named, (Outcome::Exact, vec![Part::of(three)], vec![vec![], vec![4]]));
}

pub(super) async fn a_quiet_topic_is_not_starved_by_a_busy_one(lab: &dyn Lab) {
    let stage = Stage::new(lab);
    let topics: [Topic; 3] = ["busy", "quiet", "busier"].map(topic);
    let mut reader = stage.reader(&stage.log, &topics, Origin::Latest).await;
    stage.fill(&topics[0], 500).await;
    stage.fill(&topics[2], 500).await;
    stage.step(&mut reader, Limit::ONE).await;
    // The node must hear of the event first: a reader at the tail reads it from there.
    let mut alone = stage.reader(&stage.log, &topics[1..2], Origin::Latest).await;
    let quiet = stage.publish(&topics[1], event("quiet")).await;
    stage.read_to(&mut alone, quiet.n, Limit::ONE).await;
    let index =
        reader.cursor().parts().position(|part| part.log == *topics[1]).expect("it is there");
    let mut others = 0;
    while reader.ledgers()[index].n() < quiet.n {
        stage.step(&mut reader, Limit::ONE).await;
        others += 1;
    }
    assert!(others <= topics.len(), "{others} steps until the quiet topic had its turn");
}

pub(super) async fn a_topic_named_twice_is_read_once(lab: &dyn Lab) {
    let stage = Stage::new(lab);
    let topic = topic("twice");
    let topics = [topic.clone(), topic.clone()];
    let mut reader = stage.reader(&stage.log, &topics, Origin::Latest).await;
    assert_eq!((reader.cursor().parts().len(), reader.cursor().is_several()), (1, false));
    stage.fill(&topic, 3).await;
    stage.read_to(&mut reader, 3, ALL).await;
    let wire = reader.cursor().wire();
    let log = Arc::clone(&stage.log);
    let mut reader = reader.reconnect(log, wire).await;
    stage.nothing_but_the_next(&mut reader, &topic).await;
}

//! Texts that are not cursors.

use super::Lab;
use super::stage::{ALL, Stage, event, numbers, topic};
use crate::{Origin, Outcome, Reason, Step, Topic};

const GARBAGE: &[&str] = &[
    "-",
    "0",
    "1-",
    "-1",
    "+1-1",
    "1-1-1",
    " 1-1",
    "1-1 ",
    "1_1",
    "v1.",
    "v1.AAAA",
    "v2.AAAAAAAA",
    "2.",
    "2.AAAAAAAAAA",
    "a@1-1",
    "@",
    ",",
    "18446744073709551616-1",
    "1-18446744073709551616",
    "\u{0}",
    "\u{1f300}",
    "<script>",
    "null",
];

pub(super) async fn garbage_is_invalid_and_goes_on_live(lab: &dyn Lab) {
    for topics in [vec![topic("garbage")], vec![topic("garbage"), topic("garbage")]] {
        let stage = Stage::new(lab);
        for topic in &topics {
            stage.fill(topic, 3).await;
        }
        for text in GARBAGE {
            invalid_then_live(&stage, &topics, (*text).to_owned()).await;
        }
        invalid_then_live(&stage, &topics, "9".repeat(100_000)).await;
    }
}

pub(super) async fn a_cursor_of_other_topics_is_invalid(lab: &dyn Lab) {
    let stage = Stage::new(lab);
    let [a, b, c] = ["a", "b", "c"].map(topic);
    for topic in [&a, &b, &c] {
        stage.fill(topic, 3).await;
    }
    let [d, e] = ["d", "e"].map(topic);
    let sets: [&[&Topic]; 6] = [&[&a], &[&a, &b], &[&b, &c], &[&d, &e], &[&c], &[&e]];
    for from in sets {
        for to in sets {
            let [from, to] =
                [from, to].map(|set| set.iter().map(|t| (*t).clone()).collect::<Vec<_>>());
            // The cursor of one topic is a position, which is valid for any other topic too. The cursor of
            // several is valid for each of them.
            let is_known = from.len() > 1 && from.iter().any(|topic| to.contains(topic));
            if from == to || is_known || (from.len() == 1 && to.len() == 1) {
                continue;
            }
            let wire = stage.reader(&stage.log, &from, Origin::Latest).await.cursor().wire();
            invalid_then_live(&stage, &to, wire).await;
        }
    }
}

async fn invalid_then_live(stage: &Stage<'_>, topics: &[Topic], text: String) {
    let mut reader = stage.reader(&stage.log, topics, Origin::Resume(text.clone())).await;
    assert_eq!(reader.outcome(), Outcome::Invalid, "{text:?}");
    for _ in topics {
        let Step::Gap { gap, .. } = stage.step(&mut reader, ALL).await else { panic!("{text:?}") };
        assert_eq!((gap.reason, gap.missed, gap.requested), (Reason::Invalid, None, None));
        assert_eq!(gap.resume, gap.newest);
    }
    for topic in topics {
        let position = stage.publish(topic, event("the next")).await;
        let Step::Events { events, .. } = stage.step(&mut reader, ALL).await else { panic!() };
        assert_eq!((numbers(&events), events[0].topic()), (vec![position.n], topic));
    }
}

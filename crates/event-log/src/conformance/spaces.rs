//! Topics that share a log, and readers that select some of them.

use std::sync::Arc;

use super::Lab;
use super::reader::Reader;
use super::stage::{ALL, Stage, event, marked, numbers};
use crate::{
    Advance, Append, AppendError, Bookmark, BreakReason, Extra, Key, Limit, Log, LogName, Mark,
    NewEvent, Origin, Outcome, Part, Pattern, Position, Reason, Seek, Selection, Step, Topic,
};

/// Events of other topics between two that a reader wants: more than any window on a node holds.
const MANY: u64 = 1500;

/// A topic of a space.
fn at(space: &str, name: &str) -> Topic {
    Topic::new(&format!("{space}{name}")).expect("a name")
}

fn pattern(space: &str, rest: &str) -> Pattern {
    Pattern::new(&format!("{space}{rest}")).expect("a pattern")
}

/// The part of a reader that selects.
fn part(topics: &[&Topic], patterns: Vec<Pattern>) -> Vec<Part> {
    let topics = topics.iter().map(|topic| (*topic).clone()).collect();
    super::spaces().parts(topics, patterns).expect("they lie in a space")
}

/// The log of a space.
fn log_of(space: &str) -> LogName {
    super::spaces().log_of(&at(space, "any"))
}

async fn reader(stage: &Stage<'_>, log: &Arc<dyn Log>, parts: Vec<Part>, origin: Origin) -> Reader {
    let reader = Reader::open_parts(Arc::clone(log), parts, origin, &stage.truth).await;
    reader.expect("a reader is put where it belongs")
}

/// The topics of the next events, without their beginning, until there are `count`.
async fn told(stage: &Stage<'_>, reader: &mut Reader, space: &str, count: usize) -> Vec<String> {
    let mut told = Vec::new();
    while told.len() < count {
        match stage.step(reader, Limit { events: 3, ..ALL }).await {
            Step::Events { events, .. } => {
                let names = events.iter().map(|event| event.topic().as_str().replace(space, ""));
                told.extend(names);
            }
            other => panic!("{other:?}"),
        }
    }
    told
}

pub(super) async fn topics_of_a_space_have_one_order(lab: &dyn Lab) {
    let (stage, space) = (Stage::new(lab), "check-order/");
    let [a, b] = ["a", "b"].map(|name| at(space, name));
    let log = log_of(space);
    let first = stage.publish(&a, event("1")).await;
    for (i, topic) in [&b, &a, &b].into_iter().enumerate() {
        let position = stage.publish(topic, event("x")).await;
        assert_eq!(position.n, first.n + 1 + i as u64);
    }
    for node in [lab.log(), lab.second().await] {
        let page = node.read(&log, first.before(), ALL).await.expect("it is read");
        let topics: Vec<_> = page.events.iter().map(|event| event.topic().clone()).collect();
        assert_eq!(topics, [&a, &b, &a, &b].map(Topic::clone));
        let bounds = node.bounds(&log).await.expect("it is read").expect("it is known");
        assert_eq!((bounds.head.n, bounds.ended), (first.n + 3, false));
    }
}

pub(super) async fn a_reader_gets_what_it_selects_and_nothing_else(lab: &dyn Lab) {
    let (stage, space) = (Stage::new(lab), "check-select/");
    let names = ["a", "b", "b/1", "b/1/2", "c"];
    let selections: [(&[&str], &[&str], &[&str]); 6] = [
        (&["a"], &[], &["a"]),
        (&["a", "c"], &[], &["a", "c"]),
        (&[], &["*"], &["a", "b", "c"]),
        (&[], &["b/**"], &["b/1", "b/1/2"]),
        (&["a"], &["b/*", "**"], &names),
        (&["c", "b/1"], &["b/*"], &["b/1", "c"]),
    ];
    let mut readers = Vec::new();
    for log in [lab.log(), lab.second().await] {
        for (topics, patterns, wanted) in selections {
            let topics: Vec<_> = topics.iter().map(|name| at(space, name)).collect();
            let patterns = patterns.iter().map(|text| pattern(space, text)).collect();
            let parts = part(&topics.iter().collect::<Vec<_>>(), patterns);
            readers.push((reader(&stage, &log, parts, Origin::Latest).await, wanted));
        }
    }
    for _ in 0..2 {
        for name in names {
            stage.publish(&at(space, name), event(name)).await;
        }
    }
    for (reader, wanted) in &mut readers {
        let twice = [*wanted, *wanted].concat();
        assert_eq!(told(&stage, reader, space, twice.len()).await, twice);
    }
}

pub(super) async fn every_position_of_a_selection_resumes_exactly(lab: &dyn Lab) {
    let (stage, space) = (Stage::new(lab), "check-resume/");
    let topics = ["a", "b", "c"].map(|name| at(space, name));
    let parts = part(&[&topics[0]], vec![]);
    let (log, fresh) = (lab.log(), lab.second().await);
    let first = stage.publish(&topics[1], event("b")).await;
    for i in 0..12 {
        stage.publish(&topics[i % 3], event("x")).await;
    }
    for n in first.n..first.n + 12 {
        for log in [&log, &fresh] {
            let page = log.read(&log_of(space), first.before(), ALL).await.expect("it is read");
            let after = page.events.iter().map(crate::Event::position).find(|p| p.n == n);
            let after = after.expect("it is there");
            let origin = Origin::Resume(after.to_string());
            let mut reader = reader(&stage, log, parts.clone(), origin).await;
            assert_eq!(reader.outcome(), Outcome::Exact);
            let rest = (n + 1..=first.n + 12).filter(|n| (n - first.n - 1) % 3 == 0).count();
            assert_eq!(told(&stage, &mut reader, space, rest).await, vec!["a"; rest]);
        }
    }
}

pub(super) async fn a_quiet_selection_keeps_up_with_a_busy_log(lab: &dyn Lab) {
    let (stage, space) = (Stage::new(lab), "check-quiet/");
    let [quiet, busy] = ["quiet", "busy"].map(|name| at(space, name));
    let log = lab.log();
    let parts = part(&[&quiet], vec![]);
    let mut reader = reader(&stage, &log, parts.clone(), Origin::Latest).await;
    // The node must hear of the events first.
    let mut all = self::reader(&stage, &log, part(&[&quiet, &busy], vec![]), Origin::Latest).await;
    stage.publish(&quiet, event("first")).await;
    assert_eq!(told(&stage, &mut reader, space, 1).await, ["quiet"]);
    let last = *stage.fill(&busy, MANY).await.last().expect("a position");
    while all.cursor().position(0) < last {
        stage.step(&mut all, ALL).await;
    }
    assert!(reader.cursor().position(0) < last);
    assert!(reader.cursor_mut().pass_by() && !reader.cursor_mut().pass_by());
    assert!(reader.cursor().position(0) >= last, "nothing that it wants lies between");
    stage.fill(&busy, MANY).await;
    let wire = reader.cursor().wire();
    let mut again = reader.reconnect(lab.second().await, wire).await;
    assert_eq!(again.outcome(), Outcome::Exact);
    let next = stage.publish(&quiet, event("next")).await;
    match stage.step(&mut again, ALL).await {
        Step::Events { events, .. } => assert_eq!(numbers(&events), [next.n]),
        other => panic!("{other:?}"),
    }
}

pub(super) async fn a_gap_of_a_selection_has_an_upper_bound(lab: &dyn Lab) {
    let (stage, space) = (Stage::new(lab), "check-gap/");
    let [a, b] = ["a", "b"].map(|name| at(space, name));
    let first = stage.publish(&a, event("a")).await;
    stage.fill(&b, 8).await;
    stage.publish(&a, event("a")).await;
    stage.trim(&log_of(space), 2).await;
    let whole = vec![Part { log: log_of(space), selection: None }];
    let some = part(&[&a], vec![]);
    let both = Selection::new(vec![a.clone()], vec![]);
    assert_eq!(some[0].selection, Some(both));
    for log in [lab.log(), lab.second().await] {
        for (parts, missed) in [(&whole, (Some(7), None)), (&some, (None, Some(7)))] {
            let origin = Origin::Resume(first.to_string());
            let mut reader = reader(&stage, &log, parts.clone(), origin).await;
            let Step::Gap { gap, .. } = stage.step(&mut reader, ALL).await else {
                panic!("events are gone");
            };
            assert_eq!((gap.reason, gap.missed, gap.missed_at_most), {
                let (exact, most) = missed;
                (Reason::Trimmed, exact, most)
            });
        }
        let mut reader = reader(&stage, &log, some.clone(), Origin::Seek(Seek::Earliest)).await;
        assert_eq!(told(&stage, &mut reader, space, 1).await, ["a"]);
    }
}

pub(super) async fn a_topic_in_a_space_has_no_end_of_its_own(lab: &dyn Lab) {
    let (stage, space) = (Stage::new(lab), "check-end/");
    let a = at(space, "a");
    let first = stage.publish(&a, event("a")).await;
    for mark in [Mark::Last, Mark::End, Mark::Reopened, Mark::Deleted] {
        let refused = stage.try_publish(&a, marked("x", mark), None).await;
        assert_eq!(refused, Err(AppendError::InSpace { topic: a.clone(), mark }));
    }
    // A break is told to those that read the topic, whatever others have published since.
    let (log, other) = (lab.log(), at(space, "b"));
    let mut reader = reader(&stage, &log, part(&[&a], vec![]), Origin::Latest).await;
    stage.publish(&other, event("b")).await;
    let broken = marked("", Mark::Broken(BreakReason::Timeout));
    let append = Append { follows: Some(first), ..Append::new(a.clone(), broken.clone()) };
    let receipt = log.append(vec![append]).await.remove(0).expect("it is stored");
    assert!(!receipt.duplicate);
    let verdict = stage.truth.of(&log_of(space), |h| h.append(receipt.position, &a, broken));
    verdict.expect("the position follows");
    match stage.step(&mut reader, ALL).await {
        Step::Broken { entry, .. } => {
            assert_eq!((entry.topic(), entry.position()), (&a, receipt.position))
        }
        other => panic!("{other:?}"),
    }
}

pub(super) async fn keys_and_bookmarks_belong_to_topics(lab: &dyn Lab) {
    let (stage, space) = (Stage::new(lab), "check-keys/");
    let [a, b] = ["a", "b"].map(|name| at(space, name));
    let first = stage.try_publish(&a, event("x"), Some("k")).await.expect("it is stored");
    let other = stage.try_publish(&b, event("x"), Some("k")).await.expect("it is stored");
    let again = stage.try_publish(&a, event("x"), Some("k")).await.expect("it is there");
    assert!(!first.duplicate && !other.duplicate && again.duplicate);
    assert_eq!((again.position, other.position.n), (first.position, first.position.n + 1));
    let source = Key::new("source").expect("a key");
    let to = Bookmark::new("1").expect("a bookmark");
    let advance = Advance { source: source.clone(), from: None, to: to.clone() };
    let log = lab.log();
    for topic in [&a, &b] {
        let advance = Some(advance.clone());
        // An event that may not begin its topic: in a space there is nothing to begin.
        let append = Append { advance, may_begin: false, ..Append::new(topic.clone(), event("y")) };
        let receipt = log.append(vec![append]).await.remove(0).expect("it is stored");
        assert!(!receipt.duplicate, "{topic}");
        assert_eq!(log.bookmark(topic, &source).await, Ok(Some(to.clone())));
    }
    let unknown = at(space, "c");
    assert_eq!(lab.second().await.bookmark(&unknown, &source).await, Ok(None));
    assert_ne!(first.position, Position::START);
}

pub(super) async fn an_event_of_several_topics_comes_once(lab: &dyn Lab) {
    let (stage, space) = (Stage::new(lab), "check-also/");
    let [a, b, c] = ["a", "b", "c"].map(|name| at(space, name));
    let extra = |also: &[&Topic]| {
        let also = also.iter().map(|topic| (*topic).clone()).collect();
        Some(Box::new(Extra { also, attributes: Some("{\"private\": \"\u{e9} =\"}".into()) }))
    };
    let mut readers = Vec::new();
    for log in [lab.log(), lab.second().await] {
        for parts in
            [part(&[&a], vec![]), part(&[&b, &c], vec![]), part(&[], vec![pattern(space, "*")])]
        {
            readers.push(reader(&stage, &log, parts, Origin::Latest).await);
        }
    }
    stage.publish(&a, NewEvent { extra: extra(&[&b, &c]), ..event("all") }).await;
    stage.publish(&c, event("c")).await;
    stage.publish(&a, NewEvent { extra: extra(&[]), ..event("a") }).await;
    for (index, reader) in readers.iter_mut().enumerate() {
        let wanted: &[&str] = [&["a", "a"][..], &["a", "c"], &["a", "c", "a"]][index % 3];
        assert_eq!(told(&stage, reader, space, wanted.len()).await, wanted);
    }
    let page = lab.second().await.read(&log_of(space), Position::START, ALL).await;
    let first = page.expect("it is read").events.remove(0);
    assert_eq!(first.extra(), extra(&[&b, &c]).as_deref());
}

pub(super) async fn a_label_finds_the_first_event_that_has_it(lab: &dyn Lab) {
    let (stage, space) = (Stage::new(lab), "check-label/");
    let label = |text: &str| Key::new(text).expect("a key");
    let mut first = None;
    for name in ["a", "b"] {
        let topic = at(space, name);
        let append =
            Append { label: Some(label("urn:1")), ..Append::new(topic.clone(), event("x")) };
        let receipt = stage.log.append(vec![append]).await.remove(0).expect("it is stored");
        assert!(!receipt.duplicate, "a label is no key");
        first = first.or(Some(receipt.position));
    }
    for log in [lab.log(), lab.second().await] {
        assert_eq!(log.find(&log_of(space), &label("urn:1")).await, Ok(first));
        assert_eq!(log.find(&log_of(space), &label("urn:2")).await, Ok(None));
        assert_eq!(log.find(&log_of("check-also/"), &label("urn:1")).await, Ok(None));
    }
}

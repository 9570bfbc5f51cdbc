use super::{Entry, History, Judgement, Tampering};
use crate::client::position::Position;

fn at(ms: u64, n: u64) -> Position {
    Position { ms, n }
}

fn event(ms: u64, n: u64, seq: u32) -> Entry {
    Entry::Event { at: at(ms, n), seq: Some(seq) }
}

/// Ten acknowledged events at `1000+n - n`, and a client that saw these entries.
fn run(entries: &[Entry]) -> History {
    let mut history = History::new(1);
    let client = history.add_client(0);
    for n in 1..=10_u32 {
        history.acknowledged(0, n, at(1000 + u64::from(n), n.into()));
        history.readable(0, n, at(1000 + u64::from(n), n.into()));
    }
    entries.iter().for_each(|entry| history.saw(client, entry.clone()));
    history
}

fn all() -> Vec<Entry> {
    (1..=10_u32).map(|n| event(1000 + u64::from(n), n.into(), n)).collect()
}

fn trimmed(missed: u64, n: u64) -> Entry {
    Entry::Gap { missed: Some(missed), is_rewind: false, resume: at(1000 + n, n) }
}

fn rewound(resume: Position) -> Entry {
    Entry::Gap { missed: None, is_rewind: true, resume }
}

#[test]
fn an_event_that_the_log_has_lost_or_moved_was_taken_back_and_a_trimmed_one_was_not() {
    let mut history = History::new(1);
    let client = history.add_client(0);
    (1..=4_u32).for_each(|n| history.saw(client, event(1000 + u64::from(n), n.into(), n)));
    // The first is trimmed; the third is lost, and the fourth was sent anew.
    history.readable(0, 2, at(1002, 2));
    history.readable(0, 4, at(9000, 3));
    assert_eq!(history.judge().taken_back, 2);
    assert_eq!(run(&all()).judge().taken_back, 0);
}

#[test]
fn everything_once_and_in_order_is_fine() {
    let judgement = run(&all()).judge();
    assert_eq!(judgement.failures(), Vec::<String>::new());
    assert_eq!((judgement.delivered, judgement.acknowledged, judgement.lost), (10, 10, 0));
}

#[test]
fn every_lie_is_noticed() {
    let judged = |tampering, entries: &[Entry]| {
        let mut history = run(entries);
        history.tamper(tampering);
        history.judge()
    };
    assert_eq!(judged(Tampering::DropEvent, &all()).lost, 1);
    assert_eq!(judged(Tampering::DropLast, &all()).lost, 1);
    assert_eq!(judged(Tampering::RepeatEvent, &all()).duplicated, 1);
    assert!(judged(Tampering::SwapEvents, &all()).out_of_order > 0);
    let mut entries = vec![trimmed(3, 3)];
    entries.extend(all().into_iter().skip(3));
    assert_eq!(judged(Tampering::None, &entries).lost, 0);
    assert_eq!(judged(Tampering::DropGap, &entries).lost, 3);
}

#[test]
fn a_numbered_gap_must_be_exact() {
    let exact = [trimmed(3, 3)].into_iter().chain(all().into_iter().skip(3)).collect::<Vec<_>>();
    let Judgement { announced, missing, lost, .. } = run(&exact).judge();
    assert_eq!((announced, missing, lost), (3, 3, 0));
    let wrong = [trimmed(2, 3)].into_iter().chain(all().into_iter().skip(3)).collect::<Vec<_>>();
    assert!(run(&wrong).judge().failures().iter().any(|f| f.contains("2 announced missing, 3")));
}

#[test]
fn what_is_announced_missing_may_not_be_readable() {
    let entries = [trimmed(3, 3)].into_iter().chain(all().into_iter().skip(3)).collect::<Vec<_>>();
    assert_eq!(run(&entries).judge().readable_after_all, 3);
}

#[test]
fn a_tail_lost_unseen_and_unannounced_is_lost_in_silence() {
    // The log forgot 9 and 10 of the old generation; the client went on with 11 at number 9.
    let mut entries = all();
    entries.truncate(8);
    entries.push(event(20_000, 9, 11));
    let mut history = run(&entries);
    history.acknowledged(0, 11, at(20_000, 9));
    assert_eq!(history.judge().lost, 2);
    // Told of it, it is not.
    entries.insert(8, rewound(at(1008, 8)));
    let mut history = run(&entries);
    history.acknowledged(0, 11, at(20_000, 9));
    let judgement = history.judge();
    assert_eq!((judgement.lost, judgement.missing_unnumbered), (0, 2));
}

#[test]
fn a_payload_comes_again_only_after_a_rewind() {
    let mut entries = all();
    entries.push(rewound(at(1009, 9)));
    entries.push(event(20_000, 10, 10));
    let judgement = run(&entries).judge();
    assert_eq!((judgement.again, judgement.duplicated, judgement.out_of_order), (1, 0, 0));
    entries.remove(10);
    assert_eq!(run(&entries).judge().duplicated, 1);
}

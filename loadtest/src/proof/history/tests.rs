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

/// Two topics with a publisher each, whose events 1 to 6 take turns in one log, and readers of the first one, and of both.
/// Of the log only what `kept` has can be read.
fn shared(
    entries: &[(usize, Entry)],
    is_whole: bool,
    kept: std::ops::RangeInclusive<u64>,
) -> History {
    let mut history = History::new(2);
    let reader = history.add_reader(if is_whole { &[0, 1] } else { &[0] }, is_whole);
    for n in 1..=12_u64 {
        let (topic, seq) =
            (usize::from(n.is_multiple_of(2)), u32::try_from(n.div_ceil(2)).unwrap());
        history.acknowledged(topic, seq, at(1000 + n, n));
        if kept.contains(&n) {
            history.readable(topic, seq, at(1000 + n, n));
        }
    }
    for (topic, entry) in entries {
        match entry {
            Entry::Event { .. } => history.read(reader, *topic, entry),
            _ => history.told(reader, entry),
        }
    }
    history
}

/// The events with these numbers.
fn some(numbers: impl IntoIterator<Item = u64>) -> Vec<(usize, Entry)> {
    let of = |n: u64| {
        (
            usize::from(n.is_multiple_of(2)),
            event(1000 + n, n, u32::try_from(n.div_ceil(2)).unwrap()),
        )
    };
    numbers.into_iter().map(of).collect()
}

#[test]
fn a_selection_has_all_events_of_its_topics() {
    let judged = |numbers: &[u64]| shared(&some(numbers.iter().copied()), false, 1..=12).judge();
    let judgement = judged(&[1, 3, 5, 7, 9, 11]);
    assert_eq!((judgement.failures(), judgement.delivered), (vec![], 6));
    assert_eq!(judged(&[1, 3, 7, 9, 11]).lost, 1);
    assert_eq!(judged(&[1, 3, 5, 5, 7, 9, 11]).duplicated, 1);
    assert!(judged(&[1, 5, 3, 7, 9, 11]).out_of_order > 0);
    let all = shared(&some(1..=12), true, 1..=12).judge();
    assert_eq!((all.failures(), all.delivered), (vec![], 12));
    assert_eq!(shared(&some((1..=12).filter(|n| *n != 6)), true, 1..=12).judge().lost, 1);
    assert_eq!(shared(&some(1..=10), true, 1..=12).unfinished(), 1);
}

#[test]
fn a_cursor_that_passed_by_may_not_be_ahead_of_an_event() {
    let passed = |n: u64| (0, Entry::PassedBy { at: at(1000 + n, n) });
    let mut entries = some([1, 3, 5, 7]);
    entries.push(passed(8));
    entries.extend(some([9, 11]));
    assert_eq!(shared(&entries, false, 1..=12).judge().failures(), Vec::<String>::new());
    entries[4] = passed(10);
    assert!(shared(&entries, false, 1..=12).judge().out_of_order > 0);
}

#[test]
fn a_gap_of_a_selection_is_an_upper_bound_and_that_of_a_whole_log_is_exact() {
    let judged = |missed: u64, is_whole: bool| {
        let mut entries = vec![(0, trimmed(missed, 4))];
        entries.extend(some((5..=12).filter(|n| is_whole || n % 2 == 1)));
        shared(&entries, is_whole, 5..=12).judge()
    };
    assert_eq!(judged(4, true).failures(), Vec::<String>::new());
    assert!(judged(3, true).failures().iter().any(|f| f.contains("3 announced missing, 4")));
    for (missed, low, high) in [(1, 1, 0), (2, 0, 0), (4, 0, 0), (5, 0, 1)] {
        let judgement = judged(missed, false);
        assert_eq!((judgement.bounds_too_low, judgement.bounds_too_high), (low, high), "{missed}");
        assert_eq!((judgement.lost, judgement.told(), judgement.really_missing()), (0, 2, 2));
    }
}

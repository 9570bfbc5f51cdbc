use super::*;
use event_log::{Generation, NewEvent, Topic};

fn at(n: u64) -> Position {
    Position::new(1000 + n, n)
}

fn event(position: Position) -> Event {
    Event::new(Topic::new("t").unwrap(), position, NewEvent::default())
}

fn live(n: u64) -> Live {
    Live::Event(event(at(n)))
}

fn head(position: Position) -> Option<LogHead> {
    Some(LogHead {
        generation: Generation { head: position, first: at(1) },
        ended: false,
        accounted: 0,
    })
}

/// The result of a read: events after the tail.
fn next(events: Vec<Event>) -> Found {
    Found::Next { events, promised: Position::START }
}

/// A topic whose tail follows the feed and has its head at `n`.
fn following(n: u64) -> Watched {
    let watched = Watched::new(LogName::parse("t").unwrap());
    watched.begin();
    let events = (1..=n).map(|n| event(at(n))).collect();
    let head = if n == 0 { Position::START } else { at(n) };
    let window = Window { head, before: Position::START, ended: false, events };
    assert_eq!(watched.opened(window), Verdict::Fine);
    watched
}

#[test]
fn the_next_number_extends_the_tail_and_an_old_number_is_dropped() {
    let watched = following(3);
    for n in [4, 5, 3, 5, 6] {
        assert_eq!(watched.take(live(n)), Verdict::Fine);
    }
    assert_eq!(watched.head(), at(6));
}

#[test]
fn any_other_number_makes_a_read_due_and_nothing_is_trusted_until_it_is_done() {
    let watched = following(3);
    assert_eq!(watched.take(live(5)), Verdict::Read);
    // Number 4 of another log, as after a fail-over: it must not be taken for the successor.
    assert_eq!(watched.take(live(4)), Verdict::Fine);
    assert_eq!(watched.head(), at(3));
    assert_eq!(watched.begin(), at(3));
    assert_eq!(watched.take(live(6)), Verdict::Fine);
    let found = next(vec![event(at(4)), event(at(5))]);
    assert_eq!(watched.read(found), Verdict::Fine);
    assert_eq!(watched.head(), at(6));
    assert_eq!(watched.take(live(7)), Verdict::Fine);
    assert_eq!(watched.head(), at(7));
}

#[test]
fn a_notice_makes_a_read_due_unless_the_tail_is_past_it() {
    let watched = following(3);
    assert_eq!(watched.take(Live::Notice(at(3))), Verdict::Fine);
    assert_eq!(watched.take(Live::Notice(at(4))), Verdict::Read);
}

#[test]
fn a_topic_with_more_messages_than_are_held_is_read_again() {
    let watched = following(0);
    assert_eq!(watched.take(live(2)), Verdict::Read);
    watched.begin();
    for n in 3..3 + 2 * HELD_MAX as u64 {
        assert_eq!(watched.take(live(n)), Verdict::Fine);
    }
    let found = next(vec![event(at(1)), event(at(2))]);
    assert_eq!(watched.read(found), Verdict::Read);
    watched.begin();
    let rest = (3..3 + 2 * HELD_MAX as u64).map(|n| event(at(n))).collect();
    assert_eq!(watched.read(next(rest)), Verdict::Fine);
    assert_eq!(watched.head(), at(2 + 2 * HELD_MAX as u64));
}

#[test]
fn a_broken_subscription_is_compared_before_a_message_is_taken() {
    let watched = following(3);
    assert_eq!(watched.joined(), Verdict::Read);
    assert_eq!(watched.joined(), Verdict::Fine, "a read is under way");
    watched.begin();
    assert_eq!(watched.take(live(4)), Verdict::Fine);
    assert_eq!(watched.compared(head(at(3))), Verdict::Fine);
    assert_eq!(watched.head(), at(4));

    assert_eq!(watched.joined(), Verdict::Read);
    watched.begin();
    assert_eq!(watched.compared(head(at(6))), Verdict::Read);
    assert_eq!(watched.take(live(5)), Verdict::Fine);
    assert_eq!(watched.head(), at(4));
}

#[test]
fn a_break_during_a_read_repeats_the_read() {
    let watched = following(3);
    assert_eq!(watched.take(live(5)), Verdict::Read);
    watched.begin();
    assert_eq!(watched.joined(), Verdict::Fine);
    assert_eq!(watched.read(next(Vec::new())), Verdict::Read);
}

#[test]
fn a_log_that_does_not_continue_the_tail_replaces_it() {
    let watched = following(6);
    let tail = watched.tail().unwrap();
    let mut wake = tail.wake();
    wake.mark_unchanged();
    let newer = Position::new(20_000, 4);
    assert_eq!(watched.take(Live::Event(event(newer))), Verdict::Read);
    watched.begin();
    let events = vec![event(newer)];
    let window = Window { head: newer, before: newer.before(), ended: false, events };
    assert_eq!(watched.read(Found::Elsewhere(window)), Verdict::Fine);
    assert_eq!(tail.head(), newer);
    assert!(wake.has_changed());
}

#[test]
fn no_answer_of_a_store_breaks_the_tail() {
    let watched = following(3);
    assert_eq!(watched.take(live(9)), Verdict::Read);
    watched.begin();
    let odd = [2, 4, 6, 5, 4].map(|n| event(at(n))).into();
    assert_eq!(watched.read(next(odd)), Verdict::Fine);
    assert_eq!(watched.head(), at(4));
}

#[test]
fn the_audit_tells_a_late_message_from_a_lost_log() {
    let watched = following(6);
    assert_eq!(watched.compare(at(6), head(at(6))), Compared::Same);
    // The tail has moved on since the head was read.
    assert_eq!(watched.compare(at(4), head(at(5))), Compared::Same);
    assert_eq!(watched.compare(at(6), head(at(7))), Compared::Behind);
    // The log has lost events that the tail had before the read, in the window or not.
    assert_eq!(watched.compare(at(6), head(at(4))), Compared::Apart);
    assert_eq!(watched.compare(at(6), None), Compared::Apart);
    assert_eq!(watched.compare(at(6), head(Position::new(20_000, 2))), Compared::Apart);
    assert_eq!(following(0).compare(Position::START, None), Compared::Same);
    // This tail has moved on by more than its window.
    for n in 7..=400 {
        assert_eq!(watched.take(live(n)), Verdict::Fine);
    }
    assert_eq!(watched.compare(at(6), head(at(7))), Compared::Same);
    assert_eq!(watched.compare(at(6), head(Position::new(1300, 299))), Compared::Apart);
}

#[test]
fn a_promised_event_is_read_until_the_source_has_it_or_it_is_given_up() {
    let watched = following(3);
    assert_eq!(watched.promise(at(3)), Verdict::Fine, "the tail has it");
    assert_eq!(watched.promise(at(4)), Verdict::Read);
    assert_eq!(watched.begin(), at(3));
    // The source does not have it yet, and another one is promised meanwhile.
    assert_eq!(watched.promise(at(5)), Verdict::Fine);
    assert_eq!(watched.read(next(Vec::new())), Verdict::Read);
    watched.begin();
    assert_eq!(watched.read(next(vec![event(at(4))])), Verdict::Read);
    watched.begin();
    assert_eq!(watched.read(next(vec![event(at(5))])), Verdict::Fine);
    assert_eq!(watched.head(), at(5));
    assert_eq!(watched.promise(at(9)), Verdict::Read);
    watched.begin();
    watched.give_up();
    assert_eq!(watched.read(next(Vec::new())), Verdict::Fine);
    assert_eq!(watched.take(live(6)), Verdict::Fine);
    assert_eq!(watched.head(), at(6));
}

#[test]
fn events_that_readers_may_not_see_yet_are_read_again() {
    let watched = Watched::new(LogName::parse("t").unwrap());
    watched.begin();
    // The log has five events, of which two are committed.
    let events = (1..=2).map(|n| event(at(n))).collect();
    let window = Window { head: at(5), before: Position::START, ended: false, events };
    assert_eq!(watched.opened(window), Verdict::Read);
    assert_eq!(watched.head(), at(2));
    watched.begin();
    let found = Found::Next { events: vec![event(at(3))], promised: at(6) };
    assert_eq!(watched.read(found), Verdict::Read);
    watched.begin();
    assert_eq!(watched.read(next((4..=6).map(|n| event(at(n))).collect())), Verdict::Fine);
    assert_eq!(watched.head(), at(6));
}

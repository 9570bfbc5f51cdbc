//! The way to go on, and the size of a place.

use super::*;

fn print(n: u64) -> Print {
    Print::of(&[&n.to_string()])
}

#[test]
fn a_stream_is_asked_for_from_the_id_before_the_last() {
    let mut trail = Trail::default();
    assert_eq!(trail.resume(), None);
    trail.copy("a", true, print(1));
    assert_eq!(trail.resume().unwrap().id, "a");
    trail.copy("a", false, print(2));
    trail.copy("b", true, print(3));
    trail.copy("b", false, print(4));
    let trail = Trail::up_to(Some(&trail.place()));
    let Resume { id, mut again } = trail.resume().unwrap();
    assert_eq!(id, "a");
    assert_eq!([2, 3, 4].map(|n| again.see(print(n))), [Seen::Before, Seen::Before, Seen::Last]);
}

#[test]
fn an_event_that_does_not_come_again_is_noticed() {
    let mut trail = Trail::default();
    for (n, id) in (1..).zip(["a", "b", "c"]) {
        trail.copy(id, true, print(n));
    }
    let see = |numbers: &[u64]| {
        let mut again = trail.resume().unwrap().again;
        numbers.iter().map(|n| again.see(print(*n))).last().unwrap()
    };
    assert_eq!(see(&[3]), Seen::Last);
    assert_eq!(see(&[1, 3]), Seen::Last);
    assert_eq!(see(&[4]), Seen::New { is_unproven: true });
    assert_eq!(see(&[2, 4]), Seen::New { is_unproven: true });
}

#[test]
fn a_stream_without_an_id_for_long_cannot_be_continued() {
    let mut trail = Trail::default();
    trail.copy("a", true, print(0));
    for n in 1..=PRINTS_MAX {
        trail.copy("a", false, print(n));
    }
    let mut again = trail.resume().unwrap().again;
    assert_eq!(again.see(print(1)), Seen::Before);
    trail.copy("a", false, print(1000));
    assert_eq!(trail.resume(), None);
    trail.copy("b", true, print(1001));
    assert_eq!(trail.resume().unwrap().id, "b", "the way from the id before is too long");
}

#[test]
fn an_empty_id_takes_the_last_one_away() {
    let mut trail = Trail::default();
    trail.copy("a", true, print(1));
    trail.copy("", true, print(2));
    assert_eq!(trail.resume(), None);
    trail.copy("b", true, print(3));
    assert_eq!(trail.resume().unwrap().id, "b");
}

#[test]
fn the_longest_place_is_allowed() {
    let mut trail = Trail::default();
    let quotes = |count: usize| "\"".repeat(count / 2);
    for (id, events) in [(quotes(BEFORE_MAX), 1), (quotes(ID_MAX), 3 * PRINTS_MAX)] {
        trail.check_id(&id).unwrap();
        for n in 0..events {
            trail.copy(&id, n == 0, print(n));
        }
    }
    trail.miss();
    let place = trail.place();
    assert!(Place::allows(&place.text), "{}", place.text.len());
    assert_eq!(Trail::up_to(Some(&place)).memo, trail.memo);
    assert_eq!(
        trail.check_id(&quotes(ID_MAX + 2)).unwrap_err(),
        "an id has 2002 bytes as JSON; the limit is 2000"
    );
    trail.set_exact(true);
    trail.copy(&"x".repeat(EXACT_ID_MAX), true, print(0));
    assert!(Place::allows(&trail.place().text));
}

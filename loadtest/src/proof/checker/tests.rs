use super::{Checker, ClientId, TopicId, Verdict};
use crate::client::control::Gap;
use crate::client::position::Position;

/// One topic with `events` acknowledged, payload `n` at number `n`, and one client at its start.
struct Run {
    checker: Checker,
    topic: TopicId,
    client: ClientId,
}

fn at(n: u64) -> Position {
    Position { ms: 1000 + n, n }
}

impl Run {
    fn with(events: u32) -> Run {
        let mut checker = Checker::new();
        let topic = checker.add_topic();
        let client = checker.add_client(topic);
        for n in 1..=events {
            checker.acknowledged(topic, at(n.into()), n);
        }
        checker.started(client, at(0));
        Run { checker, topic, client }
    }

    fn deliver(mut self, numbers: &[u32]) -> Run {
        for &n in numbers {
            self.checker.delivered(self.client, at(n.into()), Some(n));
        }
        self
    }

    fn gap(mut self, reason: &str, missed: Option<u64>) -> Run {
        let gap = Gap {
            topic: "t".to_owned(),
            reason: reason.to_owned(),
            missed,
            missed_at_most: None,
            requested: None,
            oldest: None,
            newest: None,
        };
        self.checker.gap(self.client, &gap);
        self
    }

    fn verdict(&self) -> Verdict {
        let verdict = self.checker.verdict();
        let missing = verdict.lost + verdict.behind + verdict.missed_truly;
        assert_eq!(verdict.expected, verdict.delivered + missing, "{verdict:?}");
        verdict
    }

    fn failures(&self) -> Vec<String> {
        self.verdict().failures()
    }
}

#[test]
fn every_event_once_and_in_order_is_no_failure() {
    let verdict = Run::with(4).deliver(&[1, 2, 3, 4]).verdict();
    assert_eq!(verdict.failures(), Vec::<String>::new());
    assert_eq!((verdict.expected, verdict.delivered), (4, 4));
}

#[test]
fn planted_loss_is_found() {
    let run = Run::with(5).deliver(&[1, 4, 5]);
    assert_eq!(run.failures(), ["2 deliveries lost"]);
}

#[test]
fn loss_of_the_last_event_leaves_the_client_unfinished() {
    let run = Run::with(5).deliver(&[1, 2, 3, 4]);
    assert_eq!(run.failures(), ["1 clients unfinished"]);
    assert_eq!((run.verdict().behind, run.checker.unfinished()), (1, 1));
}

#[test]
fn planted_duplicate_is_found() {
    let run = Run::with(3).deliver(&[1, 2, 2, 1, 3]);
    assert_eq!(run.failures(), ["2 deliveries duplicated"]);
}

#[test]
fn replay_from_before_the_start_is_a_duplicate() {
    let mut run = Run::with(3);
    let late = run.checker.add_client(run.topic);
    run.checker.started(late, at(2));
    run.checker.delivered(late, at(2), Some(2));
    run.checker.delivered(late, at(3), Some(3));
    let run = run.deliver(&[1, 2, 3]);
    assert_eq!(run.failures(), ["1 deliveries duplicated"]);
}

#[test]
fn swapped_events_are_out_of_order_and_not_lost() {
    let run = Run::with(4).deliver(&[1, 3, 2, 4]);
    assert_eq!(run.failures(), ["1 deliveries out of order"]);
}

#[test]
fn late_event_in_the_middle_of_a_hole_leaves_the_rest_lost() {
    let run = Run::with(6).deliver(&[1, 6, 3, 3]);
    let expected = ["3 deliveries lost", "1 deliveries duplicated", "1 deliveries out of order"];
    assert_eq!(run.failures(), expected);
}

#[test]
fn time_that_runs_backwards_is_out_of_order() {
    let mut run = Run::with(2).deliver(&[1]);
    run.checker.delivered(run.client, Position { ms: 1, n: 2 }, Some(2));
    assert_eq!(run.failures(), ["1 deliveries out of order"]);
}

#[test]
fn payload_of_another_event_is_corrupted() {
    let mut run = Run::with(2).deliver(&[1]);
    run.checker.delivered(run.client, at(2), Some(9));
    let verdict = run.checker.verdict();
    assert_eq!(verdict.failures(), ["1 deliveries corrupted"]);
}

#[test]
fn unreadable_payload_is_corrupted_and_undelivered() {
    let mut run = Run::with(1);
    run.checker.delivered(run.client, at(1), None);
    assert_eq!(run.checker.verdict().failures(), ["1 deliveries corrupted"]);
}

#[test]
fn delivery_may_come_before_its_acknowledgement() {
    let mut run = Run::with(0).deliver(&[1]);
    run.checker.acknowledged(run.topic, at(1), 1);
    run.checker.acknowledged(run.topic, at(1), 1);
    assert!(run.failures().is_empty());
    assert_eq!(run.verdict().acknowledged, 1);
}

#[test]
fn acknowledgement_that_contradicts_a_delivery_is_found() {
    let mut run = Run::with(0).deliver(&[1]);
    run.checker.acknowledged(run.topic, at(1), 2);
    assert_eq!(run.failures(), ["1 acknowledgements contradicted"]);
}

#[test]
fn two_payloads_at_one_position_are_found() {
    let mut run = Run::with(1).deliver(&[1]);
    run.checker.acknowledged(run.topic, at(1), 2);
    assert_eq!(run.failures(), ["1 acknowledgements contradicted"]);
}

#[test]
fn payload_stored_twice_is_a_duplicate() {
    let mut run = Run::with(1).deliver(&[1]);
    // The retry of payload 1 was stored again, and only then acknowledged.
    run.checker.delivered(run.client, at(2), Some(1));
    assert_eq!(run.checker.verdict().failures(), ["1 deliveries duplicated"]);
}

#[test]
fn announced_gap_is_no_loss() {
    let run = Run::with(9).deliver(&[1]).gap("trimmed", Some(5)).deliver(&[7, 8, 9]);
    let verdict = run.verdict();
    assert_eq!(verdict.failures(), ["1 gaps announced"]);
    assert!(verdict.gaps_are_exact());
}

#[test]
fn gap_excuses_no_more_than_it_announced() {
    let run = Run::with(9).deliver(&[1]).gap("trimmed", Some(2)).deliver(&[7, 8, 9]);
    let verdict = run.checker.verdict();
    assert_eq!(verdict.failures(), ["3 deliveries lost", "1 gaps announced"]);
    assert!(!verdict.gaps_are_exact());
}

#[test]
fn gap_that_announces_too_much_is_not_exact() {
    let run = Run::with(3).deliver(&[1]).gap("trimmed", Some(2)).deliver(&[2, 3]);
    assert!(!run.verdict().gaps_are_exact());
}

#[test]
fn reset_log_may_number_from_one_again() {
    let run = Run::with(3).deliver(&[1, 2, 3]).gap("reset", None).deliver(&[1]);
    let verdict = run.checker.verdict();
    assert_eq!((verdict.duplicated, verdict.lost), (0, 0));
}

#[test]
fn client_that_never_started_is_unfinished() {
    let mut checker = Checker::new();
    let topic = checker.add_topic();
    checker.add_client(topic);
    assert_eq!(checker.verdict().failures(), ["1 clients unfinished"]);
}

#[test]
fn absurd_number_is_refused_and_takes_no_memory() {
    let mut run = Run::with(1).deliver(&[1]);
    let absurd = Position { ms: 2000, n: u64::MAX };
    run.checker.delivered(run.client, absurd, Some(2));
    assert_eq!(run.failures(), ["1 deliveries corrupted"]);
}

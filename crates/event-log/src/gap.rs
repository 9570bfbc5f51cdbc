//! Gaps: the answer to a reader whose next events cannot be read.
//!
//! [`classify`] is the resume table: every [`Log`](crate::Log) uses it, so that a position has the same
//! meaning in all logs. The function is pure.

use crate::Position;

/// Positions that can no longer be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The reason why the positions cannot be read.
    pub reason: Reason,
    /// The number of events that the reader misses, if the log can count them.
    pub missed: Option<u64>,
    /// An upper bound instead, for a reader that selects: the number of events that are gone, whoever wanted them.
    pub missed_at_most: Option<u64>,
    /// The reader's position; `None` if the cursor could not be parsed.
    pub requested: Option<Position>,
    /// The oldest event that can still be read, if there is one.
    pub oldest: Option<Position>,
    /// The topic's head.
    pub newest: Position,
    /// The position from which the reader goes on.
    pub resume: Position,
}

/// The reason why positions cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The log has dropped the events because of length or age.
    Trimmed,
    /// The reader has seen events that the log has lost since, for example in a fail-over.
    Rewound,
    /// The topic was deleted, and its numbers began again at 1.
    Reset,
    /// The events are older than the reader may read.
    History,
    /// The cursor could not be parsed; the reader goes on live.
    Invalid,
}

impl Gap {
    /// The gap for a reader that selects: the log cannot tell how many of the events it wanted.
    pub(crate) const fn of_some(mut self) -> Self {
        if self.missed.is_some() {
            (self.missed_at_most, self.missed) = (self.missed, None);
        }
        self
    }
}

impl Reason {
    /// All reasons.
    pub const ALL: [Self; 5] =
        [Self::Trimmed, Self::Rewound, Self::Reset, Self::History, Self::Invalid];

    /// The reason as a word, for a metric or a message.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trimmed => "trimmed",
            Self::Rewound => "rewound",
            Self::Reset => "reset",
            Self::History => "history",
            Self::Invalid => "invalid",
        }
    }
}

/// The numbering of a topic in its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Generation {
    /// The last position given out. Number 0 is the place before the first event of a topic that was deleted.
    pub head: Position,
    /// The first position given out since the store last began or changed its primary. A reader's older
    /// position with a number this high is not from this log.
    pub first: Position,
}

/// Returns the gap of a reader at `after`, or `None` if the reader can go on without one.
///
/// `generation` is `None` if the log does not know the topic. `next` is the first event after `after` in
/// the order of positions, and `oldest` is the first event in the log.
#[must_use]
pub fn classify(
    after: Position,
    generation: Option<Generation>,
    oldest: Option<Position>,
    next: Option<Position>,
) -> Option<Gap> {
    let Some(Generation { head, first }) = generation else {
        return (after != Position::START).then_some(Gap {
            reason: Reason::Reset,
            missed: None,
            missed_at_most: None,
            requested: Some(after),
            oldest: None,
            newest: Position::START,
            resume: Position::START,
        });
    };
    let gap = |reason, missed, resume| {
        let (missed_at_most, requested) = (None, Some(after));
        Some(Gap { reason, missed, missed_at_most, requested, oldest, newest: head, resume })
    };
    if after.ms < first.ms && after.n >= first.n {
        // Numbers that began again at 1 belong to another log under the old name.
        let reason = if first.n == 1 { Reason::Reset } else { Reason::Rewound };
        // Events that sort after the position were stored after its loss, maybe in a generation that has
        // passed as well.
        return gap(reason, None, next.map_or(head, Position::before));
    }
    // Only events are proof of an earlier generation. Once they are trimmed, the log may have lost the
    // position too, and its number may belong to another history.
    let vouched = after.n == 0
        || after.ms >= first.ms
        || oldest.is_some_and(|oldest| oldest.n <= after.n)
        || next.is_some_and(|next| next.ms == after.ms);
    let count = |n: u64| vouched.then(|| n - after.n);
    match next {
        None if after == head || after.n == 0 && head.n == 0 => None,
        None if head < after || head.n <= after.n => gap(Reason::Rewound, None, head),
        None => gap(Reason::Trimmed, count(head.n), head),
        Some(next) if next.n <= after.n => gap(Reason::Rewound, None, next.before()),
        Some(next) if next.n == after.n + 1 && vouched => None,
        Some(next) => gap(Reason::Trimmed, count(next.n - 1), next.before()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(ms: u64, n: u64) -> Position {
        Position::new(ms, n)
    }

    fn outcome(
        after: Position,
        head: Position,
        first: Position,
        oldest: Option<Position>,
        next: Option<Position>,
    ) -> Option<(Reason, Option<u64>, Position)> {
        classify(after, Some(Generation { head, first }), oldest, next)
            .map(|gap| (gap.reason, gap.missed, gap.resume))
    }

    #[test]
    fn a_topic_nobody_knows_is_a_reset_except_from_the_start() {
        assert_eq!(classify(Position::START, None, None, None), None);
        assert_eq!(classify(at(5, 1), None, None, None).map(|g| g.reason), Some(Reason::Reset));
    }

    #[test]
    fn the_next_number_is_no_gap() {
        assert_eq!(outcome(at(10, 4), at(20, 9), at(1, 1), Some(at(1, 1)), Some(at(11, 5))), None);
        assert_eq!(outcome(at(20, 9), at(20, 9), at(1, 1), Some(at(1, 1)), None), None);
        assert_eq!(
            outcome(Position::START, at(20, 9), at(1, 1), Some(at(1, 1)), Some(at(1, 1))),
            None
        );
    }

    #[test]
    fn trimmed_events_are_counted_exactly() {
        assert_eq!(
            outcome(at(10, 4), at(20, 9), at(1, 1), Some(at(18, 8)), Some(at(18, 8))),
            Some((Reason::Trimmed, Some(3), at(18, 7)))
        );
        // All events expired, the head is still known.
        assert_eq!(
            outcome(at(10, 4), at(20, 9), at(1, 1), None, None),
            Some((Reason::Trimmed, Some(5), at(20, 9)))
        );
    }

    #[test]
    fn a_position_from_before_a_lost_tail_is_rewound_to_the_new_generation() {
        // The reader saw n = 6; the promoted replica went on from n = 4 with a later clock.
        assert_eq!(
            outcome(at(100, 6), at(10_200, 7), at(10_100, 4), Some(at(1, 1)), Some(at(10_100, 4))),
            Some((Reason::Rewound, None, at(10_100, 3)))
        );
        // It stopped before the loss: nothing is missing.
        assert_eq!(
            outcome(at(90, 3), at(10_200, 7), at(10_100, 4), Some(at(1, 1)), Some(at(10_100, 4))),
            None
        );
        // It is ahead of the log, which has not grown again.
        assert_eq!(
            outcome(at(100, 6), at(90, 3), at(1, 1), Some(at(1, 1)), None),
            Some((Reason::Rewound, None, at(90, 3)))
        );
    }

    #[test]
    fn events_of_a_passed_generation_that_replaced_lost_events_are_not_skipped() {
        // The reader saw n = 8; the next primary went on from 4, and another one from 6.
        let (head, first, next) = (at(20_200, 9), at(20_100, 6), at(10_100, 4));
        assert_eq!(
            outcome(at(100, 8), head, first, Some(at(1, 1)), Some(next)),
            Some((Reason::Rewound, None, at(10_100, 3)))
        );
    }

    #[test]
    fn events_missed_since_a_trimmed_generation_are_not_counted() {
        let (head, first) = (at(20_300, 14), at(20_100, 11));
        let seen = |n, oldest| outcome(at(100, n), head, first, Some(oldest), Some(oldest));
        // The reader saw n = 6 and 8; the next primary went on from 4, the one after it from 11.
        assert_eq!(seen(6, at(10_120, 9)), Some((Reason::Trimmed, None, at(10_120, 8))));
        assert_eq!(seen(8, at(10_120, 9)), Some((Reason::Trimmed, None, at(10_120, 8))));
        assert_eq!(
            outcome(at(100, 8), head, first, None, None),
            Some((Reason::Trimmed, None, head))
        );
        // An event from that generation is proof.
        assert_eq!(seen(8, at(10_100, 4)), Some((Reason::Rewound, None, at(10_100, 3))));
        // The resume position of such a reader is without a gap.
        assert_eq!(
            outcome(at(10_120, 8), head, first, Some(at(10_120, 9)), Some(at(10_120, 9))),
            None
        );
        // A reader that has seen no event has seen no lost event.
        assert_eq!(
            outcome(Position::START, head, first, Some(at(10_120, 9)), Some(at(10_120, 9))),
            Some((Reason::Trimmed, Some(8), at(10_120, 8)))
        );
    }

    #[test]
    fn a_number_that_was_never_given_out_is_rewound() {
        // Older than the head by its clock, beyond it by its number, and everything has expired.
        for n in [9, 10, u64::MAX] {
            assert_eq!(
                outcome(at(19, n), at(20, 9), at(1, 1), None, None),
                Some((Reason::Rewound, None, at(20, 9)))
            );
        }
    }

    #[test]
    fn a_deleted_topic_is_a_reset_for_those_that_knew_it() {
        let (head, first) = (at(101, 0), at(101, 1));
        let reset = Some((Reason::Reset, None, head));
        for seen in [at(100, 6), at(50, 1), at(100, u64::MAX)] {
            assert_eq!(outcome(seen, head, first, None, None), reset);
        }
        for fresh in [Position::START, head] {
            assert_eq!(outcome(fresh, head, first, None, None), None, "{fresh}");
        }
        // It has got an event.
        let event = at(300, 1);
        for fresh in [Position::START, head] {
            assert_eq!(outcome(fresh, event, first, Some(event), Some(event)), None, "{fresh}");
        }
        assert_eq!(
            outcome(at(100, 6), event, first, Some(event), Some(event)),
            Some((Reason::Reset, None, at(300, 0)))
        );
    }

    #[test]
    fn numbers_that_began_again_are_a_reset() {
        assert_eq!(
            outcome(at(100, 6), at(300, 8), at(200, 1), Some(at(200, 1)), Some(at(200, 1))),
            Some((Reason::Reset, None, at(200, 0)))
        );
    }
}

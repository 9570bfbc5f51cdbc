//! What a reader is told when it cannot have the events that follow its position.
//!
//! [`classify`] is the resume table: every [`Log`](crate::Log) decides by it, so a position means
//! the same on all of them. It is a pure function of what the log said.

use crate::Position;

/// Positions that can no longer be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// Why they cannot be read.
    pub reason: Reason,
    /// How many events the reader misses, where that can be known.
    pub missed: Option<u64>,
    /// The position the reader had; `None` if it could not be understood.
    pub requested: Option<Position>,
    /// The oldest event that can still be read, if there is one.
    pub oldest: Option<Position>,
    /// The topic's head.
    pub newest: Position,
    /// Where the reader goes on.
    pub resume: Position,
}

/// Why positions cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The log has dropped them for length or age.
    Trimmed,
    /// The reader saw events that the log has lost since, as after a fail-over.
    Rewound,
    /// The topic was deleted, and its numbers began anew.
    Reset,
    /// The cursor could not be understood; the reader goes on live.
    Invalid,
}

impl Reason {
    /// All reasons.
    pub const ALL: [Self; 4] = [Self::Trimmed, Self::Rewound, Self::Reset, Self::Invalid];

    /// The word for a metric or a message.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trimmed => "trimmed",
            Self::Rewound => "rewound",
            Self::Reset => "reset",
            Self::Invalid => "invalid",
        }
    }
}

/// What a log says of a topic's numbering.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Generation {
    /// The last position given out.
    pub head: Position,
    /// The first position given out since the store last began or changed its primary: what a reader
    /// holds from before, with a number this high, is not this log's.
    pub first: Position,
}

/// Decides whether a reader at `after` can go on without a gap.
///
/// `generation` is `None` if the log does not know the topic; `next` is the first event after the
/// position `after` (by the order of positions), `oldest` the first one there is.
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
            requested: Some(after),
            oldest: None,
            newest: Position::START,
            resume: Position::START,
        });
    };
    let gap = |reason, missed, resume| {
        Some(Gap { reason, missed, requested: Some(after), oldest, newest: head, resume })
    };
    if after.ms < first.ms && after.n >= first.n {
        // Numbers that began again at 1 are another log under the old name.
        let reason = if first.n == 1 { Reason::Reset } else { Reason::Rewound };
        // Whatever sorts after the position was stored after it was lost, maybe in a generation that
        // has passed as well.
        return gap(reason, None, next.map_or(head, Position::before));
    }
    // Of generations before this one the events alone bear witness: once they are trimmed, a position
    // from back then may have been lost as well, and its number may count another past.
    let vouched = after.n == 0
        || after.ms >= first.ms
        || oldest.is_some_and(|oldest| oldest.n <= after.n)
        || next.is_some_and(|next| next.ms == after.ms);
    let count = |n: u64| vouched.then(|| n - after.n);
    match next {
        None if after == head => None,
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
    fn what_was_trimmed_is_counted_exactly() {
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
    fn what_a_passed_generation_stored_instead_of_what_was_lost_is_not_skipped() {
        // The reader saw n = 8; the next primary went on from 4, and another one from 6.
        let (head, first, next) = (at(20_200, 9), at(20_100, 6), at(10_100, 4));
        assert_eq!(
            outcome(at(100, 8), head, first, Some(at(1, 1)), Some(next)),
            Some((Reason::Rewound, None, at(10_100, 3)))
        );
    }

    #[test]
    fn a_position_from_before_two_lost_tails_whose_witnesses_are_trimmed_is_not_counted_with() {
        let (head, first) = (at(20_300, 14), at(20_100, 11));
        let seen = |n, oldest| outcome(at(100, n), head, first, Some(oldest), Some(oldest));
        // The reader saw n = 6 and 8; the next primary went on from 4, the one after it from 11.
        assert_eq!(seen(6, at(10_120, 9)), Some((Reason::Trimmed, None, at(10_120, 8))));
        assert_eq!(seen(8, at(10_120, 9)), Some((Reason::Trimmed, None, at(10_120, 8))));
        assert_eq!(
            outcome(at(100, 8), head, first, None, None),
            Some((Reason::Trimmed, None, head))
        );
        // Any witness settles it.
        assert_eq!(seen(8, at(10_100, 4)), Some((Reason::Rewound, None, at(10_100, 3))));
        // Where such a reader was put it is at home.
        assert_eq!(
            outcome(at(10_120, 8), head, first, Some(at(10_120, 9)), Some(at(10_120, 9))),
            None
        );
        // Whoever has seen nothing has seen nothing that was lost.
        assert_eq!(
            outcome(Position::START, head, first, Some(at(10_120, 9)), Some(at(10_120, 9))),
            Some((Reason::Trimmed, Some(8), at(10_120, 8)))
        );
    }

    #[test]
    fn a_number_nobody_gave_out_is_not_counted_with() {
        // Older than the head by its clock, beyond it by its number, and everything has expired.
        for n in [9, 10, u64::MAX] {
            assert_eq!(
                outcome(at(19, n), at(20, 9), at(1, 1), None, None),
                Some((Reason::Rewound, None, at(20, 9)))
            );
        }
    }

    #[test]
    fn numbers_that_began_again_are_a_reset() {
        assert_eq!(
            outcome(at(100, 6), at(300, 8), at(200, 1), Some(at(200, 1)), Some(at(200, 1))),
            Some((Reason::Reset, None, at(200, 0)))
        );
    }
}

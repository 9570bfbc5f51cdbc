//! One client: its position, and the events that it missed or got twice.

use std::ops::RangeInclusive;

use super::verdict::Verdict;
use crate::client::control::Gap;
use crate::client::position::Position;

/// Holes that are remembered, so that a late event can be told from a repeated one. The oldest is
/// forgotten first: its events stay lost, and would count as duplicates if they came after all.
const HOLES_MAX: usize = 16;

#[derive(Debug, Default)]
pub(super) struct Subscriber {
    start: Option<u64>,
    last: Position,
    last_seq: u32,
    holes: Vec<RangeInclusive<u64>>,
    /// A gap was announced and the next event will show how large it is.
    announced: Option<Announced>,
    delivered: u64,
    lost: u64,
    duplicated: u64,
    out_of_order: u64,
    corrupted: u64,
    gaps: u64,
    missed_announced: u64,
    missed_truly: u64,
}

#[derive(Debug)]
struct Announced {
    /// `None` when the gateway could not know.
    missed: Option<u64>,
    /// The log lost or forgot events that the client has seen: numbers may fall once.
    renumbered: bool,
}

impl Subscriber {
    pub(super) fn started(&mut self, cursor: Position) {
        if self.start.is_none() {
            self.start = Some(cursor.n);
            self.last = cursor;
        }
    }

    pub(super) fn last(&self) -> Option<Position> {
        self.start.map(|_| self.last)
    }

    /// The number of events of a topic with this head that are still to come; `None` before the
    /// start.
    pub(super) fn behind(&self, head: u64) -> Option<u64> {
        self.start.map(|_| head.saturating_sub(self.last.n))
    }

    pub(super) fn gap(&mut self, gap: &Gap) {
        self.gaps += 1;
        self.missed_announced += gap.missed.unwrap_or(0);
        self.announced = Some(Announced {
            missed: gap.missed,
            renumbered: matches!(gap.reason.as_str(), "reset" | "rewound"),
        });
    }

    /// An event arrived with the payload that belongs there, or `None` with another one.
    pub(super) fn delivered(&mut self, at: Position, seq: Option<u32>) {
        self.corrupted += u64::from(seq.is_none());
        let before = at.n.saturating_sub(1);
        self.started(Position { ms: at.ms, n: before });
        if let Some(announced) = self.announced.take() {
            self.after_gap(&announced, at);
        }
        if at.n <= self.last.n {
            return self.delivered_late(at.n);
        }
        if before > self.last.n {
            self.hole(self.last.n + 1..=before);
        }
        if at.ms < self.last.ms {
            self.out_of_order += 1;
        }
        self.last = at;
        match seq {
            Some(seq) if seq <= self.last_seq => self.duplicated += 1,
            Some(seq) => {
                self.last_seq = seq;
                self.delivered += 1;
            }
            None => {}
        }
    }

    /// Something arrived that cannot even be placed.
    pub(super) fn garbage(&mut self) {
        self.corrupted += 1;
    }

    /// Accepts the announced events as missing, and no others.
    fn after_gap(&mut self, announced: &Announced, at: Position) {
        let before = at.n.saturating_sub(1);
        if announced.renumbered && at.n <= self.last.n {
            self.last = Position { ms: self.last.ms.min(at.ms), n: before };
            self.last_seq = 0;
            return;
        }
        let missing = before.saturating_sub(self.last.n);
        let excused = announced.missed.map_or(missing, |missed| missed.min(missing));
        self.missed_truly += missing;
        self.last.n += excused;
    }

    fn delivered_late(&mut self, n: u64) {
        let Some(index) = self.holes.iter().position(|hole| hole.contains(&n)) else {
            self.duplicated += 1;
            return;
        };
        self.out_of_order += 1;
        self.delivered += 1;
        self.lost -= 1;
        let (first, last) = self.holes.swap_remove(index).into_inner();
        let parts = [first..=n - 1, n + 1..=last];
        self.holes.extend(parts.into_iter().filter(|part| !part.is_empty()));
    }

    fn hole(&mut self, hole: RangeInclusive<u64>) {
        self.lost += hole.end() - hole.start() + 1;
        if self.holes.len() >= HOLES_MAX {
            self.holes.remove(0);
        }
        self.holes.push(hole);
    }

    pub(super) fn add_to(&self, verdict: &mut Verdict, head: u64) {
        let behind = self.behind(head);
        verdict.clients += 1;
        verdict.expected += self.start.map_or(0, |start| head.saturating_sub(start));
        verdict.delivered += self.delivered;
        verdict.lost += self.lost;
        verdict.duplicated += self.duplicated;
        verdict.out_of_order += self.out_of_order;
        verdict.corrupted += self.corrupted;
        verdict.gaps += self.gaps;
        verdict.missed_announced += self.missed_announced;
        verdict.missed_truly += self.missed_truly;
        verdict.behind += behind.unwrap_or(0);
        verdict.unfinished += u64::from(behind.is_none_or(|behind| behind > 0));
    }
}

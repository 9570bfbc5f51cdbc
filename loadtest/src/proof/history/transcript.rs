//! The stream of one client, in order.

use std::collections::{HashMap, HashSet};

use super::judgement::Judgement;
use super::{Tampering, TopicHistory};
use crate::client::position::Position;

/// A position of a topic.
pub(super) type TopicPosition = (usize, Position);

/// One thing that a client saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// An event. `seq` is `None` when its payload was unreadable.
    Event {
        /// Its id.
        at: Position,
        /// The payload's number.
        seq: Option<u32>,
    },
    /// A gap.
    Gap {
        /// The number of events, if the gateway could know.
        missed: Option<u64>,
        /// The log had lost the events there, or began anew: numbers may fall.
        is_rewind: bool,
        /// The cursor after it.
        resume: Position,
    },
    /// The client's position, after events that it did not select or that are of another topic of the same log.
    PassedBy {
        /// The cursor.
        at: Position,
    },
}

/// The stream of one client, in order.
#[derive(Clone, Debug, Default)]
pub struct Transcript {
    entries: Vec<Entry>,
    highest: u32,
    ends_with_gap: bool,
}

/// Gaps since the last event.
#[derive(Debug, Default)]
struct Told {
    any: bool,
    /// The sum of their numbers; `None` if one of them had none.
    missed: Option<u64>,
}

impl Transcript {
    pub(super) fn push(&mut self, entry: Entry) {
        match entry {
            Entry::Event { seq, .. } => {
                self.highest = self.highest.max(seq.unwrap_or(0));
                self.ends_with_gap = false;
            }
            Entry::Gap { .. } => self.ends_with_gap = true,
            Entry::PassedBy { .. } => {}
        }
        self.entries.push(entry);
    }

    pub(super) fn highest(&self) -> u32 {
        self.highest
    }

    pub(super) fn ends_with_gap(&self) -> bool {
        self.ends_with_gap
    }

    pub(super) fn judge(
        &self,
        topic: usize,
        history: &TopicHistory,
        places: &mut HashMap<TopicPosition, u32>,
        judgement: &mut Judgement,
    ) {
        self.walk((topic, history, false), places, judgement);
    }

    /// The same for a topic that shares its log, so that its numbers have holes.
    pub(super) fn judge_shared(
        &self,
        topic: usize,
        history: &TopicHistory,
        places: &mut HashMap<TopicPosition, u32>,
        judgement: &mut Judgement,
    ) {
        self.walk((topic, history, true), places, judgement);
    }

    fn walk(
        &self,
        (topic, history, is_shared): (usize, &TopicHistory, bool),
        places: &mut HashMap<TopicPosition, u32>,
        judgement: &mut Judgement,
    ) {
        let mut walk = Walk {
            is_shared,
            history,
            judgement,
            last: Position::default(),
            highest: 0,
            seen: HashMap::new(),
            positions: HashSet::new(),
            rewinds: 0,
            told: Told::default(),
        };
        for entry in &self.entries {
            match entry {
                Entry::Gap { missed, is_rewind, resume } => walk.gap(*missed, *is_rewind, *resume),
                Entry::Event { at, seq: Some(seq) } => {
                    walk.event(*at, *seq);
                    let seq_there = *places.entry((topic, *at)).or_insert(*seq);
                    walk.judgement.contradictions += u64::from(seq_there != *seq);
                }
                Entry::Event { seq: None, .. } => walk.judgement.corrupted += 1,
                Entry::PassedBy { at } => walk.pass_by(*at),
            }
        }
        walk.skip_to(u32::MAX);
    }

    /// Falsifies the transcript if it has a suitable entry. Returns true if it did.
    pub(super) fn tamper(&mut self, tampering: Tampering) -> bool {
        let is_event = |entry: &Entry| matches!(entry, Entry::Event { .. });
        let events: Vec<usize> =
            (0..self.entries.len()).filter(|index| is_event(&self.entries[*index])).collect();
        let Some(&middle) = events.get(events.len() / 2) else { return false };
        match tampering {
            Tampering::None => {}
            Tampering::DropEvent => drop(self.entries.remove(middle)),
            Tampering::DropLast => drop(self.entries.remove(events[events.len() - 1])),
            Tampering::RepeatEvent => self.entries.push(self.entries[middle].clone()),
            Tampering::SwapEvents => self.entries.swap(middle, events[events.len() / 2 - 1]),
            Tampering::DropGap => {
                let before = self.entries.len();
                self.entries.retain(is_event);
                return self.entries.len() < before;
            }
        }
        true
    }
}

/// A client's way through its entries.
struct Walk<'a> {
    /// The numbers of the log have holes, because it has other topics too.
    is_shared: bool,
    history: &'a TopicHistory,
    judgement: &'a mut Judgement,
    last: Position,
    highest: u32,
    /// Payloads, and how many rewinds there had been when each came.
    seen: HashMap<u32, u32>,
    positions: HashSet<Position>,
    rewinds: u32,
    told: Told,
}

impl Walk<'_> {
    fn gap(&mut self, missed: Option<u64>, is_rewind: bool, resume: Position) {
        self.judgement.gaps += 1;
        self.judgement.rewinds += u64::from(is_rewind);
        self.rewinds += u32::from(is_rewind);
        let before = if self.told.any { self.told.missed } else { Some(0) };
        self.told = Told { any: true, missed: before.zip(missed).map(|(one, two)| one + two) };
        self.last = resume;
    }

    fn pass_by(&mut self, at: Position) {
        let is_back = at.n < self.last.n || at.ms < self.last.ms;
        self.judgement.out_of_order += u64::from(is_back);
        self.last = at;
    }

    fn event(&mut self, at: Position, seq: u32) {
        let is_next = at.n == self.last.n + 1 || self.is_shared && at.n > self.last.n;
        let is_next = is_next && at.ms >= self.last.ms;
        self.judgement.out_of_order += u64::from(!is_next);
        self.last = at;
        self.judgement.taken_back += u64::from(self.history.has_taken_back(at, seq));
        let is_new_place = self.positions.insert(at);
        let earlier = self.seen.insert(seq, self.rewinds);
        match earlier {
            _ if !is_new_place => self.judgement.duplicated += 1,
            Some(rewinds) if rewinds == self.rewinds => self.judgement.duplicated += 1,
            Some(_) => self.judgement.again += 1,
            None => self.judgement.delivered += 1,
        }
        if seq > self.highest {
            self.skip_to(seq);
            self.highest = seq;
        } else if earlier.is_none() {
            self.judgement.out_of_order += 1;
        }
    }

    /// Everything acknowledged up to `seq` that has not come will not come any more.
    fn skip_to(&mut self, seq: u32) {
        let told = std::mem::take(&mut self.told);
        let from = self.highest.saturating_add(1);
        let skipped = if from < seq {
            self.history.acknowledged.range(from..seq)
        } else {
            Default::default()
        };
        let (mut missing, mut readable) = (0, 0);
        for (seq, _) in skipped {
            if !self.seen.contains_key(seq) {
                missing += 1;
                readable += u64::from(self.history.readable.contains_key(seq));
            }
        }
        if !told.any {
            self.judgement.lost += missing;
            return;
        }
        self.judgement.readable_after_all += readable;
        match told.missed {
            Some(announced) => {
                self.judgement.announced += announced;
                self.judgement.missing += missing;
            }
            None => self.judgement.missing_unnumbered += missing,
        }
    }
}

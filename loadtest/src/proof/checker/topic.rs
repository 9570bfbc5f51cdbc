//! One topic: which payload is at which position.

use super::verdict::Verdict;
use crate::client::position::Position;

/// A number this far beyond the known ones is garbage, not an event, and must not fill the memory.
const LEAP_MAX: u64 = 1 << 20;

/// The payload at one position. Payload numbers start at 1, so 0 is "not yet".
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    acknowledged: u32,
    /// The payload that the first delivery carried, when it came before the acknowledgement.
    delivered: u32,
}

#[derive(Debug, Default)]
pub(super) struct CheckedTopic {
    /// By `n`, from 0, which is never used.
    slots: Vec<Slot>,
    /// The highest acknowledged `n`.
    head: u64,
    acknowledged: u64,
    /// Acknowledgements that contradict an earlier one or a delivery.
    contradictions: u64,
}

impl CheckedTopic {
    pub(super) fn head(&self) -> u64 {
        self.head
    }

    pub(super) fn acknowledged(&mut self, at: Position, seq: u32) {
        let Some(slot) = self.slot(at.n) else {
            self.contradictions += 1;
            return;
        };
        if slot.acknowledged == seq {
            return;
        }
        let is_contradiction = slot.acknowledged != 0 || ![0, seq].contains(&slot.delivered);
        slot.acknowledged = seq;
        self.contradictions += u64::from(is_contradiction);
        self.acknowledged += 1;
        self.head = self.head.max(at.n);
    }

    /// Returns true if an event of this topic can have this number.
    pub(super) fn is_plausible(&self, n: u64) -> bool {
        n > 0 && n < self.slots.len() as u64 + LEAP_MAX
    }

    /// Returns true if `seq` is the payload that belongs at `n`, as far as is known.
    pub(super) fn delivered(&mut self, n: u64, seq: u32) -> bool {
        let Some(slot) = self.slot(n) else {
            return false;
        };
        if slot.acknowledged != 0 {
            return slot.acknowledged == seq;
        }
        if slot.delivered == 0 {
            slot.delivered = seq;
        }
        slot.delivered == seq
    }

    pub(super) fn add_to(&self, verdict: &mut Verdict) {
        verdict.topics += 1;
        verdict.acknowledged += self.acknowledged;
        verdict.contradictions += self.contradictions;
    }

    fn slot(&mut self, n: u64) -> Option<&mut Slot> {
        if !self.is_plausible(n) {
            return None;
        }
        let index = usize::try_from(n).ok()?;
        if index >= self.slots.len() {
            self.slots.resize(index + 1, Slot::default());
        }
        self.slots.get_mut(index)
    }
}

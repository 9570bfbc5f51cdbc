//! The first record of a reading, and the loss that has to be told before it.

use crate::begin::{Before, Begin};
use crate::place::Place;

/// The text of a place: the topic that it belongs to, and the leader that its record was written under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TopicStamp {
    /// The topic's id.
    pub(super) id: [u8; 16],
    /// The leader epoch of the record before the place; `None` if the place is behind no record. Every leader has one
    /// of its own, so two records with one offset differ in it.
    pub(super) epoch: Option<i32>,
}

impl TopicStamp {
    /// The place before an offset.
    pub(super) fn place(self, era: u64, next: u64) -> Place {
        let id = u128::from_be_bytes(self.id);
        let epoch = self.epoch.map_or_else(|| "-".to_owned(), |epoch| epoch.to_string());
        Place { era, major: next, minor: 0, text: format!("{id:032x} {epoch}") }
    }

    /// A place that we did not write belongs to no topic.
    pub(super) fn of(place: &Place) -> Self {
        let (id, epoch) = place.text.split_once(' ').unwrap_or_default();
        let id = u128::from_str_radix(id, 16).unwrap_or(0).to_be_bytes();
        Self { id, epoch: epoch.parse().ok() }
    }
}

/// A partition when it is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PartitionState {
    pub(super) id: [u8; 16],
    /// The first offset that can be read.
    pub(super) low: u64,
    /// The offset of the next record.
    pub(super) high: u64,
    /// The offset at which the leader epoch of our place ends, if the leader tells it.
    pub(super) epoch_end: Option<u64>,
    /// True if every offset between stands for a record, as far as the cluster tells.
    pub(super) is_whole: bool,
}

/// The beginning of a reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) era: u64,
    /// The offset of the first record.
    pub(super) next: u64,
    pub(super) before: Before,
}

impl Entry {
    /// Compares our place with the partition.
    pub(super) fn of(after: Option<&Place>, begin: Begin, facts: &PartitionState) -> Self {
        let PartitionState { low, high, .. } = *facts;
        let Some(place) = after else {
            let next = if begin == Begin::First { low } else { high };
            return Self { era: 0, next, before: Before::Nothing };
        };
        let (ours, stamp) = (place.major, TopicStamp::of(place));
        let lost = |missed, reason: String| Before::Lost { missed, reason };
        if stamp.id != facts.id {
            let before = lost(None, "the topic was deleted and made again".to_owned());
            return Self { era: place.era + 1, next: low, before };
        }
        // Records of our epoch are kept up to there: the rest was overwritten, or is gone.
        let kept = facts.epoch_end.unwrap_or(high).min(high);
        if kept < ours {
            let reason = format!(
                "the partition has lost its end: it was read to offset {ours}, and kept to {kept}"
            );
            return Self { era: place.era + 1, next: kept.max(low), before: lost(None, reason) };
        }
        if low > ours {
            let missed = low - ours;
            let reason = if facts.is_whole {
                format!("the partition has removed {missed} records before they were read")
            } else {
                "the partition has removed records before they were read".to_owned()
            };
            let missed = facts.is_whole.then_some(missed);
            return Self { era: place.era, next: low, before: lost(missed, reason) };
        }
        Self { era: place.era, next: ours, before: Before::Copied }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FACTS: PartitionState =
        PartitionState { id: [7; 16], low: 10, high: 20, epoch_end: None, is_whole: true };

    fn at(next: u64) -> Place {
        TopicStamp { id: [7; 16], epoch: Some(5) }.place(3, next)
    }

    #[test]
    fn a_stamp_comes_back_as_it_was() {
        for epoch in [None, Some(0), Some(i32::MAX)] {
            let mut id = [0; 16];
            (id[0], id[15]) = (0xab, 1);
            let stamp = TopicStamp { id, epoch };
            assert_eq!(TopicStamp::of(&stamp.place(0, 1)), stamp);
        }
    }

    #[test]
    fn a_copy_begins_at_the_first_record_or_at_the_next() {
        for (begin, next) in [(Begin::First, 10), (Begin::New, 20)] {
            let entry = Entry::of(None, begin, &FACTS);
            assert_eq!(entry, Entry { era: 0, next, before: Before::Nothing });
        }
    }

    #[test]
    fn a_reading_goes_on_at_its_place() {
        for next in [10, 15, 20] {
            let entry = Entry::of(Some(&at(next)), Begin::New, &FACTS);
            assert_eq!(entry, Entry { era: 3, next, before: Before::Copied });
        }
    }

    #[test]
    fn losses_are_told() {
        let compacted = PartitionState { is_whole: false, ..FACTS };
        let overwritten = PartitionState { epoch_end: Some(12), ..FACTS };
        let made_again = PartitionState { id: [8; 16], ..FACTS };
        for (next, facts, era, first, number) in [
            (9, FACTS, 3, 10, Some(1)),
            (0, FACTS, 3, 10, Some(10)),
            (0, compacted, 3, 10, None),
            (21, FACTS, 4, 20, None),
            (15, made_again, 4, 10, None),
            (15, overwritten, 4, 12, None),
        ] {
            let entry = Entry::of(Some(&at(next)), Begin::New, &facts);
            assert_eq!((entry.era, entry.next), (era, first));
            let Before::Lost { missed, .. } = entry.before else { panic!("{entry:?}") };
            assert_eq!(missed, number);
        }
    }
}

//! The true history of a topic: every entry that was ever stored, and its fate.
//!
//! A new era begins when the store loses entries. It shares the entries up to its base with the era
//! before.

use std::collections::BTreeMap;

use event_log::{Event, Generation, Mark, Position};

#[derive(Debug)]
pub(crate) struct History {
    eras: Vec<Era>,
    places: BTreeMap<Position, Place>,
}

/// The point right after entry `n` of an era.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) era: usize,
    pub(crate) n: u64,
}

/// The part of a history that a server holds: the entries up to a place, without those that it has trimmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Holding {
    pub(crate) place: Place,
    /// The last number that the server has trimmed.
    pub(crate) gone: u64,
}

/// The reason why a store lost entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// Its entries were wiped.
    Wipe,
    /// A server took over that no reader could know of or wait for.
    Unforeseen,
    /// A server took over that had been a replica for long enough.
    Promotion,
}

#[derive(Debug)]
struct Era {
    /// The reason why the era before ended.
    loss: Loss,
    /// The last number that this era shares with the era before.
    base: u64,
    entries: Vec<Entry>,
    /// The last number that was trimmed.
    gone: u64,
}

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) event: Event,
    /// The head key at the time when this was the last entry.
    pub(crate) head: Head,
}

/// A head key: the head of the topic, the primary that numbers it, and the start of its term.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) numbers: Generation,
    pub(crate) primary: u64,
}

impl History {
    pub(crate) fn new() -> Self {
        let first = Era { loss: Loss::Wipe, base: 0, entries: Vec::new(), gone: 0 };
        Self { eras: vec![first], places: BTreeMap::new() }
    }

    /// Adds an entry to the present era, and returns its place.
    pub(crate) fn push(&mut self, entry: Entry) -> Place {
        let place = Place { era: self.current(), n: self.last() + 1 };
        let position = entry.event.position();
        assert_eq!(position.n, place.n, "the store numbers without holes");
        let twin = self.places.insert(position, place);
        assert!(twin.is_none(), "{position} was assigned twice: {twin:?} and {place:?}");
        self.eras[place.era].entries.push(entry);
        place
    }

    /// Returns the number of the last entry.
    pub(crate) fn last(&self) -> u64 {
        let era = &self.eras[self.current()];
        era.base + era.entries.len() as u64
    }

    /// Returns the greatest position that was ever assigned.
    pub(crate) fn newest(&self) -> Option<Position> {
        self.places.last_key_value().map(|(position, _)| *position)
    }

    /// Returns the place of the last entry.
    pub(crate) fn end(&self) -> Place {
        Place { era: self.current(), n: self.last() }
    }

    pub(crate) fn head(&self, of: Holding) -> Option<Head> {
        self.entry(of.place.era, of.place.n).map(|entry| entry.head)
    }

    pub(crate) fn is_ended(&self, of: Holding) -> bool {
        let last = self.entry(of.place.era, of.place.n);
        last.is_some_and(|entry| entry.event.mark() != Mark::Open)
    }

    /// Trims all but the last `keep` entries.
    pub(crate) fn trim(&mut self, keep: u64) {
        let (current, last) = (self.current(), self.last());
        let era = &mut self.eras[current];
        era.gone = era.gone.max(last.saturating_sub(keep));
    }

    /// Loses the entries after number `n`.
    pub(crate) fn lose_after(&mut self, n: u64, loss: Loss) {
        if n < self.last() {
            let gone = self.eras[self.current()].gone.min(n);
            self.eras.push(Era { loss, base: n, entries: Vec::new(), gone });
        }
    }

    /// Returns the events that a server can read, oldest first.
    pub(crate) fn readable(&self, of: Holding) -> impl DoubleEndedIterator<Item = &Event> {
        let Holding { place: Place { era, n: last }, gone } = of;
        (gone + 1..=last).filter_map(move |n| Some(&self.entry(era, n)?.event))
    }

    pub(crate) fn entry(&self, mut era: usize, n: u64) -> Option<&Entry> {
        while n <= self.eras[era].base {
            era = era.checked_sub(1)?;
        }
        let index = usize::try_from(n - self.eras[era].base - 1).ok()?;
        self.eras[era].entries.get(index)
    }

    /// Returns the place of a position, which is an entry's or lies just before an entry.
    pub(crate) fn place(&self, position: Position) -> Option<Place> {
        if position == Position::START {
            return Some(Place { era: 0, n: 0 });
        }
        let next = Position::new(position.ms, position.n + 1);
        let exact = self.places.get(&position).copied();
        exact.or_else(|| Some(Place { n: position.n, ..*self.places.get(&next)? }))
    }

    /// Returns the place of the entry at a position.
    pub(crate) fn find(&self, position: Position) -> Option<Place> {
        self.places.get(&position).copied()
    }

    /// Returns true if the entry at a place is part of a later era's log too.
    pub(crate) fn leads_to(&self, place: Place, era: usize) -> bool {
        self.shared(place, era) == place.n
    }

    /// Returns the last number, at most that of the place, that a later era shares with the place's era.
    pub(crate) fn shared(&self, place: Place, era: usize) -> u64 {
        let later = self.eras.get(place.era + 1..=era).unwrap_or_default();
        later.iter().map(|era| era.base).fold(place.n, u64::min)
    }

    /// Cuts a holding before the first entry that another server does not hold.
    pub(crate) fn cut(&self, holding: Holding, other: Place) -> Holding {
        let place = Place { n: self.common(holding.place, other), ..holding.place };
        Holding { place, ..holding }
    }

    /// Cuts a holding after the position of another server's head. Only a planted bug does so.
    pub(crate) fn cut_by_order(&self, holding: Holding, other: Holding) -> Holding {
        let head = self.head(other).map_or(Position::START, |head| head.numbers.head);
        let is_before =
            |n: &u64| self.entry(holding.place.era, *n).is_some_and(|e| e.event.position() <= head);
        let n = (1..=holding.place.n).rev().find(is_before).unwrap_or(0);
        Holding { place: Place { n, ..holding.place }, ..holding }
    }

    /// Returns the last number that the entries up to two places have in common.
    fn common(&self, one: Place, other: Place) -> u64 {
        let (older, newer) = if one.era <= other.era { (one, other) } else { (other, one) };
        self.shared(older, newer.era).min(newer.n)
    }

    /// Returns true if a server holds a position: the entry there, or the entry that the position lies before.
    pub(crate) fn holds(&self, holding: Holding, position: Position) -> bool {
        let next = Position::new(position.ms, position.n + 1);
        let entry = self.find(position).or_else(|| self.find(next));
        position == Position::START
            || entry.is_some_and(|entry| self.common(holding.place, entry) >= entry.n)
    }

    /// Returns the reason why an era began.
    pub(crate) fn loss(&self, era: usize) -> Loss {
        self.eras[era].loss
    }

    /// Returns true if the entries that were ever lost were lost in promotions that every node was prepared for.
    pub(crate) fn is_prepared(&self) -> bool {
        self.eras[1..].iter().all(|era| era.loss == Loss::Promotion)
    }

    /// Returns the first era that lacks the entry at a place.
    pub(crate) fn lost_in(&self, place: Place) -> Option<usize> {
        (place.era + 1..self.eras.len()).find(|era| self.eras[*era].base < place.n)
    }

    /// Returns true if another primary has numbered entries after the entry at a place.
    pub(crate) fn has_changed_hands_since(&self, place: Place) -> bool {
        let primary = self.entry(place.era, place.n).map_or(0, |entry| entry.head.primary);
        let mut entries = self.eras.iter().flat_map(|era| &era.entries);
        entries.any(|entry| entry.head.primary > primary)
    }

    pub(crate) fn is_readable(&self, era: usize, n: u64) -> bool {
        let current = self.current();
        self.leads_to(Place { era, n }, current) && n > self.eras[current].gone && n <= self.last()
    }

    /// Returns true if `one` truly is the predecessor of `next`.
    pub(crate) fn are_neighbours(&self, one: Position, next: Position) -> bool {
        let (Some(one), Some(next)) = (self.place(one), self.find(next)) else { return false };
        let now = one.n > 0 || self.leads_to(next, self.current());
        next.n == one.n + 1 && next.era >= one.era && self.leads_to(one, next.era) && now
    }

    fn current(&self) -> usize {
        self.eras.len() - 1
    }
}

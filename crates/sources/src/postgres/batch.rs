//! Items on their way to the copier.

use std::time::Duration;

use tokio::time::Instant;

use crate::place::Place;
use crate::source::{BATCH_MAX, Item};

/// Items, of which a place at which there is nothing to copy is the last.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    items: Vec<Item>,
    bytes: usize,
    /// Nothing is to be copied between the last item and this place.
    passed: Option<Place>,
    /// The time of the last batch that was given out.
    given: Option<Instant>,
}

/// The bytes of data at which a batch is full.
const BYTES_MAX: usize = 4 << 20;
/// Time between two batches without an event: a busy server with a quiet outbox passes many places.
const PASSED_EVERY: Duration = Duration::from_secs(1);

impl Batch {
    /// Returns true if nothing is to be added.
    pub(crate) const fn is_full(&self) -> bool {
        // One is left for the place that is passed.
        self.items.len() + 1 >= BATCH_MAX || self.bytes >= BYTES_MAX
    }

    /// Returns true if the copier should have it.
    pub(crate) fn is_due(&self) -> bool {
        let is_late = || self.given.is_none_or(|given| given.elapsed() >= PASSED_EVERY);
        !self.items.is_empty() || self.passed.is_some() && is_late()
    }

    pub(crate) fn push(&mut self, item: Item) {
        self.passed = None;
        self.bytes += match &item {
            Item::Event { event, .. } => event.data.len(),
            Item::Bad { excerpt, .. } => excerpt.len(),
            Item::Gap { .. } | Item::Passed(_) => 0,
        };
        self.items.push(item);
    }

    pub(crate) fn pass(&mut self, place: Place) {
        self.passed = Some(place);
    }

    /// Gives the items out.
    pub(crate) fn take(&mut self) -> Vec<Item> {
        (self.bytes, self.given) = (0, Some(Instant::now()));
        let mut items = std::mem::take(&mut self.items);
        items.extend(self.passed.take().map(Item::Passed));
        items
    }
}

#[cfg(test)]
mod tests {
    use event_log::{NewEvent, Topic};
    use tokio::time::advance;

    use super::*;

    fn place(major: u64, minor: u64) -> Place {
        Place { era: 0, major, minor, text: String::new() }
    }

    fn event(place: Place, bytes: usize) -> Item {
        let event = NewEvent { data: "x".repeat(bytes).into(), ..NewEvent::default() };
        Item::Event { topic: Topic::new("t").unwrap(), event, place }
    }

    #[tokio::test(start_paused = true)]
    async fn places_alone_are_given_out_once_a_second() {
        let mut batch = Batch::default();
        assert!(!batch.is_due());
        let mut given = Vec::new();
        for n in 1..=100 {
            batch.pass(place(n, 0));
            if batch.is_due() {
                given.extend(batch.take().iter().map(|item| item.place().major));
            }
            advance(Duration::from_millis(100)).await;
        }
        assert_eq!(given, [1, 11, 21, 31, 41, 51, 61, 71, 81, 91]);
        // An event is at once, and the place after it comes along.
        batch.push(event(place(101, 1), 1));
        assert!(batch.is_due());
        batch.pass(place(102, 0));
        let orders: Vec<_> = batch.take().iter().map(|item| item.place().order()).collect();
        assert_eq!(orders, [[0, 101, 1], [0, 102, 0]]);
    }

    #[test]
    fn a_batch_has_a_bound_in_items_and_in_bytes() {
        for (bytes, most) in [(1, BATCH_MAX - 1), (BYTES_MAX / 4, 4), (2 * BYTES_MAX, 1)] {
            let mut batch = Batch::default();
            while !batch.is_full() {
                batch.push(event(place(1, 1), bytes));
            }
            batch.pass(place(2, 0));
            assert_eq!(batch.take().len(), most + 1, "{bytes}");
            assert!(!batch.is_full());
        }
    }
}

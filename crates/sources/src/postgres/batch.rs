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

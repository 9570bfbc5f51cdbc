//! The bound of one read.

use crate::Event;

/// The largest page that one read returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Events; 0 counts as 1, since a reader that takes no event would wait for ever.
    pub events: usize,
    /// Bytes of [`Event::weight`]; a page always has its first event, whatever the size.
    pub bytes: usize,
}

impl Limit {
    /// A single event.
    pub const ONE: Self = Self { events: 1, bytes: 0 };
    /// A page of an event stream: enough that a reader that lags costs a system call for hundreds of
    /// events, little enough that a reader that stalls pins only this.
    pub const PAGE: Self = Self { events: 512, bytes: 64 * 1024 };

    /// Counts the events, from the first, that are within the limit.
    #[must_use]
    pub fn fits(self, events: &[Event]) -> usize {
        let mut bytes = 0;
        events
            .iter()
            .take(self.events.max(1))
            .take_while(|event| {
                let first = bytes == 0;
                bytes += event.weight();
                first || bytes <= self.bytes
            })
            .count()
    }
}

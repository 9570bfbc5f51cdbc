//! A reader's hold on the strand of its selection.

use std::sync::Arc;

use super::strand::Strand;
use super::{Recent, Tail};
use crate::{Events, Limit, Position, Selection, Wake};

/// One reader's hold on the strand of its selection. The strand lives as long as it has readers.
#[derive(Debug)]
pub(crate) struct Selected {
    tail: Arc<Tail>,
    strand: Arc<Strand>,
    /// The resets of the tail when it last knew the reader's position. Between two resets a strand may tell by the order
    /// of positions what follows; a position from elsewhere, or from before a reset, must be looked for.
    known_at: Option<u64>,
}

/// A look for selected events, whose events are in the list of the caller.
#[derive(Debug)]
pub(crate) struct SelectedRead {
    pub(crate) recent: Recent,
    /// The position up to which everything that is selected was copied.
    pub(crate) reached: Position,
    /// The tail's head at that moment.
    head: Position,
}

/// The events of a window that one read looks at. A reader that resumes far behind goes on from there.
const SCAN_MAX: usize = 4096;

impl Selected {
    pub(super) fn new(tail: Arc<Tail>, strand: Arc<Strand>) -> Self {
        Self { tail, strand, known_at: None }
    }

    pub(crate) fn selection(&self) -> &Selection {
        &self.strand.selection
    }

    /// The wake-up for an event that is selected.
    pub(crate) fn wake(&self) -> Wake {
        self.strand.readers.join()
    }

    /// The reader's next position is not from this tail.
    pub(crate) const fn is_elsewhere(&mut self) {
        self.known_at = None;
    }

    /// Copies the selected events after `after`, at most `limit`.
    pub(crate) fn read(
        &mut self,
        after: Position,
        limit: Limit,
        events: &mut Events,
    ) -> SelectedRead {
        let window = self.tail.window();
        let (head, resets) = (window.head(), window.resets);
        if after == head {
            self.known_at = Some(resets);
            return SelectedRead { recent: Recent::AtHead, reached: head, head };
        }
        if self.known_at == Some(resets)
            && after < head
            && let Ok(cut) = self.strand.read(after, limit, events)
        {
            return match (cut, events.last()) {
                (Some(reached), _) => SelectedRead { recent: Recent::ToLimit, reached, head },
                (None, Some(last)) => {
                    SelectedRead { recent: Recent::ToHead, reached: last.position(), head }
                }
                (None, None) => SelectedRead { recent: Recent::AtHead, reached: after, head },
            };
        }
        let Some(start) = window.index_after(after) else {
            return SelectedRead { recent: Recent::Elsewhere, reached: after, head };
        };
        self.known_at = Some(resets);
        let (mut reached, mut bytes) = (after, 0);
        for (count, event) in window.events.range(start..).enumerate() {
            let is_wanted = self.strand.selection.selects(event);
            bytes += if is_wanted { event.weight() } else { 0 };
            let is_full =
                !events.is_empty() && (events.len() >= limit.events || bytes > limit.bytes);
            if count >= SCAN_MAX || is_wanted && is_full {
                return SelectedRead { recent: Recent::ToLimit, reached, head };
            }
            reached = event.position();
            if is_wanted {
                events.push(event.clone());
            }
        }
        SelectedRead { recent: Recent::ToHead, reached, head }
    }

    /// The farthest position known such that nothing selected lies between `after` and it.
    pub(crate) fn quiet_until(&mut self, after: Position) -> Position {
        let mut events = Events::new();
        let found = self.read(after, Limit::ONE, &mut events);
        match found.recent {
            _ if !events.is_empty() => after,
            Recent::AtHead | Recent::ToHead => found.head,
            Recent::ToLimit | Recent::Elsewhere => found.reached,
        }
    }
}

impl Drop for Selected {
    fn drop(&mut self) {
        self.tail.leave(&self.strand);
    }
}

//! A watched log of a node: its tail, and the messages that wait to extend it.

use std::collections::BTreeMap;
use std::sync::Arc;

use event_log::{Event, Position, Tail};

use super::super::store::Window;

#[derive(Debug)]
pub(super) struct Watched {
    /// `None` until the log has been opened.
    pub(super) tail: Option<Arc<Tail>>,
    pub(super) phase: Phase,
    pub(super) repairing: bool,
    /// Events whose messages have come since the last read began.
    waiting: BTreeMap<Position, Event>,
    /// The last position that a message has promised and that the source may not have yet.
    promised: Position,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// A read is due. It will return every event that arrives before it begins.
    Due,
    /// A read is under way.
    Reading { again: bool },
    /// The tail follows the feed.
    Following,
}

impl Watched {
    pub(super) fn new() -> Self {
        let (waiting, promised) = (BTreeMap::new(), Position::START);
        Self { tail: None, phase: Phase::Due, repairing: false, waiting, promised }
    }

    pub(super) fn head(&self) -> Position {
        self.tail.as_ref().map_or(Position::START, |tail| tail.head())
    }

    pub(super) fn begin(&mut self) {
        self.phase = Phase::Reading { again: false };
        self.waiting.clear();
    }

    /// Notes that the feed may have lost an event.
    pub(super) fn suspect(&mut self) {
        match &mut self.phase {
            Phase::Reading { again } => *again = true,
            Phase::Due | Phase::Following => self.phase = Phase::Due,
        }
    }

    /// Takes a message, unless a read is due that will see its event.
    pub(super) fn take(&mut self, event: Event) {
        if self.phase != Phase::Due {
            self.waiting.insert(event.position(), event);
        }
    }

    /// A message came that its event may follow. Returns true if the log must be read.
    pub(super) fn promise(&mut self, position: Position) -> bool {
        self.promised = self.promised.max(position);
        let reads = self.phase == Phase::Following && self.is_owed();
        if reads {
            self.phase = Phase::Due;
        }
        reads
    }

    /// Returns true if an event was promised that the tail does not have.
    pub(super) fn is_owed(&self) -> bool {
        self.promised > self.head()
    }

    /// Gives up an event that was promised and did not come. The audit finds it if it does.
    pub(super) fn give_up(&mut self) {
        self.promised = Position::START;
    }

    /// Extends the tail by the messages that follow it. Returns true if one does not, so that the log must be read.
    pub(super) fn advance(&mut self, follows: impl Fn(Position, &Event) -> bool) -> bool {
        let Some(tail) = self.tail.as_ref().filter(|_| self.phase == Phase::Following) else {
            return false;
        };
        while let Some((position, event)) = self.waiting.pop_first() {
            if follows(tail.head(), &event) {
                tail.extend([event]);
            } else if position > tail.head() {
                self.phase = Phase::Due;
                return true;
            }
        }
        false
    }

    /// Takes the window that was read. Returns true if the tail follows the feed again.
    pub(super) fn settle(&mut self, window: Window) -> bool {
        if let Some(tail) = &self.tail {
            bring(tail, window);
        }
        let whole = self.phase == Phase::Reading { again: false } && !self.is_owed();
        self.phase = if whole { Phase::Following } else { Phase::Due };
        whole
    }
}

/// Extends a tail by a window if the two connect, and otherwise resets the tail to the window.
fn bring(tail: &Tail, window: Window) {
    let Window { before, ended, events } = window;
    let ours = tail.head();
    let known = events.iter().position(|event| event.position() == ours).map(|i| i + 1);
    let from = if ours == before { Some(0) } else { known };
    let Some(from) = from else {
        tail.reset(before, ended && events.is_empty());
        if !events.is_empty() {
            tail.extend(events);
        }
        return;
    };
    if from < events.len() {
        tail.extend(events.into_iter().skip(from));
    }
}

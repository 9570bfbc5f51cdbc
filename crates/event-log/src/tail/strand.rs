//! The recent events of one selection in the log of a space.
//!
//! A reader that wants little of a busy log is woken for what it wants alone. So its position falls behind the tail's
//! window while nothing is missed: a strand tells how far it reaches.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::wake::Readers;
use crate::{Event, Events, Limit, Position, Selection};

/// The recent events of one selection, shared by all its readers on a node.
#[derive(Debug)]
pub(super) struct Strand {
    pub(super) selection: Selection,
    pub(super) readers: Arc<Readers>,
    state: Mutex<StrandState>,
}

#[derive(Debug)]
struct StrandState {
    /// All selected events between this position and the tail's head are in `events`.
    since: Position,
    events: VecDeque<Event>,
    bytes: usize,
}

/// The events that a strand keeps, whether its readers have taken them or not: a burst that a reader which is awake has not
/// taken yet. The tail's window and the log have the others.
const KEPT: Limit = Limit { events: 16, bytes: 64 * 1024 };

impl Strand {
    /// The strand of a selection at a tail with this head.
    pub(super) fn new(selection: Selection, head: Position) -> Self {
        let state = StrandState { since: head, events: VecDeque::new(), bytes: 0 };
        Self { selection, readers: Arc::default(), state: Mutex::new(state) }
    }

    /// Adds a selected event, the newest of the tail. An event that it has already counts once.
    pub(super) fn push(&self, event: &Event) {
        let mut state = self.state();
        if state.events.back().is_some_and(|last| last.position() == event.position()) {
            return;
        }
        state.bytes += event.weight();
        state.events.push_back(event.clone());
        while state.events.len() > KEPT.events
            || (state.bytes > KEPT.bytes && state.events.len() > 1)
        {
            state.pop();
        }
    }

    /// Forgets the events. The tail goes on from `head`, in another numbering maybe.
    pub(super) fn reset(&self, head: Position) {
        *self.state() = StrandState { since: head, events: VecDeque::new(), bytes: 0 };
    }

    /// Drops an event that was erased, with those before it.
    pub(super) fn forget(&self, erased: Position) {
        let mut state = self.state();
        while state.events.front().is_some_and(|event| event.position() <= erased) {
            state.pop();
        }
    }

    /// Copies the events after `after`, a position that the tail's log has had; at most `limit`. Returns the position
    /// of the last one if not all fit, or `None` if all events after `after` were copied.
    ///
    /// # Errors
    /// The strand does not reach so far back.
    pub(super) fn read(
        &self,
        after: Position,
        limit: Limit,
        events: &mut Events,
    ) -> Result<Option<Position>, OutOfReach> {
        let state = self.state();
        if after < state.since {
            return Err(OutOfReach);
        }
        let start = state.events.partition_point(|event| event.position() <= after);
        let mut bytes = 0;
        for event in state.events.range(start..) {
            bytes += event.weight();
            if !events.is_empty() && (events.len() >= limit.events || bytes > limit.bytes) {
                return Ok(events.last().map(Event::position));
            }
            events.push(event.clone());
        }
        Ok(None)
    }

    fn state(&self) -> MutexGuard<'_, StrandState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StrandState {
    fn pop(&mut self) {
        if let Some(event) = self.events.pop_front() {
            self.bytes -= event.weight();
            self.since = event.position();
        }
    }
}

/// A strand may have dropped events after the position.
#[derive(Debug)]
pub(super) struct OutOfReach;

//! A watched topic: its tail, and the rule for the messages that extend it.
//!
//! A message with the next number extends the tail; a message up to the head is dropped; any other
//! means that something was missed, and the topic is read from the store. Until this read begins no
//! message is trusted: after a fail-over a message may have the expected number and yet belong to a
//! log that is gone. During the read, messages are held; after it the rule decides on them.
//!
//! All changes of a tail happen here, under one lock. Never touches the network.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use event_log::{Event, Events, Limit, LogName, Position, Recent, Tail};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::entry::Live;
use crate::head::LogHead;
use crate::store::{PAGE, WINDOW_BYTES, Window, follows};

/// Messages that are held for one topic during a read. With more, the topic is read again.
const HELD_MAX: usize = 128;
/// Capacity of a tail: a page, so that a reader at most a page behind needs no read.
const CAPACITY: Limit = Limit { events: PAGE, bytes: WINDOW_BYTES };

/// A watched topic.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) topic: LogName,
    state: Mutex<TailState>,
    /// True once the subscription was confirmed. [`joined`](Self::joined) reports a later break.
    confirmed: watch::Sender<bool>,
    /// Held by the caller that opens the tail, for all that wait for it.
    pub(crate) opening: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct TailState {
    /// `None` until it was opened.
    tail: Option<Arc<Tail>>,
    phase: Phase,
    /// The last position that a message or a read has promised and that readers may not see yet.
    promised: Position,
    /// The time since which nobody has used it.
    idle_since: Option<Instant>,
}

#[derive(Debug)]
enum Phase {
    /// Exactly one of the opener, the audit and the repair will read the topic. The read will see
    /// everything that arrives before it.
    Due,
    /// The topic is being read.
    Reading {
        held: Vec<Live>,
        /// True if something arrived that was not held.
        again: bool,
    },
    /// The tail follows the feed.
    Following,
}

/// The action after something arrived for a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Verdict {
    /// None.
    Fine,
    /// A read is due now, and the caller must start it.
    Read,
}

/// The result of comparing a topic's head with its tail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compared {
    /// The tail is at the head, or has passed it since; or a read is due anyway.
    Same,
    /// The tail is behind, perhaps only by messages that are still on their way.
    Behind,
    /// The tail has events that the log does not have.
    Apart,
}

/// The result of a read after the head of a tail.
#[derive(Debug)]
pub(crate) enum Found {
    /// The events after the head of the tail, up to the end of what readers may see.
    Next {
        events: Vec<Event>,
        /// The head of the log, if readers may not see it yet.
        promised: Position,
    },
    /// The log does not continue the tail, or the tail is too far behind.
    Elsewhere(Window),
}

impl Watched {
    pub(crate) fn new(topic: LogName) -> Self {
        let state = TailState {
            tail: None,
            phase: Phase::Due,
            promised: Position::START,
            idle_since: None,
        };
        Self {
            topic,
            state: Mutex::new(state),
            confirmed: watch::channel(false).0,
            opening: tokio::sync::Mutex::default(),
        }
    }

    /// The tail, once it was opened.
    pub(crate) fn tail(&self) -> Option<Arc<Tail>> {
        self.state().tail.clone()
    }

    /// Waits until the channel's subscription was confirmed.
    pub(crate) async fn confirmed(&self) {
        let mut confirmed = self.confirmed.subscribe();
        // The sender lives as long as `self`.
        let _confirmed = confirmed.wait_for(|confirmed| *confirmed).await.is_ok();
    }

    /// The subscription was confirmed. Events may have been missed since the last confirmation.
    pub(crate) fn joined(&self) -> Verdict {
        let verdict = self.suspect();
        self.confirm();
        verdict
    }

    /// The subscription was not broken since the last confirmation.
    pub(crate) fn confirm(&self) {
        self.confirmed.send_replace(true);
    }

    /// Events may have been missed.
    pub(crate) fn suspect(&self) -> Verdict {
        self.state().suspect()
    }

    /// A message arrived on the feed.
    pub(crate) fn take(&self, live: Live) -> Verdict {
        let mut state = self.state();
        if let Live::Erased(position) = live {
            state.forget(position);
        }
        match &mut state.phase {
            Phase::Due => Verdict::Fine,
            Phase::Reading { held, .. } if held.len() < HELD_MAX => {
                held.push(live);
                Verdict::Fine
            }
            Phase::Reading { again, .. } => {
                *again = true;
                Verdict::Fine
            }
            Phase::Following => state.judge([live]),
        }
    }

    /// A message whose event readers may not see yet arrived on the feed. The event is read until they may.
    pub(crate) fn promise(&self, position: Position) -> Verdict {
        let mut state = self.state();
        state.promised = state.promised.max(position);
        match state.phase {
            Phase::Due | Phase::Reading { .. } => Verdict::Fine,
            Phase::Following => state.settle(),
        }
    }

    /// Gives up an event that was promised and did not come. The audit finds it if it does.
    pub(crate) fn give_up(&self) {
        self.state().promised = Position::START;
    }

    /// A read begins now. The caller was told that it is due. Returns the head of the tail.
    pub(crate) fn begin(&self) -> Position {
        let mut state = self.state();
        state.phase = Phase::Reading { held: Vec::new(), again: false };
        state.head()
    }

    /// The read failed and is still due.
    pub(crate) fn failed(&self) {
        self.state().phase = Phase::Due;
    }

    /// The first read is done: its window becomes the tail.
    pub(crate) fn opened(&self, window: Window) -> Verdict {
        let mut state = self.state();
        let tail = Tail::new(window.before, window.ended_at_once(), CAPACITY);
        state.promised = state.promised.max(window.head);
        extend(&tail, window.events);
        state.tail = Some(Arc::new(tail));
        state.settle()
    }

    /// A later read is done.
    pub(crate) fn read(&self, found: Found) -> Verdict {
        let mut state = self.state();
        let Some(tail) = state.tail.clone() else { return Verdict::Fine };
        match found {
            Found::Next { events, promised } => {
                state.promised = state.promised.max(promised);
                extend(&tail, events);
            }
            Found::Elsewhere(window) => {
                state.promised = state.promised.max(window.head);
                tail.reset(window.before, window.ended_at_once());
                extend(&tail, window.events);
            }
        }
        state.settle()
    }

    /// Only the head of the log was read, after [`begin`](Self::begin).
    pub(crate) fn compared(&self, head: Option<LogHead>) -> Verdict {
        let mut state = self.state();
        if state.head() == head.map_or(Position::START, |head| head.position()) {
            return state.settle();
        }
        state.phase = Phase::Due;
        Verdict::Read
    }

    /// The head of the tail.
    pub(crate) fn head(&self) -> Position {
        self.state().head()
    }

    /// Compares the tail, whose head was `earlier`, with a head of the log that was read since then.
    /// The feed continued meanwhile.
    pub(crate) fn compare(&self, earlier: Position, head: Option<LogHead>) -> Compared {
        let state = self.state();
        let (Phase::Following, Some(tail)) = (&state.phase, &state.tail) else {
            return Compared::Same;
        };
        let (head, ours) = (head.map_or(Position::START, |head| head.position()), tail.head());
        if head < earlier {
            return Compared::Apart;
        }
        match tail.read(head, Limit::ONE, &mut Events::new()) {
            Recent::AtHead | Recent::ToHead | Recent::ToLimit => Compared::Same,
            Recent::Elsewhere if head.n > ours.n && head > ours => Compared::Behind,
            // On a busy topic the window has passed the head since it was read.
            Recent::Elsewhere if tail.oldest().is_some_and(|oldest| head < oldest) => {
                Compared::Same
            }
            Recent::Elsewhere => Compared::Apart,
        }
    }

    /// Returns true if nobody but the registry and the feed has used the tail for `idle`.
    pub(crate) fn is_idle(&self, now: Instant, idle: std::time::Duration) -> bool {
        let mut state = self.state();
        let used = state.tail.as_ref().is_some_and(|tail| Arc::strong_count(tail) > 1);
        if used {
            state.idle_since = None;
            return false;
        }
        now.duration_since(*state.idle_since.get_or_insert(now)) >= idle
    }

    fn state(&self) -> MutexGuard<'_, TailState> {
        // A panic under the lock is a broken invariant, and concerns only the readers of this topic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TailState {
    fn head(&self) -> Position {
        self.tail.as_ref().map_or(Position::START, |tail| tail.head())
    }

    fn suspect(&mut self) -> Verdict {
        match &mut self.phase {
            Phase::Due => Verdict::Fine,
            Phase::Reading { again, .. } => {
                *again = true;
                Verdict::Fine
            }
            Phase::Following => {
                self.phase = Phase::Due;
                Verdict::Read
            }
        }
    }

    /// Drops an erased event from the tail. A window has no holes, so the events before it go too: readers find
    /// them in the log.
    fn forget(&self, erased: Position) {
        if let Some(tail) = &self.tail {
            tail.forget(erased);
        }
    }

    /// Ends a read: applies the rule to the held messages.
    fn settle(&mut self) -> Verdict {
        let phase = std::mem::replace(&mut self.phase, Phase::Following);
        let verdict = match phase {
            Phase::Reading { held, again: false } => self.judge(held),
            Phase::Reading { again: true, .. } | Phase::Due => {
                self.phase = Phase::Due;
                Verdict::Read
            }
            Phase::Following => Verdict::Fine,
        };
        match verdict {
            Verdict::Fine if self.promised > self.head() => self.suspect(),
            verdict => verdict,
        }
    }

    /// Applies the rule to messages, in order.
    fn judge(&mut self, arrived: impl IntoIterator<Item = Live>) -> Verdict {
        let Some(tail) = &self.tail else { return Verdict::Fine };
        let mut head = tail.head();
        let mut next = Vec::new();
        let mut missed = false;
        for live in arrived {
            match live {
                // A read that began before the erasure may have brought the event.
                Live::Erased(position) => self.forget(position),
                Live::Event(event) if follows(head, event.position()) => {
                    head = event.position();
                    next.push(event);
                }
                live if live.position() <= head => {}
                Live::Event(_) | Live::Notice(_) => {
                    missed = true;
                    break;
                }
            }
        }
        if !next.is_empty() {
            tail.extend(next);
        }
        if missed { self.suspect() } else { Verdict::Fine }
    }
}

/// Extends a tail by the events that continue it. The tail stays contiguous whatever the store has
/// answered.
fn extend(tail: &Tail, events: Vec<Event>) {
    let mut head = tail.head();
    let mut next = Vec::with_capacity(events.len());
    for event in events {
        if follows(head, event.position()) {
            head = event.position();
            next.push(event);
        } else if event.position() > head {
            break;
        }
    }
    if !next.is_empty() {
        tail.extend(next);
    }
}

#[cfg(test)]
mod tests;

//! One topic that this node watches: its tail, and the rule by which what arrives gets into it.
//!
//! A message with the number after the head's extends the tail; one up to the head is dropped; any
//! other means that something was missed, and the topic is read from the store. While such a read is
//! due nothing that arrives is trusted: after a fail-over a message may bear the very number that is
//! expected and yet belong to another past. While it runs, what arrives is held, and judged after it.
//!
//! All changes of a tail happen here, under one lock. Never touches the network.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use event_log::{Event, Events, Limit, Position, Recent, Tail, Topic};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::entry::Live;
use crate::head::Head;
use crate::store::{PAGE, WINDOW_BYTES, Window, follows};

/// Messages held for one topic while it is read. More than a read takes time for are not kept: it is
/// read again.
const HELD_MAX: usize = 128;
/// What a tail keeps: a page, so that whoever is at most a page behind needs no read.
const CAPACITY: Limit = Limit { events: PAGE, bytes: WINDOW_BYTES };

/// A watched topic.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) topic: Topic,
    state: Mutex<State>,
    /// Whether its channel was ever confirmed. A later break of the subscription is told by `joined`.
    confirmed: watch::Sender<bool>,
    /// Held by the one who opens the tail, for all who wait for it.
    pub(crate) opening: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct State {
    /// `None` until it was opened.
    tail: Option<Arc<Tail>>,
    phase: Phase,
    /// Since when nobody has used it.
    idle_since: Option<Instant>,
}

#[derive(Debug)]
enum Phase {
    /// Somebody is going to read the topic (its opener, the audit or its repair, and only one of
    /// them); what arrives until then that read will see.
    Due,
    /// It is being read.
    Reading {
        held: Vec<Live>,
        /// Something came that could not be held.
        again: bool,
    },
    /// The tail follows the feed.
    Following,
}

/// What to do about a topic after something arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Verdict {
    /// Nothing.
    Fine,
    /// A read is due now, and the caller is to see to it.
    Read,
}

/// How a topic's head compares with its tail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compared {
    /// The tail is there, or was and has moved on since; or a read is due anyway.
    Same,
    /// The tail is behind, maybe only by what is still on its way.
    Behind,
    /// The tail has something that the log has not.
    Apart,
}

/// What a read has found behind a tail.
#[derive(Debug)]
pub(crate) enum Found {
    /// What follows the tail's head, up to the log's.
    Next(Vec<Event>),
    /// The tail's head is no place to go on from, or too far behind.
    Elsewhere(Window),
}

impl Watched {
    pub(crate) fn new(topic: Topic) -> Self {
        let state = State { tail: None, phase: Phase::Due, idle_since: None };
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

    /// The channel's subscription was confirmed; between the last time and now something may have
    /// been missed.
    pub(crate) fn joined(&self) -> Verdict {
        let verdict = self.suspect();
        self.confirm();
        verdict
    }

    /// The channel's subscription is as it was when somebody was told of it last.
    pub(crate) fn confirm(&self) {
        self.confirmed.send_replace(true);
    }

    /// Something may have been missed.
    pub(crate) fn suspect(&self) -> Verdict {
        self.state().suspect()
    }

    /// Something arrived by the feed.
    pub(crate) fn take(&self, live: Live) -> Verdict {
        let mut state = self.state();
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

    /// A read begins now, made by the one who was told that it is due. Returns the tail's head.
    pub(crate) fn begin(&self) -> Position {
        let mut state = self.state();
        state.phase = Phase::Reading { held: Vec::new(), again: false };
        state.head()
    }

    /// The read failed, and is still due.
    pub(crate) fn failed(&self) {
        self.state().phase = Phase::Due;
    }

    /// The first read is done: this is the tail.
    pub(crate) fn opened(&self, window: Window) -> Verdict {
        let mut state = self.state();
        let tail = Tail::new(window.before, window.ended_at_once(), CAPACITY);
        extend(&tail, window.events);
        state.tail = Some(Arc::new(tail));
        state.settle()
    }

    /// A later read is done.
    pub(crate) fn read(&self, found: Found) -> Verdict {
        let mut state = self.state();
        let Some(tail) = &state.tail else { return Verdict::Fine };
        match found {
            Found::Next(events) => extend(tail, events),
            Found::Elsewhere(window) => {
                tail.reset(window.before, window.ended_at_once());
                extend(tail, window.events);
            }
        }
        state.settle()
    }

    /// The log's head was read instead, after [`begin`](Self::begin).
    pub(crate) fn compared(&self, head: Option<Head>) -> Verdict {
        let mut state = self.state();
        if state.head() == head.map_or(Position::START, |head| head.position()) {
            return state.settle();
        }
        state.phase = Phase::Due;
        Verdict::Read
    }

    /// Where the tail stands.
    pub(crate) fn head(&self) -> Position {
        self.state().head()
    }

    /// Compares the tail, which stood at `earlier`, with a head that was read since, while the feed
    /// went on.
    pub(crate) fn compare(&self, earlier: Position, head: Option<Head>) -> Compared {
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
            // So busy a topic that the window has passed the head since it was read.
            Recent::Elsewhere if tail.oldest().is_some_and(|oldest| head < oldest) => {
                Compared::Same
            }
            Recent::Elsewhere => Compared::Apart,
        }
    }

    /// Whether nobody but the registry and the feed has had use for it for `idle`.
    pub(crate) fn is_idle(&self, now: Instant, idle: std::time::Duration) -> bool {
        let mut state = self.state();
        let used = state.tail.as_ref().is_some_and(|tail| Arc::strong_count(tail) > 1);
        if used {
            state.idle_since = None;
            return false;
        }
        now.duration_since(*state.idle_since.get_or_insert(now)) >= idle
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic under the lock is a broken invariant; its victims are only this topic's readers.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
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

    /// Ends a read: judges what was held.
    fn settle(&mut self) -> Verdict {
        let phase = std::mem::replace(&mut self.phase, Phase::Following);
        match phase {
            Phase::Reading { held, again: false } => self.judge(held),
            Phase::Reading { again: true, .. } | Phase::Due => {
                self.phase = Phase::Due;
                Verdict::Read
            }
            Phase::Following => Verdict::Fine,
        }
    }

    /// Applies the rule to what arrived, in order.
    fn judge(&mut self, arrived: impl IntoIterator<Item = Live>) -> Verdict {
        let Some(tail) = &self.tail else { return Verdict::Fine };
        let mut head = tail.head();
        let mut next = Vec::new();
        let mut missed = false;
        for live in arrived {
            match live {
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

/// Extends a tail by those events that continue it: its invariant is ours to keep, whatever the store
/// has answered.
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

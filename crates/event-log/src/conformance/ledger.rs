//! The steps of a reader in one log, compared with the log's [`History`].
//!
//! The ledger checks invariant 1: in order, exactly once, every gap announced, and every count in a gap
//! true. A reader may see events that the store has dropped, since a window on its node may have them.
//!
//! A reader with `n` = 0 has seen no event that a wiped topic could contradict, so it may go on with any
//! generation.

use super::history::{History, Verdict};
use crate::{BreakReason, Event, Gap, Mark, NewEvent, Position, Reason, Selection, Step};

/// The place of a reader according to its steps.
#[derive(Debug, Clone)]
pub struct Ledger {
    /// The events that the reader wants; `None` is all.
    selection: Option<Selection>,
    generation: usize,
    /// The last number that was delivered or announced as gone.
    n: u64,
    /// Set when the end was told on this connection.
    ended: bool,
    /// Gaps that only an opening may bring.
    opening: Opening,
}

/// The kind of a reader's opening.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// An opening that brings no gap by itself.
    Plain,
    /// A time in the past, of which events may be gone.
    Since,
    /// A text that is not a cursor.
    Garbage,
}

impl Ledger {
    /// The ledger of a reader of a selection that was put at `position`.
    ///
    /// # Errors
    /// The position is not in the log.
    pub fn open(
        history: &History,
        selection: Option<Selection>,
        position: Position,
        opening: Opening,
    ) -> Result<Self, String> {
        let generation = match history.standing(position) {
            Some(generation) => generation,
            // Before any generation: the node may be behind the store.
            None if position.n == 0 => 0,
            None => return Err(format!("a reader was put at {position}, which is nowhere")),
        };
        Ok(Self { selection, generation, n: position.n, ended: false, opening })
    }

    /// Records that the reader reconnects with its cursor.
    pub fn reconnect(&mut self) {
        if self.n == 0 {
            self.generation = 0;
        }
        self.ended = false;
        self.opening = Opening::Plain;
    }

    /// The last number told.
    #[must_use]
    pub fn n(&self) -> u64 {
        self.n
    }

    /// Enters a step in this ledger's log.
    ///
    /// # Errors
    /// The step contradicts the history.
    pub fn enter(&mut self, step: &Step, history: &History) -> Verdict {
        match step {
            Step::Events { events, .. } if events.is_empty() => {
                Err("a step of no events".to_owned())
            }
            Step::Events { events, .. } => {
                events.iter().try_for_each(|event| self.event(event, history))
            }
            Step::Gap { gap, .. } => {
                // Entries without a step were passed before the gap.
                self.pass(gap.requested.unwrap_or_default(), history);
                self.ended = false;
                self.gap(gap, history)
            }
            Step::Broken { entry, reason, .. } => self.broken(entry.position(), *reason, history),
            Step::Reopened { .. } => {
                let opened = history.reopened_after(self.generation, self.n);
                let opened =
                    opened.ok_or_else(|| format!("nothing was opened again after {}", self.n))?;
                (self.generation, self.n) = opened;
                self.ended = false;
                Ok(())
            }
            Step::End { .. } if self.ended => Err("the end was told twice".to_owned()),
            Step::End { .. } => {
                self.ended = true;
                self.finished(history)
            }
            Step::Finished => self.finished(history),
        }
    }

    /// Finds the entry that a reader was told of, which must be the next one.
    fn next<'a>(
        &self,
        position: Position,
        history: &'a History,
    ) -> Result<(usize, &'a NewEvent), String> {
        let (generation, entry) = history
            .find(position)
            .ok_or_else(|| format!("{position} was delivered, which nobody published"))?;
        if self.is_elsewhere(generation) {
            return Err(format!("{position} was delivered: another generation, without a reset"));
        }
        match position.n {
            n if n <= self.n => Err(format!("{position} was doubled after {}", self.n)),
            n if n > self.n + 1 && !history.is_silent(self.at(generation), self.n, n) => {
                Err(format!(
                    "{position} was delivered after {}: what is between was lost in silence",
                    self.n
                ))
            }
            _ if history.is_silent_at(self.at(generation), position.n) => {
                Err(format!("{position} of {} was delivered, which nobody selected", entry.topic))
            }
            _ => Ok((generation, &entry.event)),
        }
    }

    /// Passes entries of which nothing is told, up to the reader's position.
    pub(super) fn pass(&mut self, position: Position, history: &History) {
        let Some((generation, _)) = history.find(position) else { return };
        let is_ahead = self.n < position.n && !self.is_elsewhere(generation);
        if is_ahead && history.is_silent(self.at(generation), self.n, position.n + 1) {
            (self.generation, self.n) = (generation, position.n);
        }
    }

    fn broken(&mut self, position: Position, reason: BreakReason, history: &History) -> Verdict {
        let (generation, sent) = self.next(position, history)?;
        if sent.mark != Mark::Broken(reason) {
            return Err(format!("{position} is no break of {reason:?}"));
        }
        (self.generation, self.n, self.ended) = (generation, position.n, false);
        Ok(())
    }

    fn event(&mut self, event: &Event, history: &History) -> Verdict {
        let position = event.position();
        let (generation, sent) = self.next(position, history)?;
        if event.data() != &*sent.data
            || event.kind() != sent.kind.as_ref()
            || event.mark() != sent.mark
            || event.trace() != sent.trace.as_ref()
        {
            return Err(format!("{event:?} is not what was published"));
        }
        if matches!(event.mark(), Mark::End | Mark::Broken(_)) {
            return Err(format!("{event:?} has no data and was delivered as an event"));
        }
        (self.generation, self.n, self.ended) = (generation, position.n, false);
        Ok(())
    }

    fn gap(&mut self, gap: &Gap, history: &History) -> Verdict {
        let told = format!("{gap:?} was told at {} of generation {}", self.n, self.generation);
        let Gap { reason, missed, missed_at_most, resume, .. } = *gap;
        if self.selection.is_some() && missed.is_some()
            || missed.is_some() && missed_at_most.is_some()
        {
            return Err(format!("{told}: nobody can count what was selected"));
        }
        let missed = missed.or(missed_at_most);
        match reason {
            Reason::History => return Err(format!("{told}: this reader may read everything")),
            // Told at the opening, about events before it.
            Reason::Trimmed if self.opening == Opening::Since && missed.is_none() => {
                return self.begin(resume).map_err(|()| told);
            }
            Reason::Invalid if self.opening == Opening::Garbage && missed.is_none() => {
                return self.begin(resume).map_err(|()| told);
            }
            Reason::Trimmed => {
                let Some(generation) = history.standing(resume) else {
                    return Err(format!("{told}: it resumes nowhere"));
                };
                let counted = missed.and_then(|missed| self.n.checked_add(missed));
                if self.is_elsewhere(generation) || resume.n <= self.n || counted != Some(resume.n)
                {
                    return Err(format!("{told}: miscounted"));
                }
                (self.generation, self.n) = (generation, resume.n);
            }
            Reason::Reset => {
                let (next, n) = match history.standing(resume) {
                    Some(generation) => (generation, resume.n),
                    // The next generation, which may have passed since the gap was found.
                    None if resume.n == 0 && self.generation < history.next_generation() => {
                        (self.generation + usize::from(self.n > 0), 0)
                    }
                    None => return Err(format!("{told}: it resumes nowhere")),
                };
                if (next <= self.generation && self.n > 0) || missed.is_some() {
                    return Err(format!("{told}: nothing was reset"));
                }
                (self.generation, self.n, self.ended) = (next, n, false);
            }
            Reason::Rewound | Reason::Invalid => return Err(told),
        }
        if self.n > history.gone(self.generation) {
            return Err(format!("{told}: it skips what can be read"));
        }
        Ok(())
    }

    fn begin(&mut self, resume: Position) -> Result<(), ()> {
        self.opening = Opening::Plain;
        if resume.n == self.n { Ok(()) } else { Err(()) }
    }

    fn finished(&self, history: &History) -> Verdict {
        let here = history.ends_after(self.generation);
        match here {
            Some(n) if n == self.n || n + 1 == self.n => Ok(()),
            _ if history.is_end(self.generation, self.n) => Ok(()),
            // The reader met a later generation that consists of its end only.
            _ if self.n == 0 && history.has_bare_end_since(self.generation) => Ok(()),
            _ => Err(format!("the end was told at {}, but it is after {here:?}", self.n)),
        }
    }

    /// Returns true if the reader was told of everything that it wants.
    #[must_use]
    pub fn is_caught_up(&self, history: &History) -> bool {
        history.is_all(self.at(self.generation), self.n)
    }

    fn at(&self, generation: usize) -> (usize, Option<&Selection>) {
        (generation, self.selection.as_ref())
    }

    fn is_elsewhere(&self, generation: usize) -> bool {
        generation < self.generation || (generation > self.generation && self.n > 0)
    }
}

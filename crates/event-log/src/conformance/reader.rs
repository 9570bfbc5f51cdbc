//! A reader that enters every step in a ledger.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::DEADLINE;
use super::history::{Truth, Verdict};
use super::ledger::{Ledger, Opening};
use crate::{Cursor, Limit, Log, Origin, Outcome, Part, ReadError, Seek, Step, Topic};

/// Pause after a log that could not be reached.
const AGAIN: Duration = Duration::from_millis(100);

/// A [`Cursor`] with a ledger for each log.
#[derive(Debug)]
pub struct Reader {
    cursor: Cursor,
    /// In the order of the cursor's parts.
    ledgers: Vec<Ledger>,
    outcome: Outcome,
}

impl Reader {
    /// Opens a cursor for a new reader of topics.
    ///
    /// # Errors
    /// The reader was put at an impossible position.
    pub async fn open(
        log: Arc<dyn Log>,
        topics: &[Topic],
        origin: Origin,
        truth: &Truth,
    ) -> Result<Self, String> {
        let parts = log.spaces().parts(topics.to_vec(), Vec::new()).expect("topics need no space");
        Self::open_parts(log, parts, origin, truth).await
    }

    /// Opens a cursor for a new reader.
    ///
    /// # Errors
    /// The reader was put at an impossible position.
    pub async fn open_parts(
        log: Arc<dyn Log>,
        parts: Vec<Part>,
        origin: Origin,
        truth: &Truth,
    ) -> Result<Self, String> {
        let since = matches!(origin, Origin::Seek(Seek::Since(_)));
        let (cursor, outcome) = open(log, parts, origin).await;
        let opening = match outcome {
            Outcome::Invalid => Opening::Garbage,
            _ if since => Opening::Since,
            _ => Opening::Plain,
        };
        let ledgers = cursor.parts().enumerate().map(|(place, Part { log, selection })| {
            let position = cursor.position(place);
            truth.of(&log, |history| Ledger::open(history, selection, position, opening))
        });
        let ledgers = ledgers.collect::<Result<_, _>>()?;
        Ok(Self { cursor, ledgers, outcome })
    }

    /// Reconnects to `log` with the text of a cursor, and keeps the ledgers.
    pub async fn reconnect(self, log: Arc<dyn Log>, wire: String) -> Self {
        let parts = self.cursor.parts().collect();
        let Self { mut ledgers, cursor, .. } = self;
        // The old connection closes before the new one opens.
        drop(cursor);
        let (cursor, outcome) = open(log, parts, Origin::Resume(wire)).await;
        ledgers.iter_mut().for_each(Ledger::reconnect);
        Self { cursor, ledgers, outcome }
    }

    /// The outcome of the opening.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// The cursor.
    #[must_use]
    pub fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    /// The cursor. The caller enters each step with [`enter`](Self::enter).
    pub fn cursor_mut(&mut self) -> &mut Cursor {
        &mut self.cursor
    }

    /// The ledgers, in the order of the cursor's parts.
    #[must_use]
    pub fn ledgers(&self) -> &[Ledger] {
        &self.ledgers
    }

    /// Restores earlier ledgers, because the reader did not get the later steps.
    pub fn roll_back(&mut self, ledgers: Vec<Ledger>) {
        self.ledgers = ledgers;
    }

    /// Waits for the next step and enters it.
    ///
    /// # Errors
    /// The step contradicts the truth.
    pub async fn next(&mut self, limit: Limit, truth: &Truth) -> Result<Step, String> {
        let step = timeout(DEADLINE, self.cursor.next(limit)).await;
        let step = step.map_err(|_| format!("nothing came to {:?}", self.cursor))?;
        self.enter(&step, truth)?;
        Ok(step)
    }

    /// Takes the next step if there is one now, and enters it.
    ///
    /// # Errors
    /// The step contradicts the truth, or the log did not answer.
    pub async fn try_next(&mut self, limit: Limit, truth: &Truth) -> Result<Option<Step>, String> {
        let step = match self.cursor.try_next(limit).await {
            Ok(step) => step,
            Err(ReadError::Unavailable(why)) => return Err(why),
        };
        if let Some(step) = &step {
            self.enter(step, truth)?;
        }
        Ok(step)
    }

    /// Passes by what the reader did not select, as before each sign of life.
    ///
    /// # Errors
    /// Something that it has selected was passed.
    pub fn pass_by(&mut self, truth: &Truth) -> Verdict {
        self.cursor.pass_by();
        for (place, (part, ledger)) in self.cursor.parts().zip(&mut self.ledgers).enumerate() {
            let position = self.cursor.position(place);
            truth.of(&part.log, |history| ledger.pass(position, history));
            if position.n > ledger.n() + 1 {
                let log = part.log;
                return Err(format!("{log}: passed by to {position} from {}", ledger.n()));
            }
        }
        Ok(())
    }

    /// Enters a step that the cursor returned.
    ///
    /// # Errors
    /// The step contradicts the truth.
    pub fn enter(&mut self, step: &Step, truth: &Truth) -> Verdict {
        let concerned = match step {
            Step::Events { place, .. }
            | Step::Gap { place, .. }
            | Step::Broken { place, .. }
            | Step::Reopened { place }
            | Step::End { place } => Some(*place),
            Step::Finished => None,
        };
        for (place, (part, ledger)) in self.cursor.parts().zip(&mut self.ledgers).enumerate() {
            if concerned.is_some_and(|concerned| concerned != place) {
                continue;
            }
            let name = part.log;
            let at = |why| format!("{name}: {why}");
            truth.of(&name, |history| ledger.enter(step, history)).map_err(at)?;
            // The cursor passes a bare end together with the event before it, and an end that was repealed.
            let position = self.cursor.position(place);
            truth.of(&name, |history| ledger.pass(position, history));
            if position.n != ledger.n() && position.n != ledger.n() + 1 {
                return Err(at(format!("the cursor is at {position} but told {}", ledger.n())));
            }
        }
        Ok(())
    }

    /// Returns true if the reader was told of everything that it wants.
    #[must_use]
    pub fn is_caught_up(&self, truth: &Truth) -> bool {
        let mut all = self.cursor.parts().zip(&self.ledgers);
        all.all(|(part, ledger)| truth.of(&part.log, |history| ledger.is_caught_up(history)))
    }
}

/// Opens a cursor as a client does, again and again until the log answers.
async fn open(log: Arc<dyn Log>, parts: Vec<Part>, origin: Origin) -> (Cursor, Outcome) {
    let opened = timeout(DEADLINE, async {
        loop {
            match Cursor::open_as(Arc::clone(&log), parts.clone(), origin.clone().into()).await {
                Ok(opened) => return (opened.cursor, opened.outcome),
                Err(ReadError::Unavailable(_)) => sleep(AGAIN).await,
            }
        }
    });
    opened.await.expect("a cursor opens in time")
}

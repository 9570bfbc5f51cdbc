//! A reader that enters every step in a ledger.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::DEADLINE;
use super::history::{Truth, Verdict};
use super::ledger::{Ledger, Opening};
use crate::{Cursor, Limit, Log, Origin, Outcome, ReadError, Seek, Step, Topic};

/// Pause after a log that could not be reached.
const AGAIN: Duration = Duration::from_millis(100);

/// A [`Cursor`] with a ledger for each topic.
#[derive(Debug)]
pub struct Reader {
    cursor: Cursor,
    /// In the order of the cursor's topics.
    ledgers: Vec<Ledger>,
    outcome: Outcome,
}

impl Reader {
    /// Opens a cursor for a new reader.
    ///
    /// # Errors
    /// The reader was put at an impossible position.
    pub async fn open(
        log: Arc<dyn Log>,
        topics: &[Topic],
        origin: Origin,
        truth: &Truth,
    ) -> Result<Self, String> {
        let since = matches!(origin, Origin::Seek(Seek::Since(_)));
        let (cursor, outcome) = open(log, topics, origin).await;
        let opening = match outcome {
            Outcome::Invalid => Opening::Garbage,
            _ if since => Opening::Since,
            _ => Opening::Plain,
        };
        let ledgers = cursor.topics().enumerate().map(|(topic, name)| {
            truth.of(name, |history| Ledger::open(history, cursor.position(topic), opening))
        });
        let ledgers = ledgers.collect::<Result<_, _>>()?;
        Ok(Self { cursor, ledgers, outcome })
    }

    /// Reconnects to `log` with the text of a cursor, and keeps the ledgers.
    pub async fn reconnect(self, log: Arc<dyn Log>, wire: String) -> Self {
        let topics: Vec<_> = self.cursor.topics().cloned().collect();
        let Self { mut ledgers, cursor, .. } = self;
        // The old connection closes before the new one opens.
        drop(cursor);
        let (cursor, outcome) = open(log, &topics, Origin::Resume(wire)).await;
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

    /// The ledgers, in the order of the cursor's topics.
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

    /// Enters a step that the cursor returned.
    ///
    /// # Errors
    /// The step contradicts the truth.
    pub fn enter(&mut self, step: &Step, truth: &Truth) -> Verdict {
        let concerned = match step {
            Step::Events { topic, .. }
            | Step::Gap { topic, .. }
            | Step::Broken { topic, .. }
            | Step::Reopened { topic }
            | Step::End { topic } => Some(*topic),
            Step::Finished => None,
        };
        for (topic, (name, ledger)) in self.cursor.topics().zip(&mut self.ledgers).enumerate() {
            if concerned.is_some_and(|concerned| concerned != topic) {
                continue;
            }
            let at = |why| format!("{name}: {why}");
            truth.of(name, |history| ledger.enter(step, history)).map_err(at)?;
            // The cursor passes a bare end together with the event before it, and an end that was repealed.
            let position = self.cursor.position(topic);
            truth.of(name, |history| ledger.pass(position, history));
            if position.n != ledger.n() && position.n != ledger.n() + 1 {
                return Err(at(format!("the cursor is at {position} but told {}", ledger.n())));
            }
        }
        Ok(())
    }
}

/// Opens a cursor as a client does, again and again until the log answers.
async fn open(log: Arc<dyn Log>, topics: &[Topic], origin: Origin) -> (Cursor, Outcome) {
    let opened = timeout(DEADLINE, async {
        loop {
            match Cursor::open(Arc::clone(&log), topics.to_vec(), origin.clone()).await {
                Ok(opened) => return opened,
                Err(ReadError::Unavailable(_)) => sleep(AGAIN).await,
            }
        }
    });
    opened.await.expect("a cursor opens in time")
}

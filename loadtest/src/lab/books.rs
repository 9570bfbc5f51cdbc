//! What was seen in one trial.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::histogram::Histogram;
use crate::history::History;

/// How many different messages about oddities are kept; the rest is only counted.
const ODDITIES_KEPT: usize = 10;

/// Everything that is known about a trial, behind one lock.
#[derive(Debug, Default)]
pub struct Books {
    /// Receipts and sights.
    pub history: History,
    /// From the loss of a stream to the next one.
    pub outage: Histogram,
    /// The longest that a subscriber of a busy topic was without an event.
    pub longest_silence: Duration,
    /// Streams that ended although nothing was done to their gateway, their client or their wire.
    pub dropped: u64,
    /// Streams that ended because the fault killed or froze their gateway.
    pub broken_by_fault: u64,
    /// `tailwater.reconnect` by reason.
    pub sent_away: BTreeMap<String, u64>,
    /// `tailwater.ready` by outcome.
    pub outcomes: BTreeMap<String, u64>,
    /// `tailwater.gap` by reason.
    pub gaps: BTreeMap<String, u64>,
    /// Attempts to connect without an answer.
    pub failed: u64,
    /// Answers that would have killed a browser's `EventSource`.
    pub refused: u64,
    /// Events that needed more than one attempt to publish.
    pub retried: u64,
    /// Receipts that said `duplicate`.
    pub duplicate_receipts: u64,
    /// Events that never got a receipt.
    pub unacknowledged: u64,
    /// Things that must not happen and have no counter.
    pub oddities: BTreeMap<String, u64>,
}

impl Books {
    pub(super) fn odd(&mut self, what: impl FnOnce() -> String) {
        let mut what = what();
        if self.oddities.len() >= ODDITIES_KEPT && !self.oddities.contains_key(&what) {
            "others".clone_into(&mut what);
        }
        *self.oddities.entry(what).or_default() += 1;
    }

    /// The oddities in words, the same ones together.
    pub fn oddities_in_words(&self) -> Vec<String> {
        let words = |(what, count): (&String, &u64)| format!("{count} x {what}");
        self.oddities.iter().map(words).collect()
    }
}

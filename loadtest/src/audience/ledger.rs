//! What a run has seen so far.

use std::collections::BTreeMap;

use crate::checker::Checker;
use crate::histogram::Histogram;

/// How many different messages about oddities are kept; the rest is only counted.
const ODDITIES_KEPT: usize = 10;

/// Everything that is known about a run, behind one lock that is held for some 100 ns.
#[derive(Debug, Default)]
pub struct Ledger {
    /// What was acknowledged and what arrived.
    pub checker: Checker,
    /// From the first attempt to publish to the arrival.
    pub latency: Histogram,
    /// The same for events that were published while their subscriber had a stream.
    pub live_latency: Histogram,
    /// From the loss of a stream to the next one.
    pub outage: Histogram,
    /// The part of it beyond the retry time that the gateway had asked for.
    pub overrun: Histogram,
    /// `tailwater.ready` by outcome.
    pub outcomes: BTreeMap<String, u64>,
    /// `tailwater.reconnect` by reason.
    pub reasons: BTreeMap<String, u64>,
    /// Attempts to connect that got no answer.
    pub failed: u64,
    /// Answers that would have killed a browser's `EventSource`.
    pub refused: u64,
    /// Events that needed more than one attempt to publish.
    pub retried: u64,
    /// Receipts that said `duplicate`.
    pub duplicate_receipts: u64,
    /// Events that were never acknowledged.
    pub unacknowledged: u64,
    /// Things that must not happen and have no counter: unknown control events and the like.
    pub oddities: BTreeMap<String, u64>,
}

impl Ledger {
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

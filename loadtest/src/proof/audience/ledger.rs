//! The observations of a run.

use std::collections::BTreeMap;

use crate::proof::checker::Checker;
use crate::proof::oddities::Oddities;
use crate::report::histogram::Histogram;

/// Everything that is known about a run, behind one lock that is held for some 100 ns.
#[derive(Debug, Default)]
pub struct Ledger {
    /// The acknowledged events and the deliveries.
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
    /// Streams that were given up because nothing came, not even a heartbeat.
    pub silent: u64,
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
    /// Events that must not happen and have no counter, such as an unknown control event.
    pub oddities: Oddities,
}

impl Ledger {
    pub(super) fn odd(&mut self, what: impl FnOnce() -> String) {
        self.oddities.note(what());
    }
}

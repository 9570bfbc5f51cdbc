//! The observations of one trial.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use tokio::time::Instant;

use crate::proof::history::History;
use crate::proof::oddities::Oddities;
use crate::report::histogram::Histogram;

/// Everything that is known about a trial, behind one lock.
#[derive(Debug, Default)]
pub struct Books {
    /// Receipts and deliveries of topics that have a log each.
    pub history: History,
    /// The same of the topics that share a log.
    pub room: History,
    /// From the loss of a stream to the next one.
    pub outage: Histogram,
    /// The longest that a subscriber of a busy topic was without an event.
    pub longest_silence: Duration,
    /// From the first attempt to publish an event to its delivery to such a subscriber.
    pub delay: Histogram,
    /// The longest that such a subscriber waited for an event after its acknowledgement.
    pub longest_wait: Duration,
    /// When each event was acknowledged, by topic and payload.
    pub(super) acknowledged: HashMap<(usize, u32), Instant>,
    /// Streams that ended although nothing was done to their gateway, their client or their proxy.
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
    pub oddities: Oddities,
}

impl Books {
    pub(super) fn odd(&mut self, what: impl FnOnce() -> String) {
        self.oddities.note(what());
    }
}

//! The sum of everything that was seen.

use serde::Serialize;

use crate::report::grouped;

/// Counts over all topics and clients. A perfect run has nothing but zeros behind `delivered`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Topics.
    pub topics: u64,
    /// Clients.
    pub clients: u64,
    /// Events that the log acknowledged.
    pub acknowledged: u64,
    /// Deliveries that this calls for: for each client, the events of its topic after its start.
    pub expected: u64,
    /// Deliveries made, each event once a client.
    pub delivered: u64,
    /// Events that a client never got although it got later ones, and that no gap announced.
    pub lost: u64,
    /// Deliveries of events that the client had already: the same position again, or the same
    /// payload at another position.
    pub duplicated: u64,
    /// Deliveries behind a later event, or with a time before an earlier one's.
    pub out_of_order: u64,
    /// Deliveries with another payload than the one acknowledged at that position.
    pub corrupted: u64,
    /// Gaps that clients were told of.
    pub gaps: u64,
    /// Events that these gaps said were missing.
    pub missed_announced: u64,
    /// Events that really were missing at them.
    pub missed_truly: u64,
    /// Clients that did not reach the last acknowledged event of their topic, or never started.
    pub unfinished: u64,
    /// The number of events that they lacked.
    pub behind: u64,
    /// Acknowledgements that contradict another one or a delivery: one position, two payloads.
    pub contradictions: u64,
}

impl Verdict {
    /// The failures, in words. Empty when every event reached every client once and in order.
    pub fn failures(&self) -> Vec<String> {
        let counts = [
            (self.lost, "deliveries lost"),
            (self.duplicated, "deliveries duplicated"),
            (self.out_of_order, "deliveries out of order"),
            (self.corrupted, "deliveries corrupted"),
            (self.gaps, "gaps announced"),
            (self.unfinished, "clients unfinished"),
            (self.contradictions, "acknowledgements contradicted"),
        ];
        counts
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{} {what}", grouped(*count)))
            .collect()
    }

    /// Returns true if gaps announced exactly the events that were missing.
    pub fn gaps_are_exact(&self) -> bool {
        self.missed_announced == self.missed_truly
    }
}

//! The judgement of a history: its counts and failures.

use serde::Serialize;

use crate::report::grouped;

/// Counts over all topics and clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Judgement {
    /// Clients.
    pub clients: u64,
    /// Events that the log acknowledged.
    pub acknowledged: u64,
    /// Acknowledged events that cannot be read from the log after the run.
    pub unreadable: u64,
    /// Deliveries made, each payload once a client.
    pub delivered: u64,
    /// Acknowledged events that a client never got and was not told of.
    pub lost: u64,
    /// Deliveries of events that the client had already.
    pub duplicated: u64,
    /// Deliveries of events that the client had already, after it was told that the log had lost
    /// them: the publisher had got no receipt and sent them again.
    pub again: u64,
    /// Deliveries behind a later one, and numbers that skip or fall without a gap.
    pub out_of_order: u64,
    /// Deliveries with an unreadable payload, or one of another topic.
    pub corrupted: u64,
    /// One position with two payloads.
    pub contradictions: u64,
    /// Deliveries of events that the log does not have any more, although it keeps older ones.
    pub taken_back: u64,
    /// Gaps that clients were told of.
    pub gaps: u64,
    /// Of these: the log had lost events, or began anew.
    pub rewinds: u64,
    /// Events that the gaps with a number said were missing.
    pub announced: u64,
    /// Acknowledged events that clients were missing there.
    pub missing: u64,
    /// Acknowledged events that readers of selections were missing, whose gaps all had an upper bound.
    pub bounded: u64,
    /// The sum of these bounds.
    pub bounds: u64,
    /// Readers that were missing more than the sum of their bounds.
    pub bounds_too_low: u64,
    /// Readers whose bounds are more than the log has lost.
    pub bounds_too_high: u64,
    /// Acknowledged events that clients were missing at gaps without a number.
    pub missing_unnumbered: u64,
    /// Events that clients were told they miss, and that the log still had in the end.
    pub readable_after_all: u64,
}

impl Judgement {
    /// Everything that clients were told they miss, by number or not.
    pub fn told(&self) -> u64 {
        self.announced + self.missing_unnumbered + self.bounded
    }

    /// Every acknowledged event that a client did not get.
    pub fn really_missing(&self) -> u64 {
        self.lost + self.missing + self.missing_unnumbered + self.bounded
    }

    /// Adds the deliveries that another judgement has counted, without what was told of gaps.
    pub(super) fn add_deliveries(&mut self, other: &Judgement) {
        self.delivered += other.delivered;
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.again += other.again;
        self.out_of_order += other.out_of_order;
        self.corrupted += other.corrupted;
        self.contradictions += other.contradictions;
        self.taken_back += other.taken_back;
        self.readable_after_all += other.readable_after_all;
    }

    /// The failures that no run may show, in words.
    pub fn failures(&self) -> Vec<String> {
        let counts = [
            (self.lost, "deliveries lost in silence"),
            (self.duplicated, "deliveries duplicated"),
            (self.out_of_order, "deliveries out of order"),
            (self.corrupted, "deliveries corrupted"),
            (self.contradictions, "positions with two payloads"),
            (self.readable_after_all, "events announced missing that can still be read"),
            (self.bounds_too_low, "readers that miss more than their gaps say"),
            (self.bounds_too_high, "readers whose gaps say more than the log has lost"),
        ];
        let mut failures: Vec<String> = counts
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{} {what}", grouped(*count)))
            .collect();
        if self.announced != self.missing {
            let (announced, missing) = (grouped(self.announced), grouped(self.missing));
            failures.push(format!("{announced} announced missing, {missing} really"));
        }
        failures
    }

    /// More failures, for a run in which nothing may be lost.
    pub fn losses(&self) -> Vec<String> {
        let counts = [
            (self.unreadable, "acknowledged events that the log has lost"),
            (self.gaps, "gaps announced"),
        ];
        counts
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{} {what}", grouped(*count)))
            .collect()
    }
}

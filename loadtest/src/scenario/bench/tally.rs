//! What all readers together got.

use std::time::Duration;

use tokio::time::Instant;

use super::payload::Stamp;
use crate::histogram::Histogram;

/// Counters of one phase.
#[derive(Debug)]
pub(super) struct Tally {
    epoch: Instant,
    now_micros: u64,
    pub(super) delivered: u64,
    pub(super) lost: u64,
    /// Delivered again, or after a later one.
    pub(super) repeated: u64,
    pub(super) reads: u64,
    pub(super) bytes: u64,
    pub(super) latency: Histogram,
}

impl Tally {
    pub(super) fn new(epoch: Instant) -> Self {
        Self {
            epoch,
            now_micros: 0,
            delivered: 0,
            lost: 0,
            repeated: 0,
            reads: 0,
            bytes: 0,
            latency: Histogram::default(),
        }
    }

    pub(super) const fn epoch(&self) -> Instant {
        self.epoch
    }

    /// Reads the clock, for all that is delivered until the next time.
    pub(super) fn tick(&mut self) {
        self.now_micros = self.micros();
    }

    /// Microseconds since the driver began.
    pub(super) fn micros(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Counts an event that came where `expected` should; returns the number to expect then.
    pub(super) fn delivered(&mut self, expected: u64, stamp: Stamp) -> u64 {
        if stamp.number < expected {
            self.repeated += 1;
            return expected;
        }
        self.lost += stamp.number - expected;
        self.delivered += 1;
        let latency = self.now_micros.saturating_sub(stamp.micros);
        self.latency.record(Duration::from_micros(latency));
        stamp.number + 1
    }
}

//! The deliveries of all readers together.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use super::stamp::{self, Stamp};
use crate::report::histogram::Histogram;

/// Counters of one phase.
#[derive(Debug)]
pub struct Tally {
    epoch: Instant,
    /// The same moment for other processes.
    epoch_micros: u64,
    now_micros: u64,
    /// Events that came, each reader's counted.
    pub delivered: u64,
    /// Events that never came.
    pub lost: u64,
    /// Events that came again, or after a later one.
    pub repeated: u64,
    /// Streams that the server closed.
    pub closed: u64,
    /// Reads that brought something.
    pub reads: u64,
    /// The bytes of these reads.
    pub bytes: u64,
    /// The bytes of the readers' requests.
    pub asked: u64,
    /// From before an event was published until it was read, for readers that were connected.
    pub latency: Histogram,
}

impl Tally {
    pub(crate) fn new(epoch: Instant) -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            epoch,
            epoch_micros: micros(unix).saturating_sub(micros(epoch.elapsed())),
            now_micros: 0,
            delivered: 0,
            lost: 0,
            repeated: 0,
            closed: 0,
            reads: 0,
            bytes: 0,
            asked: 0,
            latency: Histogram::default(),
        }
    }

    pub(crate) const fn epoch(&self) -> Instant {
        self.epoch
    }

    /// Adds the counts of another tally.
    pub fn add(&mut self, other: &Tally) {
        self.delivered += other.delivered;
        self.lost += other.lost;
        self.repeated += other.repeated;
        self.closed += other.closed;
        self.reads += other.reads;
        self.bytes += other.bytes;
        self.asked += other.asked;
        self.latency.add(&other.latency);
    }

    /// The payload of an event with this number that is published now.
    pub(crate) fn payload(&self, number: u64, size: usize) -> String {
        stamp::encode(Stamp { number, micros: self.micros() }, size)
    }

    /// Counts a read, whose time is that of all it brings.
    pub(super) fn read(&mut self, bytes: usize) {
        self.now_micros = self.micros();
        self.reads += 1;
        self.bytes += bytes as u64;
    }

    /// The time in microseconds, the same for all processes and without steps.
    pub(super) fn micros(&self) -> u64 {
        self.epoch_micros + micros(self.epoch.elapsed())
    }

    /// Counts an event that came where `expected` should, or any if that is 0; returns the number
    /// to expect then.
    pub(super) fn delivered(&mut self, expected: u64, stamp: Stamp, is_prompt: bool) -> u64 {
        if stamp.number < expected {
            self.repeated += 1;
            return expected;
        }
        if expected > 0 {
            self.lost += stamp.number - expected;
        }
        self.delivered += 1;
        if is_prompt {
            let latency = self.now_micros.saturating_sub(stamp.micros);
            self.latency.record(Duration::from_micros(latency));
        }
        stamp.number + 1
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

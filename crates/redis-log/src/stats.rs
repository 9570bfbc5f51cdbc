//! The counts of the log. The binary names and exposes them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// An operation of the log on Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// Appending an event.
    Append,
    /// Reading the events after a position.
    Read,
    /// Finding the position of a reader without a cursor.
    Seek,
    /// Reading the head, the oldest event and the length of a topic.
    Bounds,
    /// Reading the bookmark of a source.
    Bookmark,
    /// Opening the live end of a topic.
    Tail,
    /// Reading events that the feed did not bring.
    Repair,
    /// Comparing the watched topics with their heads.
    Audit,
    /// Holding the subscriber connection, and proving that it brings messages.
    Feed,
}

impl Op {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Append,
        Self::Read,
        Self::Seek,
        Self::Bounds,
        Self::Bookmark,
        Self::Tail,
        Self::Repair,
        Self::Audit,
        Self::Feed,
    ];

    /// The word for a metric's label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Append => "append",
            Self::Read => "read",
            Self::Seek => "seek",
            Self::Bounds => "bounds",
            Self::Bookmark => "bookmark",
            Self::Tail => "tail",
            Self::Repair => "repair",
            Self::Audit => "audit",
            Self::Feed => "feed",
        }
    }
}

/// The reason why Redis did not store an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendFailure {
    /// It has no memory left.
    Full,
    /// The user lacks a right, or the password is wrong.
    Refused,
    /// No primary is known for the topic, or it cannot be reached.
    Unreached,
    /// It did not answer in time, or the connection broke, so the event may be stored.
    Unsure,
    /// Too few copies were made, or none on the disk.
    Durability,
    /// Any other error.
    Other,
}

impl AppendFailure {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Full, Self::Refused, Self::Unreached, Self::Unsure, Self::Durability, Self::Other];

    /// The word for a metric's label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Refused => "refused",
            Self::Unreached => "unreached",
            Self::Unsure => "unsure",
            Self::Durability => "durability",
            Self::Other => "other",
        }
    }
}

/// The memory of the primary that has the least of it left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StoreMemory {
    /// Bytes that it uses.
    pub used: u64,
    /// Its `maxmemory`; 0 for none.
    pub max: u64,
}

/// The counts since the start, and the states.
#[derive(Debug, Default)]
pub struct Stats {
    errors: [AtomicU64; Op::ALL.len()],
    append_failures: [AtomicU64; AppendFailure::ALL.len()],
    asked: AtomicU64,
    asked_nanos: AtomicU64,
    memory_used: AtomicU64,
    memory_max: AtomicU64,
    reconnects: AtomicU64,
    retries: AtomicU64,
    batches: AtomicU64,
    batched: AtomicU64,
    topology_changes: AtomicU64,
    refusals: AtomicU64,
    full: AtomicU64,
    repairs: AtomicU64,
    audit_finds: AtomicU64,
    reads: AtomicU64,
    replayed: AtomicU64,
    topics: AtomicU64,
    connected: AtomicBool,
    primaries_read: AtomicU64,
    replicas_awaited: AtomicU64,
    evicts: AtomicBool,
}

impl Stats {
    /// Failures of an operation. Each event of an append counts.
    #[must_use]
    pub fn errors(&self, op: Op) -> u64 {
        self.errors[op as usize].load(Ordering::Relaxed)
    }

    /// Events that were not stored, by reason.
    #[must_use]
    pub fn append_failures(&self, reason: AppendFailure) -> u64 {
        self.append_failures[reason as usize].load(Ordering::Relaxed)
    }

    /// Questions to primaries: reads of topics, of heads, of positions.
    #[must_use]
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    /// Time that these took together.
    #[must_use]
    pub fn asked_time(&self) -> Duration {
        Duration::from_nanos(self.asked_nanos.load(Ordering::Relaxed))
    }

    /// The memory of the fullest primary, as of the last look.
    #[must_use]
    pub fn memory(&self) -> StoreMemory {
        StoreMemory {
            used: self.memory_used.load(Ordering::Relaxed),
            max: self.memory_max.load(Ordering::Relaxed),
        }
    }

    /// Reconnections of the feed after a loss.
    #[must_use]
    pub fn reconnects(&self) -> u64 {
        self.reconnects.load(Ordering::Relaxed)
    }

    /// Appends that were sent again, to the same primary or another.
    #[must_use]
    pub fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }

    /// Batches of appends that were sent to primaries.
    #[must_use]
    pub fn batches(&self) -> u64 {
        self.batches.load(Ordering::Relaxed)
    }

    /// Events in these batches.
    #[must_use]
    pub fn batched(&self) -> u64 {
        self.batched.load(Ordering::Relaxed)
    }

    /// Changes of the primaries.
    #[must_use]
    pub fn topology_changes(&self) -> u64 {
        self.topology_changes.load(Ordering::Relaxed)
    }

    /// Commands that Redis refused, because the user lacks a right or the password is wrong.
    #[must_use]
    pub fn refusals(&self) -> u64 {
        self.refusals.load(Ordering::Relaxed)
    }

    /// Events that Redis refused because it has no memory left for them.
    #[must_use]
    pub fn full(&self) -> u64 {
        self.full.load(Ordering::Relaxed)
    }

    /// Reads of a topic because the feed had not brought the next event.
    #[must_use]
    pub fn repairs(&self) -> u64 {
        self.repairs.load(Ordering::Relaxed)
    }

    /// Losses that only the periodic audit found.
    #[must_use]
    pub fn audit_finds(&self) -> u64 {
        self.audit_finds.load(Ordering::Relaxed)
    }

    /// Reads for readers behind the window of their topic.
    #[must_use]
    pub fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    /// Events that these reads brought.
    #[must_use]
    pub fn replayed(&self) -> u64 {
        self.replayed.load(Ordering::Relaxed)
    }

    /// Topics that are watched now.
    #[must_use]
    pub fn topics(&self) -> u64 {
        self.topics.load(Ordering::Relaxed)
    }

    /// Returns true if the feed is connected and subscribed to all watched topics.
    #[must_use]
    pub fn connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    /// Returns true if a primary may evict what the log stores.
    #[must_use]
    pub fn evicts(&self) -> bool {
        self.evicts.load(Ordering::Relaxed)
    }

    /// Primaries that this node reads from, although it is to read from replicas. 0 if it reads from primaries anyway.
    #[must_use]
    pub fn primaries_read(&self) -> u64 {
        self.primaries_read.load(Ordering::Relaxed)
    }

    pub(crate) fn set_primaries_read(&self, primaries: usize) {
        self.primaries_read.store(primaries as u64, Ordering::Relaxed);
    }

    /// Replicas, beside those that this node reads from, that must have an event before it is delivered.
    #[must_use]
    pub fn replicas_awaited(&self) -> u64 {
        self.replicas_awaited.load(Ordering::Relaxed)
    }

    pub(crate) fn set_replicas_awaited(&self, replicas: usize) {
        self.replicas_awaited.store(replicas as u64, Ordering::Relaxed);
    }

    pub(crate) fn failed(&self, op: Op) {
        self.errors[op as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn not_appended(&self, reason: AppendFailure) {
        self.append_failures[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn answered(&self, after: Duration) {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let nanos = u64::try_from(after.as_nanos()).unwrap_or(u64::MAX);
        self.asked_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    pub(crate) fn set_memory(&self, memory: StoreMemory) {
        self.memory_used.store(memory.used, Ordering::Relaxed);
        self.memory_max.store(memory.max, Ordering::Relaxed);
    }

    pub(crate) fn reconnected(&self) {
        self.reconnects.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn retried(&self, appends: usize) {
        self.retries.fetch_add(appends as u64, Ordering::Relaxed);
    }

    pub(crate) fn sent(&self, events: usize) {
        self.batches.fetch_add(1, Ordering::Relaxed);
        self.batched.fetch_add(events as u64, Ordering::Relaxed);
    }

    pub(crate) fn topology_changed(&self) {
        self.topology_changes.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn refused(&self) {
        self.refusals.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn found_full(&self) {
        self.full.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn repaired(&self) {
        self.repairs.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn audit_found(&self) {
        self.audit_finds.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self, events: usize) {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.replayed.fetch_add(events as u64, Ordering::Relaxed);
    }

    pub(crate) fn watches(&self, topics: usize) {
        self.topics.store(topics as u64, Ordering::Relaxed);
    }

    pub(crate) fn set_connected(&self, connected: bool) {
        self.connected.store(connected, Ordering::Relaxed);
    }

    pub(crate) fn set_evicts(&self, evicts: bool) {
        self.evicts.store(evicts, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_has_a_count_of_its_own() {
        let stats = Stats::default();
        for (i, op) in Op::ALL.into_iter().enumerate() {
            (0..=i).for_each(|_| stats.failed(op));
        }
        for (i, op) in Op::ALL.into_iter().enumerate() {
            assert_eq!(stats.errors(op), i as u64 + 1, "{}", op.as_str());
        }
    }
}

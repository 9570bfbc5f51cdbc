//! The events of revocations that the log keeps, as far as a node knows.

use std::collections::HashMap;
use std::time::Duration;

use access::{Revocation, Revocations, Revoked, Timestamp};
use event_log::{Position, Retention};
use tokio::time::Instant;

/// The revocations that hold, with the newest event of each.
#[derive(Debug)]
pub(super) struct Kept {
    retention: Retention,
    entries: HashMap<Revoked, KeptRevocation>,
    /// The number of the newest event.
    newest: u64,
    /// The number of the event that was the newest when [`due`](Self::due) looked.
    looked: u64,
}

#[derive(Debug)]
struct KeptRevocation {
    until: Timestamp,
    /// The newest event; `None` if the log may have lost it.
    event: Option<Newest>,
}

#[derive(Debug)]
struct Newest {
    number: u64,
    /// Its age when the node heard of it.
    age: Duration,
    heard: Instant,
}

/// Entries for which there is room: those that hold, of which a node remembers no more, and as many that are over.
const ENTRIES_MAX: usize = 4 * Revocations::MAX;

impl Kept {
    /// The log keeps events as `retention` says.
    pub(super) fn new(retention: Retention) -> Self {
        Self { retention, entries: HashMap::new(), newest: 0, looked: 0 }
    }

    /// Notes an event. Returns true if it revokes something that was not revoked, or not for so long.
    pub(super) fn note(&mut self, revocation: Revocation, position: Position) -> bool {
        if self.entries.len() >= ENTRIES_MAX {
            self.forget();
        }
        let Revocation { revoked, until } = revocation;
        self.newest = self.newest.max(position.n);
        let age = Timestamp::now().after(Timestamp::from_millis(position.ms));
        let event = Newest { number: position.n, age, heard: Instant::now() };
        let Some(entry) = self.entries.get_mut(&revoked) else {
            self.entries.insert(revoked, KeptRevocation { until, event: Some(event) });
            return true;
        };
        let is_longer = until > entry.until;
        // An event that ends earlier keeps nothing.
        if until >= entry.until && entry.event.as_ref().is_none_or(|e| e.number < event.number) {
            *entry = KeptRevocation { until, event: Some(event) };
        }
        is_longer
    }

    /// Notes that the log may have lost all events.
    pub(super) fn lost(&mut self) {
        (self.newest, self.looked) = (0, 0);
        self.entries.values_mut().for_each(|entry| entry.event = None);
    }

    /// Returns true if so many events have come since the last look that it is time for one.
    pub(super) const fn has_moved(&self) -> bool {
        self.newest - self.looked > self.retention.events as u64 / 16
    }

    /// Returns at most `max` revocations that the log will drop while they hold, the oldest first. A
    /// node chooses `jitter`, from 0 to 1, which puts the moment off a little.
    ///
    /// By age, that is after half of the log's age. By number, it is after three quarters of the log's events:
    /// at most half as many revocations hold, so storing all of them again makes none due.
    pub(super) fn due(&mut self, jitter: f64, max: usize) -> Vec<Revocation> {
        self.forget();
        self.looked = self.newest;
        let age = self.retention.age.mul_f64(0.5 + jitter / 8.0);
        let events = self.retention.events as u64;
        let number = events / 4 * 3 + (events as f64 * jitter / 8.0) as u64;
        let mut due: Vec<_> = self
            .entries
            .iter()
            .filter(|(_, entry)| {
                entry.event.as_ref().is_none_or(|event| {
                    event.age() > age || self.newest.saturating_sub(event.number) > number
                })
            })
            .collect();
        due.sort_unstable_by_key(|(_, entry)| entry.event.as_ref().map(|event| event.number));
        due.truncate(max);
        let revocation = |(revoked, entry): (&Revoked, &KeptRevocation)| Revocation {
            revoked: revoked.clone(),
            until: entry.until,
        };
        due.into_iter().map(revocation).collect()
    }

    fn forget(&mut self) {
        let now = Timestamp::now();
        self.entries.retain(|_, entry| entry.until > now);
    }
}

impl Newest {
    fn age(&self) -> Duration {
        self.age + self.heard.elapsed()
    }
}

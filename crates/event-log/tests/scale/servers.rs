//! The servers of one partition: a primary and its replicas. They count what they send and answer, and lag by nothing.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use event_log::{Append, Event, Log as _, LogName, MemoryLog, NewEvent, Retention, Topic};

use super::gateway::Gateway;

#[derive(Debug)]
pub(crate) struct Servers {
    /// The log that all servers hold.
    pub(crate) log: MemoryLog,
    counts: Vec<Counts>,
    watching: Mutex<HashMap<LogName, Vec<Arc<Gateway>>>>,
}

/// The work of one server.
#[derive(Debug, Default)]
struct Counts {
    subscriptions: AtomicU64,
    messages: AtomicU64,
    copies: AtomicU64,
    reads: AtomicU64,
}

/// The work of the primary, and of all replicas together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Work {
    pub(crate) primary: u64,
    pub(crate) replicas: u64,
}

/// The work of all servers since they began.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Worked {
    pub(crate) subscriptions: Work,
    pub(crate) messages: Work,
    /// Copies of events that the primary sends to replicas.
    pub(crate) copies: u64,
    pub(crate) reads: Work,
}

/// The number of a server. The primary is 0.
pub(crate) type Id = usize;

impl Servers {
    pub(crate) fn new(replicas: usize) -> Arc<Self> {
        let counts = (0..=replicas).map(|_| Counts::default()).collect();
        let log = MemoryLog::new(Retention::default());
        Arc::new(Self { log, counts, watching: Mutex::default() })
    }

    pub(crate) fn replicas(&self) -> usize {
        self.counts.len() - 1
    }

    /// A gateway subscribes to a log at its source.
    pub(crate) fn subscribe(&self, log: &LogName, gateway: &Arc<Gateway>) {
        self.counts[gateway.source].subscriptions.fetch_add(1, Relaxed);
        let mut watching = self.watching.lock().unwrap();
        watching.entry(log.clone()).or_default().push(Arc::clone(gateway));
    }

    /// A gateway has died.
    pub(crate) fn forget(&self, dead: &Arc<Gateway>) {
        let mut watching = self.watching.lock().unwrap();
        watching.values_mut().for_each(|all| all.retain(|gateway| !Arc::ptr_eq(gateway, dead)));
    }

    /// A server answers a read.
    pub(crate) fn reads(&self, server: Id) {
        self.counts[server].reads.fetch_add(1, Relaxed);
    }

    /// Appends an event, copies it to the replicas, and sends its message over every feed that watches the topic.
    pub(crate) async fn publish(&self, topic: &Topic) {
        let event = NewEvent { data: "x".into(), ..NewEvent::default() };
        let append = Append::new(topic.clone(), event.clone());
        let receipt = self.log.append(vec![append]).await.remove(0).unwrap();
        let event = Event::new(topic.clone(), receipt.position, event);
        self.counts[0].copies.fetch_add(self.replicas() as u64, Relaxed);
        let watching = self.watching.lock().unwrap();
        for gateway in watching.get(&**topic).into_iter().flatten() {
            self.counts[gateway.source].messages.fetch_add(1, Relaxed);
            gateway.take(&event, self);
        }
    }

    pub(crate) fn worked(&self) -> Worked {
        let of = |count: fn(&Counts) -> &AtomicU64| Work {
            primary: count(&self.counts[0]).load(Relaxed),
            replicas: self.counts[1..].iter().map(|counts| count(counts).load(Relaxed)).sum(),
        };
        Worked {
            subscriptions: of(|counts| &counts.subscriptions),
            messages: of(|counts| &counts.messages),
            copies: of(|counts| &counts.copies).primary,
            reads: of(|counts| &counts.reads),
        }
    }
}

impl Work {
    pub(crate) fn all(self) -> u64 {
        self.primary + self.replicas
    }
}

impl std::ops::Sub for Worked {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        let work = |now: Work, earlier: Work| Work {
            primary: now.primary - earlier.primary,
            replicas: now.replicas - earlier.replicas,
        };
        Self {
            subscriptions: work(self.subscriptions, earlier.subscriptions),
            messages: work(self.messages, earlier.messages),
            copies: self.copies - earlier.copies,
            reads: work(self.reads, earlier.reads),
        }
    }
}

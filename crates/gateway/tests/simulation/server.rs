//! One server of the store: its copy of the log, and the replicas that it has heard of.

use std::collections::BTreeMap;
use std::time::Duration;

use event_log::{Event, LogName};
use tokio::time::Instant;

use super::history::{Holding, Place};

/// The number of a server.
pub(crate) type Id = usize;

#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) role: Role,
    /// False for a replica that no fail-over promotes.
    pub(crate) is_promotable: bool,
    state: State,
    /// The time since which it has this state.
    since: Instant,
    /// Nobody reaches the server, though it runs, until then.
    pub(crate) away_until: Instant,
    /// The link to the primary is cut, until then.
    pub(crate) cut_until: Instant,
    /// When a replica last got something from the server that it follows.
    pub(crate) heard_at: Instant,
    pub(crate) log: Vec<Change>,
    holdings: BTreeMap<LogName, Holding>,
    heard: BTreeMap<Id, Heard>,
}

/// The role of a server, as it says itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Primary,
    ReplicaOf(Id),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Running,
    /// A frozen process: it neither answers nor replicates.
    Frozen,
    /// A process that was killed. Its memory comes back with it.
    Stopped,
    /// A server that was taken away for ever.
    Removed,
}

/// A change of a log, as a primary sends it to its replicas.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    /// Differs for all changes of all servers.
    pub(crate) id: u64,
    pub(crate) at: Instant,
    pub(crate) log: LogName,
    pub(crate) holding: Holding,
    pub(crate) event: Option<Event>,
}

/// The last words of a replica, as its primary has heard them.
#[derive(Debug, Clone, Copy)]
struct Heard {
    last: Instant,
    /// The time since which the replica was never silent for long.
    since: Instant,
    offset: usize,
}

/// A primary's report of its replicas.
#[derive(Debug, Clone)]
pub(crate) struct Report {
    /// The changes that the primary has made.
    pub(crate) offset: usize,
    pub(crate) replicas: Vec<Reported>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Reported {
    pub(crate) server: Id,
    pub(crate) is_promotable: bool,
    pub(crate) silence: Duration,
    /// The changes that the replica has taken.
    pub(crate) offset: usize,
}

/// Silence after which a replica counts as one that comes anew.
const SILENCE_MAX: Duration = Duration::from_millis(2800);

impl Server {
    pub(crate) fn new(role: Role, is_promotable: bool) -> Self {
        let now = Instant::now();
        Self {
            role,
            is_promotable,
            state: State::Running,
            since: now,
            away_until: now,
            cut_until: now,
            heard_at: now,
            log: Vec::new(),
            holdings: BTreeMap::new(),
            heard: BTreeMap::new(),
        }
    }

    pub(crate) fn state(&self) -> State {
        self.state
    }

    /// Changes the state, unless the server was removed.
    pub(crate) fn turn(&mut self, state: State) {
        if self.state != State::Removed {
            (self.state, self.since) = (state, Instant::now());
        }
    }

    /// Returns true if a gateway or a publisher reaches the server.
    pub(crate) fn answers(&self) -> bool {
        self.state == State::Running && self.away_until <= Instant::now()
    }

    /// Returns true if the server takes part in replication.
    pub(crate) fn is_linked(&self) -> bool {
        self.state == State::Running && self.cut_until <= Instant::now()
    }

    pub(crate) fn holding(&self, log: &LogName) -> Holding {
        let none = Holding { place: Place { era: 0, n: 0 }, gone: 0 };
        self.holdings.get(log).copied().unwrap_or(none)
    }

    /// Takes the place of the server's entries of a log in another era, which has them all.
    pub(crate) fn adopt(&mut self, log: &LogName, place: Place) {
        let gone = self.holding(log).gone;
        self.holdings.insert(log.clone(), Holding { place, gone });
    }

    pub(crate) fn take(&mut self, change: Change) {
        self.holdings.insert(change.log.clone(), change.holding);
        self.log.push(change);
    }

    /// Loses the changes after the first `count`.
    pub(crate) fn truncate(&mut self, count: usize) {
        let log = std::mem::take(&mut self.log);
        self.holdings.clear();
        log.into_iter().take(count).for_each(|change| self.take(change));
    }

    /// Returns true if another server's log begins with the whole log of this one.
    pub(crate) fn leads_to(&self, other: &Self) -> bool {
        let same = |last: &Change| other.log.get(self.log.len() - 1).map(|c| c.id) == Some(last.id);
        self.log.last().is_none_or(same)
    }

    /// A replica reports how far it has come.
    pub(crate) fn hear(&mut self, replica: Id, offset: usize, since: Option<Instant>) {
        let now = Instant::now();
        let known = self.heard.get(&replica).filter(|heard| now - heard.last < SILENCE_MAX);
        let since = known.map(|heard| heard.since).or(since).unwrap_or(now);
        self.heard.insert(replica, Heard { last: now, since, offset });
    }

    /// A replica has left.
    pub(crate) fn forget(&mut self, replica: Id) {
        self.heard.remove(&replica);
    }

    /// Returns the time for which a replica was heard of without a long silence, up to now or to the end of this server.
    pub(crate) fn has_heard_for(&self, replica: Id) -> Duration {
        let end = if self.state == State::Running { Instant::now() } else { self.since };
        let heard = self.heard.get(&replica).filter(|heard| end - heard.last < SILENCE_MAX);
        heard.map_or(Duration::ZERO, |heard| end - heard.since)
    }

    /// The replicas that the server has heard of, without [`Reported::is_promotable`].
    pub(crate) fn report(&self) -> Report {
        let replicas = self.heard.iter().map(|(server, heard)| Reported {
            server: *server,
            is_promotable: true,
            silence: heard.last.elapsed(),
            offset: heard.offset,
        });
        Report { offset: self.log.len(), replicas: replicas.collect() }
    }
}

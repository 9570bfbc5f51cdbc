//! Replication between the servers of a store, and the promotion of replicas.

use std::time::Duration;

use event_log::Event;
use tokio::time::Instant;

use super::super::dice::{chance, pick};
use super::super::history::Loss;
use super::super::server::{Id, Role, Server, State};
use super::Store;

/// The end of a promotion, for the trace.
#[derive(Debug)]
pub(crate) struct Promoted {
    pub(crate) lost: u64,
    pub(crate) loss: Loss,
}

/// Time for which a replica must have been heard of before its promotion is one that every node was prepared for.
pub(super) const PREPARED: Duration = Duration::from_secs(10);
/// Time between two pings of a primary to a replica that has nothing to take.
const PING: Duration = Duration::from_secs(10);
/// Age at which a change reaches a replica that replicates at all.
const CHANGE_AGE_MAX: Duration = Duration::from_secs(3);

impl Store {
    /// Begins a fail-over, unless one has not ended.
    pub(crate) fn begin_fail_over(&self) -> bool {
        !std::mem::replace(&mut self.inner().fails_over, true)
    }

    pub(crate) fn end_fail_over(&self) {
        self.inner().fails_over = false;
    }

    /// Returns the replica to promote: one that runs, that follows the primary and that every node was prepared for, if
    /// there is one.
    pub(crate) fn candidate(&self) -> Option<Id> {
        let inner = self.inner();
        let primary = &inner.servers[inner.primary];
        let fit = (0..inner.servers.len()).filter(|id| {
            let server = &inner.servers[*id];
            let follows = server.role == Role::ReplicaOf(inner.primary) && server.leads_to(primary);
            server.is_promotable && server.answers() && follows
        });
        let fit: Vec<_> = fit.collect();
        let prepared = fit.iter().filter(|id| primary.has_heard_for(**id) >= PREPARED);
        let prepared: Vec<_> = prepared.copied().collect();
        match (prepared.is_empty(), fit.is_empty()) {
            (_, true) => None,
            (true, false) => Some(*pick(&fit)),
            (false, false) => Some(*pick(&prepared)),
        }
    }

    /// Makes a replica the primary.
    pub(crate) fn promote(&self, replica: Id, skew_ms: i64) -> Promoted {
        let mut inner = self.inner();
        let heard_for = inner.servers[inner.primary].has_heard_for(replica);
        let loss = if heard_for >= PREPARED { Loss::Promotion } else { Loss::Unforeseen };
        let old = inner.primary;
        inner.servers[old].forget(replica);
        inner.servers[replica].role = Role::Primary;
        (inner.primary, inner.is_replacing) = (replica, true);
        let lost = inner.take_over(replica, loss, skew_ms);
        Promoted { lost, loss }
    }

    /// The sentinels name the primary.
    pub(crate) fn name(&self) {
        let mut inner = self.inner();
        (inner.named, inner.is_replacing) = (inner.primary, false);
    }

    /// Returns the primary that the sentinels name, unless they are about to name another one.
    pub(crate) fn confirmed(&self) -> Option<Id> {
        let inner = self.inner();
        Some(inner.named).filter(|_| !inner.is_replacing)
    }

    /// Makes a server a replica of the primary.
    pub(crate) fn follow(&self, server: Id) {
        let mut inner = self.inner();
        let primary = inner.primary;
        if server == primary {
            return;
        }
        inner.servers.iter_mut().for_each(|other| other.forget(server));
        inner.servers[server].role = Role::ReplicaOf(primary);
    }

    /// Adds a replica, which has nothing yet.
    pub(crate) fn add(&self, is_promotable: bool) -> Id {
        let mut inner = self.inner();
        let server = Server::new(Role::ReplicaOf(inner.primary), is_promotable);
        inner.servers.push(server);
        inner.servers.len() - 1
    }

    /// Takes a replica away for ever. Returns false for the primary, and for the last replica.
    pub(crate) fn remove(&self, server: Id) -> bool {
        let mut inner = self.inner();
        let running =
            inner.servers.iter().filter(|server| server.state() != State::Removed).count();
        let removes = server != inner.primary && running > 2;
        if removes {
            inner.servers[server].turn(State::Removed);
        }
        removes
    }

    /// Returns true if a server has nothing to take from another one, or cannot take it now.
    pub(crate) fn is_current(&self, server: Id) -> bool {
        let inner = self.inner();
        let this = &inner.servers[server];
        let Role::ReplicaOf(of) = this.role else { return true };
        let other = &inner.servers[of];
        let is_linked = this.is_linked() && other.state() == State::Running;
        !is_linked || this.leads_to(other) && this.log.len() == other.log.len()
    }

    /// A replica tells the server that it follows how far it has come, and that pings it from time to time.
    pub(crate) fn acknowledge(&self, replica: Id) {
        let mut inner = self.inner();
        let Role::ReplicaOf(of) = inner.servers[replica].role else { return };
        let (server, primary) = (&inner.servers[replica], &inner.servers[of]);
        let is_linked = server.is_linked() && primary.state() == State::Running;
        if is_linked && server.heard_at.elapsed() >= PING {
            inner.servers[replica].heard_at = Instant::now();
        }
        let (server, primary) = (&inner.servers[replica], &inner.servers[of]);
        // A replica with another history does not follow yet.
        if is_linked && server.leads_to(primary) {
            let offset = server.log.len();
            inner.servers[of].hear(replica, offset, None);
        }
    }

    /// Moves a replica closer to the server that it follows. Returns the events that it has taken.
    pub(crate) fn replicate(&self, replica: Id) -> Vec<Event> {
        let mut inner = self.inner();
        let Role::ReplicaOf(of) = inner.servers[replica].role else { return Vec::new() };
        let (server, primary) = (&inner.servers[replica], &inner.servers[of]);
        if !server.is_linked() || primary.state() != State::Running {
            return Vec::new();
        }
        let mut events = Vec::new();
        if server.leads_to(primary) {
            let (taken, all) = (server.log.len(), primary.log.len());
            let due = primary.log.iter().filter(|change| change.at.elapsed() >= CHANGE_AGE_MAX);
            let least = due.count().max(taken);
            let end = if chance(80) { all } else { fastrand::usize(least..=all) };
            let changes = primary.log[taken..end].to_vec();
            if !changes.is_empty() {
                inner.servers[replica].heard_at = Instant::now();
            }
            events.extend(changes.iter().filter_map(|change| change.event.clone()));
            changes.into_iter().for_each(|change| inner.servers[replica].take(change));
        } else {
            let all = primary.log.clone();
            let server = &mut inner.servers[replica];
            server.heard_at = Instant::now();
            server.truncate(0);
            all.into_iter().for_each(|change| server.take(change));
        }
        events
    }
}

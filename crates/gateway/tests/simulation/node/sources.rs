//! The choice of the servers that a node reads from and waits for, by the rules of ADR 12.
//!
//! A node keeps to one replica as its source. It waits for every replica that may be promoted, so that no promotion
//! takes back what it has delivered.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::super::bug::Bug;
use super::super::server::{Id, Report, Role};

#[derive(Debug)]
pub(super) struct Sources {
    bug: Option<Bug>,
    reads_replicas: bool,
    /// Spreads the nodes over replicas that are equally good.
    salt: u64,
    owner: Id,
    owner_changed: Option<Instant>,
    source: Option<Id>,
    /// The offsets in the owner's reports of the last seconds, oldest first.
    offsets: Vec<(Instant, usize)>,
    /// The replicas that can be read from, and since when; `None` if the owner did not answer.
    fit: Option<BTreeMap<Id, Instant>>,
    /// The replicas that a primary has named, and when it did so last.
    named: BTreeMap<Id, Instant>,
    /// Of these, the ones that may be promoted, and since when the reports lack them. One is dropped when all reports of a
    /// while have lacked it. A report of a primary that was frozen, and time without a report, prove nothing.
    promotable: BTreeMap<Id, Option<Instant>>,
    /// Replicas that follow another server than the owner, or none, and since when.
    strayed: BTreeMap<Id, Instant>,
    /// Servers that did not answer, and when.
    doubted: BTreeMap<Id, Instant>,
    /// When the last report was asked for that counts, or the owner was named.
    heard: Instant,
    /// No report has counted yet.
    is_new: bool,
    /// When the questions began of which the servers were chosen last.
    chosen: Instant,
    /// The source that was left because it heard the owner while this node did not.
    left: Option<Id>,
}

/// Bound of a replica's lag and silence.
pub(super) const LAG_MAX: Duration = Duration::from_secs(3);
/// Time for which a replica must be fit before a node leaves a primary for it.
const SETTLED: Duration = Duration::from_secs(5);
/// Time for which a server that did not answer is not chosen.
const DOUBT: Duration = Duration::from_secs(5);
/// Time for which a node stays at a replica that has left its primary.
const FAILOVER_MAX: Duration = Duration::from_secs(30);
/// Time for which a replica is remembered that has left its primary.
const NAMED_MAX: Duration = Duration::from_mins(1);
/// Age at which a report does not tell any more which replicas there are, if the source hears the owner.
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// Age at which a choice is not used any more.
const CHOICE_MAX: Duration = Duration::from_secs(10);
/// Time after a change of primaries in which messages of the old one may come.
const LAST_WORDS_MAX: Duration = Duration::from_mins(1);

impl Sources {
    pub(super) fn new(reads_replicas: bool, owner: Id, bug: Option<Bug>) -> Self {
        Self {
            bug,
            reads_replicas,
            salt: fastrand::u64(..),
            owner,
            owner_changed: None,
            source: (!reads_replicas).then_some(owner),
            offsets: Vec::new(),
            fit: None,
            named: BTreeMap::new(),
            promotable: BTreeMap::new(),
            strayed: BTreeMap::new(),
            doubted: BTreeMap::new(),
            heard: Instant::now(),
            is_new: true,
            chosen: Instant::now(),
            left: None,
        }
    }

    pub(super) fn owner(&self) -> Id {
        self.owner
    }

    /// Returns the server that is read, or `None` while it is unknown which replicas there are.
    pub(super) fn source(&self) -> Option<Id> {
        // A node that was frozen does not know which replicas have come since.
        let knows = self.chosen.elapsed() < CHOICE_MAX || self.bug == Some(Bug::KeepsOldReports);
        self.source.filter(|_| knows || !self.reads_replicas)
    }

    /// Returns true if the next report counts only after the owner was confirmed.
    pub(super) fn is_unsure(&self) -> bool {
        self.is_new || self.heard.elapsed() >= SILENCE_MAX
    }

    /// Returns the source if the owner has not reported for a while.
    pub(super) fn silent_source(&self) -> Option<Id> {
        let is_silent = self.fit.is_none() && self.heard.elapsed() >= SILENCE_MAX;
        self.source.filter(|_| is_silent)
    }

    /// A source was asked which server it follows, and how long ago it heard that. If it hears the owner and this node does
    /// not, there may be replicas of which this node knows nothing. Without an answer it may hear the owner.
    pub(super) fn overhear(&mut self, source: Id, answer: Option<(Role, Duration)>) {
        let hears_more = match answer {
            None => true,
            Some((Role::Primary, _)) => source == self.owner,
            Some((Role::ReplicaOf(other), silence)) => {
                let follows_owner = other == self.owner || !self.named.contains_key(&other);
                follows_owner && silence + LAG_MAX < self.heard.elapsed()
            }
        };
        let is_new = self.left.is_none() && self.bug != Some(Bug::KeepsOldReports);
        if hears_more && is_new && self.source == Some(source) {
            (self.source, self.left) = (None, Some(source));
        }
    }

    /// Returns the servers beside the source that must have an event before it is delivered.
    pub(super) fn awaited(&self) -> Vec<Id> {
        if !self.reads_replicas || self.bug == Some(Bug::DeliversAtTheFirst) {
            return Vec::new();
        }
        let others = self.promotable.keys().copied();
        others.filter(|server| Some(*server) != self.source).collect()
    }

    /// Returns true if a message of a server may come before its event, or without it: over a bus, or late, of an event that
    /// the source has lost as it began to follow another primary.
    pub(super) fn may_overtake(&self, server: Id, has_bus: bool) -> bool {
        let changed = self.owner_changed.is_some_and(|at| at.elapsed() < LAST_WORDS_MAX);
        let may =
            if has_bus { server != self.owner || changed } else { self.reads_replicas && changed };
        self.bug != Some(Bug::BelievesMessages) && may
    }

    /// The sentinels have named the primary.
    pub(super) fn learn(&mut self, owner: Id) {
        if self.owner == owner {
            return;
        }
        (self.owner, self.owner_changed) = (owner, Some(Instant::now()));
        // A node that was frozen knows the replicas of before.
        (self.heard, self.is_new, self.left) = (self.chosen, true, None);
        self.offsets.clear();
        self.fit = None;
        self.strayed.clear();
        // The source may still follow the old primary, and have what the new one lacks.
        match self.bug {
            Some(Bug::ForgetsThePromoted) => self.promotable.remove(&owner),
            _ => self.promotable.insert(owner, None),
        };
        if !self.reads_replicas {
            self.source = Some(owner);
        }
    }

    pub(super) fn doubt(&mut self, server: Id) {
        if server != self.owner {
            self.doubted.insert(server, Instant::now());
        }
    }

    /// Takes the report that the owner has given, or none, since `asked`. Returns the known replicas that it does not
    /// have.
    pub(super) fn take(&mut self, report: Option<Report>, asked: Instant) -> Vec<Id> {
        let now = Instant::now();
        self.named.retain(|_, at| now - *at < NAMED_MAX);
        let Some(report) = report else {
            self.fit = None;
            return Vec::new();
        };
        (self.heard, self.is_new, self.left) = (asked, false, None);
        while self.offsets.len() > 1 && now - self.offsets[1].0 >= LAG_MAX {
            self.offsets.remove(0);
        }
        let due = self.offsets.first().filter(|(at, _)| now - *at >= LAG_MAX);
        let due = due.map_or(0, |(_, offset)| *offset);
        self.offsets.push((now, report.offset));
        let heard = report.replicas.iter().filter(|replica| replica.silence < LAG_MAX);
        let heard: Vec<_> = heard.collect();
        let before = self.fit.take().unwrap_or_default();
        let fit =
            heard.iter().filter(|replica| replica.offset >= due).map(|replica| replica.server);
        let since = |server| before.get(&server).copied().unwrap_or(now);
        self.fit = Some(fit.map(|server| (server, since(server))).collect());
        for replica in &heard {
            self.named.insert(replica.server, now);
            self.strayed.remove(&replica.server);
            if replica.is_promotable {
                self.promotable.insert(replica.server, None);
            }
        }
        let has = |server: &Id| heard.iter().any(|replica| replica.server == *server);
        let strays = |server: &Id| {
            self.strayed.get(server).is_some_and(|since| since.elapsed() < FAILOVER_MAX)
        };
        let at_once = self.bug == Some(Bug::LeavesTheStrayed);
        self.promotable.retain(|server, lacking| {
            *lacking = if has(server) { None } else { lacking.or(Some(now)) };
            let lacks_for = lacking.map_or(Duration::ZERO, |since| asked.duration_since(since));
            let is_lacking = lacks_for >= LAG_MAX || at_once && lacking.is_some();
            !is_lacking || strays(server) || *server == self.owner
        });
        // A primary that was a replica has all that the source has, from the moment in which the source follows it.
        if self.source.is_some_and(|source| source == self.owner || has(&source)) {
            self.promotable.remove(&self.owner);
        }
        self.named.keys().filter(|server| !has(server)).copied().collect()
    }

    /// A replica that the owner's report lacks says its role.
    pub(super) fn hear(&mut self, server: Id, role: Role) {
        let strays = match role {
            Role::Primary => server != self.owner,
            Role::ReplicaOf(other) => other != self.owner && self.named.contains_key(&other),
        };
        if strays && self.bug != Some(Bug::LeavesTheStrayed) {
            self.strayed.entry(server).or_insert_with(Instant::now);
        }
    }

    /// Chooses the source after a report, and other answers to questions that began at this time.
    pub(super) fn choose(&mut self, asked: Instant) {
        self.chosen = asked;
        // A real node reads on after a while, and then promises nothing.
        let Some(fit) = &self.fit else { return };
        let present = self.source;
        let strayed = present.and_then(|present| self.strayed.get(&present));
        let stays = strayed.is_some_and(|since| since.elapsed() < FAILOVER_MAX);
        let never_leaves = self.bug == Some(Bug::NeverLeaves) && present != Some(self.owner);
        if !self.reads_replicas || present.is_some() && (stays || never_leaves) {
            return;
        }
        let usable = |server: &Id| {
            let doubted = self.doubted.get(server);
            fit.contains_key(server) && doubted.is_none_or(|at| at.elapsed() >= DOUBT)
        };
        let rank = |server: &Id| (*server as u64 + 1).wrapping_mul(self.salt | 1);
        let best = fit.keys().filter(|server| usable(server)).min_by_key(|server| rank(server));
        self.source = Some(match (present, best) {
            (Some(present), Some(best)) if present == self.owner => {
                if fit[best].elapsed() >= SETTLED { *best } else { present }
            }
            (Some(present), _) if usable(&present) => present,
            (_, Some(best)) => *best,
            (_, None) => self.owner,
        });
    }
}

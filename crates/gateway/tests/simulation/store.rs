//! The simulated store behind all nodes: a primary, and perhaps replicas, each with a prefix of a primary's log. It
//! follows the rules of `redis-log`'s script: rising positions, numbers without holes, and a fence after each
//! fail-over. A schedule can make its clock jump, make servers unreachable, promote replicas, and make it lose entries.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use event_log::{
    Append, AppendError, Bounds, Event, Generation, Mark, Page, Position, Receipt, Seek, Sought,
    Topic, classify,
};
use tokio::time::Instant;

use super::bug::Bug;
use super::dice::{chance, pick};
use super::history::{Entry, Head, History, Holding, Loss, Place};
use super::server::{Change, Id, Report, Role, Server, State};

#[derive(Debug)]
pub(crate) struct Store(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    topics: BTreeMap<Topic, History>,
    keys: BTreeMap<(Topic, String), Position>,
    servers: Vec<Server>,
    /// The server whose log is the truth.
    primary: Id,
    /// The primary that the sentinels name.
    named: Id,
    /// A fail-over has begun and not ended.
    fails_over: bool,
    /// Identifies the primary. A promotion changes it.
    term: u64,
    changes: u64,
    clock_ms: i64,
    /// Error of this server's clock, in milliseconds.
    skew_ms: i64,
    began: Instant,
    keep: u64,
    fence_ms: u64,
}

/// The newest events of a topic.
#[derive(Debug)]
pub(crate) struct Window {
    pub(crate) before: Position,
    pub(crate) ended: bool,
    pub(crate) events: Vec<Event>,
}

/// The end of a promotion, for the trace.
#[derive(Debug)]
pub(crate) struct Promoted {
    pub(crate) lost: u64,
    pub(crate) loss: Loss,
}

const FENCE_MS: u64 = 10_000;
/// Time for which a replica must have been heard of before its promotion is one that every node was prepared for.
const PREPARED: Duration = Duration::from_secs(10);
/// Age at which a change reaches a replica that replicates at all.
const CHANGE_AGE_MAX: Duration = Duration::from_secs(3);

impl Store {
    /// Creates a store that keeps `keep` events of each topic, with a primary and some replicas.
    pub(crate) fn new(keep: u64, replicas: usize, bug: Option<Bug>) -> Self {
        let now = Instant::now();
        let mut servers = vec![Server::new(Role::Primary, true)];
        for replica in 1..=replicas {
            // The first one may always be promoted.
            servers.push(Server::new(Role::ReplicaOf(0), replica == 1 || chance(50)));
            let long_ago = now.checked_sub(PREPARED).unwrap_or(now);
            servers[0].hear(replica, 0, Some(long_ago));
        }
        Self(Mutex::new(Inner {
            topics: BTreeMap::new(),
            keys: BTreeMap::new(),
            servers,
            primary: 0,
            named: 0,
            fails_over: false,
            term: 1,
            changes: 0,
            skew_ms: 0,
            clock_ms: 1_700_000_000_000,
            began: now,
            keep,
            fence_ms: if bug == Some(Bug::NoFence) { 0 } else { FENCE_MS },
        }))
    }

    /// Appends an event on the primary.
    pub(crate) fn append(&self, append: Append) -> Result<(Receipt, Option<Event>), AppendError> {
        self.inner().append(append)
    }

    /// Returns what a server holds of a topic.
    pub(crate) fn holding(&self, server: Id, topic: &Topic) -> Holding {
        self.inner().servers[server].holding(topic)
    }

    pub(crate) fn read(&self, topic: &Topic, of: Holding, after: Position, count: usize) -> Page {
        self.of(topic, |history| {
            let numbers = history.head(of).map(|head| head.numbers);
            let oldest = history.readable(of).next().map(Event::position);
            let mut next = history.readable(of).filter(|event| event.position() > after).peekable();
            let gap = classify(after, numbers, oldest, next.peek().map(|e| e.position()));
            let count = if gap.is_some() { 0 } else { count };
            Page { gap, events: next.take(count).cloned().collect() }
        })
    }

    /// Returns the events after a number and does not check the position. Only a planted bug reads so.
    pub(crate) fn read_by_number(
        &self,
        topic: &Topic,
        of: Holding,
        n: u64,
        count: usize,
    ) -> Vec<Event> {
        self.of(topic, |history| {
            let events = history.readable(of).skip_while(|event| event.position().n <= n);
            events.take(count).cloned().collect()
        })
    }

    pub(crate) fn window(&self, topic: &Topic, of: Holding, count: usize) -> Window {
        self.of(topic, |history| {
            let mut events: Vec<_> = history.readable(of).rev().take(count).cloned().collect();
            events.reverse();
            let head = history.head(of).map_or(Position::START, |head| head.numbers.head);
            let before = events.first().map_or(head, |first| first.position().before());
            Window { before, ended: history.is_ended(of), events }
        })
    }

    pub(crate) fn seek(&self, topic: &Topic, of: Holding, seek: Seek) -> Sought {
        self.of(topic, |history| {
            let head = history.head(of).map_or(Position::START, |head| head.numbers.head);
            let mut events = history.readable(of).map(Event::position);
            let first = match seek {
                Seek::Earliest => events.next(),
                Seek::Last(0) => None,
                Seek::Last(count) => events.rev().take(usize::try_from(count).unwrap()).last(),
                Seek::Since(ms) => events.find(|position| position.ms >= ms),
            };
            Sought { position: first.map_or(head, Position::before), gap: None }
        })
    }

    pub(crate) fn bounds(&self, topic: &Topic, of: Holding) -> Option<Bounds> {
        self.of(topic, |history| {
            Some(Bounds {
                head: history.head(of)?.numbers.head,
                oldest: history.readable(of).next().map(Event::position),
                length: history.readable(of).count() as u64,
                ended: history.is_ended(of),
                broken: false,
            })
        })
    }

    /// Returns the last position that a server has.
    pub(crate) fn head_at(&self, topic: &Topic, of: Holding) -> Position {
        self.of(topic, |history| history.head(of).map_or(Position::START, |head| head.numbers.head))
    }

    /// Returns the last position that the primary has assigned.
    pub(crate) fn head(&self, topic: &Topic) -> Position {
        self.head_at(topic, self.holding(self.primary(), topic))
    }

    pub(crate) fn of<T>(&self, topic: &Topic, look: impl FnOnce(&History) -> T) -> T {
        look(self.inner().topics.entry(topic.clone()).or_insert_with(History::new))
    }

    pub(crate) fn primary(&self) -> Id {
        self.inner().primary
    }

    /// Returns the primary that the sentinels name.
    pub(crate) fn named(&self) -> Id {
        self.inner().named
    }

    pub(crate) fn count(&self) -> usize {
        self.inner().servers.len()
    }

    pub(crate) fn with<T>(&self, server: Id, change: impl FnOnce(&mut Server) -> T) -> T {
        change(&mut self.inner().servers[server])
    }

    /// Returns a primary's report of its replicas, or `None` if the server calls itself no primary.
    pub(crate) fn report(&self, server: Id) -> Option<Report> {
        let inner = self.inner();
        let asked = &inner.servers[server];
        let mut report = asked.report();
        for replica in &mut report.replicas {
            replica.is_promotable = inner.servers[replica.server].is_promotable;
        }
        (asked.role == Role::Primary).then_some(report)
    }

    pub(crate) fn goes_away(&self, time: Duration) {
        let primary = self.primary();
        self.with(primary, |server| server.away_until = Instant::now() + time);
    }

    pub(crate) fn trim(&self, topic: &Topic, keep: u64) {
        let mut inner = self.inner();
        let Some(history) = inner.topics.get_mut(topic) else { return };
        history.trim(keep);
        let place = history.end();
        inner.change(topic, place, place.n.saturating_sub(keep), None);
    }

    /// Makes the clock of the server jump.
    pub(crate) fn jump(&self, ms: i64) {
        self.inner().clock_ms += ms;
    }

    /// Loses all entries. The server stays the same.
    pub(crate) fn flush(&self) {
        let mut inner = self.inner();
        let topics: Vec<_> = inner.topics.keys().cloned().collect();
        for topic in topics {
            let history = inner.topics.get_mut(&topic).expect("a known topic");
            history.lose_after(0, Loss::Wipe);
            let place = history.end();
            inner.change(&topic, place, 0, None);
        }
        inner.keys.clear();
    }

    /// A server that nobody sees takes the primary's name and place, without the changes of the last `tail`. Returns
    /// the number of lost entries.
    pub(crate) fn fail_over(&self, tail: Duration, skew_ms: i64) -> u64 {
        let mut inner = self.inner();
        let (primary, moment) = (inner.primary, Instant::now() - tail);
        let server = &mut inner.servers[primary];
        let kept = server.log.iter().take_while(|change| change.at < moment).count();
        server.truncate(kept);
        inner.take_over(primary, Loss::Unforeseen, skew_ms)
    }

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
        inner.primary = replica;
        let lost = inner.take_over(replica, loss, skew_ms);
        Promoted { lost, loss }
    }

    /// The sentinels name the primary.
    pub(crate) fn name(&self) {
        let mut inner = self.inner();
        inner.named = inner.primary;
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
    pub(crate) fn add(&self) -> Id {
        let mut inner = self.inner();
        let server = Server::new(Role::ReplicaOf(inner.primary), chance(50));
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

    /// A replica tells the server that it follows how far it has come.
    pub(crate) fn acknowledge(&self, replica: Id) {
        let mut inner = self.inner();
        let Role::ReplicaOf(of) = inner.servers[replica].role else { return };
        let (server, primary) = (&inner.servers[replica], &inner.servers[of]);
        let is_linked = server.is_linked() && primary.state() == State::Running;
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
            events.extend(changes.iter().filter_map(|change| change.event.clone()));
            changes.into_iter().for_each(|change| inner.servers[replica].take(change));
        } else {
            let all = primary.log.clone();
            let server = &mut inner.servers[replica];
            server.truncate(0);
            all.into_iter().for_each(|change| server.take(change));
        }
        events
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }
}

impl Inner {
    /// The truth becomes what a server holds. Its clock is `skew_ms` from the true time, but not farther behind than its
    /// fence reaches beyond the lost entries. Returns the number of lost entries.
    fn take_over(&mut self, server: Id, loss: Loss, skew_ms: i64) -> u64 {
        let Self { topics, keys, servers, .. } = self;
        let (mut lost, mut beyond_ms) = (0, 0);
        for (topic, history) in topics.iter_mut() {
            let n = servers[server].holding(topic).place.n;
            lost += history.last() - n;
            history.lose_after(n, loss);
            servers[server].adopt(topic, history.end());
            // A topic without entries has no head that records the other server, and so no fence.
            let fence_ms = if n > 0 { FENCE_MS } else { 0 };
            let newest_ms = history.newest().map_or(0, |position| position.ms + 1);
            beyond_ms = beyond_ms.max(newest_ms.saturating_sub(fence_ms));
        }
        keys.retain(|(topic, _), position| {
            let history = &topics[topic];
            history.place(*position).is_some_and(|place| history.lost_in(place).is_none())
        });
        self.term += 1;
        self.skew_ms = 0;
        self.skew_ms = skew_ms.max(beyond_ms.cast_signed() - self.now_ms().cast_signed());
        lost
    }

    /// Notes a change of the primary, for its replicas.
    fn change(&mut self, topic: &Topic, place: Place, gone: u64, event: Option<Event>) {
        self.changes += 1;
        let server = &mut self.servers[self.primary];
        let before = server.holding(topic);
        // Numbers that began again are not trimmed yet.
        let gone = if place.n < before.gone { gone } else { gone.max(before.gone) };
        let holding = Holding { place, gone };
        let (id, at, topic) = (self.changes, Instant::now(), topic.clone());
        server.take(Change { id, at, topic, holding, event });
    }

    fn append(&mut self, append: Append) -> Result<(Receipt, Option<Event>), AppendError> {
        let Append { topic, event, key, may_begin, .. } = append;
        let now_ms = self.now_ms();
        let key = key.map(|key| (topic.clone(), key.as_str().to_owned()));
        if let Some(position) = key.as_ref().and_then(|key| self.keys.get(key)) {
            return Ok((Receipt { position: *position, duplicate: true }, None));
        }
        let holding = self.servers[self.primary].holding(&topic);
        let known = holding.place.n > 0;
        if !may_begin && !known {
            return Err(AppendError::NewTopic { topic });
        }
        let history = self.topics.entry(topic.clone()).or_insert_with(History::new);
        let head = history.head(holding);
        if let Some(head) = head.filter(|_| history.is_ended(holding)) {
            let last = head.numbers.head;
            return match event.mark {
                Mark::End => Ok((Receipt { position: last, duplicate: true }, None)),
                _ => Err(AppendError::Ended { topic, last }),
            };
        }
        let (ms, first) = match head {
            None => (now_ms, None),
            Some(Head { numbers, primary }) if primary == self.term => {
                (now_ms.max(numbers.head.ms), Some(numbers.first))
            }
            Some(Head { numbers, .. }) => ((now_ms + self.fence_ms).max(numbers.head.ms + 1), None),
        };
        let position = Position::new(ms, history.last() + 1);
        let numbers = Generation { head: position, first: first.unwrap_or(position) };
        let head = Head { numbers, primary: self.term };
        let event = Event::new(topic.clone(), position, event);
        let place = history.push(Entry { event: event.clone(), head });
        history.trim(self.keep);
        self.change(&topic, place, place.n.saturating_sub(self.keep), Some(event.clone()));
        if let Some(key) = key {
            self.keys.insert(key, position);
        }
        Ok((Receipt { position, duplicate: false }, Some(event)))
    }

    fn now_ms(&self) -> u64 {
        let elapsed = i64::try_from(self.began.elapsed().as_millis()).unwrap();
        u64::try_from(self.clock_ms + self.skew_ms + elapsed).unwrap()
    }
}

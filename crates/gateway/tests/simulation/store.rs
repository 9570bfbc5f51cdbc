//! The simulated store behind all nodes: a primary, and perhaps replicas, each with a prefix of a primary's log. It
//! follows the rules of `redis-log`'s script: rising positions, numbers without holes, and a fence after each
//! fail-over. A schedule can make its clock jump, make servers unreachable, promote replicas, and make it lose entries.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use event_log::{
    Append, AppendError, Bounds, Event, Generation, LogName, Mark, Page, Position, Receipt, Seek,
    Sought, Spaces, Topic, classify,
};
use tokio::time::Instant;

use super::bug::Bug;
use super::deployment::Deployment;
use super::dice::chance;
use super::history::{Entry, Head, History, Holding, Loss, Place};
use super::server::{Change, Id, Report, Role, Server};

use replication::PREPARED;

mod replication;

#[derive(Debug)]
pub(crate) struct Store(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    spaces: Spaces,
    logs: BTreeMap<LogName, History>,
    keys: BTreeMap<(Topic, String), (LogName, Position)>,
    servers: Vec<Server>,
    /// The server whose log is the truth.
    primary: Id,
    /// The primary that the sentinels name.
    named: Id,
    /// A replica is promoted, and the sentinel that leads the fail-over does not know it yet.
    is_replacing: bool,
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

/// The newest events of a log.
#[derive(Debug)]
pub(crate) struct Window {
    pub(crate) before: Position,
    pub(crate) ended: bool,
    pub(crate) events: Vec<Event>,
}

const FENCE_MS: u64 = 10_000;
impl Store {
    /// Creates a store that keeps `keep` events of each log, with a primary and some replicas.
    pub(crate) fn new(
        keep: u64,
        deployment: &Deployment,
        spaces: Spaces,
        bug: Option<Bug>,
    ) -> Self {
        let now = Instant::now();
        let mut servers = vec![Server::new(Role::Primary, true)];
        for replica in 1..=deployment.replicas {
            // The first one may always be promoted.
            servers.push(Server::new(
                Role::ReplicaOf(0),
                replica == 1 || chance(deployment.promotable),
            ));
            let long_ago = now.checked_sub(PREPARED).unwrap_or(now);
            servers[0].hear(replica, 0, Some(long_ago));
        }
        Self(Mutex::new(Inner {
            spaces,
            logs: BTreeMap::new(),
            keys: BTreeMap::new(),
            servers,
            primary: 0,
            named: 0,
            is_replacing: false,
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

    /// Returns what a server holds of a log.
    pub(crate) fn holding(&self, server: Id, log: &LogName) -> Holding {
        self.inner().servers[server].holding(log)
    }

    pub(crate) fn read(&self, log: &LogName, of: Holding, after: Position, count: usize) -> Page {
        self.of(log, |history| {
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
        log: &LogName,
        of: Holding,
        n: u64,
        count: usize,
    ) -> Vec<Event> {
        self.of(log, |history| {
            let events = history.readable(of).skip_while(|event| event.position().n <= n);
            events.take(count).cloned().collect()
        })
    }

    pub(crate) fn window(&self, log: &LogName, of: Holding, count: usize) -> Window {
        self.of(log, |history| {
            let mut events: Vec<_> = history.readable(of).rev().take(count).cloned().collect();
            events.reverse();
            let head = history.head(of).map_or(Position::START, |head| head.numbers.head);
            let before = events.first().map_or(head, |first| first.position().before());
            Window { before, ended: history.is_ended(of), events }
        })
    }

    pub(crate) fn seek(&self, log: &LogName, of: Holding, seek: Seek) -> Sought {
        self.of(log, |history| {
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

    pub(crate) fn bounds(&self, log: &LogName, of: Holding) -> Option<Bounds> {
        self.of(log, |history| {
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
    pub(crate) fn head_at(&self, log: &LogName, of: Holding) -> Position {
        self.of(log, |history| history.head(of).map_or(Position::START, |head| head.numbers.head))
    }

    /// Returns the last position that the primary has assigned.
    pub(crate) fn head(&self, log: &LogName) -> Position {
        self.head_at(log, self.holding(self.primary(), log))
    }

    pub(crate) fn of<T>(&self, log: &LogName, look: impl FnOnce(&History) -> T) -> T {
        look(self.inner().logs.entry(log.clone()).or_insert_with(History::new))
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

    pub(crate) fn trim(&self, log: &LogName, keep: u64) {
        let mut inner = self.inner();
        let Some(history) = inner.logs.get_mut(log) else { return };
        history.trim(keep);
        let place = history.end();
        inner.change(log, place, place.n.saturating_sub(keep), None);
    }

    /// Makes the clock of the server jump.
    pub(crate) fn jump(&self, ms: i64) {
        self.inner().clock_ms += ms;
    }

    /// Loses all entries. The server stays the same.
    pub(crate) fn flush(&self) {
        let mut inner = self.inner();
        let logs: Vec<_> = inner.logs.keys().cloned().collect();
        for log in logs {
            let history = inner.logs.get_mut(&log).expect("a known log");
            history.lose_after(0, Loss::Wipe);
            let place = history.end();
            inner.change(&log, place, 0, None);
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

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }
}

impl Inner {
    /// The truth becomes what a server holds. Its clock is `skew_ms` from the true time, but not farther behind than its
    /// fence reaches beyond the lost entries. Returns the number of lost entries.
    fn take_over(&mut self, server: Id, loss: Loss, skew_ms: i64) -> u64 {
        let Self { logs, keys, servers, .. } = self;
        let (mut lost, mut beyond_ms) = (0, 0);
        for (log, history) in logs.iter_mut() {
            let n = servers[server].holding(log).place.n;
            lost += history.last() - n;
            history.lose_after(n, loss);
            servers[server].adopt(log, history.end());
            // A log without entries has no head that records the other server, and so no fence.
            let fence_ms = if n > 0 { FENCE_MS } else { 0 };
            let newest_ms = history.newest().map_or(0, |position| position.ms + 1);
            beyond_ms = beyond_ms.max(newest_ms.saturating_sub(fence_ms));
        }
        keys.retain(|_, (log, position)| {
            let history = &logs[log];
            history.place(*position).is_some_and(|place| history.lost_in(place).is_none())
        });
        self.term += 1;
        self.skew_ms = 0;
        self.skew_ms = skew_ms.max(beyond_ms.cast_signed() - self.now_ms().cast_signed());
        lost
    }

    /// Notes a change of the primary, for its replicas.
    fn change(&mut self, log: &LogName, place: Place, gone: u64, event: Option<Event>) {
        self.changes += 1;
        let server = &mut self.servers[self.primary];
        let before = server.holding(log);
        // Numbers that began again are not trimmed yet.
        let gone = if place.n < before.gone { gone } else { gone.max(before.gone) };
        let holding = Holding { place, gone };
        let (id, at, log) = (self.changes, Instant::now(), log.clone());
        server.take(Change { id, at, log, holding, event });
    }

    fn append(&mut self, append: Append) -> Result<(Receipt, Option<Event>), AppendError> {
        let log = self.spaces.log_of(&append.topic);
        let Append { topic, event, key, may_begin, .. } = append.checked_in(&log)?;
        let now_ms = self.now_ms();
        let key = key.map(|key| (topic.clone(), key.as_str().to_owned()));
        if let Some((_, position)) = key.as_ref().and_then(|key| self.keys.get(key)) {
            return Ok((Receipt { position: *position, duplicate: true }, None));
        }
        let holding = self.servers[self.primary].holding(&log);
        let known = holding.place.n > 0;
        if !may_begin && !known {
            return Err(AppendError::NewTopic { topic });
        }
        let history = self.logs.entry(log.clone()).or_insert_with(History::new);
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
        self.change(&log, place, place.n.saturating_sub(self.keep), Some(event.clone()));
        if let Some(key) = key {
            self.keys.insert(key, (log, position));
        }
        Ok((Receipt { position, duplicate: false }, Some(event)))
    }

    fn now_ms(&self) -> u64 {
        let elapsed = i64::try_from(self.began.elapsed().as_millis()).unwrap();
        u64::try_from(self.clock_ms + self.skew_ms + elapsed).unwrap()
    }
}

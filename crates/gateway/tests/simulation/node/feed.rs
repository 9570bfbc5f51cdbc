//! A node's feed, and the choice of the servers.

use std::sync::Arc;
use std::time::Duration;

use event_log::Event;
use tokio::time::{Instant, sleep};

use super::super::bug::Bug;
use super::super::dice::{chance, millis};
use super::super::server::{Id, Report, Server};
use super::watched::Watched;
use super::{Node, of_topic};

/// The feed from a node's source.
#[derive(Debug)]
pub(super) struct Feed {
    /// `None` until there is a source.
    server: Option<Id>,
    pub(super) connected: bool,
    /// Counts the connections of the feed. Messages of earlier connections are dropped.
    line: u32,
    /// Pings without an answer.
    missed: u32,
}

/// Least time between two looks at the servers.
const POLL: Duration = Duration::from_secs(1);
/// Pings without an answer that end a feed.
const MISSED_MAX: u32 = 2;

impl Feed {
    pub(super) fn new(server: Option<Id>) -> Self {
        Self { server, connected: true, line: 0, missed: 0 }
    }
}

impl Node {
    /// Sends a server's message to this node. The weather may lose, delay or duplicate it.
    pub(crate) fn send(self: &Arc<Self>, from: Id, event: &Event) {
        let weather = self.world.weather();
        let state = self.state();
        let is_heard = state.feed.connected && state.feed.server == Some(from);
        if !is_heard || !state.watched.contains_key(&self.log_of(event)) || chance(weather.lost) {
            return;
        }
        let copies = if chance(weather.doubled) { 2 } else { 1 };
        for _ in 0..copies {
            let (node, event, line) = (Arc::clone(self), event.clone(), state.feed.line);
            let late = millis(0..weather.late_ms);
            self.world.stage.spawn(self.group, async move {
                sleep(late).await;
                node.take(from, line, event);
            });
        }
    }

    /// Hides the reports of the primary from this node for a while.
    pub(crate) fn goes_blind(&self, time: Duration) {
        self.state().blind_until = Instant::now() + time;
    }

    /// Breaks the connection of the feed. The node reconnects later.
    pub(crate) fn lose_feed(self: &Arc<Self>) {
        let mut state = self.state();
        (state.feed.connected, state.feed.line) = (false, state.feed.line + 1);
        let (server, line) = (state.feed.server, state.feed.line);
        state.watched.values_mut().for_each(Watched::suspect);
        let Some(server) = server else { return };
        let node = Arc::clone(self);
        self.world.stage.spawn(self.group, async move {
            loop {
                sleep(millis(1..4000)).await;
                let answers = node.world.store.with(server, |server| server.answers());
                let mut state = node.state();
                if state.feed.line != line {
                    return;
                }
                if answers {
                    state.feed.connected = true;
                    drop(state);
                    return node.repair_all();
                }
                state.sources.doubt(server);
            }
        });
    }

    fn take(self: &Arc<Self>, from: Id, line: u32, event: Event) {
        let mut state = self.state();
        if state.feed.line != line {
            return;
        }
        let log = self.log_of(&event);
        let event = match self.world.bug {
            Some(Bug::LosesTheTopic) if log.is_space() => of_topic(&event, log.prefix()),
            _ => event,
        };
        // A message is a hint where it may come before its event, here or on another server that must have the event.
        let is_hint = state.sources.may_overtake(from, self.world.deployment.has_bus)
            || !state.sources.awaited().is_empty()
            || state.sources.source().is_none();
        let Some(watched) = state.watched.get_mut(&log) else { return };
        let reads = match is_hint {
            true => watched.promise(event.position()),
            false => {
                watched.take(event);
                self.advance(&mut state, &log)
            }
        };
        drop(state);
        if reads {
            self.repair(&log);
        }
    }

    /// Chooses the servers again and again, and keeps the feed from the source.
    pub(super) async fn follow_servers(self: Arc<Self>, reads_replicas: bool) {
        loop {
            self.ask_servers(reads_replicas).await;
            self.keep_feed();
            sleep(POLL + millis(0..1000)).await;
        }
    }

    /// Begins the feed anew if the source has changed, and loses it if the source is silent.
    fn keep_feed(self: &Arc<Self>) {
        let mut state = self.state();
        let source = state.sources.source();
        let Some(server) = source else { return };
        if state.feed.server != source {
            state.feed = Feed { line: state.feed.line + 1, ..Feed::new(source) };
            drop(state);
            return self.repair_all();
        }
        let answers = self.world.store.with(server, |server| server.answers());
        state.feed.missed = if answers { 0 } else { state.feed.missed + 1 };
        if state.feed.connected && state.feed.missed >= MISSED_MAX {
            state.feed.missed = 0;
            state.sources.doubt(server);
            drop(state);
            self.lose_feed();
        }
    }

    async fn ask_servers(&self, reads_replicas: bool) {
        let store = &self.world.store;
        // Before the report: an old primary says nothing of the replica that has taken its place.
        let owner = self.world.ask_sentinels().await;
        self.state().sources.learn(owner);
        if !reads_replicas {
            return;
        }
        let asked = Instant::now();
        let is_blind = self.state().blind_until > asked;
        let report = match !is_blind && self.world.travel(owner).await {
            true => store.report(owner),
            false => None,
        };
        let report = if self.world.travel(owner).await { report } else { None };
        let report = self.confirmed(owner, report).await;
        let missing = self.state().sources.take(report, asked);
        for server in missing {
            if self.world.travel(server).await {
                let role = store.with(server, |server| server.role);
                self.state().sources.hear(server, role);
            }
        }
        self.ask_silent_source().await;
        let mut state = self.state();
        let before = state.sources.source();
        state.sources.choose(asked);
        let now = state.sources.source();
        drop(state);
        if before != now {
            self.world.note(format_args!("node {:?} reads from {now:?}", self.group));
            self.world.count("changes of a source", 1);
        }
    }

    /// Returns the report of a primary, unless it is the first one and nobody confirms the primary. An old primary lacks the
    /// replica that takes its place.
    async fn confirmed(&self, owner: Id, report: Option<Report>) -> Option<Report> {
        let report = report?;
        let believes = self.world.bug == Some(Bug::BelievesTheFirstReport);
        if believes || !self.state().sources.is_unsure() {
            return Some(report);
        }
        (self.world.confirm().await == Some(owner)).then_some(report)
    }

    /// Asks a source whose primary has not reported for a while whether it hears that.
    async fn ask_silent_source(&self) {
        let Some(source) = self.state().sources.silent_source() else { return };
        let heard = |server: &Server| (server.role, server.heard_at.elapsed());
        let answers = self.world.travel(source).await;
        let answer = answers.then(|| self.world.store.with(source, |server| heard(server)));
        self.state().sources.overhear(source, answer);
    }
}

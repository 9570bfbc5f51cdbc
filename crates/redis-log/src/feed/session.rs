//! The feed from one source: keeps a connection, and its subscriptions.
//!
//! After every change the session compares the wanted channels with the joined ones: a topic comes
//! into the registry or leaves it, the map changes, Redis ends a subscription or refuses one. When a
//! partition moves, no session hands a subscription over: one session finds that it is not wanted any
//! more, the other that it is missing.

use std::sync::Arc;
use std::time::Duration;

use event_log::LogName;
use futures_util::FutureExt as _;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};

use super::Feed;
use super::channels::{Channels, Orders};
use super::socket::{Frame, Lost, Socket};
use crate::address::Address;
use crate::entry::Live;
use crate::feeds::HINTS;
use crate::keys;
use crate::pace::{Backoff, every};
use crate::slot;
use crate::stats::Op;
use crate::topology::{Map, Topology};
use crate::url::Kind;
use crate::watched::Verdict;

/// Pings without an answer that end a silent connection. One answer can be late; two mean that the
/// peer is dead.
const PINGS_MISSED_MAX: u32 = 2;
/// Pings without an answer that end a connection while messages arrive, because an answer waits behind
/// the messages. The bound is needed: a connection on which only our own direction is dead brings
/// messages for ever, the node's own probes among them, and carries no subscription (measured).
const PINGS_LATE_MAX: u32 = 5;
/// Life after which a connection counts as good. After it the pauses begin again at the shortest.
const GOOD: Duration = Duration::from_secs(10);
/// Time after which a subscription that Redis ended or refused is tried again, if the map still names
/// this source.
const AGAIN: Duration = Duration::from_millis(100);
/// Frames that are taken in a row when they have arrived.
const FRAMES_AT_ONCE: usize = 64;

/// Keeps a feed from a source.
pub(super) async fn keep(feed: Arc<Feed>, source: Address, mut hints: mpsc::Receiver<LogName>) {
    let mut backoff = Backoff::new();
    let mut connections = 0_u64;
    loop {
        let start = Instant::now();
        let lost = match Socket::connect(&feed.access, &feed.topology, &source).await {
            Ok(socket) => {
                if connections > 0 {
                    feed.stats.reconnected();
                }
                connections += 1;
                feed.witnesses.doubt();
                let lost = Session::new(&feed, &source, socket).run(&mut hints).await;
                feed.feeds.set_up(&source, false);
                if start.elapsed() > GOOD {
                    backoff = Backoff::new();
                }
                lost
            }
            Err(lost) => {
                feed.topology.doubt_source(&source);
                lost
            }
        };
        if matches!(lost, Lost::Silent) {
            feed.topology.doubt_source(&source);
        }
        feed.stats.failed(Op::Feed);
        feed.topology.suspect();
        let pause = backoff.next();
        tracing::warn!(%source, %lost, ?pause, "the feed from redis is lost");
        // Without a connection hints mean nothing, because the next one reads the registry. They are
        // taken, so that no caller waits for room.
        let drain = async { while hints.recv().await.is_some() {} };
        tokio::select! {
            () = sleep(pause) => {}
            () = drain => return,
        }
    }
}

/// One connection, from its first subscription to its loss.
struct Session<'a> {
    feed: &'a Feed,
    source: &'a Address,
    socket: Socket,
    channels: Channels,
    map: watch::Receiver<Arc<Map>>,
    overtaking: Overtaking,
    /// True if readers may see an event only when other servers have it too.
    awaits_successors: bool,
    /// Pings since anything arrived.
    pings_missed: u32,
    /// Pings since the last answer.
    pings_unanswered: u32,
    /// True if a wanted channel is neither joined nor being joined.
    missing: bool,
    announced: bool,
}

/// The time in which a message may come before its event, or without it. In a cluster messages do not travel with the
/// data: those of a primary overtake its data on the way to a replica, and those of a primary that was frozen come to its
/// successor, which will never have their events. Elsewhere a replica may lose events as it begins to follow another
/// primary, and their messages may still be on their way.
#[derive(Debug, Clone, Copy)]
enum Overtaking {
    Never,
    Until(Instant),
    Always,
}

/// Time after a change of primaries in which the old one may still speak.
const LAST_WORDS_MAX: Duration = Duration::from_secs(60);

impl Overtaking {
    fn of(topology: &Topology, source: &Address) -> Self {
        let in_cluster = topology.kind() == &Kind::Cluster;
        if in_cluster && !topology.map().serves(source) {
            return Self::Always;
        }
        if !in_cluster && topology.reads_primaries() {
            return Self::Never;
        }
        topology.changed().map_or(Self::Never, |changed| Self::Until(changed + LAST_WORDS_MAX))
    }

    fn is_possible(self) -> bool {
        match self {
            Self::Never => false,
            Self::Until(end) => Instant::now() < end,
            Self::Always => true,
        }
    }
}

enum Never {}

impl<'a> Session<'a> {
    fn new(feed: &'a Feed, source: &'a Address, socket: Socket) -> Self {
        Self {
            feed,
            source,
            socket,
            channels: Channels::default(),
            map: feed.topology.subscribe(),
            overtaking: Overtaking::of(&feed.topology, source),
            awaits_successors: !feed.topology.map().successors(source).is_empty(),
            pings_missed: 0,
            pings_unanswered: 0,
            missing: false,
            announced: false,
        }
    }

    async fn run(mut self, hints: &mut mpsc::Receiver<LogName>) -> Lost {
        match self.follow(hints).await {
            Ok(never) => match never {},
            Err(lost) => lost,
        }
    }

    async fn follow(&mut self, hints: &mut mpsc::Receiver<LogName>) -> Result<Never, Lost> {
        let mut orders = Orders::default();
        let map = Arc::clone(&self.map.borrow_and_update());
        for watched in self.feed.topics.all() {
            if self.is_ours(&map, &watched.topic) {
                self.channels.start(&watched.topic, &mut orders);
            }
        }
        tracing::info!(source = %self.source, topics = self.channels.len(), "feed connected");
        self.carry_out(&mut orders).await?;
        self.announce();
        let mut ping = every(self.feed.ping);
        let mut again = every(AGAIN);
        let mut hinted = Vec::new();
        loop {
            // Each arm is cancel-safe: a tick and a change stay until they are taken, `recv_many`
            // takes hints only when it returns, and a part of a frame stays in the socket's buffer.
            // Frames come last, for they may always be ready.
            tokio::select! {
                biased;
                _ = ping.tick() => self.ping().await?,
                changed = self.map.changed() => {
                    if changed.is_err() {
                        return Err(Lost::Closed);
                    }
                    self.compare(&mut orders);
                }
                _ = again.tick(), if self.missing => self.compare(&mut orders),
                count = hints.recv_many(&mut hinted, HINTS) => {
                    if count == 0 {
                        return Err(Lost::Closed);
                    }
                    for topic in hinted.drain(..) {
                        self.hint(&topic, &mut orders);
                    }
                }
                frame = self.socket.frame() => {
                    self.pings_missed = 0;
                    self.frame(frame?, &mut orders);
                    self.frames_at_hand(&mut orders)?;
                }
            }
            self.carry_out(&mut orders).await?;
        }
    }

    async fn ping(&mut self) -> Result<(), Lost> {
        if self.pings_missed >= PINGS_MISSED_MAX || self.pings_unanswered >= PINGS_LATE_MAX {
            return Err(Lost::Silent);
        }
        self.pings_missed += 1;
        self.pings_unanswered += 1;
        self.socket.ping().await
    }

    fn is_ours(&self, map: &Map, topic: &LogName) -> bool {
        map.source(keys::partition(topic)) == Some(self.source)
    }

    /// Compares all wanted channels with all joined ones.
    fn compare(&mut self, orders: &mut Orders) {
        self.missing = false;
        self.overtaking = Overtaking::of(&self.feed.topology, self.source);
        let map = Arc::clone(&self.map.borrow_and_update());
        self.awaits_successors = !map.successors(self.source).is_empty();
        for topic in self.channels.topics() {
            if !self.is_ours(&map, &topic) {
                self.channels.compare(&topic, false, orders);
            }
        }
        for watched in self.feed.topics.all() {
            if self.is_ours(&map, &watched.topic) {
                self.channels.compare(&watched.topic, true, orders);
            }
        }
        self.announce();
    }

    /// A topic came into the registry or left it.
    fn hint(&mut self, topic: &LogName, orders: &mut Orders) {
        let ours = self.is_ours(&self.map.borrow(), topic);
        let watched = self.feed.topics.get(topic.as_str()).filter(|_| ours);
        let joined = self.channels.compare(topic, watched.is_some(), orders);
        if let Some(watched) = watched
            && joined
        {
            watched.confirm();
        }
    }

    /// Takes the frames that have arrived with one, before the next look at the other arms.
    fn frames_at_hand(&mut self, orders: &mut Orders) -> Result<(), Lost> {
        for _ in 1..FRAMES_AT_ONCE {
            match self.socket.frame().now_or_never() {
                Some(frame) => self.frame(frame?, orders),
                None => break,
            }
        }
        Ok(())
    }

    fn frame(&mut self, frame: Frame, orders: &mut Orders) {
        match frame {
            Frame::Message { channel, payload } => self.message(&channel, &payload),
            Frame::Joined(channel) => {
                let Some(name) = self.feed.keys.topic_of(&channel) else { return };
                let watched = self.feed.topics.get(name);
                let watched =
                    watched.filter(|watched| self.is_ours(&self.map.borrow(), &watched.topic));
                self.channels.joined(name, watched.is_some(), orders);
                if let Some(watched) = watched
                    && watched.joined() == Verdict::Read
                {
                    self.feed.topics.suspect(watched);
                }
                self.announce();
            }
            Frame::Left(channel) => {
                let Some(name) = self.feed.keys.topic_of(&channel) else { return };
                let wanted = self.feed.topics.get(name).is_some();
                if self.channels.left(name, wanted, orders) {
                    tracing::debug!(source = %self.source, topic = name, "subscription ended");
                    self.look_again();
                }
            }
            Frame::Refused { slot } => {
                tracing::debug!(source = %self.source, slot, "another server serves these subscriptions");
                self.channels.forget(|topic| slot::of(keys::partition(topic)) == slot);
                self.look_again();
                self.announce();
            }
            Frame::Other => self.pings_unanswered = 0,
        }
    }

    fn message(&mut self, channel: &str, payload: &[u8]) {
        let Some(name) = self.feed.keys.topic_of(channel) else { return };
        // A message on a channel that was left, or is being left, may be from a log that is gone.
        let Some(watched) = self.feed.topics.get(name).filter(|_| self.channels.is_joined(name))
        else {
            return;
        };
        if self.feed.echoes.take(payload) {
            return;
        }
        let Some(live) = Live::decode(&watched.topic, payload) else {
            tracing::debug!(topic = %watched.topic, "a message holds no event");
            return;
        };
        let verdict = match live {
            Live::Event(_) | Live::Notice(_) if self.is_hint() => watched.promise(live.position()),
            live => watched.take(live),
        };
        if verdict == Verdict::Read {
            self.feed.repairs.start(watched);
        }
    }

    /// Returns true if readers may not see an event yet when its message comes.
    fn is_hint(&self) -> bool {
        self.awaits_successors
            || self.overtaking.is_possible()
            || !self.feed.topology.knows_sources()
    }

    /// Redis has ended a subscription: the map is probably old. If not, the session joins again.
    fn look_again(&mut self) {
        self.missing = true;
        self.feed.topology.suspect();
    }

    /// Reports that the feed is up, once all channels that it began with are joined.
    fn announce(&mut self) {
        if self.channels.complete() && !self.announced {
            self.announced = true;
            self.feed.feeds.set_up(self.source, true);
        }
    }

    async fn carry_out(&mut self, orders: &mut Orders) -> Result<(), Lost> {
        match orders.take(&self.feed.keys) {
            Some(commands) => self.socket.send(&commands).await,
            None => Ok(()),
        }
    }
}

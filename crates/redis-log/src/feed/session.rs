//! The feed from one primary: its connection, again and again, and what is subscribed there.
//!
//! What is wanted is compared with what is joined whenever something changes: a topic comes into the
//! registry or leaves it, the map changes, Redis ends a subscription or says that it is not to be had
//! here. Nobody moves a subscription: one side finds it unwanted, the other finds it missing.

use std::sync::Arc;
use std::time::Duration;

use event_log::Topic;
use futures_util::FutureExt as _;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};

use super::channels::{Channels, Orders};
use super::socket::{Frame, Lost, Socket};
use crate::address::Address;
use crate::entry::Live;
use crate::keys;
use crate::node::{Backoff, HINTS, Node, every};
use crate::repair::repair;
use crate::slot;
use crate::stats::Op;
use crate::topology::Map;
use crate::watched::Verdict;

/// Pings that may stay unanswered: one can be late, two are a dead peer.
const PINGS_MISSED_MAX: u32 = 2;
/// Pings that may stay unanswered while messages come, for an answer waits its turn behind those.
/// There is an end to it: a connection on which only our own side is dead would bring messages for
/// ever, the node's own probes among them, and carry no subscription any more (measured).
const PINGS_LATE_MAX: u32 = 5;
/// A connection that held this long was a good one: the next is tried at once.
const GOOD: Duration = Duration::from_secs(10);
/// Time after which a subscription that Redis ended or refused is asked for again, if the map says
/// until then that it is still to be had here.
const AGAIN: Duration = Duration::from_millis(100);
/// Frames that are taken in a row when they are there.
const FRAMES_AT_ONCE: usize = 64;

/// Keeps a feed from a primary.
pub(super) async fn keep(node: Arc<Node>, primary: Address, mut hints: mpsc::Receiver<Topic>) {
    let mut backoff = Backoff::new();
    let mut connections = 0_u64;
    loop {
        let start = Instant::now();
        let lost = match Socket::connect(&node, &primary).await {
            Ok(socket) => {
                if connections > 0 {
                    node.stats.reconnected();
                }
                connections += 1;
                node.store.witnesses().doubt();
                let lost = Session::new(&node, &primary, socket).run(&mut hints).await;
                node.feed_up(&primary, false);
                if start.elapsed() > GOOD {
                    backoff = Backoff::new();
                }
                lost
            }
            Err(lost) => lost,
        };
        node.stats.failed(Op::Feed);
        node.topology.suspect();
        let pause = backoff.next();
        tracing::warn!(%primary, %lost, ?pause, "no feed from redis");
        // The registry says what to subscribe, so hints mean nothing while there is no connection;
        // taken away, they stop nobody who gives one.
        let drain = async { while hints.recv().await.is_some() {} };
        tokio::select! {
            () = sleep(pause) => {}
            () = drain => return,
        }
    }
}

/// One connection, from its first subscription to its loss.
struct Session<'a> {
    node: &'a Arc<Node>,
    primary: &'a Address,
    socket: Socket,
    channels: Channels,
    map: watch::Receiver<Arc<Map>>,
    /// Pings since anything came.
    pings_missed: u32,
    /// Pings since one was answered.
    pings_unanswered: u32,
    /// Whether something that is wanted is not joined, and not about to be.
    missing: bool,
    announced: bool,
}

enum Never {}

impl<'a> Session<'a> {
    fn new(node: &'a Arc<Node>, primary: &'a Address, socket: Socket) -> Self {
        Self {
            node,
            primary,
            socket,
            channels: Channels::default(),
            map: node.topology.subscribe(),
            pings_missed: 0,
            pings_unanswered: 0,
            missing: false,
            announced: false,
        }
    }

    async fn run(mut self, hints: &mut mpsc::Receiver<Topic>) -> Lost {
        match self.follow(hints).await {
            Ok(never) => match never {},
            Err(lost) => lost,
        }
    }

    async fn follow(&mut self, hints: &mut mpsc::Receiver<Topic>) -> Result<Never, Lost> {
        let mut orders = Orders::default();
        let map = Arc::clone(&self.map.borrow_and_update());
        for watched in self.node.topics.all() {
            if self.is_ours(&map, &watched.topic) {
                self.channels.start(&watched.topic, &mut orders);
            }
        }
        tracing::info!(primary = %self.primary, topics = self.channels.len(), "feed connected");
        self.carry_out(&mut orders).await?;
        self.announce();
        let mut ping = every(self.node.config.ping);
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

    fn is_ours(&self, map: &Map, topic: &Topic) -> bool {
        map.owner(keys::partition(topic)) == Some(self.primary)
    }

    /// Compares everything that is wanted with everything that is joined.
    fn compare(&mut self, orders: &mut Orders) {
        self.missing = false;
        let map = Arc::clone(&self.map.borrow_and_update());
        for topic in self.channels.topics() {
            if !self.is_ours(&map, &topic) {
                self.channels.compare(&topic, false, orders);
            }
        }
        for watched in self.node.topics.all() {
            if self.is_ours(&map, &watched.topic) {
                self.channels.compare(&watched.topic, true, orders);
            }
        }
        self.announce();
    }

    /// A topic came into the registry or left it.
    fn hint(&mut self, topic: &Topic, orders: &mut Orders) {
        let ours = self.is_ours(&self.map.borrow(), topic);
        let watched = self.node.topics.get(topic.as_str()).filter(|_| ours);
        let joined = self.channels.compare(topic, watched.is_some(), orders);
        if let Some(watched) = watched
            && joined
        {
            watched.confirm();
        }
    }

    /// Takes what came along with a frame, before anything else is looked at.
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
                let Some(name) = keys::topic_of(&channel) else { return };
                let watched = self.node.topics.get(name);
                let watched =
                    watched.filter(|watched| self.is_ours(&self.map.borrow(), &watched.topic));
                self.channels.joined(name, watched.is_some(), orders);
                if let Some(watched) = watched
                    && watched.joined() == Verdict::Read
                {
                    self.node.topics.suspect(watched);
                }
                self.announce();
            }
            Frame::Left(channel) => {
                let Some(name) = keys::topic_of(&channel) else { return };
                let wanted = self.node.topics.get(name).is_some();
                if self.channels.left(name, wanted, orders) {
                    tracing::debug!(primary = %self.primary, topic = name, "subscription ended");
                    self.look_again();
                }
            }
            Frame::Refused { slot } => {
                tracing::debug!(primary = %self.primary, slot, "subscriptions are to be had elsewhere");
                self.channels.forget(|topic| slot::of(keys::partition(topic)) == slot);
                self.look_again();
                self.announce();
            }
            Frame::Other => self.pings_unanswered = 0,
        }
    }

    fn message(&mut self, channel: &str, payload: &[u8]) {
        let Some(name) = keys::topic_of(channel) else { return };
        // What comes on a channel that was left, or is about to be, may be of another's past.
        let Some(watched) = self.node.topics.get(name).filter(|_| self.channels.is_joined(name))
        else {
            return;
        };
        let Some(live) = Live::decode(&watched.topic, payload) else {
            tracing::debug!(topic = %watched.topic, "a message that is no event");
            return;
        };
        if watched.take(live) == Verdict::Read {
            self.node.spawn(repair(Arc::clone(self.node), watched));
        }
    }

    /// Redis has ended a subscription: the map is probably old, and if not we join again.
    fn look_again(&mut self) {
        self.missing = true;
        self.node.topology.suspect();
    }

    /// Says that the feed is up, once all channels that it began with are joined.
    fn announce(&mut self) {
        if self.channels.complete() && !self.announced {
            self.announced = true;
            self.node.feed_up(self.primary, true);
        }
    }

    async fn carry_out(&mut self, orders: &mut Orders) -> Result<(), Lost> {
        match orders.take() {
            Some(commands) => self.socket.send(&commands).await,
            None => Ok(()),
        }
    }
}

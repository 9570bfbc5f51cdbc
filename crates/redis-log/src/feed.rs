//! The live feed: one connection of its own, which only ever subscribes.
//!
//! Sharded subscriptions of redis-rs lose channels after a fail-over, and mixed with commands they
//! give them each other's answers (both measured); so this speaks to the socket itself, and knows
//! three commands: SSUBSCRIBE, SUNSUBSCRIBE and PING. What is to be subscribed is what the registry
//! holds; see `channels`. What was missed while it was down is not its business but the audit's.

use std::sync::Arc;

use event_log::Topic;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use crate::entry::Live;
use crate::keys;
use crate::node::{Backoff, HINTS, Node, every};
use crate::repair::repair;
use crate::stats::Op;
use crate::watched::Verdict;

mod channels;
mod socket;

use channels::{Channels, Orders};
use socket::{Frame, Lost, Socket};

/// Pings that may stay unanswered: one can be late, two are a dead peer.
const PINGS_MISSED_MAX: u32 = 2;
/// A connection that held this long was a good one: the next is tried at once.
const GOOD: std::time::Duration = std::time::Duration::from_secs(10);

/// Keeps the feed up until the log closes.
pub(crate) async fn run(node: Arc<Node>, mut hints: mpsc::Receiver<Topic>) {
    let mut backoff = Backoff::new();
    let mut connections = 0_u64;
    loop {
        let start = Instant::now();
        let lost = match Socket::connect(&node.config).await {
            Ok(socket) => {
                if connections > 0 {
                    node.stats.reconnected();
                }
                connections += 1;
                let lost = Session::new(&node, socket).run(&mut hints).await;
                node.set_connected(false);
                if start.elapsed() > GOOD {
                    backoff = Backoff::new();
                }
                lost
            }
            Err(lost) => lost,
        };
        node.stats.failed(Op::Feed);
        let pause = backoff.next();
        tracing::warn!(url = %node.config.url, %lost, ?pause, "no feed from redis");
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
    socket: Socket,
    channels: Channels,
    pings_missed: u32,
}

impl<'a> Session<'a> {
    fn new(node: &'a Arc<Node>, socket: Socket) -> Self {
        Self { node, socket, channels: Channels::default(), pings_missed: 0 }
    }

    async fn run(mut self, hints: &mut mpsc::Receiver<Topic>) -> Lost {
        match self.follow(hints).await {
            Ok(never) => match never {},
            Err(lost) => lost,
        }
    }

    async fn follow(&mut self, hints: &mut mpsc::Receiver<Topic>) -> Result<Never, Lost> {
        let mut orders = Orders::default();
        for watched in self.node.topics.all() {
            self.channels.start(&watched.topic, &mut orders);
        }
        tracing::info!(url = %self.node.config.url, topics = self.channels.len(), "feed connected");
        self.carry_out(&mut orders).await?;
        self.announce();
        let mut ping = every(self.node.config.ping);
        let mut hinted = Vec::new();
        loop {
            // Each arm is cancel-safe: a tick stays until it is taken, `recv_many` takes hints only
            // when it returns, and a part of a frame stays in the socket's buffer. Frames come last,
            // for they may always be ready.
            tokio::select! {
                biased;
                _ = ping.tick() => self.ping().await?,
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
                }
            }
            self.carry_out(&mut orders).await?;
        }
    }

    async fn ping(&mut self) -> Result<(), Lost> {
        if self.pings_missed >= PINGS_MISSED_MAX {
            return Err(Lost::Silent);
        }
        self.pings_missed += 1;
        self.socket.ping().await
    }

    /// A topic came into the registry or left it.
    fn hint(&mut self, topic: &Topic, orders: &mut Orders) {
        let watched = self.node.topics.get(topic.as_str());
        let joined = self.channels.compare(topic, watched.is_some(), orders);
        if let Some(watched) = watched
            && joined
        {
            watched.confirm();
        }
    }

    fn frame(&mut self, frame: Frame, orders: &mut Orders) {
        match frame {
            Frame::Message { channel, payload } => {
                let Some(watched) = keys::topic_of(&channel).and_then(|n| self.node.topics.get(n))
                else {
                    return;
                };
                let Some(live) = Live::decode(&watched.topic, &payload) else {
                    tracing::debug!(topic = %watched.topic, "a message that is no event");
                    return;
                };
                if watched.take(live) == Verdict::Read {
                    self.node.spawn(repair(Arc::clone(self.node), watched));
                }
            }
            Frame::Joined(channel) => {
                let Some(name) = keys::topic_of(&channel) else { return };
                let watched = self.node.topics.get(name);
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
                let watched = self.node.topics.get(name);
                if self.channels.left(name, watched.is_some(), orders) {
                    tracing::info!(topic = name, "redis has ended a subscription");
                }
            }
            Frame::Other => {}
        }
    }

    /// Says that the feed is up, once all channels that it began with are joined.
    fn announce(&mut self) {
        if self.channels.complete() && !self.node.stats.connected() {
            self.node.set_connected(true);
        }
    }

    async fn carry_out(&mut self, orders: &mut Orders) -> Result<(), Lost> {
        match orders.take() {
            Some(commands) => self.socket.send(&commands).await,
            None => Ok(()),
        }
    }
}

enum Never {}

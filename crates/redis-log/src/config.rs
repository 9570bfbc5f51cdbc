//! The configuration of the log.

use std::time::Duration;

use event_log::{Retention, Spaces};
use tokio::sync::watch;

use crate::access::{Access, Party};
use crate::credentials::Credentials;
use crate::durability::Durability;
use crate::keys::KeyPrefix;
use crate::read_from::ReadFrom;
use crate::url::RedisUrl;

/// The configuration of a [`RedisLog`](crate::RedisLog).
#[derive(Debug, Clone)]
pub struct Config {
    /// The address of Redis.
    pub url: RedisUrl,
    /// The beginning of all keys and channels, the same on every node.
    pub prefix: KeyPrefix,
    /// The spaces, the same on every node.
    pub spaces: Spaces,
    /// The life of topics, events and idempotency keys.
    pub retention: Retention,
    /// Where an event must be stored before it is acknowledged.
    pub durability: Durability,
    /// The servers that this node reads from.
    pub read_from: ReadFrom,
    /// True if the user needs the rights for [members](crate::RedisPresence), too.
    pub presence: bool,
    /// Longest wait until replicas have an event. Less than `timeout`.
    pub replica_timeout: Duration,
    /// Connections for reads to each server. Appends and the feed each have one more.
    pub pool_size: usize,
    /// Longest wait until a connection is made.
    pub connect_timeout: Duration,
    /// Longest wait for an answer, and for a connection of the pool.
    pub timeout: Duration,
    /// Time in which a failed append is tried again, if nothing was stored or its key makes the retry
    /// safe. A try that begins within it has time-outs of its own.
    pub retry: Duration,
    /// Time between two refreshes of the map of primaries, where the map can change.
    pub poll: Duration,
    /// Time between two comparisons of all watched topics with their heads. The loss of a topic's last
    /// message can stay unnoticed for this long.
    pub audit: Duration,
    /// Time for which a topic without readers stays watched, so that a reconnecting client finds it warm.
    pub idle: Duration,
    /// Time between two pings of the feed. Two without an answer end its connection.
    pub ping: Duration,
}

impl Config {
    /// The defaults, for a deployment.
    #[must_use]
    pub fn new(url: RedisUrl) -> Self {
        Self {
            url,
            prefix: KeyPrefix::default(),
            spaces: Spaces::NONE,
            retention: Retention::default(),
            durability: Durability::default(),
            read_from: ReadFrom::default(),
            presence: false,
            replica_timeout: Duration::from_secs(1),
            pool_size: 16,
            connect_timeout: Duration::from_secs(1),
            timeout: Duration::from_secs(2),
            retry: Duration::from_secs(3),
            poll: Duration::from_secs(1),
            audit: Duration::from_secs(5),
            idle: Duration::from_secs(30),
            ping: Duration::from_secs(2),
        }
    }

    /// The access to the servers, and the place where its credentials can be changed.
    pub(crate) fn access(&self) -> (watch::Sender<Credentials>, Access) {
        let (sender, credentials) = watch::channel(self.url.credentials.clone());
        let Self { connect_timeout, timeout, .. } = *self;
        (sender, Access { credentials, party: Party::Server, connect_timeout, timeout })
    }
}

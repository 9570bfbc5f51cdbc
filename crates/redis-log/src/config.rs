//! How to reach Redis, and how long it keeps things.

use std::time::Duration;

use event_log::Retention;

use crate::access::Access;
use crate::durability::Durability;
use crate::url::{Login, RedisUrl};

/// What a [`RedisLog`](crate::RedisLog) is opened with.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where it is.
    pub url: RedisUrl,
    /// How long topics, events and idempotency keys are kept.
    pub retention: Retention,
    /// What must hold an event before it is acknowledged.
    pub durability: Durability,
    /// Longest wait for replicas to have an event. Less than `timeout`.
    pub replica_timeout: Duration,
    /// Connections for reads to each primary. Appends and the feed have one more each.
    pub pool_size: usize,
    /// Longest wait for a connection to be made.
    pub connect_timeout: Duration,
    /// Longest wait for an answer, and for a connection of the pool.
    pub timeout: Duration,
    /// How long an append is tried again, if nothing was stored or its key makes that safe. A try
    /// that begins within it may take its own time-outs longer.
    pub retry: Duration,
    /// Time between two looks at who is primary, where that can change.
    pub poll: Duration,
    /// Time between two comparisons of all watched topics with their heads: how long the loss of a
    /// topic's last message can stay unnoticed.
    pub audit: Duration,
    /// How long a topic without readers stays watched, so that a reconnecting client finds it warm.
    pub idle: Duration,
    /// Time between two pings of the feed; it is given up when two stay unanswered.
    pub ping: Duration,
}

impl Config {
    /// The defaults, for a deployment.
    #[must_use]
    pub fn new(url: RedisUrl) -> Self {
        Self {
            url,
            retention: Retention::default(),
            durability: Durability::default(),
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

    /// How its servers are reached.
    pub(crate) fn access(&self) -> Access {
        self.access_as(self.url.login.clone())
    }

    pub(crate) fn access_as(&self, login: Login) -> Access {
        Access {
            login,
            tls: self.url.tls.clone(),
            connect_timeout: self.connect_timeout,
            timeout: self.timeout,
        }
    }
}

//! The flags of the services of a node, and of their log.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args as ClapArgs;
use humantime::parse_duration;
use redis_log::{Durability, KeyPrefix, ReadFrom};

use super::Size;
use super::quotas::{PublishQuotaArgs, QuotaArgs};

/// The flags of a node that serves subscribers.
#[derive(Debug, Clone, ClapArgs)]
#[command(next_help_heading = "Subscribers")]
pub(crate) struct SubscriberArgs {
    /// Maximum number of open subscriptions [default: 90 % of the limit of open files, or half of the
    /// memory at 16KiB each if that is less].
    #[arg(long, env = "TAILWATER_MAX_CONNECTIONS", value_name = "N")]
    pub(crate) max_connections: Option<usize>,
    /// Maximum number of topics and patterns in one subscription.
    #[arg(long, env = "TAILWATER_MAX_TOPICS", default_value_t = 64, value_name = "N")]
    pub(crate) max_topics: usize,
    /// Silence after which a comment is sent to keep the connection open (3s to 60s).
    #[arg(long, env = "TAILWATER_HEARTBEAT", default_value = "15s", value_parser = parse_duration)]
    pub(crate) heartbeat: Duration,
    /// Minimum time that a client waits before it reconnects (500ms to 1h); each client is told a
    /// random time up to twice as long.
    #[arg(long, env = "TAILWATER_RETRY", default_value = "2s", value_parser = parse_duration)]
    pub(crate) retry: Duration,
    /// Age at which a client is told to reconnect, varied by up to 20 %.
    #[arg(long, env = "TAILWATER_MAX_AGE", default_value = "30m", value_parser = parse_duration)]
    pub(crate) max_age: Duration,
    /// Time after --drain-delay over which clients are told to reconnect, evenly spread.
    #[arg(long, env = "TAILWATER_DRAIN_WINDOW", default_value = "30s", value_parser = parse_duration)]
    pub(crate) drain_window: Duration,
    /// Topics that have presence: a pattern, such as rooms/*; may be repeated. Their subscribers are counted and
    /// listed, and streams with presence=1 tell who joins and leaves. The same on every node of a cluster.
    #[arg(long, env = "TAILWATER_PRESENCE", value_name = "PATTERN", value_delimiter = ',')]
    pub(crate) presence: Vec<String>,
    /// Bytes a second that one subject, or one address that brings no token, is sent by this node of events that it
    /// missed; one connection gets a quarter. A token may set less.
    #[arg(
        long,
        env = "TAILWATER_REPLAY_RATE",
        default_value = "64MiB",
        value_name = "SIZE",
        help_heading = "Limits"
    )]
    pub(crate) replay_rate: Size,
    #[command(flatten)]
    pub(crate) quotas: QuotaArgs,
}

/// The flags of the log, which must be the same on every node of a cluster.
#[derive(Debug, Clone, ClapArgs)]
#[command(next_help_heading = "Log")]
pub(crate) struct LogArgs {
    /// Number of events kept per topic.
    #[arg(long, env = "TAILWATER_HISTORY_EVENTS", default_value_t = 1000, value_name = "N")]
    pub(crate) history_events: usize,
    /// Beginning of topics that share one log, as orders/; may be repeated. Patterns such as orders/* can be subscribed
    /// to in it. Every node of a cluster has the same spaces, or serves nothing.
    #[arg(long, env = "TAILWATER_SPACE", value_name = "PREFIX/,…", value_delimiter = ',')]
    pub(crate) space: Vec<String>,
    /// Number of events kept in the log of a space.
    #[arg(
        long,
        env = "TAILWATER_SPACE_HISTORY_EVENTS",
        default_value_t = 100_000,
        value_name = "N"
    )]
    pub(crate) space_history_events: usize,
    /// Age at which an event is dropped.
    #[arg(long, env = "TAILWATER_HISTORY_AGE", default_value = "24h", value_parser = parse_duration)]
    pub(crate) history_age: Duration,
    /// Time without events after which a topic's numbering is forgotten (at least twice
    /// --history-age).
    #[arg(long, env = "TAILWATER_TOPIC_TTL", default_value = "7d", value_parser = parse_duration)]
    pub(crate) topic_ttl: Duration,
    /// Time in which a retry with the same Idempotency-Key is recognised.
    #[arg(long, env = "TAILWATER_IDEMPOTENCY_TTL", default_value = "2m", value_parser = parse_duration)]
    pub(crate) idempotency_ttl: Duration,
    #[command(flatten)]
    pub(crate) redis: RedisArgs,
}

/// The flags beside the URL of Redis.
#[derive(Debug, Clone, ClapArgs)]
#[command(next_help_heading = "Log")]
pub(crate) struct RedisArgs {
    /// Beginning of all keys and channels in Redis, so that several clusters can share it: 1 to 64 letters,
    /// digits and any of . _ -
    #[arg(long, env = "TAILWATER_REDIS_PREFIX", value_name = "NAME")]
    pub(crate) redis_prefix: Option<KeyPrefix>,
    /// File with the password of --redis, if its URL has none. A new password is used within 10 s, once Redis
    /// accepts it.
    #[arg(long, env = "TAILWATER_REDIS_PASSWORD_FILE", value_name = "FILE")]
    pub(crate) redis_password_file: Option<PathBuf>,
}

/// The flag of a node that reads for subscribers.
#[derive(Debug, Clone, ClapArgs)]
#[command(next_help_heading = "Log")]
pub(crate) struct ReadArgs {
    /// Servers of Redis that events are read from: primary, replica (one of its replicas, which takes the load of
    /// readers; the primary as long as none can be read), or nearest:LIST (a near replica, else a near primary, else
    /// as replica), where LIST has addresses, networks and ends of host names, as in
    /// nearest:10.2.0.0/16,.eu.example. With --durability replica:1 and one replica, no fail-over takes back an event
    /// that was read from the replica.
    #[arg(long, env = "TAILWATER_READ_FROM", default_value = "primary", value_name = "SERVERS")]
    pub(crate) read_from: ReadFrom,
}

/// The flags of a node that serves publishers.
#[derive(Debug, Clone, ClapArgs)]
#[command(next_help_heading = "Publishers")]
pub(crate) struct PublisherArgs {
    /// Largest event data, in bytes.
    #[arg(long, env = "TAILWATER_EVENT_BYTES_MAX", default_value = "256KiB", value_name = "SIZE")]
    pub(crate) event_bytes_max: Size,
    /// Where an event must be stored before it is acknowledged: memory (of the primary), replica:K
    /// (also in memory of K replicas), disk (of the primary, which needs appendfsync always).
    #[arg(long, env = "TAILWATER_DURABILITY", default_value = "memory", value_name = "LEVEL")]
    pub(crate) durability: Durability,
    /// New topics a second that publishers may begin on this node; one address gets its share.
    #[arg(
        long,
        env = "TAILWATER_NEW_TOPICS",
        default_value_t = 1000,
        value_name = "N",
        help_heading = "Limits"
    )]
    pub(crate) new_topics: u32,
    #[command(flatten)]
    pub(crate) quotas: PublishQuotaArgs,
}

//! How to reach Redis, and how long it keeps things.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use event_log::Retention;
use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo};

use crate::durability::Durability;

/// What a [`RedisLog`](crate::RedisLog) is opened with.
#[derive(Debug, Clone)]
pub struct Config {
    /// The server.
    pub url: RedisUrl,
    /// How long topics, events and idempotency keys are kept.
    pub retention: Retention,
    /// What must hold an event before it is acknowledged.
    pub durability: Durability,
    /// Longest wait for replicas to have an event. Less than `timeout`.
    pub replica_timeout: Duration,
    /// Connections for commands. The feed has one more.
    pub pool_size: usize,
    /// Longest wait for a connection to be made.
    pub connect_timeout: Duration,
    /// Longest wait for an answer, and for a connection of the pool.
    pub timeout: Duration,
    /// Time between two comparisons of all watched topics with their heads: how long the loss of a
    /// topic's last message can stay unnoticed.
    pub audit: Duration,
    /// How long a topic without readers stays watched, so that a reconnecting client finds it warm.
    pub idle: Duration,
    /// Time between two pings of the feed; it is given up when two stay unanswered.
    pub ping: Duration,
}

impl Config {
    /// The defaults, for a server.
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
            audit: Duration::from_secs(5),
            idle: Duration::from_secs(30),
            ping: Duration::from_secs(2),
        }
    }
}

/// The address of a Redis server, `redis://[user[:password]@]host[:port]`. Shown without the password.
#[derive(Clone)]
pub struct RedisUrl {
    host: String,
    port: u16,
    info: ConnectionInfo,
}

/// Why a text is no address of a Redis server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadUrl {
    /// It is not a URL of a known scheme.
    #[error("a Redis URL is written redis://[user[:password]@]host[:port]: {0}")]
    Malformed(String),
    /// It asks for TLS or a Unix socket.
    #[error("only redis:// over TCP is supported")]
    Transport,
    /// It names a database.
    #[error("database {0} cannot be used, only 0: what is published reaches all databases")]
    Database(i64),
}

/// A dead peer shows after this long a silence, 2 s and 2 probes of 1 s: a half-open connection of
/// the pool answers nothing and would be handed out again and again.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(2);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(1);
const USER_TIMEOUT: Duration = Duration::from_secs(4);

impl RedisUrl {
    /// What the pool connects by.
    pub(crate) fn info(&self) -> ConnectionInfo {
        let keepalive = TcpKeepalive::new()
            .with_time(KEEPALIVE_AFTER)
            .with_interval(KEEPALIVE_EVERY)
            .with_retries(2);
        let tcp = TcpSettings::default()
            .set_nodelay(true)
            .set_keepalive(keepalive)
            .set_user_timeout(USER_TIMEOUT);
        self.info.clone().set_tcp_settings(tcp)
    }

    pub(crate) fn address(&self) -> (&str, u16) {
        (&self.host, self.port)
    }

    /// User and password, if there is a password.
    pub(crate) fn credentials(&self) -> Option<(&str, &str)> {
        let redis = self.info.redis_settings();
        Some((redis.username().unwrap_or("default"), redis.password()?))
    }
}

impl FromStr for RedisUrl {
    type Err = BadUrl;

    fn from_str(text: &str) -> Result<Self, BadUrl> {
        // The library's own errors are fixed texts and never quote the URL.
        let info =
            text.into_connection_info().map_err(|error| BadUrl::Malformed(error.to_string()))?;
        let ConnectionAddr::Tcp(host, port) = info.addr().clone() else {
            return Err(BadUrl::Transport);
        };
        match info.redis_settings().db() {
            0 => Ok(Self { host, port, info }),
            database => Err(BadUrl::Database(database)),
        }
    }
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let redis = self.info.redis_settings();
        let user = redis.username().unwrap_or_default();
        let login = match redis.password() {
            Some(_) => format!("{user}:***@"),
            None if user.is_empty() => String::new(),
            None => format!("{user}@"),
        };
        write!(f, "redis://{login}{}:{}", self.host, self.port)
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Result<String, BadUrl> {
        text.parse::<RedisUrl>().map(|url| url.to_string())
    }

    #[test]
    fn the_password_is_never_shown() {
        let url: RedisUrl = "redis://me:s3cret@cache:7000/0".parse().unwrap();
        assert_eq!(url.to_string(), "redis://me:***@cache:7000");
        assert!(!format!("{:?}", Config::new(url)).contains("s3cret"));
        assert_eq!(shown("redis://:s3cret@cache"), Ok("redis://:***@cache:6379".into()));
        assert_eq!(shown("redis://127.0.0.1"), Ok("redis://127.0.0.1:6379".into()));
    }

    #[test]
    fn what_would_not_work_is_refused() {
        assert_eq!(shown("redis://cache/2"), Err(BadUrl::Database(2)));
        assert_eq!(shown("unix:///run/redis.sock"), Err(BadUrl::Transport));
        for text in ["", "cache:6379", "http://cache", "rediss://u:s3cret@cache", "redis://"] {
            let error = shown(text).unwrap_err().to_string();
            assert!(!error.contains("s3cret"), "{error}");
        }
    }
}

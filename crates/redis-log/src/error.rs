//! What can go wrong between here and Redis, in the words of an operator, and what to do about it.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use deadpool_redis::{HookError, PoolError, TimeoutType};
use event_log::{AppendError, ReadError};
use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::address::Address;
use crate::{Durability, RedisUrl};

/// Why a log could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Redis did not answer, or refused us.
    #[error("redis at {url} cannot be reached: {reason}")]
    Unreachable {
        /// Where, without the password.
        url: RedisUrl,
        /// What happened.
        reason: String,
    },
    /// The server lacks what the log is made of.
    #[error("redis at {url} has version {version}; needed is Redis 7.0 or Valkey 7.2, or later")]
    TooOld {
        /// Where, without the password.
        url: RedisUrl,
        /// Its version.
        version: String,
    },
    /// The server is of another kind than the URL says.
    #[error("redis at {url} runs in mode {mode}, which a URL of another kind is for")]
    Mode {
        /// Where, without the password.
        url: RedisUrl,
        /// How it runs.
        mode: String,
    },
    /// The server is not set up for the durability that was asked for.
    #[error("redis at {url} cannot give durability {durability}: {reason}")]
    Durability {
        /// Where, without the password.
        url: RedisUrl,
        /// What was asked for.
        durability: Durability,
        /// What is missing.
        reason: String,
    },
}

/// One operation that Redis did not carry out.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Failure {
    /// Answered by the server, or lost after it was sent.
    #[error("{0}")]
    Redis(RedisError),
    /// There was no connection to send it by.
    #[error("{0}")]
    Unreached(RedisError),
    #[error("no free connection within {0:?}")]
    Busy(Duration),
    #[error("too many appends wait already, and none was sent within {0:?}")]
    Crowded(Duration),
    #[error("no answer within {0:?}")]
    Late(Duration),
    #[error("the log is closed")]
    Closed,
    #[error("unexpected answer: {0}")]
    Answer(&'static str),
    #[error("there is no primary: {0}")]
    NoPrimary(Arc<str>),
    #[error("stored, but not by {wanted} replicas yet ({got} so far); retry with the same key")]
    Replicas { wanted: NonZeroU32, got: u32 },
    #[error("it does not keep on disk what it acknowledges: {0}")]
    Disk(String),
}

/// What a failure means for who asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Meaning {
    /// The slot is elsewhere for good. Nothing was done.
    Moved { slot: u16, to: Address },
    /// The slot is on its way, and what was asked for is there already. Nothing was done.
    Ask { to: Address },
    /// The server cannot now, and soon will. Nothing was done.
    NotYet,
    /// The server is gone, or no primary any more. Nothing was done.
    Elsewhere,
    /// It may have been done or not.
    Unsure,
    /// To ask again changes nothing.
    Final,
}

impl Failure {
    pub(crate) fn of_pool(error: PoolError, timeout: Duration) -> Self {
        match error {
            PoolError::Timeout(TimeoutType::Wait) => Self::Busy(timeout),
            PoolError::Timeout(TimeoutType::Create | TimeoutType::Recycle) => Self::Late(timeout),
            PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => {
                Self::Unreached(error)
            }
            PoolError::PostCreateHook(_) | PoolError::Closed | PoolError::NoRuntimeSpecified => {
                Self::Closed
            }
        }
    }

    /// What it means, said by `asked`.
    pub(crate) fn meaning(&self, asked: &Address) -> Meaning {
        match self {
            Self::Redis(error) => match error.kind() {
                ErrorKind::Server(kind) => server(kind, error, asked),
                // The server said no: authentication, rights, memory, a script that fails.
                ErrorKind::Extension | ErrorKind::AuthenticationFailed => Meaning::Final,
                _ => Meaning::Unsure,
            },
            Self::Unreached(error) => match error.kind() {
                ErrorKind::AuthenticationFailed => Meaning::Final,
                ErrorKind::Server(ServerErrorKind::NoPerm) | ErrorKind::Extension => Meaning::Final,
                _ => Meaning::Elsewhere,
            },
            Self::Late(_) | Self::Closed | Self::NoPrimary(_) => Meaning::Elsewhere,
            Self::Busy(_)
            | Self::Crowded(_)
            | Self::Answer(_)
            | Self::Replicas { .. }
            | Self::Disk(_) => Meaning::Final,
        }
    }

    /// Whether the server has no memory left, in which case it stored nothing.
    fn is_full(&self) -> bool {
        matches!(self, Self::Redis(error) if error.code() == Some("OOM"))
    }
}

fn server(kind: ServerErrorKind, error: &RedisError, asked: &Address) -> Meaning {
    let redirect = error.redirect_node().and_then(|(to, slot)| Some((asked.said_by(to)?, slot)));
    match (kind, redirect) {
        (ServerErrorKind::Moved, Some((to, slot))) => Meaning::Moved { slot, to },
        (ServerErrorKind::Ask, Some((to, _))) => Meaning::Ask { to },
        (
            ServerErrorKind::TryAgain
            | ServerErrorKind::BusyLoading
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::MasterDown,
            _,
        ) => Meaning::NotYet,
        (ServerErrorKind::ReadOnly, _) => Meaning::Elsewhere,
        _ => Meaning::Final,
    }
}

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Self {
        Self::Redis(error)
    }
}

impl From<Failure> for AppendError {
    fn from(failure: Failure) -> Self {
        match failure.is_full() {
            true => Self::Full(failure.to_string()),
            false => Self::Unavailable(failure.to_string()),
        }
    }
}

impl From<Failure> for ReadError {
    fn from(failure: Failure) -> Self {
        Self::Unavailable(failure.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meaning(reply: &str) -> Meaning {
        let reply = redis::parse_redis_value(format!("-{reply}\r\n").as_bytes()).unwrap();
        let failure = Failure::Redis(reply.extract_error().unwrap_err());
        failure.meaning(&Address::new("asked", 1))
    }

    #[test]
    fn answers_of_a_server_are_understood() {
        let to = Address::new("10.0.0.2", 7);
        for (reply, expected) in [
            ("MOVED 17 10.0.0.2:7", Meaning::Moved { slot: 17, to: to.clone() }),
            ("MOVED 17 :7", Meaning::Moved { slot: 17, to: Address::new("asked", 7) }),
            ("ASK 17 10.0.0.2:7", Meaning::Ask { to }),
            ("TRYAGAIN Multiple keys request during rehashing of slot", Meaning::NotYet),
            ("LOADING Redis is loading the dataset in memory", Meaning::NotYet),
            ("CLUSTERDOWN The cluster is down", Meaning::NotYet),
            ("READONLY You can't write against a read only replica.", Meaning::Elsewhere),
            ("OOM command not allowed when used memory > 'maxmemory'.", Meaning::Final),
            ("NOREPLICAS Not enough good replicas to write.", Meaning::Final),
            ("NOPERM this user has no permissions", Meaning::Final),
            ("ERR no", Meaning::Final),
        ] {
            assert_eq!(meaning(reply), expected, "{reply}");
        }
    }

    #[test]
    fn only_what_was_sent_is_unsure() {
        let broken = || RedisError::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        let asked = Address::new("asked", 1);
        assert_eq!(Failure::Redis(broken()).meaning(&asked), Meaning::Unsure);
        assert_eq!(Failure::Unreached(broken()).meaning(&asked), Meaning::Elsewhere);
        let late = Failure::Late(Duration::from_secs(1));
        assert_eq!(late.meaning(&asked), Meaning::Elsewhere);
    }
}

//! What can go wrong between here and Redis, in the words of an operator.

use std::num::NonZeroU32;
use std::time::Duration;

use deadpool_redis::{PoolError, TimeoutType};
use event_log::{AppendError, ReadError};
use redis::RedisError;

use crate::{Durability, RedisUrl};

/// Why a log could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Redis did not answer, or refused us.
    #[error("redis at {url} cannot be reached: {reason}")]
    Unreachable {
        /// The server, without the password.
        url: RedisUrl,
        /// What happened.
        reason: String,
    },
    /// The server lacks what the log is made of.
    #[error("redis at {url} has version {version}; needed is Redis 7.0 or Valkey 7.2, or later")]
    TooOld {
        /// The server, without the password.
        url: RedisUrl,
        /// Its version.
        version: String,
    },
    /// The server is a sentinel or part of a cluster.
    #[error("redis at {url} runs in mode {mode}; only a standalone server is supported")]
    Mode {
        /// The server, without the password.
        url: RedisUrl,
        /// How it runs.
        mode: String,
    },
    /// The server is not set up for the durability that was asked for.
    #[error("redis at {url} cannot give durability {durability}: {reason}")]
    Durability {
        /// The server, without the password.
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
    #[error("{0}")]
    Redis(RedisError),
    #[error("no free connection within {0:?}")]
    Busy(Duration),
    #[error("no answer within {0:?}")]
    Late(Duration),
    #[error("the log is closed")]
    Closed,
    #[error("unexpected answer: {0}")]
    Answer(&'static str),
    #[error("stored, but not by {wanted} replicas yet ({got} so far); retry with the same key")]
    Replicas { wanted: NonZeroU32, got: u32 },
    #[error("it does not keep on disk what it acknowledges: {0}")]
    Disk(String),
}

impl Failure {
    /// Whether the server has no memory left, in which case it stored nothing.
    fn is_full(&self) -> bool {
        matches!(self, Self::Redis(error) if error.code() == Some("OOM"))
    }

    pub(crate) fn of_pool(error: PoolError, timeout: Duration) -> Self {
        match error {
            PoolError::Timeout(TimeoutType::Wait) => Self::Busy(timeout),
            PoolError::Timeout(TimeoutType::Create | TimeoutType::Recycle) => Self::Late(timeout),
            PoolError::Backend(error) => Self::Redis(error),
            PoolError::PostCreateHook(deadpool_redis::HookError::Backend(error)) => {
                Self::Redis(error)
            }
            PoolError::PostCreateHook(_) | PoolError::Closed | PoolError::NoRuntimeSpecified => {
                Self::Closed
            }
        }
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

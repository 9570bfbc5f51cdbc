//! The failures between this node and Redis, in the words of an operator, and their meaning for a
//! caller.

use std::borrow::Cow;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use deadpool_redis::{HookError, PoolError, TimeoutType};
use event_log::{AppendError, ReadError, Spaces};
use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::address::Address;
use crate::durability::Durability;
use crate::head::FORMAT;
use crate::plain::plain;
use crate::server::VERSION_NEEDED;
use crate::stats::AppendFailure;
use crate::url::RedisUrl;

/// The reason why a log could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Redis did not answer, or refused the connection.
    #[error("redis at {url} cannot be reached: {reason}")]
    Unreachable {
        /// The URL, without the password.
        url: RedisUrl,
        /// The cause.
        reason: String,
    },
    /// The server lacks commands that the log needs.
    #[error("redis at {url} has version {version}: the log needs {VERSION_NEEDED}")]
    TooOld {
        /// The URL, without the password.
        url: RedisUrl,
        /// Its version.
        version: String,
    },
    /// The server runs in another mode than the URL says.
    #[error("redis at {url} runs in mode {mode:?}: use a URL of that kind")]
    Mode {
        /// The URL, without the password.
        url: RedisUrl,
        /// The mode of the server.
        mode: String,
    },
    /// The user may not run every command that the log needs.
    #[error("the user of redis at {url} lacks rights on {primary}: {}", missing.join(", "))]
    Rights {
        /// The URL, without the password.
        url: RedisUrl,
        /// The server, by address.
        primary: String,
        /// The missing rights: the command, the keys, and what the server said.
        missing: Vec<String>,
    },
    /// The server may delete events and idempotency keys to make room.
    #[error(
        "redis at {url} may evict events and idempotency keys: {primary} has maxmemory-policy {policy}, \
         needed is noeviction"
    )]
    Evicts {
        /// The URL, without the password.
        url: RedisUrl,
        /// The server, by address.
        primary: String,
        /// Its policy.
        policy: String,
    },
    /// The store has other spaces than this node.
    #[error("redis at {url}: {}", disagreement(ours, theirs))]
    Spaces {
        /// The URL, without the password.
        url: RedisUrl,
        /// The spaces of this node.
        ours: Spaces,
        /// The spaces in the store.
        theirs: Spaces,
    },
    /// The server cannot give the configured durability.
    #[error("redis at {url} cannot give durability {durability}: {reason}")]
    Durability {
        /// The URL, without the password.
        url: RedisUrl,
        /// The configured durability.
        durability: Durability,
        /// The missing part.
        reason: String,
    },
}

fn disagreement(ours: &Spaces, theirs: &Spaces) -> String {
    let named = |spaces: &Spaces| match spaces.is_empty() {
        true => "no space".to_owned(),
        false => format!("--space {}", spaces.prefixes().collect::<Vec<_>>().join(" --space ")),
    };
    format!(
        "the store has {}, and this node has {}: every node needs the same; `tailwater spaces` changes those of the store",
        named(theirs),
        named(ours)
    )
}

/// The failure of one operation.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Failure {
    /// The server answered with an error, or the connection broke after the commands were sent.
    #[error("{}", plain(.0))]
    Redis(RedisError),
    /// There was no connection to send the commands on.
    #[error("{}", plain(.0))]
    Unreached(RedisError),
    #[error("no free connection within {0:?}")]
    Busy(Duration),
    #[error("too many appends are waiting, and this one found no room within {0:?}")]
    Crowded(Duration),
    #[error("{0} echoes are waiting already")]
    Echoes(usize),
    #[error("no answer within {0:?}")]
    Late(Duration),
    #[error("the log is closed")]
    Closed,
    #[error("unexpected answer: {0}")]
    Answer(&'static str),
    #[error("the log is stored in format {0}, and this version knows {FORMAT}")]
    Newer(u64),
    #[error("{}", disagreement(ours, theirs))]
    Spaces { ours: Spaces, theirs: Spaces },
    #[error("{0}")]
    Unsuitable(Cow<'static, str>),
    #[error("there is no primary: {0}")]
    NoPrimary(Arc<str>),
    #[error("it is not known yet which replicas the primary {0} has")]
    NoSource(Address),
    #[error("stored, but not by {wanted} replicas yet ({got} so far); retry with the same key")]
    Replicas { wanted: NonZeroU32, got: u32 },
    #[error("the server does not write to disk before it acknowledges: {0}")]
    Disk(String),
}

/// The meaning of a failure for the caller.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Meaning {
    /// Another server owns the slot. Nothing was done.
    Moved { slot: u16, to: Address },
    /// The slot is moving, and the key is on the other server already. Nothing was done.
    Ask { to: Address },
    /// The server cannot answer yet, but soon. Nothing was done.
    NotYet,
    /// The server is gone, or no primary any more. Nothing was done.
    Elsewhere,
    /// The operation may have been done or not.
    Unsure,
    /// Another try would fail in the same way.
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
            PoolError::PostCreateHook(HookError::Message(reason)) => Self::Unsuitable(reason),
            PoolError::Closed | PoolError::NoRuntimeSpecified => Self::Closed,
        }
    }

    /// The meaning of this failure, which the server `asked` reported.
    pub(crate) fn meaning(&self, asked: &Address) -> Meaning {
        match self {
            Self::Redis(error) => match error.kind() {
                ErrorKind::Server(kind) => server(kind, error, asked),
                // The server refused: authentication, rights, memory, a script that fails.
                ErrorKind::Extension | ErrorKind::AuthenticationFailed => Meaning::Final,
                _ => Meaning::Unsure,
            },
            Self::Unreached(error) => match error.kind() {
                ErrorKind::AuthenticationFailed => Meaning::Final,
                ErrorKind::Server(ServerErrorKind::NoPerm) | ErrorKind::Extension => Meaning::Final,
                _ => Meaning::Elsewhere,
            },
            Self::Late(_) | Self::Closed | Self::NoPrimary(_) | Self::NoSource(_) => {
                Meaning::Elsewhere
            }
            Self::Busy(_)
            | Self::Crowded(_)
            | Self::Echoes(_)
            | Self::Answer(_)
            | Self::Newer(_)
            | Self::Spaces { .. }
            | Self::Unsuitable(_)
            | Self::Replicas { .. }
            | Self::Disk(_) => Meaning::Final,
        }
    }

    /// The reason of an append that failed, as the metrics count it.
    pub(crate) fn of_append(&self) -> AppendFailure {
        match self {
            _ if self.is_full() => AppendFailure::Full,
            _ if self.is_refusal() => AppendFailure::Refused,
            Self::Unreached(_) | Self::NoPrimary(_) | Self::NoSource(_) | Self::Closed => {
                AppendFailure::Unreached
            }
            Self::Replicas { .. } | Self::Disk(_) => AppendFailure::Durability,
            Self::Late(_) | Self::Busy(_) | Self::Crowded(_) => AppendFailure::Unsure,
            Self::Redis(error) if error.is_io_error() => AppendFailure::Unsure,
            _ => AppendFailure::Other,
        }
    }

    /// Returns true if the server is out of memory. Then it stored nothing.
    pub(crate) fn is_full(&self) -> bool {
        matches!(self, Self::Redis(error) if error.code() == Some("OOM"))
    }

    /// Returns true if the server does not let this user in, or not run a command.
    pub(crate) fn is_refusal(&self) -> bool {
        let (Self::Redis(error) | Self::Unreached(error)) = self else { return false };
        // A refusal inside a script has the code of any error, and words that depend on the version.
        let in_script = |words: &str| {
            words.contains("user executing the script can't")
                || words.contains("ACL failure in script")
        };
        error.kind() == ErrorKind::AuthenticationFailed
            || matches!(error.code(), Some("NOPERM" | "NOAUTH" | "WRONGPASS"))
            || error.detail().is_some_and(in_script)
    }

    /// The failure of a command that a server answered with this error.
    #[cfg(test)]
    pub(crate) fn said(error: &str) -> Self {
        let reply = redis::parse_redis_value(format!("-{error}\r\n").as_bytes());
        Self::Redis(reply.and_then(redis::Value::extract_error).unwrap_err())
    }
}

fn server(kind: ServerErrorKind, error: &RedisError, asked: &Address) -> Meaning {
    let redirect = error.redirect_node().and_then(|(to, slot)| Some((asked.reported(to)?, slot)));
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
        Failure::said(reply).meaning(&Address::new("asked", 1))
    }

    #[test]
    fn each_error_of_a_server_has_its_meaning() {
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
    fn a_refusal_is_known_from_a_script_too() {
        for refused in [
            "NOPERM User x has no permissions to run the 'xadd' command",
            "NOAUTH Authentication required.",
            "WRONGPASS invalid username-password pair or user is disabled.",
            "ERR The user executing the script can't run this command or subcommand",
            "ERR ACL failure in script: User x has no permissions to run the 'xadd' command",
        ] {
            assert!(Failure::said(refused).is_refusal(), "{refused}");
        }
        for other in ["ERR no", "OOM command not allowed", "READONLY You can't write"] {
            assert!(!Failure::said(other).is_refusal(), "{other}");
        }
    }

    #[test]
    fn a_servers_words_are_safe_to_show() {
        let text = Failure::said(&format!("ERR \x1b[2J{}", "x".repeat(9999))).to_string();
        assert!(text.contains("\\u{1b}[2Jxxx") && text.len() < 300, "{text}");
        let error = AppendError::from(Failure::said("OOM \x07"));
        assert!(matches!(&error, AppendError::Full(text) if text.contains("\\u{7}")), "{error:?}");
    }

    #[test]
    fn only_an_operation_that_was_sent_is_unsure() {
        let broken = || RedisError::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        let asked = Address::new("asked", 1);
        assert_eq!(Failure::Redis(broken()).meaning(&asked), Meaning::Unsure);
        assert_eq!(Failure::Unreached(broken()).meaning(&asked), Meaning::Elsewhere);
        let late = Failure::Late(Duration::from_secs(1));
        assert_eq!(late.meaning(&asked), Meaning::Elsewhere);
    }
}

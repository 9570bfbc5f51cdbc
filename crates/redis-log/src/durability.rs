//! What an acknowledgement means: where an event is before it is given.
//!
//! The proof travels in the pipeline of the appends that it is for, behind them, on their connection:
//! WAIT speaks for what its own connection has written, and nothing that changes the server's
//! settings can come between an append and the look at them.
//!
//! Absent on purpose: WAITAOF. With `appendfsync everysec` it answers before anything is on disk on
//! Valkey 8 and 9 (measured), and with `always` there is nothing left to wait for.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use redis::{Cmd, RedisError, Value};

use crate::error::Failure;

/// What must hold an event before it is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// The primary's memory.
    #[default]
    Memory,
    /// The memory of the primary and of so many of its replicas.
    Replica(NonZeroU32),
    /// The primary's disk: it syncs its append-only file before it answers.
    Disk,
}

/// The text is no level of durability.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no durability; it is memory, replica:K (with K of 1 or more) or disk")]
pub struct BadDurability(String);

impl FromStr for Durability {
    type Err = BadDurability;

    fn from_str(text: &str) -> Result<Self, BadDurability> {
        match text.split_once(':') {
            None if text == "memory" => Ok(Self::Memory),
            None if text == "disk" => Ok(Self::Disk),
            Some(("replica", count)) => {
                count.parse().map(Self::Replica).map_err(|_| BadDurability(text.to_owned()))
            }
            _ => Err(BadDurability(text.to_owned())),
        }
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory"),
            Self::Replica(count) => write!(f, "replica:{count}"),
            Self::Disk => f.write_str("disk"),
        }
    }
}

/// What proves that a level was met, by the server's own word.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Proof {
    pub(crate) level: Durability,
    /// Longest wait for replicas.
    pub(crate) patience: Duration,
}

impl Proof {
    /// The commands that follow the appends.
    pub(crate) fn commands(self) -> Vec<Cmd> {
        let setting = |name| redis::cmd("CONFIG").arg("GET").arg(name).take();
        match self.level {
            Durability::Memory => Vec::new(),
            Durability::Replica(count) => {
                let patience = self.patience.as_millis().max(1);
                let patience = u64::try_from(patience).unwrap_or(u64::MAX);
                vec![redis::cmd("WAIT").arg(count.get()).arg(patience).take()]
            }
            Durability::Disk => vec![setting("appendonly"), setting("appendfsync")],
        }
    }

    /// Whether their answers prove it.
    pub(crate) fn judge(self, answers: Vec<Result<Value, RedisError>>) -> Result<(), Failure> {
        match self.level {
            Durability::Memory => Ok(()),
            Durability::Replica(wanted) => {
                let answer = answers.into_iter().next().ok_or(Failure::Answer("none to WAIT"))?;
                // A primary that is demoted while it waits answers with an error.
                let got = answer.ok().and_then(|reply| redis::from_redis_value(reply).ok());
                match got.unwrap_or(0) {
                    got if got >= wanted.get() => Ok(()),
                    got => Err(Failure::Replicas { wanted, got }),
                }
            }
            Durability::Disk => {
                for ((name, needed), answer) in
                    [("appendonly", "yes"), ("appendfsync", "always")].into_iter().zip(answers)
                {
                    let pair = answer.map_err(|error| Failure::Disk(error.to_string()))?;
                    let pair: Vec<String> = redis::from_redis_value(pair).unwrap_or_default();
                    match pair.get(1) {
                        Some(value) if value == needed => {}
                        Some(value) => {
                            let finding = format!("{name} is {value}, needed is {needed}");
                            return Err(Failure::Disk(finding));
                        }
                        None => return Err(Failure::Disk(format!("it does not tell {name}"))),
                    }
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_reads_back_as_it_was_written() {
        for text in ["memory", "replica:1", "replica:12", "disk"] {
            assert_eq!(text.parse::<Durability>().unwrap().to_string(), text);
        }
        for text in ["", "replica", "replica:", "replica:0", "replica:-1", "Memory", "disk:1"] {
            assert_eq!(text.parse::<Durability>(), Err(BadDurability(text.to_owned())));
        }
    }

    fn judge(level: &str, answers: Vec<Value>) -> Result<(), String> {
        let proof = Proof { level: level.parse().unwrap(), patience: Duration::from_secs(1) };
        let answers = answers.into_iter().map(|answer| answer.extract_error()).collect();
        proof.judge(answers).map_err(|failure| failure.to_string())
    }

    fn pair(name: &str, value: &str) -> Value {
        Value::Array(vec![
            Value::BulkString(name.as_bytes().to_vec()),
            Value::BulkString(value.as_bytes().to_vec()),
        ])
    }

    #[test]
    fn fewer_replicas_than_asked_prove_nothing() {
        assert_eq!(judge("replica:2", vec![Value::Int(2)]), Ok(()));
        assert_eq!(judge("replica:2", vec![Value::Int(3)]), Ok(()));
        for answer in [Value::Int(1), Value::Nil] {
            let error = judge("replica:2", vec![answer]).unwrap_err();
            assert!(error.contains("not by 2 replicas yet"), "{error}");
        }
        assert!(judge("replica:2", vec![]).is_err());
    }

    #[test]
    fn only_a_file_synced_at_every_write_is_a_disk() {
        let of = |only, fsync| vec![pair("appendonly", only), pair("appendfsync", fsync)];
        assert_eq!(judge("disk", of("yes", "always")), Ok(()));
        for (answers, what) in [
            (of("yes", "everysec"), "appendfsync is everysec"),
            (of("no", "always"), "appendonly is no"),
            (vec![Value::Array(vec![])], "does not tell appendonly"),
        ] {
            let error = judge("disk", answers).unwrap_err();
            assert!(error.contains(what), "{error}");
        }
    }
}

//! The proof of durability: the questions to the server behind the appends of a batch.
//!
//! The proof travels in the pipeline of its appends, behind them, on the same connection. WAIT covers
//! the writes of its own connection, and no change of the server's settings can come between an append
//! and the question about them.
//!
//! Absent on purpose: WAITAOF. With `appendfsync everysec` Valkey 8 and 9 answer it before the write is
//! on disk (measured), and with `always` it has nothing left to wait for.

use std::time::Duration;

use redis::{Cmd, RedisError, Value};

use crate::config::Config;
use crate::durability::Durability;
use crate::error::Failure;
use crate::plain::plain;

/// Proves a level of durability by the answers of the server.
#[derive(Debug, Clone, Copy)]
pub(super) struct Proof {
    level: Durability,
    /// Longest wait for replicas.
    patience: Duration,
}

impl Proof {
    pub(super) fn new(config: &Config) -> Self {
        Self { level: config.durability, patience: config.replica_timeout }
    }

    /// Returns true if the server can prove the level before anything is stored.
    pub(super) fn can_be_asked_first(self) -> bool {
        self.level == Durability::Disk
    }

    /// The commands that follow the appends.
    pub(super) fn commands(self) -> Vec<Cmd> {
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

    /// Decides by the answers to the commands.
    pub(super) fn judge(self, answers: Vec<Result<Value, RedisError>>) -> Result<(), Failure> {
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
                    let pair = answer.map_err(|error| Failure::Disk(plain(error)))?;
                    let pair: Vec<String> = redis::from_redis_value(pair).unwrap_or_default();
                    match pair.get(1) {
                        Some(value) if value == needed => {}
                        Some(value) => {
                            let finding =
                                format!("{name} is {}, but must be {needed}", plain(value));
                            return Err(Failure::Disk(finding));
                        }
                        None => {
                            return Err(Failure::Disk(format!(
                                "the server does not report {name}"
                            )));
                        }
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
            (vec![Value::Array(vec![])], "does not report appendonly"),
        ] {
            let error = judge("disk", answers).unwrap_err();
            assert!(error.contains(what), "{error}");
        }
    }
}

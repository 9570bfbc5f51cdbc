//! Appending: one run of `publish.lua` an event, in one pipeline a batch.

use std::time::Duration;

use deadpool_redis::Connection;
use event_log::{Append, AppendError, Key, Mark, Position, Receipt, Topic};
use redis::{Cmd, ErrorKind, RedisError, Script, ServerErrorKind, Value};

use crate::config::Config;
use crate::durability::Proof;
use crate::entry;
use crate::error::Failure;
use crate::keys;
use crate::witness::Witnesses;

/// How far positions jump when a server takes over, restarted or promoted. It must exceed what the
/// clocks of two servers can differ by.
const FENCE: Duration = Duration::from_secs(10);
/// Larger entries are announced without their data, which each node then reads once: a message is
/// copied for every node that watches the topic, into a buffer that Redis cuts off at 32 MB.
const INLINE_MAX: usize = 16 * 1024;
/// Appends that one pipeline carries: what is not sent yet does not lie about twice.
const PIPELINE_MAX: usize = 1000;
/// The longest that anything is kept. Redis counts milliseconds from 1970 in 63 bits, Lua in 53.
const FOREVER: Duration = Duration::from_hours(24 * 365 * 100);

/// The script and its constant arguments.
#[derive(Debug)]
pub(crate) struct Publisher {
    script: Script,
    keep_events: usize,
    keep_age: u64,
    stream_life: u64,
    head_life: u64,
    key_life: u64,
    proof: Proof,
    pub(crate) witnesses: Witnesses,
}

impl Publisher {
    /// What a server must have loaded before it can append.
    pub(crate) const SCRIPT: &'static str = include_str!("publish.lua");

    pub(crate) fn new(config: &Config) -> Self {
        let retention = &config.retention;
        // The script renews a stream's life only after an eighth of it: 8/7 leaves at least the age.
        let stream_life = retention.age.min(FOREVER) * 8 / 7;
        // A head outlives its stream, so that the numbering goes on and a gap is counted exactly.
        let head_life = retention.topic.min(FOREVER).max(stream_life * 2);
        Self {
            script: Script::new(Self::SCRIPT),
            keep_events: retention.events.max(1),
            keep_age: millis(retention.age),
            stream_life: millis(stream_life),
            head_life: millis(head_life),
            key_life: millis(retention.key),
            proof: Proof { level: config.durability, patience: config.replica_timeout },
            witnesses: Witnesses::default(),
        }
    }

    /// Appends a batch in its order; one answer for each. `asking` is for the node that a slot is on
    /// its way to.
    pub(crate) async fn append(
        &self,
        connection: &mut Connection,
        batch: &[&Append],
        asking: bool,
    ) -> Vec<Result<Answer, Failure>> {
        let mut answers = Vec::with_capacity(batch.len());
        for batch in batch.chunks(PIPELINE_MAX) {
            answers.extend(self.run(connection, batch, asking).await);
        }
        answers
    }

    /// What the level of durability is proved by, asked before anything is stored.
    pub(crate) async fn prove(&self, connection: &mut Connection) -> Result<(), Failure> {
        self.pipeline(connection, &[], false).await.1
    }

    /// One pipeline. Connections are made with the script loaded, so it is missing only if somebody
    /// flushed the scripts since; then those appends that met this are run again.
    async fn run(
        &self,
        connection: &mut Connection,
        batch: &[&Append],
        asking: bool,
    ) -> Vec<Result<Answer, Failure>> {
        let mut answers = self.proved(connection, batch, asking).await;
        let missed: Vec<usize> = (0..answers.len()).filter(|i| is_missing(&answers[*i])).collect();
        if missed.is_empty() {
            return answers;
        }
        tracing::info!(appends = missed.len(), "redis has forgotten the script: loading it again");
        if let Err(error) = load(connection).await {
            missed.iter().for_each(|i| answers[*i] = Err(error.clone().into()));
            return answers;
        }
        let again: Vec<_> = missed.iter().map(|i| batch[*i]).collect();
        let again = self.proved(connection, &again, asking).await;
        for (i, answer) in missed.into_iter().zip(again) {
            answers[i] = answer;
        }
        answers
    }

    /// One pipeline, in which nothing counts as stored that is not proved to be.
    async fn proved(
        &self,
        connection: &mut Connection,
        batch: &[&Append],
        asking: bool,
    ) -> Vec<Result<Answer, Failure>> {
        let (mut answers, proof) = self.pipeline(connection, batch, asking).await;
        if let Err(unmet) = proof {
            for answer in &mut answers {
                if matches!(answer, Ok(Answer { outcome: Outcome::Stored { .. }, .. })) {
                    *answer = Err(unmet.clone());
                }
            }
        }
        answers
    }

    async fn pipeline(
        &self,
        connection: &mut Connection,
        batch: &[&Append],
        asking: bool,
    ) -> (Vec<Result<Answer, Failure>>, Result<(), Failure>) {
        let mut pipeline = redis::pipe();
        pipeline.ignore_errors();
        for append in batch {
            if asking {
                pipeline.cmd("ASKING").ignore();
            }
            pipeline.add_command(self.command(append));
        }
        for command in self.proof.commands() {
            pipeline.add_command(command);
        }
        if pipeline.is_empty() {
            return (Vec::new(), Ok(()));
        }
        let replies: Result<Vec<Result<Value, RedisError>>, _> =
            pipeline.query_async(connection).await;
        match replies {
            Ok(mut replies) => {
                let proof = replies.split_off(batch.len().min(replies.len()));
                (replies.into_iter().map(answer).collect(), self.proof.judge(proof))
            }
            Err(error) => (vec![Err(error.clone().into()); batch.len()], Err(error.into())),
        }
    }

    fn command(&self, Append { topic, event, key }: &Append) -> Cmd {
        let mark = match event.mark {
            Mark::Open => "o",
            Mark::Last => "l",
            Mark::End => "e",
        };
        let witness = self.witnesses.of(topic);
        self.evaluation(topic, key.as_ref(), mark, &entry::encode(event), witness)
    }

    /// Raises a topic's head to a witness, if it is behind.
    pub(crate) fn raise(&self, topic: &Topic, witness: Position) -> Cmd {
        self.evaluation(topic, None, "w", "", Some(witness))
    }

    fn evaluation(
        &self,
        topic: &Topic,
        key: Option<&Key>,
        mark: &str,
        entry: &str,
        witness: Option<Position>,
    ) -> Cmd {
        let mut command = redis::cmd("EVALSHA");
        command
            .arg(self.script.get_hash())
            .arg(if key.is_some() { 3 } else { 2 })
            .arg(keys::stream(topic))
            .arg(keys::head(topic));
        if let Some(key) = key {
            command.arg(keys::idempotency(topic, key));
        }
        command
            .arg(entry)
            .arg(mark)
            .arg(self.keep_events)
            .arg(self.keep_age)
            .arg(self.stream_life)
            .arg(self.head_life)
            .arg(self.key_life)
            .arg(millis(FENCE))
            .arg(INLINE_MAX)
            .arg(witness.map_or_else(String::new, |witness| witness.to_string()));
        command
    }
}

/// Gives a server the script.
pub(crate) async fn load(
    connection: &mut impl redis::aio::ConnectionLike,
) -> Result<(), RedisError> {
    redis::cmd("SCRIPT").arg("LOAD").arg(Publisher::SCRIPT).exec_async(connection).await
}

/// What the script said of an append.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer {
    position: Position,
    outcome: Outcome,
}

#[derive(Debug, Clone, Copy)]
enum Outcome {
    Stored { duplicate: bool },
    Ended,
}

impl Answer {
    #[cfg(test)]
    pub(crate) fn stored(n: u64) -> Self {
        let outcome = Outcome::Stored { duplicate: false };
        Self { position: Position::new(n, n), outcome }
    }

    /// Where the event is, if it is stored.
    pub(crate) fn position(self) -> Option<Position> {
        matches!(self.outcome, Outcome::Stored { .. }).then_some(self.position)
    }

    /// What the publisher is told.
    pub(crate) fn receipt(self, append: &Append) -> Result<Receipt, AppendError> {
        let Self { position, outcome } = self;
        match outcome {
            Outcome::Stored { duplicate } => Ok(Receipt { position, duplicate }),
            Outcome::Ended => {
                Err(AppendError::Ended { topic: append.topic.clone(), last: position })
            }
        }
    }
}

fn answer(reply: Result<Value, RedisError>) -> Result<Answer, Failure> {
    const BAD: Failure = Failure::Answer("the script's reply is no position");
    let (position, outcome): (String, u8) = redis::from_redis_value(reply?).map_err(|_| BAD)?;
    let outcome = match outcome {
        0 => Outcome::Stored { duplicate: false },
        1 => Outcome::Stored { duplicate: true },
        _ => Outcome::Ended,
    };
    Ok(Answer { position: position.parse().map_err(|_| BAD)?, outcome })
}

fn is_missing(answer: &Result<Answer, Failure>) -> bool {
    answer.as_ref().is_err_and(forgot)
}

/// Whether a server has forgotten the script.
pub(crate) fn forgot(failure: &Failure) -> bool {
    matches!(failure, Failure::Redis(error)
        if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript))
}

/// Milliseconds, of which Redis wants at least one.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.min(FOREVER).as_millis()).unwrap_or(u64::MAX).max(1)
}

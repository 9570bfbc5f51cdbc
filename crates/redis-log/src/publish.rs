//! Appending: one run of `publish.lua` an event, in one pipeline a batch.

use std::time::Duration;

use deadpool_redis::Connection;
use event_log::{Append, AppendError, Mark, Receipt, Retention};
use redis::{Cmd, ErrorKind, RedisError, Script, ServerErrorKind, Value};

use crate::entry;
use crate::error::Failure;
use crate::keys;

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
}

impl Publisher {
    /// What a server must have loaded before it can append.
    pub(crate) const SCRIPT: &'static str = include_str!("publish.lua");

    pub(crate) fn new(retention: &Retention) -> Self {
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
        }
    }

    /// Appends a batch in its order; one result for each.
    pub(crate) async fn append(
        &self,
        connection: &mut Connection,
        batch: &[Append],
    ) -> Vec<Result<Receipt, AppendError>> {
        let mut results = Vec::with_capacity(batch.len());
        for batch in batch.chunks(PIPELINE_MAX) {
            let replies = self.run(connection, batch).await;
            let receipts = batch.iter().zip(replies).map(|(append, reply)| receipt(append, reply));
            results.extend(receipts);
        }
        results
    }

    /// One pipeline. Connections are made with the script loaded, so it is missing only if somebody
    /// flushed the scripts since; then those appends that met this are run again.
    async fn run(
        &self,
        connection: &mut Connection,
        batch: &[Append],
    ) -> Vec<Result<Value, Failure>> {
        let mut replies = self.pipeline(connection, batch.iter()).await;
        let missed: Vec<usize> = (0..replies.len()).filter(|i| is_missing(&replies[*i])).collect();
        if missed.is_empty() {
            return replies;
        }
        tracing::info!(appends = missed.len(), "redis has forgotten the script: loading it again");
        if let Err(error) = load(connection).await {
            missed.iter().for_each(|i| replies[*i] = Err(error.clone().into()));
            return replies;
        }
        let again = self.pipeline(connection, missed.iter().map(|i| &batch[*i])).await;
        for (i, reply) in missed.into_iter().zip(again) {
            replies[i] = reply;
        }
        replies
    }

    async fn pipeline<'a>(
        &self,
        connection: &mut Connection,
        batch: impl Iterator<Item = &'a Append>,
    ) -> Vec<Result<Value, Failure>> {
        let mut pipeline = redis::pipe();
        pipeline.ignore_errors();
        for append in batch {
            pipeline.add_command(self.command(append));
        }
        let replies: Result<Vec<Result<Value, RedisError>>, _> =
            pipeline.query_async(connection).await;
        match replies {
            Ok(replies) => replies.into_iter().map(|reply| reply.map_err(Failure::Redis)).collect(),
            Err(error) => vec![Err(Failure::Redis(error)); pipeline.len()],
        }
    }

    fn command(&self, Append { topic, event, key }: &Append) -> Cmd {
        let mut command = redis::cmd("EVALSHA");
        command
            .arg(self.script.get_hash())
            .arg(if key.is_some() { 3 } else { 2 })
            .arg(keys::stream(topic))
            .arg(keys::head(topic));
        if let Some(key) = key {
            command.arg(keys::idempotency(topic, key));
        }
        let mark = match event.mark {
            Mark::Open => "o",
            Mark::Last => "l",
            Mark::End => "e",
        };
        command
            .arg(entry::encode(event))
            .arg(mark)
            .arg(self.keep_events)
            .arg(self.keep_age)
            .arg(self.stream_life)
            .arg(self.head_life)
            .arg(self.key_life)
            .arg(millis(FENCE))
            .arg(INLINE_MAX);
        command
    }
}

/// Gives a server the script.
pub(crate) async fn load(
    connection: &mut impl redis::aio::ConnectionLike,
) -> Result<(), RedisError> {
    redis::cmd("SCRIPT").arg("LOAD").arg(Publisher::SCRIPT).exec_async(connection).await
}

fn is_missing(reply: &Result<Value, Failure>) -> bool {
    matches!(reply, Err(Failure::Redis(error))
        if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript))
}

fn receipt(append: &Append, reply: Result<Value, Failure>) -> Result<Receipt, AppendError> {
    let (position, outcome): (String, u8) = redis::from_redis_value(reply?)
        .map_err(|_| Failure::Answer("the script's reply is no position"))?;
    let position =
        position.parse().map_err(|_| Failure::Answer("the script's reply is no position"))?;
    match outcome {
        0 => Ok(Receipt { position, duplicate: false }),
        1 => Ok(Receipt { position, duplicate: true }),
        _ => Err(AppendError::Ended { topic: append.topic.clone(), last: position }),
    }
}

/// Milliseconds, of which Redis wants at least one.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.min(FOREVER).as_millis()).unwrap_or(u64::MAX).max(1)
}

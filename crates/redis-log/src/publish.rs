//! Appending: what `publish.lua` is told, and what it answers.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use deadpool_redis::Connection;
use event_log::{Append, AppendError, Key, Mark, Position, Receipt, Topic};
use redis::{Cmd, ErrorKind, RedisError, Script, ServerErrorKind, Value};

use crate::config::Config;
use crate::durability::Proof;
use crate::entry;
use crate::error::Failure;
use crate::keys;
use crate::url::Kind;
use crate::witness::Witnesses;

/// How far positions jump when a server takes over, restarted or promoted. It must exceed what the
/// clocks of two servers can differ by.
const FENCE: Duration = Duration::from_secs(10);
/// Larger entries are announced without their data, which each node then reads once: a message is
/// copied for every node that watches the topic, into a buffer that Redis cuts off at 32 MB.
const INLINE_MAX: usize = 16 * 1024;
/// Events that one run of the script appends. Redis serves nobody else meanwhile.
const RUN_MAX: usize = 64;
/// The longest that anything is kept. Redis counts milliseconds from 1970 in 63 bits, Lua in 53.
const FOREVER: Duration = Duration::from_hours(24 * 365 * 100);

/// The script and its constant arguments.
#[derive(Debug)]
pub(crate) struct Publisher {
    sha: String,
    constants: [String; 7],
    /// Whether the deployment has slots, of which one command names only one.
    slots: bool,
    pub(crate) proof: Proof,
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
        // It is renewed with it.
        let head_life = retention.topic.min(FOREVER).max(stream_life * 2) + stream_life / 8;
        let constants = [
            retention.events.max(1) as u64,
            millis(retention.age),
            millis(stream_life),
            millis(head_life),
            millis(retention.key),
            millis(FENCE),
            INLINE_MAX as u64,
        ];
        Self {
            sha: Script::new(Self::SCRIPT).get_hash().to_owned(),
            constants: constants.map(|constant| constant.to_string()),
            slots: config.url.kind == Kind::Cluster,
            proof: Proof { level: config.durability, patience: config.replica_timeout },
            witnesses: Witnesses::default(),
        }
    }

    /// What the level of durability is proved by, asked before anything is stored.
    pub(crate) async fn prove(&self, connection: &mut Connection) -> Result<(), Failure> {
        let commands = self.proof.commands();
        if commands.is_empty() {
            return Ok(());
        }
        let mut pipeline = redis::pipe();
        pipeline.ignore_errors();
        for command in commands {
            pipeline.add_command(command);
        }
        self.proof.judge(pipeline.query_async(connection).await?)
    }

    /// Shares out a batch, by index, to runs of the script. One run names keys of one slot only, where
    /// there are slots; those of a topic stay in their order.
    pub(crate) fn runs(&self, batch: &[&Append]) -> Vec<Vec<usize>> {
        if !self.slots {
            let indices: Vec<_> = (0..batch.len()).collect();
            return indices.chunks(RUN_MAX).map(<[_]>::to_vec).collect();
        }
        let mut runs: Vec<Vec<usize>> = Vec::new();
        let mut of_topic: HashMap<&Topic, usize> = HashMap::new();
        for (i, append) in batch.iter().enumerate() {
            match of_topic.get(&append.topic) {
                Some(run) if runs[*run].len() < RUN_MAX => runs[*run].push(i),
                _ => {
                    of_topic.insert(&append.topic, runs.len());
                    runs.push(vec![i]);
                }
            }
        }
        runs
    }

    /// Writes the command that is one run.
    pub(crate) fn write<'a>(&self, run: impl Iterator<Item = &'a Append>, bytes: &mut Vec<u8>) {
        let events: Vec<_> = run.map(|append| self.event(append)).collect();
        self.write_events(&events, bytes);
    }

    /// The command that raises a topic's head to a witness, if it is behind.
    pub(crate) fn raise(&self, topic: &Topic, witness: Position) -> Cmd {
        let mut command = redis::cmd("EVALSHA");
        command.arg(&self.sha).arg(2).arg(keys::stream(topic)).arg(keys::head(topic));
        command.arg(&self.constants[..]).arg("").arg(format!("w{witness}"));
        command
    }

    fn event<'a>(&self, Append { topic, event, key }: &'a Append) -> Words<'a> {
        let mut note = String::from(match event.mark {
            Mark::Open => "o",
            Mark::Last => "l",
            Mark::End => "e",
        });
        if key.is_some() {
            note.push('k');
        }
        if let Some(witness) = self.witnesses.of(topic) {
            write!(note, "{witness}").expect("a string takes it");
        }
        let header = entry::header(event);
        let tag = keys::partition(topic).to_string();
        Words { topic, key: key.as_ref(), tag, header, data: &event.data, note }
    }

    fn write_events(&self, events: &[Words<'_>], bytes: &mut Vec<u8>) {
        let keyed = events.iter().filter(|event| event.key.is_some()).count();
        let names = 2 * events.len() + keyed;
        array(bytes, 3 + names + self.constants.len() + 2 * events.len());
        bulk(bytes, ["EVALSHA"]);
        bulk(bytes, [&*self.sha]);
        bulk(bytes, [&*names.to_string()]);
        for Words { topic, key, tag, .. } in events {
            bulk(bytes, keys::parts("e", tag, topic));
            bulk(bytes, keys::parts("h", tag, topic));
            if let Some(key) = key {
                bulk(bytes, keys::key_parts(tag, topic, key));
            }
        }
        for constant in &self.constants {
            bulk(bytes, [&**constant]);
        }
        for Words { header, data, note, .. } in events {
            bulk(bytes, [header, data]);
            bulk(bytes, [&**note]);
        }
    }
}

/// What the script is told of an event.
struct Words<'a> {
    topic: &'a Topic,
    key: Option<&'a Key>,
    tag: String,
    header: String,
    data: &'a str,
    note: String,
}

fn array(bytes: &mut Vec<u8>, length: usize) {
    write!(bytes, "*{length}\r\n").expect("a vector takes it");
}

fn bulk<const N: usize>(bytes: &mut Vec<u8>, parts: [&str; N]) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    write!(bytes, "${length}\r\n").expect("a vector takes it");
    for part in parts {
        bytes.extend_from_slice(part.as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
}

/// Gives a server the script.
pub(crate) async fn load(
    connection: &mut impl redis::aio::ConnectionLike,
) -> Result<(), RedisError> {
    loading().exec_async(connection).await
}

/// The command that does.
pub(crate) fn loading() -> Cmd {
    redis::cmd("SCRIPT").arg("LOAD").arg(Publisher::SCRIPT).take()
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

    /// Whether the script did what it was asked to, now.
    pub(crate) fn is_new(self) -> bool {
        matches!(self.outcome, Outcome::Stored { duplicate: false })
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

/// What one run of the script answers for so many appends.
pub(crate) fn answers(
    reply: Result<Value, RedisError>,
    count: usize,
) -> Vec<Result<Answer, Failure>> {
    let text = match reply.map(redis::from_redis_value::<String>) {
        Ok(Ok(text)) => text,
        Ok(Err(_)) => return vec![Err(BAD); count],
        Err(error) => return vec![Err(error.into()); count],
    };
    let mut answers: Vec<_> = text.split('\n').map(answer).collect();
    answers.resize_with(count, || Err(BAD));
    answers
}

const BAD: Failure = Failure::Answer("the script's reply is no position");

fn answer(line: &str) -> Result<Answer, Failure> {
    let (outcome, rest) = line.split_once(' ').ok_or(BAD)?;
    let outcome = match outcome {
        "0" => Outcome::Stored { duplicate: false },
        "1" => Outcome::Stored { duplicate: true },
        "2" => Outcome::Ended,
        _ => return Err(error(rest)),
    };
    Ok(Answer { position: rest.parse().map_err(|_| BAD)?, outcome })
}

/// An error that the script met, as if it had been the server's answer.
fn error(text: &str) -> Failure {
    let reply = redis::parse_redis_value(format!("-{text}\r\n").as_bytes());
    match reply.and_then(Value::extract_error) {
        Err(error) => error.into(),
        Ok(_) => BAD,
    }
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

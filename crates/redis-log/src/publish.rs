//! The codec of `publish.lua`: writes its commands and reads its answers.
//!
//! Never touches the network, and holds no state.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use event_log::{
    Advance, Append, AppendError, Bookmark, Fingerprint, Key, LogName, Mark, Position, Receipt,
    Topic,
};
use redis::{Cmd, RedisError, Value};

use crate::config::Config;
use crate::entry;
use crate::error::Failure;
use crate::keys::{self, Keys};
use crate::scripts::PUBLISH;
use crate::url::Kind;

/// The jump of positions when a server takes over, restarted or promoted. Larger than the clock
/// difference between any two servers.
const FENCE: Duration = Duration::from_secs(10);
/// Largest entry that travels inside its message, in bytes. A larger one is announced by its position,
/// and each node reads it once: Redis copies a message for every node that watches the topic, into a
/// buffer that it cuts off at 32 MB.
const INLINE_MAX: usize = 16 * 1024;
/// Events that one run of the script appends. Redis serves no other client during a run.
const RUN_MAX: usize = 64;
/// Longest life of a key. Redis counts milliseconds from 1970 in 63 bits, Lua in 53.
const FOREVER: Duration = Duration::from_hours(24 * 365 * 100);

/// The constant arguments of the script.
#[derive(Debug)]
pub(crate) struct Publisher {
    keys: Keys,
    constants: [String; 8],
    /// True if the deployment has slots: then one command names keys of one slot only.
    slots: bool,
}

impl Publisher {
    pub(crate) fn new(config: &Config) -> Self {
        let retention = &config.retention;
        // The script renews a stream's life only after an eighth of it: 8/7 leaves the age at least.
        let stream_life = retention.age.min(FOREVER) * 8 / 7;
        // A head outlives its stream, so that the numbering continues and a gap is counted exactly.
        // The script renews both together.
        let head_life = retention.topic.min(FOREVER).max(stream_life * 2) + stream_life / 8;
        let constants = [
            retention.events.max(1) as u64,
            millis(retention.age),
            millis(stream_life),
            millis(head_life),
            millis(retention.key),
            millis(FENCE),
            INLINE_MAX as u64,
            retention.space_events.max(1) as u64,
        ];
        Self {
            keys: Keys::new(&config.prefix, &config.spaces),
            constants: constants.map(|constant| constant.to_string()),
            slots: config.url.kind == Kind::Cluster,
        }
    }

    /// Divides a batch, by index, into runs of the script. Where there are slots, a run names keys of
    /// one slot only. The appends to a log stay in their order.
    pub(crate) fn runs(&self, batch: &[&Append]) -> Vec<Vec<usize>> {
        if !self.slots {
            let indices: Vec<_> = (0..batch.len()).collect();
            return indices.chunks(RUN_MAX).map(<[_]>::to_vec).collect();
        }
        let mut runs: Vec<Vec<usize>> = Vec::new();
        let mut of_log: HashMap<LogName, usize> = HashMap::new();
        for (i, append) in batch.iter().enumerate() {
            let log = self.log_of(append);
            match of_log.get(&log) {
                Some(run) if runs[*run].len() < RUN_MAX => runs[*run].push(i),
                _ => {
                    of_log.insert(log, runs.len());
                    runs.push(vec![i]);
                }
            }
        }
        runs
    }

    /// The log that an append goes to.
    pub(crate) fn log_of(&self, append: &Append) -> LogName {
        self.keys.spaces().log_of(&append.topic)
    }

    /// Writes the command for one run: its appends, each with the witness of its log.
    pub(crate) fn write<'a>(
        &self,
        run: impl Iterator<Item = (&'a Append, Option<Position>)>,
        bytes: &mut Vec<u8>,
    ) {
        let events = run.map(|(append, witness)| words(self.log_of(append), append, witness));
        let events: Vec<_> = events.collect();
        self.write_events(&events, bytes);
    }

    /// The command that raises the head of a log to a witness, if the head is behind it.
    pub(crate) fn raise(&self, log: &LogName, witness: Position) -> Cmd {
        let mut command = redis::cmd("EVALSHA");
        command.arg(PUBLISH.sha()).arg(2).arg(self.keys.stream(log)).arg(self.keys.head(log));
        command.arg(&self.constants[..]).arg("").arg(format!("w{witness}"));
        command
    }

    /// The command that asks for the bookmark of a source.
    pub(crate) fn ask_bookmark(&self, topic: &Topic, source: &Key) -> Cmd {
        let tag = keys::partition(&self.keys.spaces().log_of(topic)).to_string();
        let mut command = redis::cmd("GET");
        command.arg(self.keys.bookmark_parts(&tag, topic, source).concat());
        command
    }

    /// The command that asks for the position of an event with a label.
    pub(crate) fn ask_label(&self, log: &LogName, label: &Key) -> Cmd {
        let tag = keys::partition(log).to_string();
        let mut command = redis::cmd("GET");
        command.arg(self.keys.label_parts(&tag, log, label).concat());
        command
    }

    fn write_events(&self, events: &[Words<'_>], bytes: &mut Vec<u8>) {
        let names = events.iter().map(Words::names).sum::<usize>();
        let arguments = events.iter().map(Words::arguments).sum::<usize>();
        array(bytes, 3 + names + self.constants.len() + arguments);
        bulk(bytes, ["EVALSHA"]);
        bulk(bytes, [PUBLISH.sha()]);
        bulk(bytes, [&*names.to_string()]);
        for Words { log, topic, key, fingerprint, advance, label, tag, .. } in events {
            bulk(bytes, self.keys.parts("e", tag, log));
            bulk(bytes, self.keys.parts("h", tag, log));
            if let Some(key) = key {
                bulk(bytes, self.keys.key_parts(tag, topic, key));
                if fingerprint.is_some() {
                    bulk(bytes, self.keys.fingerprint_parts(tag, topic, key));
                }
            }
            if let Some(advance) = advance {
                bulk(bytes, self.keys.bookmark_parts(tag, topic, &advance.source));
            }
            if let Some(label) = label {
                bulk(bytes, self.keys.label_parts(tag, log, label));
            }
        }
        for constant in &self.constants {
            bulk(bytes, [&**constant]);
        }
        for Words { header, data, note, advance, .. } in events {
            bulk(bytes, [header, data]);
            bulk(bytes, [&**note]);
            if let Some(Advance { from, to, .. }) = advance {
                bulk(bytes, [from.as_ref().map_or("", Bookmark::as_str)]);
                bulk(bytes, [to.as_str()]);
            }
        }
    }
}

/// The arguments of the script for an event.
struct Words<'a> {
    log: LogName,
    topic: &'a Topic,
    key: Option<&'a Key>,
    /// Of an event with a key.
    fingerprint: Option<Fingerprint>,
    advance: Option<&'a Advance>,
    label: Option<&'a Key>,
    tag: String,
    header: String,
    data: Cow<'a, str>,
    note: String,
}

impl Words<'_> {
    /// The number of keys that the script gets for the event.
    fn names(&self) -> usize {
        let optional = [
            self.key.is_some(),
            self.fingerprint.is_some(),
            self.advance.is_some(),
            self.label.is_some(),
        ];
        2 + optional.into_iter().map(usize::from).sum::<usize>()
    }

    /// The number of its arguments beside the keys.
    fn arguments(&self) -> usize {
        2 + 2 * usize::from(self.advance.is_some())
    }
}

fn words(log: LogName, append: &Append, witness: Option<Position>) -> Words<'_> {
    let Append { topic, event, key, fingerprint, follows, advance, label, may_begin } = append;
    let fingerprint = fingerprint.filter(|_| key.is_some());
    let mut note = String::from(match event.mark {
        Mark::Open => "o",
        Mark::Last => "l",
        Mark::End => "e",
        Mark::Broken(_) => "b",
        Mark::Deleted => "d",
        Mark::Reopened => "r",
    });
    if key.is_some() {
        note.push('k');
    }
    if !may_begin {
        note.push('n');
    }
    if advance.is_some() {
        note.push('b');
    }
    if log.is_space() {
        note.push('s');
    }
    if label.is_some() {
        note.push('f');
    }
    if let Some(witness) = witness {
        write!(note, "{witness}").expect("a string takes it");
    }
    if fingerprint.is_some() || follows.is_some() {
        note.push(' ');
    }
    if let Some(fingerprint) = fingerprint {
        write!(note, "{fingerprint}").expect("a string takes it");
    }
    if let Some(position) = follows {
        write!(note, " {position}").expect("a string takes it");
    }
    let named = log.is_space().then_some(topic);
    let (header, data) = (entry::header(named, event), entry::data(topic, event));
    let tag = keys::partition(&log).to_string();
    let advance = advance.as_ref();
    let label = label.as_ref();
    Words { log, topic, key: key.as_ref(), fingerprint, advance, label, tag, header, data, note }
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

/// The answer of the script to an append.
#[derive(Debug, Clone)]
pub(crate) enum ScriptAnswer {
    Stored(Receipt),
    Ended { last: Position },
    NewTopic,
    KeyReused { first: Position },
    Moved { found: Option<Bookmark> },
}

impl ScriptAnswer {
    #[cfg(test)]
    pub(crate) fn stored(n: u64) -> Self {
        Self::Stored(Receipt { position: Position::new(n, n), duplicate: false })
    }

    /// The position of the event, if it is stored.
    pub(crate) fn position(&self) -> Option<Position> {
        match self {
            Self::Stored(receipt) => Some(receipt.position),
            _ => None,
        }
    }

    /// Returns true if this run of the script stored the event, or raised the head.
    pub(crate) fn is_new(&self) -> bool {
        matches!(self, Self::Stored(Receipt { duplicate: false, .. }))
    }

    /// The result for the publisher.
    pub(crate) fn receipt(self, append: &Append) -> Result<Receipt, AppendError> {
        let topic = || append.topic.clone();
        Err(match self {
            Self::Stored(receipt) => return Ok(receipt),
            Self::Ended { last } => AppendError::Ended { topic: topic(), last },
            Self::KeyReused { first } => AppendError::KeyReused { topic: topic(), first },
            Self::Moved { found } => AppendError::Moved { topic: topic(), found },
            Self::NewTopic => AppendError::NewTopic { topic: topic() },
        })
    }
}

/// Reads the reply to one run of the script, which has `count` appends.
pub(crate) fn answers(
    reply: Result<Value, RedisError>,
    count: usize,
) -> Vec<Result<ScriptAnswer, Failure>> {
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

fn answer(line: &str) -> Result<ScriptAnswer, Failure> {
    let (outcome, rest) = line.split_once(' ').ok_or(BAD)?;
    let position = || rest.parse().map_err(|_| BAD);
    let stored = |duplicate| {
        Ok::<_, Failure>(ScriptAnswer::Stored(Receipt { position: position()?, duplicate }))
    };
    Ok(match outcome {
        "0" => stored(false)?,
        "1" => stored(true)?,
        "2" => ScriptAnswer::Ended { last: position()? },
        "3" => ScriptAnswer::NewTopic,
        "4" => ScriptAnswer::KeyReused { first: position()? },
        "5" => ScriptAnswer::Moved { found: bookmark(rest)? },
        _ => return Err(newer(rest).unwrap_or_else(|| error(rest))),
    })
}

/// Reads a bookmark; nothing stands for none.
fn bookmark(text: &str) -> Result<Option<Bookmark>, Failure> {
    let some = (!text.is_empty()).then(|| Bookmark::new(text));
    some.transpose().map_err(|_| Failure::Answer("the bookmark of a source is none"))
}

/// Reads the answer of a server that was asked for a bookmark.
pub(crate) fn stored_bookmark(answer: Option<Value>) -> Result<Option<Bookmark>, Failure> {
    let stored: Option<String> = redis::from_redis_value(answer.ok_or(BAD)?).map_err(|_| BAD)?;
    let Some(stored) = stored else { return Ok(None) };
    let (_, text) = stored.split_once(' ').ok_or(BAD)?;
    bookmark(text)
}

/// The answer to an append to a topic whose format the script does not know.
fn newer(text: &str) -> Option<Failure> {
    Some(Failure::Newer(text.strip_prefix("FORMAT ")?.parse().ok()?))
}

/// An error that the script caught, as if the server had answered it.
fn error(text: &str) -> Failure {
    let reply = redis::parse_redis_value(format!("-{text}\r\n").as_bytes());
    match reply.and_then(Value::extract_error) {
        Err(error) => error.into(),
        Ok(_) => BAD,
    }
}

/// Milliseconds; Redis refuses a life of zero.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.min(FOREVER).as_millis()).unwrap_or(u64::MAX).max(1)
}

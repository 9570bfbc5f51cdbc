//! What a publisher publishes, as NDJSON lines for ingest, from wherever it comes.

use std::borrow::Cow;
use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, Stdin};

use crate::args::Input;

/// Events, as they come.
pub(crate) struct Source {
    from: From,
    topic: Option<String>,
    kind: Option<String>,
    /// What this run's idempotency keys begin with: unlike that of any other run.
    run: String,
    count: u64,
    /// Whether something was no UTF-8 and was repaired, since that was last asked.
    repaired: bool,
}

enum From {
    Arguments(std::vec::IntoIter<String>),
    Lines { reader: BufReader<Stdin>, json: bool },
    Sse { reader: BufReader<Stdin>, parser: sse::Parser },
}

/// One event on its way: the line that ingest is sent, always with a key.
#[derive(Debug, Clone)]
pub(crate) struct Line(pub(crate) String);

/// The fields of a line. Their values stay as they came, to the order of members and the last digit.
type Fields = BTreeMap<String, Box<RawValue>>;

/// Bytes read from standard input at a time.
const CHUNK_BYTES: usize = 64 * 1024;

impl Source {
    pub(crate) fn new(
        data: Vec<String>,
        input: Input,
        topic: Option<String>,
        kind: Option<String>,
    ) -> Self {
        let reader = BufReader::with_capacity(CHUNK_BYTES, tokio::io::stdin());
        let from = match input {
            _ if !data.is_empty() => From::Arguments(data.into_iter()),
            Input::Lines => From::Lines { reader, json: false },
            Input::Ndjson => From::Lines { reader, json: true },
            Input::Sse => From::Sse { reader, parser: sse::Parser::default() },
        };
        let run = format!("{:016x}", fastrand::u64(..));
        Self { from, topic, kind, run, count: 0, repaired: false }
    }

    /// The next events: those that are there, at least one; none when there will be no more.
    ///
    /// Not cancel-safe: a line that was read in part is lost with the future.
    pub(crate) async fn next(&mut self, most: usize) -> Result<Vec<Line>> {
        let mut lines = Vec::new();
        match &mut self.from {
            From::Arguments(data) => {
                let data: Vec<_> = data.take(most).collect();
                lines.extend(data.iter().map(|data| self.event(data, None)));
            }
            From::Lines { reader, json } => {
                let json = *json;
                let mut texts = Vec::new();
                // Waits for the first line, then takes those that are read already.
                while texts.len() < most && (texts.is_empty() || reader.buffer().contains(&b'\n')) {
                    let mut bytes = Vec::new();
                    if reader.read_until(b'\n', &mut bytes).await.context("standard input")? == 0 {
                        break;
                    }
                    let text = String::from_utf8_lossy(&bytes);
                    self.repaired |= matches!(text, Cow::Owned(_));
                    // Between lines of JSON, a blank one is nothing; elsewhere it is an event.
                    if !json || !text.trim().is_empty() {
                        texts.push(text.trim_end_matches(['\n', '\r']).to_owned());
                    }
                }
                for text in texts {
                    lines.push(if json { self.json(text) } else { self.event(&text, None) });
                }
            }
            From::Sse { reader, parser } => {
                let mut chunk = vec![0; CHUNK_BYTES];
                let mut events = Vec::new();
                while events.is_empty() {
                    let count = reader.read(&mut chunk).await.context("standard input")?;
                    if count == 0 {
                        break;
                    }
                    parser.feed(&chunk[..count], &mut |event| events.push(event));
                    // A gateway's own events are about its connection: they end with it.
                    events.retain(|event| !event.is_control());
                }
                for event in events {
                    let kind = Some(event.event_type()).filter(|kind| *kind != "message");
                    lines.push(self.event(&event.data, kind));
                }
            }
        }
        Ok(lines)
    }

    fn event(&mut self, data: &str, kind: Option<&str>) -> Line {
        let mut line = Fields::new();
        line.insert("data".into(), raw(&data));
        if let Some(kind) = kind {
            line.insert("type".into(), raw(&kind));
        }
        self.complete(line)
    }

    /// A line of JSON, completed. One that is none goes as it is: ingest says what is wrong with it.
    fn json(&mut self, text: String) -> Line {
        match serde_json::from_str(&text) {
            Ok(fields) => self.complete(fields),
            Err(_) => Line(text),
        }
    }

    /// The line that ends a topic.
    pub(crate) fn end(&mut self) -> Line {
        self.complete(Fields::from([("end".into(), raw(&true))]))
    }

    /// Whether anything had to be repaired since the last call.
    pub(crate) fn take_repaired(&mut self) -> bool {
        std::mem::take(&mut self.repaired)
    }

    /// Adds what the line leaves open; with a key of its own a retry is safe.
    fn complete(&mut self, mut line: Fields) -> Line {
        self.count += 1;
        if let (Some(topic), false) = (&self.topic, line.contains_key("topic")) {
            line.insert("topic".into(), raw(topic));
        }
        if let (Some(kind), false) = (&self.kind, line.contains_key("type")) {
            line.insert("type".into(), raw(kind));
        }
        let key = || raw(&format!("{}-{}", self.run, self.count));
        line.entry("key".into()).or_insert_with(key);
        Line(raw(&line).get().to_owned())
    }
}

fn raw(value: &impl Serialize) -> Box<RawValue> {
    to_raw_value(value).expect("strings and maps of strings always serialise")
}

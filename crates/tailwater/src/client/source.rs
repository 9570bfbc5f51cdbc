//! The events that `tailwater publish` sends, read from arguments or standard input and written as
//! NDJSON lines.

use std::borrow::Cow;
use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde::Serialize;
use serde::de::IgnoredAny;
use serde_json::value::{RawValue, to_raw_value};
use tokio::io::{AsyncBufReadExt as _, BufReader, Stdin};

mod stream;

use crate::args::{Input, OnGap};
use stream::Stream;

/// A source of events.
pub(crate) struct Source {
    reading: Reading,
    topic: Option<String>,
    kind: Option<String>,
    /// The prefix of this run's idempotency keys: random, so that runs do not share keys.
    run: String,
    count: u64,
    /// Input since the last call of [`Source::take_repaired`] was not UTF-8.
    repaired: bool,
    /// The beginning of the event that the end of the input cut off.
    cut: Option<String>,
}

/// The input, by its format.
enum Reading {
    Arguments(std::vec::IntoIter<String>),
    Lines {
        reader: BufReader<Stdin>,
        json: bool,
        /// The first line was read, which may begin with a byte order mark.
        begun: bool,
    },
    Sse(Box<Stream>),
}

/// An event as a line of NDJSON, with an idempotency key.
#[derive(Debug, Clone)]
pub(crate) struct EventLine(pub(crate) String);

/// The fields of a line. Their values keep their text: the order of members, and every digit.
type Fields = BTreeMap<String, Box<RawValue>>;

const BOM: &[u8] = b"\xef\xbb\xbf";
/// Bytes of one read from standard input.
const CHUNK_BYTES: usize = 64 * 1024;

impl Source {
    pub(crate) fn new(
        data: Vec<String>,
        input: Input,
        topic: Option<String>,
        kind: Option<String>,
        on_gap: OnGap,
    ) -> Self {
        let reader = BufReader::with_capacity(CHUNK_BYTES, tokio::io::stdin());
        let reading = match input {
            _ if !data.is_empty() => Reading::Arguments(data.into_iter()),
            Input::Lines => Reading::Lines { reader, json: false, begun: false },
            Input::Ndjson => Reading::Lines { reader, json: true, begun: false },
            Input::Sse => Reading::Sse(Box::new(Stream::new(reader, CHUNK_BYTES, on_gap))),
        };
        let run = format!("{:016x}", fastrand::u64(..));
        Self { reading, topic, kind, run, count: 0, repaired: false, cut: None }
    }

    /// Returns the events that are available, `most` at most. Waits for the first one, or for a note; `None` at
    /// the end.
    ///
    /// Not cancel-safe: a partially read line is lost with the future.
    pub(crate) async fn next(&mut self, most: usize) -> Result<Option<Vec<EventLine>>> {
        let mut lines = Vec::new();
        match &mut self.reading {
            Reading::Arguments(data) => {
                let data: Vec<_> = data.take(most).collect();
                lines.extend(data.iter().map(|data| self.event(data, None)));
            }
            Reading::Lines { reader, json, begun } => {
                let json = *json;
                let mut texts = Vec::new();
                // Wait for the first line, then take only those that are in the buffer.
                while texts.len() < most && (texts.is_empty() || reader.buffer().contains(&b'\n')) {
                    let mut bytes = Vec::new();
                    if reader.read_until(b'\n', &mut bytes).await.context("standard input")? == 0 {
                        break;
                    }
                    if !std::mem::replace(begun, true) && bytes.starts_with(BOM) {
                        bytes.drain(..BOM.len());
                    }
                    let text = String::from_utf8_lossy(&bytes);
                    self.repaired |= matches!(text, Cow::Owned(_));
                    if json && !text.ends_with('\n') && is_cut_off(&text) {
                        self.cut = Some(text.into_owned());
                        break;
                    }
                    // A blank line is an empty event, except in NDJSON.
                    if !json || !text.trim().is_empty() {
                        texts.push(text.trim_end_matches(['\n', '\r']).to_owned());
                    }
                }
                for text in texts {
                    lines.push(if json { self.json(text) } else { self.event(&text, None) });
                }
            }
            Reading::Sse(stream) => {
                let Some(events) = stream.next().await? else {
                    self.cut = stream.take_cut();
                    return Ok(None);
                };
                for event in events {
                    let kind = Some(event.event_type()).filter(|kind| *kind != "message");
                    lines.push(self.event(&event.data, kind));
                }
                return Ok(Some(lines));
            }
        }
        Ok(Some(lines).filter(|lines| !lines.is_empty()))
    }

    fn event(&mut self, data: &str, kind: Option<&str>) -> EventLine {
        let mut line = Fields::new();
        line.insert("data".into(), raw(&data));
        if let Some(kind) = kind {
            line.insert("type".into(), raw(&kind));
        }
        self.complete(line)
    }

    /// Completes a line of JSON. Ingest reports a line that is not JSON, so that one is sent as it is.
    fn json(&mut self, text: String) -> EventLine {
        match serde_json::from_str(&text) {
            Ok(fields) => self.complete(fields),
            Err(_) => EventLine(text),
        }
    }

    /// Returns the line that ends the topic.
    pub(crate) fn end(&mut self) -> EventLine {
        self.complete(Fields::from([("end".into(), raw(&true))]))
    }

    /// Returns whether any input since the last call was not UTF-8.
    pub(crate) fn take_repaired(&mut self) -> bool {
        std::mem::take(&mut self.repaired)
    }

    /// Returns the remarks of an event stream since the last call.
    pub(crate) fn take_notes(&mut self) -> Vec<String> {
        match &mut self.reading {
            Reading::Sse(stream) => stream.take_notes(),
            Reading::Arguments(_) | Reading::Lines { .. } => Vec::new(),
        }
    }

    /// Returns the beginning of the event that the end of the input cut off, so that it is not published, once.
    pub(crate) fn take_cut(&mut self) -> Option<String> {
        self.cut.take()
    }

    /// Returns the reason why an event stream lacks events, if it does. Call it after the end.
    pub(crate) fn fault(&self) -> Option<String> {
        match &self.reading {
            Reading::Sse(stream) => stream.fault(),
            Reading::Arguments(_) | Reading::Lines { .. } => None,
        }
    }

    /// Adds the missing fields. The key makes a retry safe.
    fn complete(&mut self, mut line: Fields) -> EventLine {
        self.count += 1;
        if let (Some(topic), false) = (&self.topic, line.contains_key("topic")) {
            line.insert("topic".into(), raw(topic));
        }
        if let (Some(kind), false) = (&self.kind, line.contains_key("type")) {
            line.insert("type".into(), raw(kind));
        }
        let key = || raw(&format!("{}-{}", self.run, self.count));
        line.entry("key".into()).or_insert_with(key);
        EventLine(raw(&line).get().to_owned())
    }
}

/// Returns true if a last line without a line end is only the beginning of an event.
fn is_cut_off(line: &str) -> bool {
    !line.trim().is_empty() && serde_json::from_str::<IgnoredAny>(line).is_err()
}

fn raw(value: &impl Serialize) -> Box<RawValue> {
    to_raw_value(value).expect("strings and maps of strings always serialise")
}

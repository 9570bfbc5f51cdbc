//! Bodies of JSON lines that do not end.

use std::collections::BTreeMap;
use std::mem;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use event_log::Topic;
use reqwest::StatusCode;
use reqwest::header::{ACCEPT, HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::copying::Copying;
use crate::http::{self, Feed, Items, Pause, Remote};
use crate::intake::{Intake, Memory, Received};
use crate::kind::{Kind, Settings};
use crate::place::Place;
use crate::pointer::{Pointer, scalar};
use crate::source::{Failure, Item, Reading, Source};
use crate::trail::{Resume, Trail};

/// The table `json-lines` of a source.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct JsonLinesSettings {
    url: String,
    #[serde(default)]
    headers: BTreeMap<String, http::HeaderText>,
    ca_file: Option<PathBuf>,
    #[serde(default = "http::silence_max")]
    silence_max: String,
    /// The way to the id in a line.
    id: Option<String>,
    resume: Option<By>,
}

/// The part of a request that has the last id.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum By {
    /// This parameter of the query.
    Query(String),
    /// This header.
    Header(String),
}

/// A body of JSON lines at a URL.
#[derive(Debug, Clone)]
struct JsonLines {
    remote: Remote,
    topic: Topic,
    event_bytes_max: usize,
    id: Option<Pointer>,
    resume: Option<By>,
    pause: Pause,
    memory: Memory,
}

const TYPES: &str = "application/x-ndjson, application/jsonl, application/json;q=0.5";
/// The subtypes of `application` and `text` that are JSON lines, without `x-` before them: those that ingest takes.
const LINES: [&str; 5] = ["ndjson", "jsonl", "jsonlines", "json-lines", "ldjson"];
const BOM: &[u8] = b"\xef\xbb\xbf";

impl Settings for JsonLinesSettings {
    /// A stream has one order, so it has one topic.
    fn fields(&self) -> &'static [&'static str] {
        &[]
    }

    fn kind(self: Box<Self>, copying: &Copying) -> Result<Arc<dyn Kind>, String> {
        match &self.resume {
            Some(_) if self.id.is_none() => {
                return Err("resume needs id, the JSON Pointer to the id in a line".to_owned());
            }
            Some(By::Query(name)) if name.is_empty() => {
                return Err("resume.query = \"\"; it must be the name of a parameter".to_owned());
            }
            Some(By::Header(name)) => {
                let named = HeaderName::try_from(name);
                named.map_err(|_| format!("resume.header = {name:?}: this is no header"))?;
            }
            Some(By::Query(_)) | None => {}
        }
        let remote = Remote::new(&self.url, self.headers, self.ca_file, &self.silence_max)?;
        Ok(Arc::new(JsonLines {
            remote,
            topic: copying.topic.fixed().ok_or("topic has fields; a stream has one topic")?,
            event_bytes_max: copying.event_bytes_max,
            id: self.id.map(|id| Pointer::parse("id", &id)).transpose()?,
            resume: self.resume,
            pause: Pause::default(),
            memory: Memory::default(),
        }))
    }
}

impl Kind for JsonLines {
    fn name(&self) -> &'static str {
        "json-lines"
    }

    fn source(&self, _part: Option<u32>) -> Box<dyn Source> {
        let (pause, memory) = (Pause::default(), Memory::default());
        Box::new(Self { pause, memory, ..self.clone() })
    }
}

#[async_trait]
impl Source for JsonLines {
    async fn open(&mut self, after: Option<&Place>) -> Result<Box<dyn Reading>, Failure> {
        self.pause.over().await?;
        let session = self.remote.connect().await?;
        let (source, after) = (self.clone(), after.cloned());
        Feed::start(|out| async move {
            let trail = Trail::up_to(after.as_ref());
            let resume = source.memory.resume(&trail);
            let mut own = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(TYPES))]);
            let query = source.ask(resume.as_ref(), &mut own);
            let response = match session.get(&own, query, &source.pause).await {
                Ok(response) => response,
                Err(failure) => return failure,
            };
            let (status, kind) = (response.status(), http::media_type(&response));
            if status != StatusCode::OK || !are_lines(&kind) {
                let wanted = "it must be 200 with JSON lines, such as application/x-ndjson";
                return Failure::Refused(format!("the answer is {status} {kind:?}; {wanted}"));
            }
            let is_continued = resume.is_some();
            let mut lines = Lines {
                partial: Vec::new(),
                dropped: 0,
                has_begun: false,
                max: source.event_bytes_max,
                pointer: source.id,
                id: resume.as_ref().map_or_else(String::new, |resume| resume.id.clone()),
                intake: Intake::new(
                    source.topic,
                    source.event_bytes_max,
                    trail,
                    resume.map(|resume| resume.again),
                    source.memory,
                ),
            };
            out.connected().await;
            let first = lines.intake.begin(after.as_ref(), is_continued);
            out.put(first.into_iter().collect()).await;
            http::stream(&session, response, &mut lines, &out).await
        })
        .await
    }
}

impl JsonLines {
    /// Asks for the lines after the last id. Without `resume` the server may send them again by itself.
    fn ask<'a>(
        &'a self,
        resume: Option<&'a Resume>,
        own: &mut HeaderMap,
    ) -> Option<(&'a str, &'a str)> {
        let id = &*resume?.id;
        match self.resume.as_ref()? {
            By::Query(name) => Some((name, id)),
            By::Header(name) => {
                let name = HeaderName::try_from(name).ok()?;
                own.insert(name, HeaderValue::from_bytes(id.as_bytes()).ok()?);
                None
            }
        }
    }
}

/// Returns true for the media types that ingest takes for JSON lines, and for `application/json`, which streams often have.
fn are_lines(kind: &str) -> bool {
    match kind.split_once('/') {
        Some(("application", "stream+json" | "json")) => true,
        Some(("application" | "text", subtype)) => {
            let name = subtype.rsplit('+').next().unwrap_or_default();
            LINES.contains(&name.strip_prefix("x-").unwrap_or(name))
        }
        _ => false,
    }
}

/// The state of one connection.
#[derive(Debug)]
struct Lines {
    /// The beginning of an incomplete line.
    partial: Vec<u8>,
    /// Bytes of that line that were not kept.
    dropped: usize,
    /// A line has come, so no byte order mark can.
    has_begun: bool,
    /// The largest line that is kept, in bytes.
    max: usize,
    pointer: Option<Pointer>,
    /// The last id, or that which was sent.
    id: String,
    intake: Intake,
}

impl Items for &mut Lines {
    fn feed(&mut self, piece: &[u8], items: &mut Vec<Item>) -> Result<(), Failure> {
        let mut lines = piece.split(|byte| *byte == b'\n');
        let rest = lines.next_back().unwrap_or_default();
        for line in lines {
            self.keep(line);
            self.line(items);
        }
        self.keep(rest);
        Ok(())
    }

    /// A last line without a line break counts if it is an object or an array, which is whole when it is closed.
    fn end(&mut self, items: &mut Vec<Item>) {
        let is_closed = self.partial.trim_ascii_end().ends_with(b"}")
            || self.partial.trim_ascii_end().ends_with(b"]");
        if is_closed && serde_json::from_slice::<&RawValue>(&self.partial).is_ok() {
            self.line(items);
        }
    }
}

impl Lines {
    /// Adds to the incomplete line.
    fn keep(&mut self, bytes: &[u8]) {
        let kept = bytes.len().min((self.max + BOM.len()).saturating_sub(self.partial.len()));
        self.partial.extend_from_slice(&bytes[..kept]);
        self.dropped += bytes.len() - kept;
    }

    fn line(&mut self, items: &mut Vec<Item>) {
        let (line, dropped) = (mem::take(&mut self.partial), mem::take(&mut self.dropped));
        let mut line = &*line;
        if !mem::replace(&mut self.has_begun, true) {
            line = line.strip_prefix(BOM).unwrap_or(line);
        }
        let line = if dropped == 0 { line.trim_ascii() } else { line.trim_ascii_start() };
        if line.is_empty() {
            return;
        }
        let text = String::from_utf8_lossy(line);
        let size = line.len() + dropped;
        let cut = (size > self.max).then_some(size);
        let read = match cut {
            Some(_) => Ok(None),
            None => serde_json::from_slice::<&RawValue>(line).map(Some),
        };
        let (value, fault) = match read {
            Ok(value) => (value, None),
            Err(error) => (None, Some(format!("a line is not JSON: {error}"))),
        };
        let own = value.and_then(|value| scalar(self.pointer.as_ref()?.find(value)?));
        let is_own = own.is_some();
        if let Some(own) = own {
            self.id = own;
        }
        let data = &text[..text.floor_char_boundary(self.max)];
        let id = &*self.id;
        let received = Received { id, is_own, data, cut, fault, ..Received::default() };
        self.intake.take(received, items);
    }
}

#[cfg(test)]
mod tests;

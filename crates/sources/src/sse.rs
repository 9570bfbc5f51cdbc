//! Event streams of other servers, a Tailwater among them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use event_log::{BreakReason, Mark, Topic};
use reqwest::header::{ACCEPT, HeaderMap, HeaderValue};
use reqwest::{Response, StatusCode};
use serde::Deserialize;

use crate::copying::Copying;
use crate::http::{self, Feed, HttpSession, Items, Pause, Remote};
use crate::intake::{Intake, Memory, Received};
use crate::kind::{Kind, Settings};
use crate::place::Place;
use crate::source::{Failure, Item, Reading, Source};
use crate::trail::Trail;

/// The table `sse` of a source.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct SseSettings {
    url: String,
    #[serde(default)]
    headers: BTreeMap<String, http::HeaderText>,
    ca_file: Option<PathBuf>,
    #[serde(default = "http::silence_max")]
    silence_max: String,
    /// The end of the stream ends the topic.
    #[serde(default)]
    end: bool,
}

/// An event stream at a URL.
#[derive(Debug, Clone)]
struct Sse {
    remote: Remote,
    topic: Topic,
    event_bytes_max: usize,
    ends: bool,
    pause: Pause,
    memory: Memory,
}

const TYPE: &str = "text/event-stream";
const LAST_EVENT_ID: &str = "last-event-id";
/// The bounds of a pause that a stream sets by `retry`.
const RETRY: [Duration; 2] = [Duration::from_millis(100), Duration::from_mins(1)];

impl Settings for SseSettings {
    /// A stream has one order, so it has one topic.
    fn fields(&self) -> &'static [&'static str] {
        &[]
    }

    fn kind(self: Box<Self>, copying: &Copying) -> Result<Arc<dyn Kind>, String> {
        let remote = Remote::new(&self.url, self.headers, self.ca_file, &self.silence_max)?;
        Ok(Arc::new(Sse {
            remote,
            topic: copying.topic.fixed().ok_or("topic has fields; a stream has one topic")?,
            event_bytes_max: copying.event_bytes_max,
            ends: self.end,
            pause: Pause::default(),
            memory: Memory::default(),
        }))
    }
}

impl Kind for Sse {
    fn name(&self) -> &'static str {
        "sse"
    }

    fn source(&self, _part: Option<u32>) -> Box<dyn Source> {
        let (pause, memory) = (Pause::default(), Memory::default());
        Box::new(Self { pause, memory, ..self.clone() })
    }
}

#[async_trait]
impl Source for Sse {
    async fn open(&mut self, after: Option<&Place>) -> Result<Box<dyn Reading>, Failure> {
        let trail = Trail::up_to(after);
        if trail.has_ended() {
            return Err(Failure::Ended);
        }
        self.pause.over().await?;
        let session = self.remote.connect().await?;
        let (source, after) = (self.clone(), after.cloned());
        Feed::start(|out| async move {
            let resume = source.memory.resume(&trail);
            let id = resume.as_ref().map_or("", |resume| &resume.id);
            let mut asked = source.ask(&session, id).await;
            if source.memory.is_level(&trail) && id != trail.id() {
                // The server is asked with the last id only to see if this is the end: behind an id that it gives
                // again, it would leave out events.
                let end = source.ask(&session, trail.id()).await;
                if end.as_ref().is_ok_and(|end| end.status() == StatusCode::NO_CONTENT) {
                    asked = end;
                }
            }
            let response = match asked {
                Ok(response) => response,
                Err(failure) => return failure,
            };
            let mut stream = Events {
                parser: sse::Parser::resuming(id).bounded(source.event_bytes_max),
                is_continued: resume.is_some(),
                has_begun: false,
                has_several: false,
                ends: source.ends,
                intake: Intake::new(
                    source.topic,
                    source.event_bytes_max,
                    trail,
                    resume.map(|resume| resume.again),
                    source.memory,
                ),
            };
            match (response.status(), http::media_type(&response)) {
                (StatusCode::NO_CONTENT, _) => {
                    out.connected().await;
                    if stream.ends {
                        out.put(vec![stream.intake.end()]).await;
                    }
                    return Failure::Ended;
                }
                (StatusCode::OK, kind) if kind == TYPE => {}
                (status, kind) => {
                    let wanted = format!("it must be 200 with {TYPE}");
                    return Failure::Refused(format!("the answer is {status} {kind:?}; {wanted}"));
                }
            }
            out.connected().await;
            let first = stream.intake.begin(after.as_ref(), stream.is_continued);
            out.put(first.into_iter().collect()).await;
            let failure = http::stream(&session, response, &mut stream, &out).await;
            if let Some(retry) = stream.parser.retry() {
                let [least, most] = RETRY;
                source.pause.ask(retry.clamp(least, most));
            }
            failure
        })
        .await
    }
}

impl Sse {
    /// Asks for the events after an id, which is empty if there is none.
    async fn ask(&self, session: &HttpSession, id: &str) -> Result<Response, Failure> {
        let mut own = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(TYPE))]);
        if let Ok(id) = HeaderValue::from_bytes(id.as_bytes())
            && !id.is_empty()
        {
            own.insert(LAST_EVENT_ID, id);
        }
        session.get(&own, None, &self.pause).await
    }
}

/// The state of one connection.
#[derive(Debug)]
struct Events {
    parser: sse::Parser,
    intake: Intake,
    /// An id was sent.
    is_continued: bool,
    /// A gateway of Tailwater has begun the stream, and tells of gaps itself.
    has_begun: bool,
    /// A gateway's stream of several topics, so the end of one is not the end of the stream.
    has_several: bool,
    ends: bool,
}

impl Items for &mut Events {
    fn feed(&mut self, piece: &[u8], items: &mut Vec<Item>) -> Result<(), Failure> {
        let mut events = Vec::new();
        self.parser.feed(piece, &mut |event| events.push(event));
        for event in events {
            if event.is_control() {
                self.control(&event, items)?;
            } else {
                self.event(&event, items);
            }
        }
        Ok(())
    }

    fn end(&mut self, _items: &mut Vec<Item>) {
        self.intake.close();
    }
}

impl Events {
    fn event(&mut self, event: &sse::Event, items: &mut Vec<Item>) {
        if !self.has_begun && self.intake.trail().is_exact() {
            self.intake.trail().set_exact(false);
            let reason = "the server does not tell of gaps any more";
            items.push(self.intake.gap(None, reason.to_owned()));
        }
        let received = Received {
            id: &event.id,
            is_own: event.own_id,
            kind: event.event_type(),
            data: &event.data,
            cut: event.cut,
            ..Received::default()
        };
        self.intake.take(received, items);
    }

    /// Takes a control event of a gateway (docs/protocol.md).
    fn control(&mut self, event: &sse::Event, items: &mut Vec<Item>) -> Result<(), Failure> {
        let data: serde_json::Value = serde_json::from_str(&event.data).unwrap_or_default();
        let text = |name: &str| data[name].as_str().unwrap_or_default();
        match event.event_type() {
            "tailwater.ready" => {
                self.has_begun = true;
                let cursor = text("cursor");
                // A cursor of several topics begins with its version.
                self.has_several = cursor.starts_with("2.") || cursor.starts_with("v1.");
                self.intake.trail().set_exact(true);
                let is_live = text("outcome") == "live" && cursor != self.intake.trail().id();
                if self.is_continued && is_live {
                    let reason = "the gateway has not taken the last id";
                    items.push(self.intake.gap(None, reason.to_owned()));
                }
                items.push(self.intake.pass(&event.id));
            }
            "tailwater.gap" => {
                let reason = format!("the gateway has told of a gap ({})", text("reason"));
                self.intake.pass(&event.id);
                items.push(self.intake.gap(data["missed"].as_u64(), reason));
            }
            "tailwater.broken" => {
                let mut reasons = BreakReason::ALL.into_iter();
                let reason = reasons.find(|reason| reason.as_str() == text("reason"));
                let mark = Mark::Broken(reason.unwrap_or(BreakReason::Disconnected));
                let (id, is_own) = (&*event.id, event.own_id);
                self.intake.take(Received { id, is_own, mark, ..Received::default() }, items);
            }
            "tailwater.end" if !self.has_several => {
                if self.ends {
                    items.push(self.intake.end());
                }
                return Err(Failure::Ended);
            }
            "tailwater.reconnect" => {
                let reason = text("reason");
                return Err(Failure::Away(format!("the gateway asks to come back ({reason})")));
            }
            "tailwater.end" | "tailwater.reopened" | "tailwater.cursor" | "tailwater.heartbeat" => {
                items.push(self.intake.pass(&event.id))
            }
            unknown if self.has_begun => {
                tracing::debug!(unknown, "a control event of a later gateway");
                items.push(self.intake.pass(&event.id));
            }
            // Of another server, whose events have a type that no topic can hold.
            _ => self.event(event, items),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

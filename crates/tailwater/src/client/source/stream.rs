//! An event stream on standard input. Its events are published; the control events of the gateway that sent it
//! are not, but say if the input is complete. `docs/protocol.md` has the table.

use anyhow::{Context as _, Result};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, BufReader, Stdin};

use crate::args::OnGap;
use crate::client::control;

/// The stream, and what was read of it.
pub(super) struct Stream {
    reader: BufReader<Stdin>,
    parser: Option<sse::Parser>,
    chunk: Vec<u8>,
    on_gap: OnGap,
    state: State,
    /// The id of the last event.
    last: String,
    gaps: u64,
    /// The beginning of the event that the end of the input cut off.
    cut: Option<String>,
    /// Remarks for the user, in the order of the stream.
    notes: Vec<String>,
}

/// The state of the connection to the source's gateway, by its last control event.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// No gateway has sent a control event: another server, or a stream with `control=off`.
    Unknown,
    Open {
        /// Several topics, so the end of one is not the end of the stream.
        several: bool,
    },
    /// The topic has ended, and all of its events were read.
    Ended,
    /// The gateway has closed the stream for a reason of its own.
    Left(String),
}

impl Stream {
    pub(super) fn new(reader: BufReader<Stdin>, chunk_bytes: usize, on_gap: OnGap) -> Self {
        Self {
            reader,
            parser: Some(sse::Parser::with_control_comments()),
            chunk: vec![0; chunk_bytes],
            on_gap,
            state: State::Unknown,
            last: String::new(),
            gaps: 0,
            cut: None,
            notes: Vec::new(),
        }
    }

    /// Returns the next events to publish, perhaps none, or `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<sse::Event>>> {
        let Some(parser) = &mut self.parser else { return Ok(None) };
        let count = self.reader.read(&mut self.chunk).await.context("standard input")?;
        if count == 0 {
            self.cut = self.parser.take().and_then(sse::Parser::finish);
            return Ok(None);
        }
        let mut read = Vec::new();
        parser.feed(&self.chunk[..count], &mut |event| read.push(event));
        let mut events = Vec::new();
        for event in read {
            if !event.is_control() {
                self.last.clone_from(&event.id);
                events.push(event);
                continue;
            }
            self.control(&event);
            if self.gaps > 0 && self.on_gap == OnGap::Stop {
                // The events before the gap are still published.
                self.parser = None;
                break;
            }
        }
        Ok(Some(events))
    }

    fn control(&mut self, event: &sse::Event) {
        let data: Value = serde_json::from_str(&event.data).unwrap_or_default();
        let text = |name: &str| data[name].as_str().unwrap_or_default();
        match event.event_type() {
            "tailwater.ready" => self.ready(text("cursor"), text("outcome")),
            "tailwater.gap" => self.gap(control::gap(&data)),
            "tailwater.end" if self.state != (State::Open { several: true }) => {
                self.state = State::Ended;
            }
            "tailwater.reconnect" => self.state = State::Left(text("reason").to_owned()),
            "tailwater.end" | "tailwater.cursor" | "tailwater.heartbeat" => {}
            unknown => self.notes.push(format!("control event {unknown} of the source is unknown")),
        }
        if !event.id.is_empty() {
            self.last.clone_from(&event.id);
        }
    }

    /// Notes a new connection. If another one came before it, as of a client that reconnects in a loop, events between
    /// the two were only read if the client sent its last id.
    fn ready(&mut self, cursor: &str, outcome: &str) {
        if self.state != State::Unknown && outcome == "live" && cursor != self.last {
            self.gap(format!(
                "GAP: the source was opened anew without the id {:?}, so events may be missing",
                self.last
            ));
        }
        // A cursor of several topics begins with its version.
        let several = cursor.starts_with("2.") || cursor.starts_with("v1.");
        self.state = State::Open { several };
    }

    fn gap(&mut self, text: String) {
        self.gaps += 1;
        self.notes.push(text);
    }

    pub(super) fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    /// Returns the beginning of the event that the end of the input cut off, once.
    pub(super) fn take_cut(&mut self) -> Option<String> {
        self.cut.take()
    }

    /// Returns the reasons why the input lacks events, if it does. Call it after the end.
    pub(super) fn fault(&self) -> Option<String> {
        let gaps = match self.on_gap {
            _ if self.gaps == 0 => None,
            OnGap::Accept => None,
            OnGap::Stop => return Some("stopped at a gap of the source".to_owned()),
            OnGap::Fail => Some(format!("the source had {} gaps", self.gaps)),
        };
        let faults: Vec<_> = gaps.into_iter().chain(self.unfinished()).collect();
        (!faults.is_empty()).then(|| faults.join("; "))
    }

    /// Returns the reason why the source has more to come, if it does.
    fn unfinished(&self) -> Option<String> {
        let why = match &self.state {
            State::Unknown | State::Ended => return None,
            State::Open { several: false } => "the source broke off".to_owned(),
            State::Open { several: true } => {
                "the source has several topics, so its end may be that of its connection".to_owned()
            }
            State::Left(reason) => format!("the source's gateway closed the stream ({reason})"),
        };
        match self.last.as_str() {
            "" => Some(why),
            id => Some(format!("{why}; it goes on after the id {id}")),
        }
    }
}

//! The event stream format of the WHATWG HTML standard, section 9.2.6, fed piece by piece.

use std::time::Duration;

const BOM: &[u8] = b"\xef\xbb\xbf";

/// One dispatched event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// The last event id at the time of dispatch, which an event without an id inherits.
    pub id: String,
    /// Whether the event carried an id of its own.
    pub own_id: bool,
    /// The data lines, joined by LF.
    pub data: String,
    named: String,
}

impl Event {
    /// The event's type: `message` unless the stream named one.
    pub fn event_type(&self) -> &str {
        if self.named.is_empty() { "message" } else { &self.named }
    }

    /// Whether this is one of the gateway's own events, whose types begin with `tailwater.`.
    pub fn is_control(&self) -> bool {
        self.named.starts_with("tailwater.")
    }
}

/// Turns the bytes of a stream into events, however the bytes are cut.
#[derive(Debug, Default)]
pub struct Parser {
    /// The beginning of a line whose end has not come yet.
    partial: Vec<u8>,
    /// The last byte was CR, so an LF that follows belongs to it.
    after_cr: bool,
    past_first_line: bool,
    /// Data lines so far, each with an LF behind it.
    data: String,
    named: String,
    own_id: bool,
    /// The last `id` line, which counts only once its event is dispatched: the stream may break off
    /// between the two.
    id: String,
    last_event_id: String,
    retry: Option<Duration>,
    comments: u64,
}

impl Parser {
    /// A parser that continues after `last_event_id`, as browsers do on a reconnect.
    pub fn resuming(last_event_id: &str) -> Self {
        let id = last_event_id.to_owned();
        Parser { last_event_id: id.clone(), id, ..Parser::default() }
    }

    /// The id that a reconnect would send, which is that of the last event dispatched; empty when
    /// there is none.
    pub fn last_event_id(&self) -> &str {
        &self.last_event_id
    }

    /// The last `retry` that the server sent.
    pub fn retry(&self) -> Option<Duration> {
        self.retry
    }

    /// Comment lines so far: heartbeats, mostly.
    pub fn comments(&self) -> u64 {
        self.comments
    }

    /// Takes the next bytes of the stream and hands each event that they complete to `dispatch`.
    pub fn feed(&mut self, mut bytes: &[u8], dispatch: &mut impl FnMut(Event)) {
        while let Some(&first) = bytes.first() {
            if std::mem::take(&mut self.after_cr) && first == b'\n' {
                bytes = &bytes[1..];
                continue;
            }
            let Some(end) = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r')) else {
                self.partial.extend_from_slice(bytes);
                return;
            };
            self.after_cr = bytes[end] == b'\r';
            if self.partial.is_empty() {
                self.line(&bytes[..end], dispatch);
            } else {
                let mut line = std::mem::take(&mut self.partial);
                line.extend_from_slice(&bytes[..end]);
                self.line(&line, dispatch);
            }
            bytes = &bytes[end + 1..];
        }
    }

    fn line(&mut self, mut line: &[u8], dispatch: &mut impl FnMut(Event)) {
        if !std::mem::replace(&mut self.past_first_line, true) {
            line = line.strip_prefix(BOM).unwrap_or(line);
        }
        if line.is_empty() {
            return self.dispatch(dispatch);
        }
        let (name, value) = match line.iter().position(|&byte| byte == b':') {
            Some(0) => {
                self.comments += 1;
                return;
            }
            Some(colon) => {
                let value = &line[colon + 1..];
                (&line[..colon], value.strip_prefix(b" ").unwrap_or(value))
            }
            None => (line, &b""[..]),
        };
        self.field(name, value);
    }

    fn field(&mut self, name: &[u8], value: &[u8]) {
        match name {
            b"data" => {
                self.data.push_str(&String::from_utf8_lossy(value));
                self.data.push('\n');
            }
            b"event" => self.named = String::from_utf8_lossy(value).into_owned(),
            b"id" if !value.contains(&0) => {
                self.id.clear();
                self.id.push_str(&String::from_utf8_lossy(value));
                self.own_id = true;
            }
            b"retry" if value.iter().all(u8::is_ascii_digit) => {
                let digits = std::str::from_utf8(value).unwrap_or_default();
                self.retry = digits.parse().ok().map(Duration::from_millis).or(self.retry);
            }
            _ => {}
        }
    }

    fn dispatch(&mut self, dispatch: &mut impl FnMut(Event)) {
        let named = std::mem::take(&mut self.named);
        let own_id = std::mem::take(&mut self.own_id);
        if own_id {
            self.last_event_id.clone_from(&self.id);
        }
        let mut data = std::mem::take(&mut self.data);
        if data.pop().is_none() {
            return;
        }
        dispatch(Event { id: self.last_event_id.clone(), own_id, data, named });
    }
}

#[cfg(test)]
mod tests;

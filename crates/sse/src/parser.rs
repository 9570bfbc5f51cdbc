//! The parser, which takes a stream in pieces of any size (WHATWG HTML, section 9.2.6).

use std::time::Duration;

const BOM: &[u8] = b"\xef\xbb\xbf";

/// A dispatched event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// The event's id; an event without an id has that of the last one that had one.
    pub id: String,
    /// The event had an `id` field.
    pub own_id: bool,
    /// The data lines, joined by LF.
    pub data: String,
    /// The size of the data in bytes, if a bounded parser has kept only their beginning.
    pub cut: Option<usize>,
    named: String,
}

impl Event {
    /// Returns the event's type: `message` unless it had an `event` field.
    pub fn event_type(&self) -> &str {
        if self.named.is_empty() { "message" } else { &self.named }
    }

    /// Returns whether this is a control event of the gateway, whose type begins with `tailwater.`.
    pub fn is_control(&self) -> bool {
        self.named.starts_with("tailwater.")
    }
}

/// Most bytes of a line that a bounded parser keeps beside the data: a type or an id is as long at most.
const FIELD_BYTES_MAX: usize = 8 * 1024;

/// Turns the bytes of a stream into events, wherever the bytes are split.
#[derive(Debug, Default)]
pub struct Parser {
    /// The beginning of an incomplete line.
    partial: Vec<u8>,
    /// Bytes of that line that a bounded parser has not kept.
    dropped: usize,
    /// The last byte was CR, so a following LF belongs to the same line end.
    after_cr: bool,
    past_first_line: bool,
    /// The data lines of the current event, each followed by LF.
    data: String,
    /// Their size in bytes, which is larger than what is kept of them in a bounded parser.
    data_bytes: usize,
    /// Most bytes of data that are kept.
    data_max: Option<usize>,
    named: String,
    /// An event has begun: there is a field of it, but no blank line yet.
    begun: bool,
    own_id: bool,
    /// The last `id` field. It takes effect when its event is dispatched, because the stream may break
    /// off before.
    id: String,
    last_event_id: String,
    retry: Option<Duration>,
    comments: u64,
    reads_control_comments: bool,
}

impl Parser {
    /// Returns a parser to which a control event in a comment (`control=comment`) is an event like any other.
    pub fn with_control_comments() -> Self {
        Parser { reads_control_comments: true, ..Parser::default() }
    }

    /// Returns a parser that continues after `last_event_id`, like a browser that reconnects.
    pub fn resuming(last_event_id: &str) -> Self {
        let id = last_event_id.to_owned();
        Parser { last_event_id: id.clone(), id, ..Parser::default() }
    }

    /// Bounds the memory of an event: of larger data the beginning is kept, and [`Event::cut`] says so.
    #[must_use]
    pub fn bounded(self, data_max: usize) -> Self {
        Parser { data_max: Some(data_max), ..self }
    }

    /// Returns the id that a reconnect sends: that of the last dispatched event, or an empty one.
    pub fn last_event_id(&self) -> &str {
        &self.last_event_id
    }

    /// Returns the last reconnect time that the server sent.
    pub fn retry(&self) -> Option<Duration> {
        self.retry
    }

    /// Returns the number of comment lines so far; most are heartbeats.
    pub fn comments(&self) -> u64 {
        self.comments
    }

    /// Returns true if a line or an event has begun and is not complete.
    pub fn is_within_event(&self) -> bool {
        self.begun || !self.partial.is_empty()
    }

    /// Parses the next bytes of the stream, and calls `dispatch` with each event that they complete.
    pub fn feed(&mut self, mut bytes: &[u8], dispatch: &mut impl FnMut(Event)) {
        while let Some(&first) = bytes.first() {
            if std::mem::take(&mut self.after_cr) && first == b'\n' {
                bytes = &bytes[1..];
                continue;
            }
            let Some(end) = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r')) else {
                self.keep(bytes);
                return;
            };
            self.after_cr = bytes[end] == b'\r';
            if self.partial.is_empty() {
                self.line(&bytes[..end], dispatch);
            } else {
                self.keep(&bytes[..end]);
                let line = std::mem::take(&mut self.partial);
                self.line(&line, dispatch);
            }
            bytes = &bytes[end + 1..];
        }
    }

    /// Adds to the incomplete line.
    fn keep(&mut self, bytes: &[u8]) {
        let most = self.data_max.map_or(usize::MAX, |max| max.saturating_add(FIELD_BYTES_MAX));
        let kept = bytes.len().min(most.saturating_sub(self.partial.len()));
        self.partial.extend_from_slice(&bytes[..kept]);
        self.dropped += bytes.len() - kept;
    }

    /// Ends the stream. If it ends within an event, returns what there is of its data, or of its last line if there
    /// is no data. By the standard such an event is not dispatched, so a client that must lose nothing reports it.
    pub fn finish(mut self) -> Option<String> {
        let rest = std::mem::take(&mut self.partial);
        if !rest.is_empty() {
            self.line(&rest, &mut |_| {});
        }
        if self.data.pop().is_none() {
            self.data = String::from_utf8_lossy(&rest).into_owned();
        }
        self.begun.then_some(self.data)
    }

    fn line(&mut self, mut line: &[u8], dispatch: &mut impl FnMut(Event)) {
        let dropped = std::mem::take(&mut self.dropped);
        if !std::mem::replace(&mut self.past_first_line, true) {
            line = line.strip_prefix(BOM).unwrap_or(line);
        }
        if line.is_empty() {
            return self.dispatch(dispatch);
        }
        let (name, value) = match line.iter().position(|&byte| byte == b':') {
            Some(0) => {
                self.comments += 1;
                return self.comment(&line[1..], dispatch);
            }
            Some(colon) => {
                let value = &line[colon + 1..];
                (&line[..colon], value.strip_prefix(b" ").unwrap_or(value))
            }
            None => (line, &b""[..]),
        };
        self.field(name, value, dropped);
    }

    /// Dispatches the control event of a comment, `: tailwater.gap {…}`.
    fn comment(&self, text: &[u8], dispatch: &mut impl FnMut(Event)) {
        if !self.reads_control_comments {
            return;
        }
        let text = String::from_utf8_lossy(text);
        let (named, data) = text.trim_start().split_once(' ').unwrap_or((&text, ""));
        let event = Event {
            id: self.last_event_id.clone(),
            own_id: false,
            data: data.to_owned(),
            cut: None,
            named: named.to_owned(),
        };
        if event.is_control() {
            dispatch(event);
        }
    }

    fn field(&mut self, name: &[u8], value: &[u8], dropped: usize) {
        // A reconnect time belongs to the stream, any other field to an event.
        self.begun |= name != b"retry";
        match name {
            b"data" => self.data(&String::from_utf8_lossy(value), dropped),
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

    /// Adds a data line, of which so many bytes were not kept.
    fn data(&mut self, line: &str, dropped: usize) {
        let max = self.data_max.unwrap_or(usize::MAX);
        if self.data_bytes <= max {
            let kept = line.floor_char_boundary(max.saturating_sub(self.data.len()));
            self.data.push_str(&line[..kept]);
            if kept == line.len() {
                self.data.push('\n');
            }
        }
        self.data_bytes += line.len() + dropped + 1;
    }

    fn dispatch(&mut self, dispatch: &mut impl FnMut(Event)) {
        let named = std::mem::take(&mut self.named);
        let own_id = std::mem::take(&mut self.own_id);
        self.begun = false;
        if own_id {
            self.last_event_id.clone_from(&self.id);
        }
        let mut data = std::mem::take(&mut self.data);
        // The last line break is no part of the data.
        let Some(bytes) = std::mem::take(&mut self.data_bytes).checked_sub(1) else { return };
        let cut = self.data_max.is_some_and(|max| bytes > max).then_some(bytes);
        data.truncate(bytes);
        dispatch(Event { id: self.last_event_id.clone(), own_id, data, cut, named });
    }
}

#[cfg(test)]
mod tests;

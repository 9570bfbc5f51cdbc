//! One GET and the event stream that answers it.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::chunked::Decoder;
use super::head::{HEAD_BYTES_MAX, Head, invalid};
use super::{Event, Parser};
use crate::client::endpoint::Endpoint;

/// The most bytes of one read; on the stack, so an idle connection pays nothing for it.
const READ_BYTES: usize = 16 * 1024;

/// The end of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The body was complete: its last chunk came, or all bytes it had promised.
    Complete,
    /// The connection broke off in the middle of the body: a killed server looks like this.
    Broken,
}

/// The sign that ends a body.
#[derive(Debug)]
enum Framing {
    Chunked(Decoder),
    Length(u64),
    UntilClose,
}

/// An open response. Dropping it closes the socket.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    head: Head,
    framing: Framing,
    parser: Parser,
    /// Events of the last read that are still to be taken; bounded by the size of one read.
    events: VecDeque<Event>,
    /// The id of the last event that was taken.
    taken: String,
    end: Option<End>,
    bytes_received: u64,
    heard: Instant,
}

impl Connection {
    /// Sends `GET path` with the headers and waits for the head of the answer, with any
    /// status. `Host` and `Accept: text/event-stream` are sent unless `headers` names them.
    ///
    /// # Errors
    /// When the connection is refused or breaks before the head is complete, or the head is no
    /// HTTP/1.1. No deadline: wrap it in a timeout where one is wanted.
    pub async fn open(
        server: impl Into<Endpoint>,
        path: &str,
        headers: &[(&str, &str)],
    ) -> io::Result<Connection> {
        let server = server.into();
        let mut stream = server.connect().await?;
        stream.write_all(request(&server, path, headers).as_bytes()).await?;
        let (head, rest) = read_head(&stream).await?;
        let last_event_id = headers
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case("last-event-id"))
            .map_or("", |(_, value)| value);
        let mut connection = Connection {
            stream,
            framing: Framing::of(&head),
            head,
            parser: Parser::resuming(last_event_id),
            events: VecDeque::new(),
            taken: last_event_id.to_owned(),
            end: None,
            bytes_received: 0,
            heard: Instant::now(),
        };
        connection.take(&rest);
        Ok(connection)
    }

    /// The status of the answer.
    pub fn status(&self) -> u16 {
        self.head.status
    }

    /// A header of the answer, by its name in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.header(name)
    }

    /// All headers of the answer in their order, names in lower case.
    pub fn headers(&self) -> &[(String, String)] {
        &self.head.headers
    }

    /// The next event, or `None` once the stream has ended; [`Connection::end`] tells how.
    /// Cancel-safe: no event is lost when the future is dropped.
    pub async fn next_event(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.events.pop_front() {
                event.id.clone_into(&mut self.taken);
                return Some(event);
            }
            if self.end.is_some() {
                return None;
            }
            self.read().await;
        }
    }

    /// The end of the stream; `None` while it is open.
    pub fn end(&self) -> Option<End> {
        self.end
    }

    /// The last `retry` that the server sent.
    pub fn retry(&self) -> Option<Duration> {
        self.parser.retry()
    }

    /// The id that a reconnect would send; empty when there is none. Events that were received and not taken are not
    /// passed by it.
    pub fn last_event_id(&self) -> &str {
        match self.events.is_empty() {
            true => self.parser.last_event_id(),
            false => &self.taken,
        }
    }

    /// Comment lines so far: heartbeats and the greeting.
    pub fn comments(&self) -> u64 {
        self.parser.comments()
    }

    /// Bytes of the body so far, framing included.
    pub fn bytes_received(&self) -> u64 {
        self.bytes_received
    }

    /// When the last byte came.
    pub fn heard(&self) -> Instant {
        self.heard
    }

    async fn read(&mut self) {
        if self.stream.readable().await.is_err() {
            self.end = Some(End::Broken);
            return;
        }
        self.read_ready();
    }

    /// Reads what has arrived. Not async, so that the buffer lives on the stack and not in the
    /// future of every idle connection.
    fn read_ready(&mut self) {
        let mut buffer = [0; READ_BYTES];
        match self.stream.try_read(&mut buffer) {
            Ok(0) => self.end = Some(self.framing.at_eof()),
            Ok(length) => self.take(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => self.end = Some(End::Broken),
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        self.bytes_received += bytes.len() as u64;
        self.heard = Instant::now();
        let Connection { parser, events, .. } = self;
        let mut body = |bytes: &[u8]| parser.feed(bytes, &mut |event| events.push_back(event));
        match &mut self.framing {
            Framing::UntilClose => body(bytes),
            Framing::Length(left) => {
                let taken = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                body(&bytes[..taken]);
                *left -= taken as u64;
                if *left == 0 {
                    self.end = Some(End::Complete);
                }
            }
            Framing::Chunked(decoder) => match decoder.feed(bytes, &mut body) {
                Err(_) => self.end = Some(End::Broken),
                Ok(()) if decoder.is_done() => self.end = Some(End::Complete),
                Ok(()) => {}
            },
        }
    }
}

impl Framing {
    fn of(head: &Head) -> Framing {
        let chunked = head
            .header("transfer-encoding")
            .is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"));
        let length = head.header("content-length").and_then(|n| n.parse().ok());
        match (head.status, chunked, length) {
            (204 | 304, _, _) => Framing::Length(0),
            (_, true, _) => Framing::Chunked(Decoder::new()),
            (_, false, Some(length)) => Framing::Length(length),
            (_, false, None) => Framing::UntilClose,
        }
    }

    /// Explains a close of the connection while the body is not known to be complete.
    fn at_eof(&self) -> End {
        match self {
            Framing::UntilClose | Framing::Length(0) => End::Complete,
            Framing::Chunked(_) | Framing::Length(_) => End::Broken,
        }
    }
}

fn request(server: &Endpoint, path: &str, headers: &[(&str, &str)]) -> String {
    let mut request = format!("GET {path} HTTP/1.1\r\n");
    let host = server.to_string();
    let defaults = [("Host", host.as_str()), ("Accept", "text/event-stream")];
    let absent = |name: &str| !headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
    let defaults = defaults.iter().filter(|(name, _)| absent(name));
    for (name, value) in defaults.chain(headers) {
        write!(request, "{name}: {value}\r\n").expect("a String takes everything");
    }
    request.push_str("\r\n");
    request
}

/// Reads up to the blank line; returns the head and the bytes of the body that came along.
async fn read_head(stream: &TcpStream) -> io::Result<(Head, Vec<u8>)> {
    let mut bytes = Vec::new();
    loop {
        stream.readable().await?;
        match read_some(stream, &mut bytes) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        }
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            return Ok((Head::parse(&bytes[..end])?, bytes.split_off(end + 4)));
        }
        if bytes.len() > HEAD_BYTES_MAX {
            return Err(invalid("a response head beyond 16 KiB"));
        }
    }
}

fn read_some(stream: &TcpStream, into: &mut Vec<u8>) -> io::Result<usize> {
    let mut buffer = [0; READ_BYTES];
    let length = stream.try_read(&mut buffer)?;
    into.extend_from_slice(&buffer[..length]);
    Ok(length)
}

#[cfg(test)]
mod tests;

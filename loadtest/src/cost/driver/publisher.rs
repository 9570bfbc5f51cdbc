//! One publishing connection: unwritten events, and the receipts that have come.

use std::io::{ErrorKind, Read as _, Write as _};

use anyhow::{Result, bail};
use mio::net::TcpStream;

use super::endpoint::DriverEndpoint;
use super::is_not_yet;

/// The form in which events are published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublishWire {
    /// A POST an event, over a connection that is kept.
    Posts,
    /// Lines of JSON in one request that never ends.
    Lines,
}

/// A connection that publishes.
#[derive(Debug)]
pub(super) struct PublishingConnection {
    stream: TcpStream,
    wire: PublishWire,
    endpoint: DriverEndpoint,
    /// Lines that have come since the last chunk: one chunk has all that there are to write, as a
    /// client's buffer has.
    lines: Vec<u8>,
    unwritten: Vec<u8>,
    /// The end of the last read, if a receipt may begin there.
    pending: Vec<u8>,
    sent: u64,
    receipts: u64,
}

impl PublishingConnection {
    pub(super) fn new(stream: TcpStream, wire: PublishWire, endpoint: DriverEndpoint) -> Self {
        let unwritten = match wire {
            PublishWire::Posts => Vec::new(),
            PublishWire::Lines => format!(
                "POST /v1/events HTTP/1.1\r\nhost: localhost\r\n{}\
                 content-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n",
                endpoint.publisher_authorization()
            )
            .into_bytes(),
        };
        Self {
            stream,
            wire,
            endpoint,
            lines: Vec::new(),
            unwritten,
            pending: Vec::new(),
            sent: 0,
            receipts: 0,
        }
    }

    pub(super) fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// The number of events without a receipt.
    pub(super) const fn in_flight(&self) -> u64 {
        self.sent - self.receipts
    }

    /// Adds an event to the unwritten bytes.
    pub(super) fn put(&mut self, topic: &str, payload: &str) {
        match self.wire {
            PublishWire::Posts => {
                self.unwritten.write_all(self.endpoint.publish_request(topic, payload).as_bytes())
            }
            PublishWire::Lines => {
                writeln!(self.lines, "{{\"topic\":\"{topic}\",\"data\":\"{payload}\"}}")
            }
        }
        .expect("a vector takes it");
        self.sent += 1;
    }

    /// Uses the readiness of the socket: writes and reads.
    pub(super) fn ready(&mut self, buffer: &mut [u8]) -> Result<()> {
        if !self.lines.is_empty() {
            write!(self.unwritten, "{:x}\r\n", self.lines.len())?;
            self.unwritten.append(&mut self.lines);
            self.unwritten.extend_from_slice(b"\r\n");
        }
        while !self.unwritten.is_empty() {
            match self.stream.write(&self.unwritten) {
                Ok(count) => drop(self.unwritten.drain(..count)),
                Err(error) if is_not_yet(error.kind()) => break,
                Err(error) => return Err(error.into()),
            }
        }
        loop {
            match self.stream.read(buffer) {
                Ok(0) => bail!("the server closed the publisher's connection"),
                Ok(count) => self.count(&buffer[..count])?,
                Err(error) if is_not_yet(error.kind()) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Counts the receipts in the bytes of a read.
    fn count(&mut self, read: &[u8]) -> Result<()> {
        let mut bytes = std::mem::take(&mut self.pending);
        bytes.extend_from_slice(read);
        // The mark of a receipt, and the byte that follows if the event was taken.
        let (mark, good): (&[u8], u8) = match self.wire {
            PublishWire::Posts => (b"HTTP/1.1 ", b'2'),
            PublishWire::Lines => (b"\"duplicate\":", b'f'),
        };
        if self.wire == PublishWire::Lines && memchr::memmem::find(&bytes, b"\"error\":").is_some()
        {
            bail!("an event was refused: {}", String::from_utf8_lossy(&bytes));
        }
        let mut used = 0;
        while let Some(found) = memchr::memmem::find(&bytes[used..], mark) {
            let end = used + found + mark.len();
            match bytes.get(end) {
                None => break,
                Some(byte) if *byte == good => self.receipts += 1,
                Some(_) => {
                    bail!("an event was refused: {}", String::from_utf8_lossy(&bytes[used..]))
                }
            }
            used = end;
        }
        self.pending.extend_from_slice(&bytes[used.max(bytes.len().saturating_sub(mark.len()))..]);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::TcpListener;

    use super::super::endpoint::Dialect;
    use super::*;

    fn receipts(wire: PublishWire, answers: &[u8], cut: usize) -> Result<u64> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stream = TcpStream::connect(address).unwrap();
        listener.accept().unwrap().0.write_all(b"x").unwrap();
        let mut publisher = PublishingConnection::new(
            stream,
            wire,
            DriverEndpoint::at(address, Dialect::Tailwater),
        );
        publisher.sent = 9;
        publisher.count(&answers[..cut])?;
        publisher.count(&answers[cut..])?;
        Ok(publisher.receipts)
    }

    #[test]
    fn receipts_are_counted_wherever_reads_are_cut() {
        let posts = b"HTTP/1.1 200 OK\r\n\r\n{}HTTP/1.1 202 Accepted\r\n\r\n";
        let lines = b"{\"id\":\"1-1\",\"duplicate\":false}\n{\"id\":\"1-2\",\"duplicate\":false}\n";
        for cut in 0..posts.len() {
            assert_eq!(receipts(PublishWire::Posts, posts, cut).unwrap(), 2, "{cut}");
        }
        for cut in 0..lines.len() {
            assert_eq!(receipts(PublishWire::Lines, lines, cut).unwrap(), 2, "{cut}");
        }
    }

    #[test]
    fn refusals_are_errors() {
        assert!(receipts(PublishWire::Posts, b"HTTP/1.1 503 No\r\n\r\n", 4).is_err());
        assert!(receipts(PublishWire::Lines, b"{\"error\":{\"code\":\"x\"}}\n", 0).is_err());
    }
}

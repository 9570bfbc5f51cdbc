//! One SSE connection of the driver: a socket, the event that comes next, and the deliveries.
//!
//! It knows the driver's own payloads and looks for nothing else, so that tens of thousands cost
//! the driver little: heads and the frames around payloads are passed over.

use std::io::{ErrorKind, Read as _, Write as _};
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use memchr::memmem;
use mio::net::TcpStream;

use super::stamp;
use super::tally::Tally;

/// A reader of one topic, on its way through a request and its stream.
#[derive(Debug)]
pub(crate) struct Reader {
    stream: Option<TcpStream>,
    request: Arc<[u8]>,
    stage: ReaderStage,
    topic: usize,
    /// The prefix of a payload.
    mark: &'static [u8],
    /// The number of the event that has to come next; 0 if any may come first.
    next: u64,
    /// It reads many topics, so the numbers of its events say nothing.
    takes_any: bool,
    /// The last event's id, if it is kept.
    id: Option<String>,
    /// It reads nothing for now, or seldom: its delays are its own.
    is_slow: bool,
    is_paused: bool,
    /// The time when its stream was opened: older events come late by the reader's own doing.
    since_micros: u64,
    /// The end of the last read, if more of it has to come.
    pending: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReaderStage {
    Connecting,
    Head,
    Open,
}

/// The state of a stream after a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Open,
    /// The server has closed it.
    Closed,
}

impl Reader {
    /// A reader of a topic that has no connection and expects event `next` first.
    pub(super) fn new(topic: usize, next: u64, keeps_id: bool, mark: &'static [u8]) -> Self {
        Self {
            stream: None,
            request: Arc::from([]),
            stage: ReaderStage::Connecting,
            topic,
            mark,
            next,
            takes_any: false,
            id: keeps_id.then(String::new),
            is_slow: false,
            is_paused: false,
            since_micros: 0,
            pending: Vec::new(),
        }
    }

    /// A reader of many topics: it counts events, and does not check their numbers.
    pub(super) fn of_topics(mark: &'static [u8]) -> Self {
        Self { takes_any: true, ..Self::new(0, 0, false, mark) }
    }

    /// A reader of bodies, whose connection belongs to somebody else.
    pub(crate) fn of_bodies(next: u64) -> Self {
        Self { stage: ReaderStage::Open, ..Self::new(0, next, false, stamp::MARK) }
    }

    /// Takes a piece of its body.
    ///
    /// # Errors
    /// When a payload is broken.
    pub(crate) fn read(&mut self, piece: &[u8], tally: &mut Tally) -> Result<()> {
        tally.read(piece.len());
        self.take(piece, tally)
    }

    /// Takes a connection that is being made, and the request for it. The one before is closed.
    pub(super) fn connect(&mut self, stream: TcpStream, request: Arc<[u8]>) {
        self.stream = Some(stream);
        self.request = request;
        self.stage = ReaderStage::Connecting;
        self.since_micros = u64::MAX;
        self.pending = Vec::new();
    }

    /// A reader without a cursor begins with the first event that comes.
    pub(super) fn begin_again(&mut self) {
        if self.id().is_none() {
            self.next = 0;
        }
    }

    /// Closes its connection.
    pub(super) fn leave(&mut self) {
        self.stream = None;
        self.stage = ReaderStage::Connecting;
    }

    /// Makes it a slow one.
    pub(super) fn slow_down(&mut self) {
        self.is_slow = true;
    }

    pub(super) fn pause(&mut self, is_paused: bool) {
        self.is_paused = is_paused;
    }

    pub(super) const fn stream(&self) -> Option<&TcpStream> {
        self.stream.as_ref()
    }

    pub(super) fn is_open(&self) -> bool {
        self.stage == ReaderStage::Open
    }

    pub(super) const fn topic(&self) -> usize {
        self.topic
    }

    /// The id of the last event, if it is kept and one has come.
    pub(super) fn id(&self) -> Option<&str> {
        self.id.as_deref().filter(|id| !id.is_empty())
    }

    /// The number of `published` events that have not come.
    pub(super) const fn behind(&self, published: u64) -> u64 {
        (published + 1).saturating_sub(if self.next == 0 { 1 } else { self.next })
    }

    /// Uses the readiness of the socket: reads once, and to the end if `is_ending`.
    pub(super) fn ready(
        &mut self,
        is_ending: bool,
        buffer: &mut [u8],
        tally: &mut Tally,
    ) -> Result<Ending> {
        // The readiness may be older than the connection.
        let Some(mut stream) = self.stream.take() else { return Ok(Ending::Open) };
        let ending = self.use_stream(&mut stream, is_ending, buffer, tally);
        self.stream = Some(stream);
        ending
    }

    fn use_stream(
        &mut self,
        stream: &mut TcpStream,
        is_ending: bool,
        buffer: &mut [u8],
        tally: &mut Tally,
    ) -> Result<Ending> {
        if self.stage == ReaderStage::Connecting {
            if let Some(error) = stream.take_error()? {
                return Err(error.into());
            }
            match stream.peer_addr() {
                Err(error) if error.kind() == ErrorKind::NotConnected => return Ok(Ending::Open),
                other => other?,
            };
            // Requests are far smaller than the buffer of a fresh socket.
            stream.write_all(&self.request)?;
            tally.asked += self.request.len() as u64;
            self.stage = ReaderStage::Head;
        }
        while !self.is_paused {
            match stream.read(buffer) {
                Ok(0) => return Ok(Ending::Closed),
                Ok(count) => {
                    tally.read(count);
                    self.take(&buffer[..count], tally)?;
                    if count < buffer.len() && !is_ending {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                    return Ok(Ending::Closed);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Ending::Open)
    }

    fn take(&mut self, read: &[u8], tally: &mut Tally) -> Result<()> {
        if self.pending.is_empty() {
            let used = self.parse(read, tally)?;
            self.pending.extend_from_slice(&read[used..]);
        } else {
            let mut all = std::mem::take(&mut self.pending);
            all.extend_from_slice(read);
            let used = self.parse(&all, tally)?;
            self.pending.extend_from_slice(&all[used..]);
        }
        Ok(())
    }

    /// Returns how much of it is done with.
    fn parse(&mut self, bytes: &[u8], tally: &mut Tally) -> Result<usize> {
        let mut used = 0;
        if self.stage == ReaderStage::Head {
            let Some(end) = memmem::find(bytes, b"\r\n\r\n") else {
                return Ok(0);
            };
            let head = String::from_utf8_lossy(&bytes[..end]);
            let is_good =
                ["HTTP/1.1 200", "HTTP/1.1 101"].iter().any(|good| head.starts_with(good));
            ensure!(is_good, "refused: {head}");
            self.stage = ReaderStage::Open;
            self.since_micros = tally.micros();
            used = end + 4;
        }
        while let Some(found) = memmem::find(&bytes[used..], self.mark) {
            let begin = used + found;
            let behind = begin + self.mark.len();
            let Some((stamp, len)) = stamp::parse(&bytes[behind..])? else {
                return Ok(begin);
            };
            used = behind + len;
            if let Some(id) = &mut self.id {
                let Some((end, text)) = id_line(&bytes[used..]) else {
                    return Ok(begin);
                };
                id.clear();
                id.push_str(text?);
                used += end;
            }
            let is_prompt = !self.is_slow && stamp.micros >= self.since_micros;
            let next = tally.delivered(self.next, stamp, is_prompt);
            if !self.takes_any {
                self.next = next;
            }
        }
        // A beginning of the next payload may be at the very end.
        Ok(used.max(bytes.len().saturating_sub(self.mark.len() - 1)))
    }
}

/// The id behind a payload and where its line ends, if it has come completely.
fn id_line(bytes: &[u8]) -> Option<(usize, Result<&str>)> {
    const FIELD: &[u8] = b"\nid: ";
    let begin = memmem::find(bytes, FIELD)? + FIELD.len();
    let end = begin + memchr::memchr(b'\n', &bytes[begin..])?;
    Some((end, str::from_utf8(&bytes[begin..end]).context("an id that is no text")))
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::super::stamp::{JSON_MARK, MARK, Stamp, encode};
    use super::{Reader, Tally};

    fn stream(numbers: &[u64]) -> Vec<u8> {
        let event = |number: &u64| {
            let data = encode(Stamp { number: *number, micros: 1 }, 40);
            format!("4f\r\ndata: {data}\nid: 17-{number}\n\n\r\n")
        };
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n2\r\n:\n\r\n";
        let events: String = numbers.iter().map(event).collect();
        format!("{head}{events}").into_bytes()
    }

    fn read(reader: &mut Reader, pieces: &[&[u8]]) -> Tally {
        let mut tally = Tally::new(Instant::now());
        reader.stage = super::ReaderStage::Head;
        for piece in pieces {
            reader.take(piece, &mut tally).unwrap();
        }
        tally
    }

    #[test]
    fn every_event_counts_once_wherever_reads_are_cut() {
        let bytes = stream(&[1, 2, 3]);
        for cut in 0..bytes.len() {
            let mut reader = Reader::new(0, 1, true, MARK);
            let tally = read(&mut reader, &[&bytes[..cut], &bytes[cut..]]);
            assert_eq!((tally.delivered, tally.lost, tally.repeated), (3, 0, 0), "{cut}");
            assert_eq!((reader.id(), reader.behind(3)), (Some("17-3"), 0), "{cut}");
        }
    }

    #[test]
    fn bodies_are_read_from_their_first_byte() {
        let (mut reader, mut tally) = (Reader::of_bodies(1), Tally::new(Instant::now()));
        let data = encode(Stamp { number: 2, micros: 1 }, 40);
        reader.read(format!("data: {data}\n\n").as_bytes(), &mut tally).unwrap();
        assert_eq!((tally.delivered, tally.lost, tally.reads), (1, 1, 1));
    }

    #[test]
    fn holes_and_repetitions_are_counted() {
        let tally = read(&mut Reader::new(0, 1, false, MARK), &[&stream(&[1, 4, 2, 4, 5])]);
        assert_eq!((tally.delivered, tally.lost, tally.repeated), (3, 2, 2));
    }

    #[test]
    fn payloads_inside_json_are_found() {
        let event = |number| encode(Stamp { number, micros: 1 }, 40);
        let (first, second) = (event(1), event(2));
        let bytes = format!(
            "HTTP/1.1 200 OK\r\n\r\ndata: {{\"connect\":{{}}}}\n\n\
             data: {{\"channel\":\"a\",\"pub\":{{\"data\":\"{first}\"}}}}\n\n\
             data: {{\"channel\":\"a\",\"pub\":{{\"data\":\"{second}\"}}}}\n\n"
        );
        for cut in 0..bytes.len() {
            let mut reader = Reader::new(0, 1, false, JSON_MARK);
            let tally = read(&mut reader, &[&bytes.as_bytes()[..cut], &bytes.as_bytes()[cut..]]);
            assert_eq!((tally.delivered, tally.lost, tally.repeated), (2, 0, 0), "{cut}");
        }
    }

    #[test]
    fn a_reader_of_many_topics_counts_and_checks_no_numbers() {
        let tally = read(&mut Reader::of_topics(MARK), &[&stream(&[1, 1, 7, 2])]);
        assert_eq!((tally.delivered, tally.lost, tally.repeated), (4, 0, 0));
    }

    #[test]
    fn whoever_has_no_cursor_begins_anywhere() {
        let mut reader = Reader::new(0, 0, false, MARK);
        assert_eq!(reader.behind(9), 9);
        let tally = read(&mut reader, &[&stream(&[8, 9])]);
        assert_eq!((tally.delivered, tally.lost, reader.behind(9)), (2, 0, 0));
    }
}

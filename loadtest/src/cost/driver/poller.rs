//! A user that polls: one request after the other over one connection, each with the last cursor.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read as _, Write as _};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use memchr::memmem;
use mio::net::TcpStream;
use mio::{Interest, Token};
use tokio::time::Instant;

use super::stamp;
use super::tally::Tally;
use super::{Driver, POLLERS, connect, is_not_yet};

/// The prefix of a payload in an answer.
const DATA: &[u8] = b"\"data\":\"#";
const CURSOR: &[u8] = b"\"cursor\":\"";
/// The longest wait of a long-poll, in seconds.
const WAIT: u64 = 30;
/// The time in which a connection is made, or an answer comes.
const CONNECTED: Duration = Duration::from_millis(500);

/// When to ask again.
#[derive(Debug, Clone, Copy)]
pub enum Polling {
    /// So long after the last time.
    Every(Duration),
    /// At once; the server waits for an event.
    Long,
}

/// The users that poll.
#[derive(Debug, Default)]
pub(super) struct Pollers {
    users: Vec<Poller>,
    /// The users in the order of their next request.
    due: VecDeque<(Instant, usize)>,
}

#[derive(Debug)]
struct Poller {
    stream: TcpStream,
    polling: Polling,
    cursor: String,
    /// The number of the event that has to come next.
    next: u64,
    /// An answer that has not come completely.
    pending: Vec<u8>,
}

impl Driver {
    /// Opens the connections of `count` users, which ask in turn and expect the next event of the
    /// first topic.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub fn poll_with(&mut self, count: usize, polling: Polling) -> Result<()> {
        let (next, begin) = (self.published() + 1, Instant::now() + CONNECTED);
        let spread = match polling {
            Polling::Every(every) => every,
            Polling::Long => Duration::from_secs(1),
        };
        for index in 0..count {
            let mut stream = connect(self.endpoint.subscribe)?;
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut stream, Token(POLLERS + index), interest)?;
            let poller =
                Poller { stream, polling, cursor: String::new(), next, pending: Vec::new() };
            self.pollers.users.push(poller);
            let due = begin + spread.mul_f64(index as f64 / count as f64);
            self.pollers.due.push_back((due, index));
            // Connections that are being made are fewer than any server's backlog.
            self.idle(Duration::from_micros(100))?;
        }
        // Every user has a cursor then.
        self.idle(CONNECTED + spread + CONNECTED)
    }

    /// Lets every user ask whose time has come. Returns the time until the next one.
    pub(super) fn ask_due(&mut self, timeout: Duration) -> Result<Duration> {
        if self.pollers.due.is_empty() {
            return Ok(timeout);
        }
        let now = Instant::now();
        let path = self.endpoint.subscribe_path(&self.topics[0].name, 0);
        while let Some((_, index)) = self.pollers.due.pop_front_if(|(due, _)| *due <= now) {
            self.pollers.users[index].ask(&path, &mut self.tally)?;
        }
        let next = self.pollers.due.front().map(|(due, _)| due.duration_since(now));
        Ok(next.map_or(timeout, |next| next.min(timeout)))
    }

    /// Reads the answer to a user.
    pub(super) fn answered(&mut self, index: usize) -> Result<()> {
        let Some(user) = self.pollers.users.get_mut(index) else { return Ok(()) };
        let polling = user.polling;
        let is_answered = user.ready(&mut self.buffer, &mut self.tally);
        if !is_answered.with_context(|| format!("user {index}"))? {
            return Ok(());
        }
        match polling {
            Polling::Every(every) => self.pollers.due.push_back((Instant::now() + every, index)),
            Polling::Long => self.pollers.due.push_front((Instant::now(), index)),
        }
        Ok(())
    }
}

impl Poller {
    fn ask(&mut self, path: &str, tally: &mut Tally) -> Result<()> {
        let wait = match self.polling {
            Polling::Long if !self.cursor.is_empty() => WAIT,
            _ => 0,
        };
        let cursor = &self.cursor;
        let request = format!(
            "GET {path}&wait={wait}&last_event_id={cursor} HTTP/1.1\r\nhost: localhost\r\n\
             accept: application/json\r\n\r\n"
        );
        self.stream.write_all(request.as_bytes())?;
        tally.asked += request.len() as u64;
        Ok(())
    }

    /// Returns true once an answer is complete.
    fn ready(&mut self, buffer: &mut [u8], tally: &mut Tally) -> Result<bool> {
        loop {
            match self.stream.read(buffer) {
                Ok(0) => bail!("the server closed the connection"),
                Ok(count) => {
                    tally.read(count);
                    self.pending.extend_from_slice(&buffer[..count]);
                }
                Err(error) if is_not_yet(error.kind()) => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        let Some(end) = memmem::find(&self.pending, b"\r\n\r\n").map(|at| at + 4) else {
            return Ok(false);
        };
        let head = String::from_utf8_lossy(&self.pending[..end]);
        ensure!(head.starts_with("HTTP/1.1 200"), "refused: {head}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.context("an answer without a length")?.parse()?;
        if self.pending.len() < end + length {
            return Ok(false);
        }
        self.take(end, tally)?;
        self.pending.clear();
        Ok(true)
    }

    fn take(&mut self, body: usize, tally: &mut Tally) -> Result<()> {
        let mut rest = &self.pending[body..];
        while let Some(found) = memmem::find(rest, DATA) {
            rest = &rest[found + DATA.len()..];
            let (stamp, _) = stamp::parse(rest)?.context("a broken answer")?;
            self.next = tally.delivered(self.next, stamp, true);
        }
        let begin =
            memmem::find(rest, CURSOR).context("an answer without a cursor")? + CURSOR.len();
        let end = memchr::memchr(b'"', &rest[begin..]).context("a cursor without an end")?;
        self.cursor = str::from_utf8(&rest[begin..begin + end])?.to_owned();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::TcpListener;

    use super::super::stamp::{Stamp, encode};
    use super::*;

    #[test]
    fn an_answer_counts_when_it_is_complete() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut server = listener.accept().unwrap().0;
        let data = |number| encode(Stamp { number, micros: 1 }, 40);
        let body = format!(
            "{{\"events\":[{{\"id\":\"1-4\",\"data\":\"{}\"}},{{\"data\":\"{}\"}}],\"cursor\":\"1-6\"}}",
            data(4),
            data(6)
        );
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        let polling = Polling::Long;
        let cursor = String::new();
        let mut poller = Poller { stream, polling, cursor, next: 4, pending: Vec::new() };
        let mut tally = Tally::new(Instant::now());
        let mut read = |poller: &mut Poller| loop {
            // Bytes written to a loopback socket arrive at once, or nearly.
            if poller.ready(&mut [0; 4096], &mut tally).unwrap() {
                return (tally.delivered, tally.lost, poller.cursor.clone());
            }
        };
        let (first, second) = answer.as_bytes().split_at(60);
        server.write_all(first).unwrap();
        assert!(!poller.ready(&mut [0; 4096], &mut Tally::new(Instant::now())).unwrap());
        server.write_all(second).unwrap();
        assert_eq!(read(&mut poller), (2, 1, "1-6".to_owned()));
    }
}

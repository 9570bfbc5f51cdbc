//! The floor: the kernel's cost of the deliveries, with next to nothing around it.
//!
//! One thread, one epoll. A publish appends its frame to one contiguous buffer; then every reader
//! is written the events after its cursor, in one call. Reads as much HTTP as the driver speaks.
//! Not for use.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

const LISTENER: Token = Token(usize::MAX);
const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
    cache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n2\r\n:\n\r\n";
const ACCEPTED: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

struct Floor {
    poll: Poll,
    listener: TcpListener,
    peers: Vec<Option<Peer>>,
    free: Vec<usize>,
    /// All frames, one after the other.
    history: Vec<u8>,
    /// The beginning of frame `n`, by `n - 1`; the last is the end.
    starts: Vec<usize>,
}

struct Peer {
    stream: TcpStream,
    /// Its place in the history, once it reads.
    cursor: Option<usize>,
    /// A request that has not come completely.
    pending: Vec<u8>,
}

/// Serves for ever.
pub(super) fn serve(address: SocketAddr) -> Result<()> {
    let mut listener = TcpListener::bind(address)?;
    let poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut floor = Floor {
        poll,
        listener,
        peers: Vec::new(),
        free: Vec::new(),
        history: Vec::new(),
        starts: vec![0],
    };
    let mut events = Events::with_capacity(1024);
    let mut buffer = vec![0; 256 * 1024];
    loop {
        floor.poll.poll(&mut events, None)?;
        let before = floor.history.len();
        for event in &events {
            match event.token() {
                LISTENER => floor.accept()?,
                Token(index) => floor.ready(index, &mut buffer),
            }
        }
        if floor.history.len() > before {
            for index in 0..floor.peers.len() {
                floor.flush(index);
            }
        }
    }
}

impl Floor {
    fn accept(&mut self) -> Result<()> {
        loop {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            stream.set_nodelay(true)?;
            let index = self.free.pop().unwrap_or(self.peers.len());
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut stream, Token(index), interest)?;
            let peer = Some(Peer { stream, cursor: None, pending: Vec::new() });
            match self.peers.get_mut(index) {
                Some(slot) => *slot = peer,
                None => self.peers.push(peer),
            }
        }
    }

    fn ready(&mut self, index: usize, buffer: &mut [u8]) {
        if self.read(index, buffer).is_err() {
            self.peers[index] = None;
            self.free.push(index);
        }
        self.flush(index);
    }

    fn read(&mut self, index: usize, buffer: &mut [u8]) -> Result<()> {
        let Some(peer) = &mut self.peers[index] else { return Ok(()) };
        loop {
            match peer.stream.read(buffer) {
                Ok(0) => anyhow::bail!("closed"),
                Ok(count) => peer.pending.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        let mut used = 0;
        while let Some((head, body)) = request(&peer.pending[used..]) {
            used += head.len() + body.len();
            if head.starts_with(b"POST") {
                append(&mut self.history, &mut self.starts, body);
                peer.stream.write_all(ACCEPTED)?;
            } else {
                peer.stream.write_all(HEAD)?;
                let cursor = header(head, "last-event-id: ").and_then(|id| id.parse().ok());
                let end = self.starts.len() - 1;
                peer.cursor = Some(self.starts[cursor.unwrap_or(end).min(end)]);
            }
        }
        peer.pending.drain(..used);
        if peer.pending.is_empty() {
            peer.pending = Vec::new();
        }
        Ok(())
    }

    fn flush(&mut self, index: usize) {
        let Some(peer) = &mut self.peers[index] else { return };
        let Some(cursor) = &mut peer.cursor else { return };
        // The rest is written when the socket has room, and an error comes by a read.
        while *cursor < self.history.len() {
            match peer.stream.write(&self.history[*cursor..]) {
                Ok(count) => *cursor += count,
                Err(_) => return,
            }
        }
    }
}

fn append(history: &mut Vec<u8>, starts: &mut Vec<usize>, body: &[u8]) {
    let id = starts.len().to_string();
    let size = "data: \nid: \n\n".len() + body.len() + id.len();
    history.extend_from_slice(format!("{size:x}\r\ndata: ").as_bytes());
    history.extend_from_slice(body);
    history.extend_from_slice(format!("\nid: {id}\n\n\r\n").as_bytes());
    starts.push(history.len());
}

/// The first request of `bytes`, if it is complete.
fn request(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memmem::find(bytes, b"\r\n\r\n")? + 4;
    let (head, rest) = bytes.split_at(end);
    let length = header(head, "content-length: ").map_or(Some(0), |text| text.parse().ok())?;
    Some((head, rest.get(..length)?))
}

fn header<'a>(head: &'a [u8], name: &str) -> Option<&'a str> {
    let head = std::str::from_utf8(head).ok()?;
    head.split("\r\n").find_map(|line| line.strip_prefix(name))
}

/// Runs it on a thread of its own, away from the runtime.
pub(super) fn run(address: SocketAddr) -> Result<()> {
    let served = std::thread::spawn(move || serve(address)).join();
    served.ok().context("the floor panicked")?
}

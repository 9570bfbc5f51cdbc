//! One SSE connection of the driver: a socket, what it waits for, and what it got.
//!
//! It knows the driver's own payloads and looks for nothing else, so that tens of thousands cost the
//! driver little: heads and the frames around payloads are passed over.

use std::io::{ErrorKind, Read as _, Write as _};
use std::sync::Arc;

use anyhow::{Result, bail, ensure};
use mio::net::TcpStream;

use super::stamp;
use super::tally::Tally;

/// A connection on its way through a request and its stream.
#[derive(Debug)]
pub(super) struct Reader {
    stream: TcpStream,
    request: Arc<[u8]>,
    stage: Stage,
    /// The number of the event that has to come next.
    next: u64,
    /// The end of what was read, if more of it has to come.
    pending: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Connecting,
    Head,
    Open,
}

impl Reader {
    /// A connection that is being made; it expects event `next` first.
    pub(super) fn new(stream: TcpStream, request: Arc<[u8]>, next: u64) -> Self {
        Self { stream, request, stage: Stage::Connecting, next, pending: Vec::new() }
    }

    pub(super) fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    pub(super) fn is_open(&self) -> bool {
        self.stage == Stage::Open
    }

    /// Does what the socket is ready for.
    pub(super) fn ready(&mut self, buffer: &mut [u8], tally: &mut Tally) -> Result<()> {
        if self.stage == Stage::Connecting {
            if let Some(error) = self.stream.take_error()? {
                return Err(error.into());
            }
            match self.stream.peer_addr() {
                Err(error) if error.kind() == ErrorKind::NotConnected => return Ok(()),
                other => other?,
            };
            // Requests are far smaller than the buffer of a fresh socket.
            self.stream.write_all(&self.request)?;
            self.stage = Stage::Head;
        }
        loop {
            match self.stream.read(buffer) {
                Ok(0) => bail!("the server closed the stream"),
                Ok(count) => {
                    tally.read(count);
                    self.take(&buffer[..count], tally)?;
                    if count < buffer.len() {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
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
        if self.stage == Stage::Head {
            let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else {
                return Ok(0);
            };
            let head = String::from_utf8_lossy(&bytes[..end]);
            ensure!(head.starts_with("HTTP/1.1 200"), "refused: {head}");
            self.stage = Stage::Open;
            used = end + 4;
        }
        while let Some(found) = stamp::find(&bytes[used..]) {
            let Some((stamp, len)) = stamp::parse(&bytes[used + found..])? else {
                return Ok(used + found);
            };
            used += found + len;
            self.next = tally.delivered(self.next, stamp);
        }
        // A beginning of the next payload may be at the very end.
        Ok(used.max(bytes.len().saturating_sub(stamp::MARK.len() - 1)))
    }
}

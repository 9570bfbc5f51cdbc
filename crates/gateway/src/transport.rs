//! The way from an event stream's writer to its client: TCP, or whatever a program puts over TCP.

use std::io;

use bytes::{Buf as _, Bytes};
use rustix::io::Errno;
use rustix::net::{SendFlags, send};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::tcp_state::TcpState;

/// A connection that carries an event stream.
///
/// A delivery calls [`try_send`](Self::try_send) and nothing else. When that does not take everything,
/// the writer goes on with [`AsyncWrite`], whose flush must wait until the kernel has every byte, and
/// whose shutdown must end the connection cleanly. The writer notices a client that leaves by
/// [`AsyncRead`].
pub trait Transport: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// Sends as much as the kernel takes at once and advances `bytes` past it. Returns whether
    /// everything is with the kernel: the bytes, and what the transport itself held back.
    ///
    /// # Errors
    /// The connection is broken.
    fn try_send(&mut self, bytes: &mut Bytes) -> io::Result<bool>;

    /// Returns true if the client has vanished without a word: TCP has asked it for a sign of life
    /// several times, and for 45 s none has come. A client that only stalls answers. False where the
    /// system does not tell.
    fn has_vanished(&self) -> bool;
}

impl Transport for TcpStream {
    fn try_send(&mut self, bytes: &mut Bytes) -> io::Result<bool> {
        let count = send_now(self, bytes)?;
        if count == bytes.len() {
            return Ok(true);
        }
        bytes.advance(count);
        Ok(false)
    }

    fn has_vanished(&self) -> bool {
        TcpState::of(self).is_some_and(TcpState::is_of_vanished_peer)
    }
}

/// Sends as much as the kernel takes at once, 0 bytes if the socket is full. Asks the kernel and not
/// the runtime: the runtime's note of the socket's readiness is not in a cache that a delivery
/// touches.
///
/// # Errors
/// The connection is broken.
pub fn send_now(socket: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    match send(socket, bytes, SendFlags::NOSIGNAL) {
        Err(Errno::AGAIN) => Ok(0),
        sent => Ok(sent?),
    }
}

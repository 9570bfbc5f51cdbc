//! The clock of a connection whose first bytes tell its protocol.
//!
//! Hyper waits for these bytes without a time-out; its own clocks start when it knows the protocol.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// A connection that breaks if its client has not told its protocol in time.
#[derive(Debug)]
pub(super) struct Punctual<S> {
    stream: S,
    /// Set until the protocol is known.
    clock: Option<Clock>,
}

#[derive(Debug)]
struct Clock {
    sleep: Pin<Box<Sleep>>,
    /// Bytes of the preface of HTTP/2 that have come.
    preface: usize,
}

/// The first bytes of HTTP/2 (RFC 9113, section 3.4). Any other byte is of HTTP/1.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

impl<S> Punctual<S> {
    pub(super) fn new(stream: S, patience: Duration) -> Self {
        Self { stream, clock: Some(Clock { sleep: Box::pin(sleep(patience)), preface: 0 }) }
    }
}

impl Clock {
    /// Returns true if these bytes tell the protocol.
    fn hears(&mut self, bytes: &[u8]) -> bool {
        let expected = PREFACE[self.preface..].iter();
        let same = expected.zip(bytes).take_while(|(expected, byte)| expected == byte).count();
        self.preface += same;
        same < bytes.len() || self.preface == PREFACE.len()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Punctual<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buf);
        let Some(clock) = &mut this.clock else {
            return read;
        };
        if read.is_ready() {
            let bytes = &buf.filled()[before..];
            if bytes.is_empty() || clock.hears(bytes) {
                this.clock = None;
            }
            return read;
        }
        clock.sleep.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Punctual<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
    use tokio::time::Instant;

    const PATIENCE: Duration = Duration::from_secs(30);

    /// Sends the pieces and stays silent. Returns the time until the connection breaks, and `None` if it
    /// is still there after an hour.
    async fn breaks_after(pieces: &[&[u8]]) -> Option<Duration> {
        let (ours, mut theirs) = duplex(1024);
        let mut ours = Punctual::new(ours, PATIENCE);
        let start = Instant::now();
        for piece in pieces {
            theirs.write_all(piece).await.unwrap();
            let mut read = vec![0; piece.len()];
            ours.read_exact(&mut read).await.unwrap();
        }
        let rest = tokio::time::timeout(Duration::from_hours(1), ours.read_u8()).await;
        let error = rest.ok()?.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(theirs);
        Some(start.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_tell_its_protocol_is_given_up() {
        assert_eq!(breaks_after(&[]).await, Some(PATIENCE));
        assert_eq!(breaks_after(&[b"P", b"RI * HTTP/2.0\r\n\r\nSM\r\n\r"]).await, Some(PATIENCE));
    }

    #[tokio::test(start_paused = true)]
    async fn the_clock_stops_when_the_protocol_is_known() {
        assert_eq!(breaks_after(&[b"G"]).await, None);
        assert_eq!(breaks_after(&[b"P", b"O"]).await, None);
        assert_eq!(breaks_after(&[PREFACE]).await, None);
        assert_eq!(breaks_after(&[&PREFACE[..20], &PREFACE[20..]]).await, None);
    }
}

//! An HTTP/1 connection on which the end of the client's side can be noticed under an event stream.
//!
//! A client that has ended its side may still wait for an answer (RFC 9112, section 9.6), so hyper does not read
//! while it answers. An event stream has no end that such a client could wait for: its client has left.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes of later requests that are read ahead. A client that has sent more is no longer listened to: a write
/// notices that it is gone.
const AHEAD_MAX: usize = 4096;

/// The connection, for the general server.
#[derive(Debug)]
pub(super) struct Attentive<S>(Arc<Mutex<Heard<S>>>);

/// The same connection, for the task that notices the client's leaving.
#[derive(Debug)]
pub(super) struct Presence<S>(Arc<Mutex<Heard<S>>>);

impl<S> Clone for Presence<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

#[derive(Debug)]
struct Heard<S> {
    stream: S,
    /// True while the answer on its way is an event stream over HTTP/1.
    is_streaming: bool,
    /// Bytes that were read meanwhile.
    ahead: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Attentive<S> {
    pub(super) fn new(stream: S) -> (Self, Presence<S>) {
        let heard = Heard { stream, is_streaming: false, ahead: Vec::new() };
        let heard = Arc::new(Mutex::new(heard));
        (Self(Arc::clone(&heard)), Presence(heard))
    }
}

/// Both holders are polled by one task, so nobody ever waits for the lock.
fn lock<S>(heard: &Mutex<Heard<S>>) -> MutexGuard<'_, Heard<S>> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<S: AsyncRead + Unpin> Presence<S> {
    /// Records whether the answer on its way is an event stream over HTTP/1.
    pub(super) fn set_streaming(&self, is_streaming: bool) {
        lock(&self.0).is_streaming = is_streaming;
    }

    /// Ready when the client has left an event stream. The task that polls it must poll the connection first.
    pub(super) fn poll_left(&self, cx: &mut Context<'_>) -> Poll<()> {
        let Heard { stream, is_streaming, ahead } = &mut *lock(&self.0);
        while *is_streaming && ahead.len() < AHEAD_MAX {
            let mut bytes = [0; 256];
            let mut bytes = ReadBuf::new(&mut bytes);
            let read = ready!(Pin::new(&mut *stream).poll_read(cx, &mut bytes));
            if read.is_err() || bytes.filled().is_empty() {
                // A request that has come before the end is answered after the stream.
                return if ahead.is_empty() { Poll::Ready(()) } else { Poll::Pending };
            }
            ahead.extend_from_slice(bytes.filled());
            // The stream may have ended meanwhile, and the server waits for these bytes.
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Attentive<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Heard { stream, ahead, .. } = &mut *lock(&self.0);
        if ahead.is_empty() {
            return Pin::new(stream).poll_read(cx, buf);
        }
        let count = ahead.len().min(buf.remaining());
        buf.put_slice(&ahead[..count]);
        ahead.drain(..count);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Attentive<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut lock(&self.0).stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut lock(&self.0).stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        lock(&self.0).stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut lock(&self.0).stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut lock(&self.0).stream).poll_shutdown(cx)
    }
}

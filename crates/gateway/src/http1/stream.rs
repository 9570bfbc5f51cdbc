//! One event stream and its socket: what a subscriber has is written, and nothing is kept beside it.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use futures_util::FutureExt as _;
use rustix::io::Errno;
use rustix::net::{SendFlags, send};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::answer::{put_header, put_rest};
use crate::chunk;
use crate::connections::Connection;
use crate::handler::STREAM_HEADERS;
use crate::subscriber::Subscriber;

/// An event stream that is open and has written nothing yet.
#[derive(Debug)]
pub struct EventStream {
    socket: TcpStream,
    subscriber: Subscriber,
    /// The longest time that its client may take nothing, in milliseconds.
    stall_ms: u32,
    /// Bytes that the client may still send, though nobody reads them as anything.
    chatter: u16,
}

/// Why nothing more is written for now.
#[derive(Debug)]
enum Stop {
    /// The socket is full; this is left.
    Full(Bytes),
    /// The stream is over.
    Over,
    /// The client is gone.
    Gone,
}

/// Bytes that a client may send behind its request before we stop to listen: the next request that a
/// proxy sent too early, for which this connection will not be used.
const CHATTER_MAX: u16 = 16 * 1024;
/// Bytes of them looked at at a time.
const SCRAP_BYTES: usize = 256;

impl EventStream {
    pub(super) fn new(socket: TcpStream, subscriber: Subscriber, stall: Duration) -> Self {
        let stall_ms = stall.as_millis().try_into().unwrap_or(u32::MAX);
        Self { socket, subscriber, stall_ms, chatter: CHATTER_MAX }
    }

    /// Writes until the stream is over, the client is gone, or it takes nothing for too long. Its
    /// future is small, so spawn it by itself: it is what an idle connection costs.
    #[expect(clippy::manual_async_fn, reason = "an async fn would keep its argument twice")]
    pub fn run(mut self) -> impl Future<Output = ()> + Send {
        async move {
            // Clients come and go; that one broke off is its connection's end, no fault of ours.
            if let Err(error) = self.write_all().await {
                tracing::debug!(%error, "connection failed");
            }
        }
    }

    #[expect(clippy::manual_async_fn, reason = "as above")]
    fn write_all(&mut self) -> impl Future<Output = io::Result<()>> + Send {
        async {
            let mut stop = Stop::Full(Box::pin(self.first()).await);
            // Boxed, so that a reader that waits at the tail keeps no room for what is rare.
            while Box::pin(self.pass(stop)).await? {
                stop = poll_fn(|cx| self.poll_write(cx)).await?;
            }
            Ok(())
        }
    }

    /// Does what writing has stopped for; whether it goes on.
    async fn pass(&mut self, stop: Stop) -> io::Result<bool> {
        match stop {
            Stop::Full(rest) => self.write(rest).await?,
            Stop::Over => {
                self.write(Bytes::from_static(chunk::END)).await?;
                self.socket.shutdown().await?;
                return Ok(false);
            }
            Stop::Gone => return Ok(false),
        }
        Ok(true)
    }

    /// The head and all that is there already, to leave as one.
    async fn first(&mut self) -> Bytes {
        let mut out = b"HTTP/1.1 200 OK\r\n".to_vec();
        for (name, value) in STREAM_HEADERS {
            put_header(&mut out, name, value.as_bytes());
        }
        put_header(&mut out, "transfer-encoding", b"chunked");
        put_rest(&mut out);
        if let Some(ready) = self.subscriber.next().await {
            out.extend_from_slice(&ready);
        }
        if self.subscriber.is_behind()
            && let Some(Some(page)) = self.subscriber.next().now_or_never()
        {
            out.extend_from_slice(&page);
        }
        out.into()
    }

    /// Writes whatever there is, waits for more and writes it, until that stops.
    ///
    /// Writing comes first: a client that is gone is noticed by that as well.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Stop>> {
        loop {
            return match self.subscriber.poll_next(cx) {
                Poll::Ready(Some(bytes)) => match self.send(&bytes) {
                    Ok(count) if count == bytes.len() => continue,
                    written => Poll::Ready(written.map(|count| Stop::Full(bytes.slice(count..)))),
                },
                Poll::Ready(None) => Poll::Ready(Ok(Stop::Over)),
                Poll::Pending => self.poll_gone().map_ok(|()| Stop::Gone),
            };
        }
    }

    fn poll_gone(&mut self) -> Poll<io::Result<()>> {
        poll_gone(&self.socket, &mut self.chatter, self.subscriber.connection())
    }

    async fn write(&mut self, mut bytes: Bytes) -> io::Result<()> {
        loop {
            match self.socket.try_write(&bytes) {
                Ok(count) => bytes.advance(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            if bytes.is_empty() {
                return Ok(());
            }
            // A reader that stalls costs little but its place; it has that for so long.
            let stall = Duration::from_millis(self.stall_ms.into());
            timeout(stall, self.socket.writable()).await??;
        }
    }

    /// How much the socket takes at once. Asks the kernel and not the runtime, whose note of what the
    /// socket is ready for is far from all else that a delivery touches.
    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        match send(&self.socket, bytes, SendFlags::NOSIGNAL) {
            Err(Errno::AGAIN) => Ok(0),
            sent => Ok(sent?),
        }
    }
}

/// Waits until the client is gone.
fn poll_gone(
    socket: &TcpStream,
    chatter: &mut u16,
    connection: &Arc<Connection>,
) -> Poll<io::Result<()>> {
    connection.poll_stirred(|cx| {
        while *chatter > 0 {
            ready!(socket.poll_read_ready(cx))?;
            match socket.try_read(&mut [0; SCRAP_BYTES]) {
                Ok(0) => return Poll::Ready(Ok(())),
                Ok(count) => {
                    let count = u16::try_from(count).expect("a scrap is small");
                    *chatter = chatter.saturating_sub(count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Pending
    })
}

//! One event stream and its socket: what a subscriber has is written, and nothing is kept beside it.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::answer::{put_header, put_rest};
use crate::chunk;
use crate::handler::STREAM_HEADERS;
use crate::subscriber::Subscriber;

/// An event stream that is open and has written nothing yet.
#[derive(Debug)]
pub struct EventStream {
    socket: TcpStream,
    subscriber: Subscriber,
    stall: Duration,
    /// Bytes that the client may still send, though nobody reads them as anything.
    chatter: u16,
}

/// Bytes that a client may send behind its request before we stop to listen: the next request that a
/// proxy sent too early, for which this connection will not be used.
const CHATTER_MAX: u16 = 16 * 1024;
/// Bytes of them looked at at a time.
const SCRAP_BYTES: usize = 256;

impl EventStream {
    pub(super) const fn new(socket: TcpStream, subscriber: Subscriber, stall: Duration) -> Self {
        Self { socket, subscriber, stall, chatter: CHATTER_MAX }
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

    async fn write_all(&mut self) -> io::Result<()> {
        let first = Box::pin(self.first()).await;
        self.write(&first).await?;
        drop(first);
        loop {
            // First what is to be written: a client that is gone is noticed by that as well. Both may
            // be dropped at any await.
            let next = tokio::select! {
                biased;
                next = self.subscriber.next() => next,
                gone = poll_fn(|cx| poll_gone(&self.socket, &mut self.chatter, cx)) => return gone,
            };
            let Some(bytes) = next else { break };
            self.write(&bytes).await?;
        }
        self.write(chunk::END).await?;
        self.socket.shutdown().await
    }

    /// The head and all that is there already, to leave as one.
    async fn first(&mut self) -> Vec<u8> {
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
        out
    }

    async fn write(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.socket.try_write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // A reader that stalls costs little but its place; it has that for so long.
                    Box::pin(timeout(self.stall, self.socket.writable())).await??;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Waits until the client is gone.
fn poll_gone(socket: &TcpStream, chatter: &mut u16, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
    while *chatter > 0 {
        std::task::ready!(socket.poll_read_ready(cx))?;
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
}

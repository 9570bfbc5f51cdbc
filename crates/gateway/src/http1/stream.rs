//! One event stream and its connection: the writer sends what the subscriber returns and keeps nothing
//! beside it.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use limits::Held;
use tokio::io::ReadBuf;

use super::transfer::{self, Rest};
use super::write::StreamHead;
use crate::chunk;
use crate::metrics::Close;
use crate::subscriber::Subscriber;
use crate::transport::Transport;

/// An event stream that is open and has written nothing yet.
#[derive(Debug)]
pub struct EventStream<T> {
    transport: T,
    subscriber: Subscriber,
    /// The head of the answer, until it is written. Boxed, so that an idle stream keeps no room for it.
    head: Option<Box<StreamHead>>,
    /// The longest time that the client may take nothing, in milliseconds.
    stall_ms: u32,
    /// Bytes that the client may still send, which nobody reads as anything.
    chatter: u16,
    /// The place of the connection, which the stream has for itself.
    place: Option<Held>,
}

/// The reason why the writer pauses.
#[derive(Debug)]
enum Stop {
    /// The connection is full; these bytes are left.
    Full(Rest),
    /// The stream is over.
    Over,
    /// The client is gone.
    Gone,
}

/// Bytes that a client may send behind its request before the writer stops to listen: the next request
/// that a proxy sent too early, for which this connection will not be used.
const CHATTER_MAX: u16 = 16 * 1024;
/// Bytes of them that one read takes.
const SCRAP_BYTES: usize = 256;

impl<T: Transport> EventStream<T> {
    pub(super) fn new(
        transport: T,
        subscriber: Subscriber,
        head: StreamHead,
        stall: Duration,
    ) -> Self {
        let stall_ms = stall.as_millis().try_into().unwrap_or(u32::MAX);
        let head = Some(Box::new(head));
        Self { transport, subscriber, head, stall_ms, chatter: CHATTER_MAX, place: None }
    }

    /// Holds the place of the connection until the stream is over.
    pub fn hold(&mut self, place: Held) {
        self.place = Some(place);
    }

    /// Writes until the stream is over, the client is gone, or the client takes nothing for too long.
    /// Spawn the future by itself: it is small, and an idle connection costs nothing else.
    #[expect(clippy::manual_async_fn, reason = "an async fn would keep its argument twice")]
    pub fn run(mut self) -> impl Future<Output = ()> + Send {
        async move {
            // Clients come and go; a connection that breaks is no fault of ours.
            if let Err(error) = self.write_all().await {
                tracing::debug!(%error, "connection failed");
            }
        }
    }

    #[expect(clippy::manual_async_fn, reason = "as above")]
    fn write_all(&mut self) -> impl Future<Output = io::Result<()>> + Send {
        async {
            // Boxed, so that a reader that waits at the tail keeps no room for rare states.
            let mut goes_on = Box::pin(self.begin()).await?;
            while goes_on {
                let stop = poll_fn(|cx| self.poll_write(cx)).await?;
                goes_on = Box::pin(self.pass(stop)).await?;
            }
            Ok(())
        }
    }

    /// Sends the beginning; returns true if the writer goes on.
    async fn begin(&mut self) -> io::Result<bool> {
        match self.first().await? {
            Some(rest) => self.pass(Stop::Full(rest)).await,
            None => Ok(true),
        }
    }

    /// Does what the writer has paused for; returns whether it goes on.
    async fn pass(&mut self, stop: Stop) -> io::Result<bool> {
        let rest = match stop {
            Stop::Full(rest) => rest,
            Stop::Over => {
                let breaks_off = self.subscriber.breaks_off();
                let bytes = Bytes::from_static(if breaks_off { b"" } else { chunk::END });
                Rest { whole: bytes.len(), bytes, is_last: true }
            }
            Stop::Gone => return Ok(false),
        };
        let is_last = rest.is_last;
        let stall = Duration::from_millis(self.stall_ms.into());
        let ends = transfer::send(&mut self.transport, &mut self.subscriber, rest, stall).await?;
        if let Some(reason) = ends {
            self.subscriber.close(reason);
        }
        Ok(ends.is_none() && !is_last)
    }

    /// Sends the head and everything that is there already as one. Returns what the connection does not
    /// take at once.
    async fn first(&mut self) -> io::Result<Option<Rest>> {
        let mut out = self.head.take().map_or_else(Vec::new, |head| head.0);
        // A stream without control events may have nothing to say yet.
        if let Some(ready) = self.subscriber.next_now() {
            out.extend_from_slice(&ready);
        }
        if self.subscriber.is_behind()
            && let Some(page) = self.subscriber.next_now()
        {
            out.extend_from_slice(&page);
        }
        let whole = out.len();
        let mut bytes = Bytes::from(out);
        if self.transport.try_send(&mut bytes)? {
            return Ok(None);
        }
        self.subscriber.cancel_read();
        Ok(Some(Rest { bytes, whole, is_last: false }))
    }

    /// Writes everything that there is, waits for more and writes it, until something pauses that.
    ///
    /// Writing comes first, because a write notices a client that is gone as well.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Stop>> {
        loop {
            let next = self.subscriber.poll_next(cx);
            if self.subscriber.takes_doubt() && self.transport.has_vanished() {
                self.subscriber.close(Close::Vanished);
                return Poll::Ready(Ok(Stop::Gone));
            }
            return match next {
                Poll::Ready(Some(mut bytes)) => {
                    let whole = bytes.len();
                    match self.transport.try_send(&mut bytes) {
                        Ok(true) => continue,
                        sent => {
                            let rest = |_| Stop::Full(Rest { bytes, whole, is_last: false });
                            Poll::Ready(sent.map(rest))
                        }
                    }
                }
                Poll::Ready(None) => Poll::Ready(Ok(Stop::Over)),
                Poll::Pending => self.poll_gone().map_ok(|()| Stop::Gone),
            };
        }
    }

    /// Waits until the client is gone.
    fn poll_gone(&mut self) -> Poll<io::Result<()>> {
        let Self { transport, chatter, subscriber, .. } = self;
        subscriber.connection().poll_stirred(|cx| {
            while *chatter > 0 {
                let mut scrap = [0; SCRAP_BYTES];
                let mut scrap = ReadBuf::new(&mut scrap);
                ready!(Pin::new(&mut *transport).poll_read(cx, &mut scrap))?;
                if scrap.filled().is_empty() {
                    return Poll::Ready(Ok(()));
                }
                let count = u16::try_from(scrap.filled().len()).expect("a scrap is small");
                *chatter = chatter.saturating_sub(count);
            }
            Poll::Pending
        })
    }
}

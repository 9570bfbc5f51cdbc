//! Event streams over HTTP/1.1, written to the connection itself.
//!
//! After its head an event stream is nothing but chunks, for hours. A task that owns the connection and
//! writes the chunks costs little more than the system call and about a kilobyte; a general server
//! keeps buffers for requests that never come (docs/adr/0003).
//!
//! [`Door::accept`] looks at the first request of a connection. A plain `GET /v1/events?…` for an event
//! stream is served here. Any other request, and any that is odd, goes to the general server with the
//! bytes that were read. So this file implements one request and not HTTP.

pub(crate) mod head;
mod rewind;
mod stream;
mod transfer;
mod write;

use std::future::Future;
use std::io;
use std::time::Duration;

use axum::http::Version;
use limits::Peer;
use tokio::io::AsyncReadExt as _;
use tokio::time::timeout;

use crate::door::Door;
use crate::frame::Framing;
use crate::gateway::Shared;
use crate::handler::{self, Asked, Content, Via};
use crate::transport::Transport;

use head::FirstRequest;
pub use rewind::Rewind;
pub use stream::EventStream;

/// The longest times that a client may keep this gateway waiting.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Until the head of the client's request has come.
    pub head: Duration,
    /// Without taking anything of the bytes that wait for the client.
    pub stall: Duration,
}

/// The result of looking at a connection's first request.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "its maker takes it apart at once")]
pub enum Accepted<T> {
    /// An event stream, to be run.
    Stream(EventStream<T>),
    /// Another request: the connection, which gives the bytes that were read once more.
    Other(Rewind<T>),
    /// The connection is over: answered, given up by its client, or too slow.
    Closed,
}

/// The largest head that is looked at here.
const HEAD_BYTES_MAX: usize = 8 * 1024;
/// Room for a first read: the head of a browser's request with its cookies.
const READ_BYTES: usize = 2048;

impl Door {
    /// Reads the head of a connection's first request and, if the request asks for an event stream,
    /// opens that. Until the first byte has come, `hurry` ends the wait and leaves the connection to
    /// the general server.
    pub async fn accept<T: Transport>(
        &self,
        mut transport: T,
        peer: Peer,
        patience: Patience,
        hurry: impl Future<Output = ()>,
    ) -> Accepted<T> {
        let gateway = &self.gateway.0;
        let mut read = Vec::with_capacity(READ_BYTES);
        let asked = read_head(gateway, &mut transport, peer, &mut read, hurry);
        let asked = match timeout(patience.head, asked).await {
            Ok(Ok(asked)) => asked,
            Ok(Err(_)) | Err(_) => return Accepted::Closed,
        };
        // A request that makes no sense is counted and answered where all requests are.
        let Some(asked) = asked.filter(Asked::is_for_stream) else {
            return Accepted::Other(Rewind::new(transport, read.into()));
        };
        drop(read);
        // Boxed, like all that follows: the task of a connection is moved a few times, and while it waits for
        // a request it should have no room for the answer.
        let (parts, content) = Box::pin(handler::answer(gateway, asked)).await.into_parts();
        match content {
            Content::Events(subscriber) => {
                let head = write::StreamHead::new(&parts);
                Accepted::Stream(EventStream::new(transport, subscriber, head, patience.stall))
            }
            Content::Cut(bytes) => {
                let cut = write::cut(transport, &parts, &bytes, patience.stall);
                let _sent = Box::pin(cut).await;
                Accepted::Closed
            }
            Content::Whole(body) => {
                // A client that has left misses an answer that it does not wait for.
                let whole = write::whole(transport, &parts, body, patience.stall);
                let _sent = Box::pin(whole).await;
                Accepted::Closed
            }
        }
    }
}

/// Reads until the head is complete. Returns `None` if the request is not for this file.
async fn read_head<T: Transport>(
    gateway: &Shared,
    transport: &mut T,
    peer: Peer,
    read: &mut Vec<u8>,
    hurry: impl Future<Output = ()>,
) -> io::Result<Option<Asked>> {
    let via = Via { peer, version: Version::HTTP_11, framing: Framing::Chunks };
    tokio::pin!(hurry);
    loop {
        let is_silent = read.is_empty();
        // A read that is dropped has read nothing.
        let count = tokio::select! {
            biased;
            count = transport.read_buf(read) => count?,
            () = &mut hurry, if is_silent => return Ok(None),
        };
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match head::parse(read) {
            FirstRequest::Subscription(head) => {
                // The general server says why it does not answer a host.
                let is_answered = matches!(*head.host, [host] if gateway.config.site.answer_host(host))
                    && (!head.is_of_hub || gateway.config.mercure.is_some());
                return Ok(is_answered.then(|| Asked::parse(gateway, &head, via)));
            }
            FirstRequest::Incomplete if read.len() < HEAD_BYTES_MAX => read.reserve(READ_BYTES),
            FirstRequest::Incomplete | FirstRequest::Other => return Ok(None),
        }
    }
}

#[cfg(test)]
mod tests;

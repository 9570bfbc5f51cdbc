//! Event streams over HTTP/1.1 on the bare socket.
//!
//! After its head an event stream is nothing but chunks, for hours. A task that owns the socket and
//! writes them costs little more than the system call and about a kilobyte; a general server keeps
//! buffers for requests that never come (docs/adr/0003).
//!
//! This looks at the first request of a connection. A plain `GET /v1/events?…` for an event stream is
//! served here; whatever else it may be, and at any doubt, the connection goes to the general server
//! with the bytes that were read. So there is no second implementation of HTTP: only of one request.

mod answer;
mod head;
mod rewind;
mod stream;

use std::future::Future;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::Gateway;
use crate::client::Client;
use crate::frame::Framing;
use crate::handler::{self, Answer};
use crate::request::{Request, Transport};

use head::Head;
pub use rewind::Rewind;
pub use stream::EventStream;

/// How long a client may keep this gateway waiting.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Until the head of its request has come.
    pub head: Duration,
    /// Without taking anything of what waits for it.
    pub stall: Duration,
}

/// What became of a connection.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "it is taken apart where it is made")]
pub enum Accepted {
    /// It is an event stream, to be run.
    Stream(EventStream),
    /// It wants something else: its bytes so far, and the rest.
    Other(Rewind<TcpStream>),
    /// It is over: answered, given up by its client, or too slow.
    Closed,
}

/// The largest head that is looked at here.
const HEAD_BYTES_MAX: usize = 8 * 1024;
/// Room for a first read: the head of a browser's request with its cookies.
const READ_BYTES: usize = 2048;

impl Gateway {
    /// Reads the head of a connection's first request and, if it subscribes to an event stream, opens
    /// that. While nothing has come, `hurry` ends the wait and leaves the connection to whoever
    /// serves the others.
    pub async fn accept(
        &self,
        socket: TcpStream,
        patience: Patience,
        hurry: impl Future<Output = ()>,
    ) -> Accepted {
        let mut read = Vec::with_capacity(READ_BYTES);
        let head = match timeout(patience.head, read_head(&socket, &mut read, hurry)).await {
            Ok(Ok(head)) => head,
            Ok(Err(_)) | Err(_) => return Accepted::Closed,
        };
        let request = head.and_then(|head| {
            let max_topics = self.0.config.max_topics;
            // What is refused is counted and answered where all requests are.
            let request = Request::parse(&head.query, &head.headers, max_topics).ok()?;
            let client = Client::new(socket.peer_addr().ok(), &head.headers);
            matches!(request.transport, Transport::Sse { .. }).then_some((request, client))
        });
        let Some((request, client)) = request else {
            return Accepted::Other(Rewind::new(socket, read.into()));
        };
        drop(read);
        match handler::answer(&self.0, request, client, Framing::Chunks).await {
            Answer::Stream(subscriber) => {
                Accepted::Stream(EventStream::new(socket, subscriber, patience.stall))
            }
            Answer::Whole(response) => {
                // A client that is gone misses an answer that it has not waited for.
                let _sent = timeout(patience.stall, answer::send(socket, response)).await;
                Accepted::Closed
            }
        }
    }
}

/// Reads until the head is complete; `None` if it is not for us.
async fn read_head(
    socket: &TcpStream,
    read: &mut Vec<u8>,
    hurry: impl Future<Output = ()>,
) -> std::io::Result<Option<head::Subscribe>> {
    tokio::pin!(hurry);
    loop {
        // A socket that was accepted with its request need not be waited for, but the runtime says
        // so. Both may be dropped: nothing is read before the first is ready.
        tokio::select! {
            biased;
            ready = socket.readable() => ready?,
            () = &mut hurry, if read.is_empty() => return Ok(None),
        }
        match socket.try_read_buf(read) {
            Ok(0) => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        }
        match head::parse(read) {
            Head::Subscribe(subscribe) => return Ok(Some(subscribe)),
            Head::Partial if read.len() < HEAD_BYTES_MAX => read.reserve(READ_BYTES),
            Head::Partial | Head::Other => return Ok(None),
        }
    }
}

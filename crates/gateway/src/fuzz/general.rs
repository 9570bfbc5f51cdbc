//! The general server's view of a connection's first bytes.

use std::cell::RefCell;
use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use axum::http::request::Parts;
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;

/// A connection on which some bytes have come and more may follow.
struct Input<'a>(&'a [u8]);

impl Read for Input<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if self.0.is_empty() {
            return Poll::Pending;
        }
        let (now, later) = self.0.split_at(buf.remaining().min(self.0.len()));
        buf.put_slice(now);
        self.0 = later;
        Poll::Ready(Ok(()))
    }
}

impl Write for Input<'_> {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The head of the first request, if the general server takes one from these bytes.
pub(super) fn parts(bytes: &[u8]) -> Option<Parts> {
    let first = RefCell::new(None);
    let service = service_fn(|request: axum::http::Request<Incoming>| {
        first.borrow_mut().get_or_insert(request.into_parts().0);
        // The first request is never answered, so that the server reads no second one.
        std::future::pending::<Result<axum::http::Response<axum::body::Body>, Infallible>>()
    });
    let connection = http1::Builder::new().serve_connection(Input(bytes), service);
    // A refused head ends the connection, and anything else waits.
    let _refused = pin!(connection).poll(&mut Context::from_waker(Waker::noop())).is_ready();
    first.take()
}

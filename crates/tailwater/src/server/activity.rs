//! The requests of one connection that are open: an HTTP/2 connection without any is closed after a while,
//! although it answers pings.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::response::Response;
use http_body::{Frame, SizeHint};
use tokio::time::sleep;

/// Counts the requests of a connection.
#[derive(Debug, Default)]
pub(super) struct Activity {
    /// Requests whose answer is not complete.
    open: AtomicUsize,
    /// Requests that were ever opened; it may wrap.
    opened: AtomicUsize,
}

/// A request that is open until this is dropped.
#[derive(Debug)]
pub(super) struct OpenRequest(Arc<Activity>);

/// The body of an answer to an open request.
struct OpenBody {
    body: Body,
    _request: OpenRequest,
}

/// The time without a request after which a connection is closed.
const IDLE_MAX: Duration = Duration::from_mins(1);

impl Activity {
    pub(super) fn open(self: &Arc<Self>) -> OpenRequest {
        self.open.fetch_add(1, Relaxed);
        self.opened.fetch_add(1, Relaxed);
        OpenRequest(Arc::clone(self))
    }

    /// Waits until the connection had no open request for [`IDLE_MAX`], and at most twice that.
    pub(super) async fn idle(&self, has_streams: impl Fn() -> bool) {
        loop {
            let opened = self.opened.load(Relaxed);
            sleep(IDLE_MAX).await;
            let is_idle = self.open.load(Relaxed) == 0 && self.opened.load(Relaxed) == opened;
            if is_idle && !has_streams() {
                return;
            }
        }
    }
}

impl OpenRequest {
    /// Keeps the request open until its answer is sent.
    pub(super) fn until_sent(self, response: Response) -> Response {
        response.map(|body| Body::new(OpenBody { body, _request: self }))
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}

impl HttpBody for OpenBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures_util::FutureExt as _;
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_a_minute_after_its_last_request() {
        let activity = Arc::<Activity>::default();
        let has_streams = Cell::new(true);
        let mut idle = Box::pin(activity.idle(|| has_streams.get()));
        let second = Duration::from_secs(1);
        assert!((&mut idle).now_or_never().is_none());
        let answer = activity.open().until_sent(Response::new(Body::empty()));
        for _ in 0..3 {
            advance(IDLE_MAX + second).await;
            assert!((&mut idle).now_or_never().is_none(), "a request is open");
        }
        drop(answer);
        drop(activity.open());
        advance(IDLE_MAX + second).await;
        assert!((&mut idle).now_or_never().is_none(), "there was a request, and there are streams");
        has_streams.set(false);
        advance(IDLE_MAX + second).await;
        assert!((&mut idle).now_or_never().is_some());
    }
}

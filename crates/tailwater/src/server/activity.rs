//! The requests of one connection that are open: an HTTP/2 connection is closed after a while without any,
//! although it answers pings. An answer whose client takes nothing of it does not count.

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
    /// Requests that wait for the node, which has time-outs of its own.
    served: AtomicUsize,
    /// Requests that were opened, and pieces of answers that were taken; it may wrap.
    moves: AtomicUsize,
}

/// A request whose answer is not complete.
#[derive(Debug)]
pub(super) struct OpenRequest {
    activity: Arc<Activity>,
    /// True while it waits for the node, false while it waits for the client.
    is_served: bool,
}

/// The body of an answer to an open request.
struct OpenBody {
    body: Body,
    request: OpenRequest,
}

/// The time in which nothing of a connection moves, after which it is closed.
const IDLE_MAX: Duration = Duration::from_mins(1);
/// The same while the node stops: a client that takes an answer does so at once.
const STOPPING_MAX: Duration = Duration::from_secs(1);

impl Activity {
    pub(super) fn open(self: &Arc<Self>) -> OpenRequest {
        self.served.fetch_add(1, Relaxed);
        self.moves.fetch_add(1, Relaxed);
        OpenRequest { activity: Arc::clone(self), is_served: true }
    }

    /// Waits until no request waited for the node and none moved for [`IDLE_MAX`], and at most twice that.
    pub(super) async fn idle(&self, has_streams: impl Fn() -> bool) {
        self.still_for(IDLE_MAX, has_streams).await;
    }

    /// Waits for the same in a node that stops: for [`STOPPING_MAX`].
    pub(super) async fn stopped(&self, has_streams: impl Fn() -> bool) {
        self.still_for(STOPPING_MAX, has_streams).await;
    }

    async fn still_for(&self, time: Duration, has_streams: impl Fn() -> bool) {
        loop {
            let moves = self.moves.load(Relaxed);
            sleep(time).await;
            let is_idle = self.served.load(Relaxed) == 0 && self.moves.load(Relaxed) == moves;
            if is_idle && !has_streams() {
                return;
            }
        }
    }
}

impl OpenRequest {
    /// Keeps the request open until its answer is sent. The server asks for a piece of the answer when
    /// the client has taken the last one.
    pub(super) fn until_sent(mut self, response: Response) -> Response {
        self.wait_for_client();
        response.map(|body| Body::new(OpenBody { body, request: self }))
    }

    fn wait_for_node(&mut self) {
        if !self.is_served {
            self.is_served = true;
            self.activity.served.fetch_add(1, Relaxed);
        }
    }

    fn wait_for_client(&mut self) {
        self.activity.moves.fetch_add(1, Relaxed);
        if self.is_served {
            self.is_served = false;
            self.activity.served.fetch_sub(1, Relaxed);
        }
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        self.wait_for_client();
    }
}

impl HttpBody for OpenBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        match frame {
            Poll::Pending => self.request.wait_for_node(),
            Poll::Ready(_) => self.request.wait_for_client(),
        }
        frame
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
    use std::convert::Infallible;

    use futures_util::{FutureExt as _, stream};
    use http_body_util::BodyExt as _;
    use tokio::sync::mpsc;
    use tokio::time::advance;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_a_minute_after_its_last_request() {
        let activity = Arc::<Activity>::default();
        let has_streams = Cell::new(true);
        let mut idle = Box::pin(activity.idle(|| has_streams.get()));
        assert!((&mut idle).now_or_never().is_none());
        let request = activity.open();
        for _ in 0..3 {
            advance(IDLE_MAX + SECOND).await;
            assert!((&mut idle).now_or_never().is_none(), "a request is open");
        }
        let untaken = request.until_sent(Response::new(Body::empty()));
        drop(activity.open());
        advance(IDLE_MAX + SECOND).await;
        assert!((&mut idle).now_or_never().is_none(), "there was a request, and there are streams");
        has_streams.set(false);
        advance(IDLE_MAX + SECOND).await;
        assert!((&mut idle).now_or_never().is_some(), "an answer that nobody takes is no request");
        drop(untaken);
        assert_eq!(activity.served.load(Relaxed), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_counts_while_it_is_made_and_while_it_is_taken() {
        let activity = Arc::<Activity>::default();
        let mut idle = Box::pin(activity.idle(|| false));
        assert!((&mut idle).now_or_never().is_none());
        let (pieces, mut made) = mpsc::channel(1);
        let body = stream::poll_fn(move |cx| {
            made.poll_recv(cx).map(|piece| piece.map(Ok::<_, Infallible>))
        });
        let answer = Response::new(Body::from_stream(body));
        let mut answer = activity.open().until_sent(answer).into_body();
        assert!(answer.frame().now_or_never().is_none());
        for _ in 0..3 {
            advance(IDLE_MAX + SECOND).await;
            assert!((&mut idle).now_or_never().is_none(), "the node makes the answer");
        }
        pieces.send("piece").await.unwrap();
        answer.frame().now_or_never().unwrap().unwrap().unwrap();
        advance(IDLE_MAX + SECOND).await;
        assert!((&mut idle).now_or_never().is_none(), "a piece was taken");
        advance(IDLE_MAX + SECOND).await;
        assert!((&mut idle).now_or_never().is_some(), "the client takes nothing");
    }
}

//! The bodies of event streams that a general HTTP server sends.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::BoxError;
use axum::body::HttpBody;
use bytes::Bytes;
use http_body::Frame;
use tokio::time::{Sleep, sleep};

use crate::ends::PlannedEnd;
use crate::subscriber::Subscriber;

/// The body of an event stream.
pub(crate) struct EventBody {
    source: Source,
    _planned: Option<PlannedEnd>,
    /// The pause before the body breaks off. An error at once would take the last bytes, too: they wait in the
    /// server, which forgets them with the stream.
    flush: Option<Pin<Box<Sleep>>>,
}

/// The source of a body's bytes.
#[expect(clippy::large_enum_variant, reason = "nearly every body has the large one")]
enum Source {
    Subscriber(Subscriber),
    /// A few bytes, behind which the body breaks off.
    Cut(Option<Bytes>),
}

/// The time in which a server sends the last bytes.
const FLUSH: Duration = Duration::from_millis(100);

/// The client has asked for a body that breaks off.
#[derive(Debug, thiserror::Error)]
#[error("the stream breaks off as its client has asked")]
struct BreaksOff;

impl EventBody {
    pub(crate) const fn of(subscriber: Subscriber, planned: Option<PlannedEnd>) -> Self {
        Self { source: Source::Subscriber(subscriber), _planned: planned, flush: None }
    }

    /// A body that breaks off behind these bytes.
    pub(crate) const fn cut(bytes: Bytes) -> Self {
        Self { source: Source::Cut(Some(bytes)), _planned: None, flush: None }
    }

    fn poll_break(&mut self, cx: &mut Context<'_>) -> Poll<BoxError> {
        let pause = self.flush.get_or_insert_with(|| Box::pin(sleep(FLUSH)));
        pause.as_mut().poll(cx).map(|()| BreaksOff.into())
    }
}

impl HttpBody for EventBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let (next, breaks_off) = match &mut self.source {
            Source::Subscriber(subscriber) => match ready!(subscriber.poll_next(cx)) {
                Some(bytes) => (Some(subscriber.count_bytes(bytes)), false),
                None => (None, subscriber.breaks_off()),
            },
            Source::Cut(bytes) => (bytes.take().map(Ok), true),
        };
        match next {
            Some(counted) => Poll::Ready(Some(counted.map(Frame::data).map_err(Into::into))),
            None if breaks_off => self.poll_break(cx).map(|error| Some(Err(error))),
            None => Poll::Ready(None),
        }
    }
}

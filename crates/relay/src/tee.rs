//! The bytes of an answer on their way to its caller.
//!
//! A caller that reads slowly must not stop the storing of its answer, so its bytes wait here, within the
//! memory that the node has for clients. A caller for which there is no room any more is cut off: everything
//! is in the topic. The alternative, to serve the caller from the log, would not give the bytes as the upstream
//! sent them: the log holds events, without comments and the upstream's own ids.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;
use limits::Held;
use tokio::sync::Notify;

/// The end of the task that reads the upstream.
#[derive(Debug)]
pub(crate) struct Tap(Arc<Pipe>);

/// The body of the answer to the caller.
#[derive(Debug)]
pub(crate) struct TapBody {
    pipe: Arc<Pipe>,
    /// The length that the upstream has told.
    left: Option<u64>,
}

/// A caller that gets its answer from elsewhere. Dropping it tells the task that the caller has left.
#[derive(Debug)]
pub(crate) struct Presence(Arc<Pipe>);

/// The answer did not come to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the answer broke off")]
pub(crate) struct BrokenOff;

#[derive(Debug)]
struct Pipe {
    state: Mutex<State>,
    /// Told when the caller has left.
    gone: Notify,
}

#[derive(Debug)]
struct State {
    waiting: VecDeque<Bytes>,
    /// The memory of `waiting`, beyond [`FREE_BYTES`].
    held: Held,
    bytes: usize,
    end: Option<Result<(), BrokenOff>>,
    waker: Option<Waker>,
    is_gone: bool,
    /// True if the caller gets its answer from elsewhere.
    is_muted: bool,
}

/// Waiting bytes that are not counted: a caller that keeps up costs no accounting.
const FREE_BYTES: usize = 64 * 1024;

/// Makes both ends. `held` counts the memory.
pub(crate) fn tee(held: Held, length: Option<u64>) -> (Tap, TapBody) {
    let waiting = VecDeque::new();
    let (is_gone, is_muted) = (false, false);
    let state = State { waiting, held, bytes: 0, end: None, waker: None, is_gone, is_muted };
    let pipe = Arc::new(Pipe { state: Mutex::new(state), gone: Notify::new() });
    (Tap(Arc::clone(&pipe)), TapBody { pipe, left: length })
}

impl Tap {
    /// Gives the caller a piece. Returns false if that cuts the caller off, because it does not keep up.
    pub(crate) fn push(&self, piece: Bytes) -> bool {
        let mut state = self.0.state();
        if state.is_gone || state.is_muted || state.end.is_some() || piece.is_empty() {
            return true;
        }
        let bytes = state.bytes + piece.len();
        if state.count(bytes).is_err() {
            state.waiting.clear();
            state.finish(Err(BrokenOff));
            state.is_gone = true;
            drop(state);
            self.0.gone.notify_waiters();
            return false;
        }
        state.waiting.push_back(piece);
        state.wake();
        true
    }

    /// Ends the answer, in order or not.
    pub(crate) fn finish(&self, end: Result<(), BrokenOff>) {
        self.0.state().finish(end);
    }

    /// Waits until the caller has left.
    pub(crate) async fn gone(&self) {
        let told = self.0.gone.notified();
        tokio::pin!(told);
        told.as_mut().enable();
        if !self.is_gone() {
            told.await;
        }
    }

    /// Returns true if the caller has left.
    pub(crate) fn is_gone(&self) -> bool {
        self.0.state().is_gone
    }
}

impl Drop for Tap {
    /// A task that ended early has not ended its answer.
    fn drop(&mut self) {
        self.finish(Err(BrokenOff));
    }
}

impl Pipe {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leave(&self) {
        let mut state = self.state();
        state.is_gone = true;
        state.waiting.clear();
        drop(state);
        self.gone.notify_waiters();
    }
}

impl State {
    fn finish(&mut self, end: Result<(), BrokenOff>) {
        self.end.get_or_insert(end);
        self.wake();
    }

    /// Counts the memory of so many waiting bytes.
    fn count(&mut self, bytes: usize) -> Result<(), limits::Full> {
        self.held.resize(bytes.saturating_sub(FREE_BYTES) as u64)?;
        self.bytes = bytes;
        Ok(())
    }

    fn take(&mut self) -> Option<Bytes> {
        let piece = self.waiting.pop_front()?;
        let bytes = self.bytes - piece.len();
        let counted = self.count(bytes);
        counted.expect("less memory always fits");
        Some(piece)
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl http_body::Body for TapBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let mut state = self.pipe.state();
        if let Some(piece) = state.take() {
            drop(state);
            self.left = self.left.map(|left| left.saturating_sub(piece.len() as u64));
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        match state.end {
            Some(Ok(())) => Poll::Ready(None),
            Some(Err(broken)) => Poll::Ready(Some(Err(broken))),
            None => {
                state.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl TapBody {
    /// Returns another body to the same caller, whose bytes are not those of the upstream.
    pub(crate) fn replaced_by(self, body: Body) -> Body {
        let mut state = self.pipe.state();
        state.is_muted = true;
        state.waiting.clear();
        drop(state);
        let presence = Presence(Arc::clone(&self.pipe));
        Body::new(body.map_frame(move |frame| {
            let _held_as_long_as_the_body = &presence;
            frame
        }))
    }
}

impl Drop for TapBody {
    fn drop(&mut self) {
        // The presence of the caller outlives a body that was replaced.
        if !self.pipe.state().is_muted {
            self.pipe.leave();
        }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.0.leave();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use limits::{AddressShare, Client, Quota, Terms};

    use super::*;

    fn held(max: u64) -> (Arc<Quota>, Held) {
        let terms = Terms::new("memory", "bytes", max, AddressShare::default());
        let quota = Quota::new(terms, &metrics::Registry::new());
        let held = quota.take(Client::TRUSTED, 0).unwrap();
        (quota, held)
    }

    #[test]
    fn a_caller_gets_the_pieces_and_the_end() {
        let (tap, body) = tee(held(0).1, None);
        assert!(tap.push("a".into()) && tap.push("b".into()));
        tap.finish(Ok(()));
        let whole = body.collect().now_or_never().unwrap().unwrap();
        assert_eq!(whole.to_bytes(), "ab");
    }

    #[test]
    fn an_answer_whose_task_ended_early_breaks_off() {
        let (tap, mut body) = tee(held(0).1, None);
        assert!(tap.push("a".into()));
        drop(tap);
        assert!(body.frame().now_or_never().unwrap().unwrap().is_ok());
        assert_eq!(body.frame().now_or_never().unwrap().unwrap().unwrap_err(), BrokenOff);
    }

    #[test]
    fn a_caller_that_takes_nothing_is_cut_off_and_its_memory_is_free() {
        let (quota, held) = held(3 * FREE_BYTES as u64);
        let (tap, mut body) = tee(held, None);
        let piece = Bytes::from(vec![b'x'; FREE_BYTES]);
        let pushed: Vec<_> = (0..6).map(|_| tap.push(piece.clone())).collect();
        assert_eq!(pushed, [true, true, true, true, false, true]);
        assert!(tap.is_gone());
        assert_eq!(body.frame().now_or_never().unwrap().unwrap().unwrap_err(), BrokenOff);
        drop((tap, body));
        assert_eq!(quota.used(), 0);
    }

    #[tokio::test]
    async fn a_caller_with_another_body_is_there_as_long_as_that_body() {
        let (quota, held) = held(0);
        let (tap, body) = tee(held, None);
        let other = body.replaced_by(Body::from("other"));
        assert!(tap.push(Bytes::from(vec![b'x'; 2 * FREE_BYTES])) && quota.used() == 0);
        assert!(!tap.is_gone());
        assert_eq!(other.collect().await.unwrap().to_bytes(), "other");
        assert!(tap.is_gone());
    }

    #[tokio::test]
    async fn the_task_learns_that_the_caller_has_left() {
        let (tap, body) = tee(held(0).1, None);
        assert!(tap.gone().now_or_never().is_none());
        let gone = tap.gone();
        tokio::pin!(gone);
        assert!((&mut gone).now_or_never().is_none());
        drop(body);
        gone.await;
        tap.gone().await;
    }
}

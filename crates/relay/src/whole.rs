//! The body of a request that the relay reads as a whole before it passes it on.

use std::borrow::Cow;
use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use http_body_util::BodyExt as _;
use limits::Held;
use tokio::time::timeout;

use crate::error::Refusal;

/// A body, and the memory that it takes.
#[derive(Debug)]
pub(crate) struct Whole {
    pieces: Vec<Bytes>,
    held: Held,
}

/// The longest time for the whole body.
const BODY_MAX: Duration = Duration::from_mins(1);

impl Whole {
    /// Reads a body of at most `max` bytes. `held` counts its memory.
    ///
    /// # Errors
    /// It is too large or too slow, it breaks off, or there is no memory for it.
    pub(crate) async fn read(body: Body, max: usize, held: Held) -> Result<Self, Refusal> {
        let read = Self { pieces: Vec::new(), held }.take(body, max);
        timeout(BODY_MAX, read).await.map_err(|_| Refusal::SlowBody(BODY_MAX.as_secs()))?
    }

    async fn take(mut self, mut body: Body, max: usize) -> Result<Self, Refusal> {
        let mut bytes = 0_usize;
        while let Some(frame) = body.frame().await {
            let Ok(piece) = frame.map_err(|_| Refusal::BadBody)?.into_data() else { continue };
            bytes += piece.len();
            if bytes > max {
                return Err(Refusal::TooLarge(max));
            }
            self.held.resize(bytes as u64).map_err(|full| Refusal::Full(full.to_string()))?;
            self.pieces.push(piece);
        }
        Ok(self)
    }

    /// The body in one piece.
    pub(crate) fn bytes(&self) -> Cow<'_, [u8]> {
        match &self.pieces[..] {
            [] => Cow::Borrowed(&[]),
            [piece] => Cow::Borrowed(piece),
            pieces => Cow::Owned(pieces.concat()),
        }
    }

    /// Returns the body for the upstream, and the memory, which is to be held until the upstream has it.
    pub(crate) fn into_body(self) -> (reqwest::Body, Held) {
        let pieces = stream::iter(self.pieces.into_iter().map(Ok::<_, Infallible>));
        (reqwest::Body::wrap_stream(pieces), self.held)
    }
}

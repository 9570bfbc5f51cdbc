//! The body of a request: read as a whole, in pieces, or discarded.

use std::str::Utf8Error;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody as _};
use axum::http::{HeaderMap, header};
use http_body_util::BodyExt as _;
use tokio::time::timeout;

use crate::error::{Code, Error};

/// Largest part of a body that is read only to discard it: a few times the default limit, for a client that
/// sends a whole file before it reads the answer.
const DISCARD_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Longest time spent on discarding a body. Ends the read of an endless body.
const DISCARD_TIME_MAX: Duration = Duration::from_secs(1);

/// The body of a request.
#[derive(Debug, Default)]
pub(crate) struct Upload {
    body: Body,
    /// True if the publisher holds the body back until the server asks for it, which the first read does.
    held_back: bool,
}

/// The connection broke before the body had ended.
#[derive(Debug)]
pub(crate) struct BrokenOff;

impl Upload {
    /// Wraps the body that came with these headers.
    pub(crate) fn new(headers: &HeaderMap, body: Body) -> Self {
        Self { body, held_back: headers.contains_key(header::EXPECT) }
    }

    /// Returns the next piece; trailers are an empty piece. Cancel-safe: a piece that is not ready stays in
    /// the body.
    pub(crate) async fn chunk(&mut self) -> Option<Result<Bytes, BrokenOff>> {
        self.held_back = false;
        let frame = self.body.frame().await?;
        Some(frame.map(|frame| frame.into_data().unwrap_or_default()).map_err(|_| BrokenOff))
    }

    /// Reads to the end, at most `max` bytes in at most `time`.
    ///
    /// # Errors
    /// The body is too large (known before the first byte if its length is announced), takes too long, or
    /// breaks off.
    pub(crate) async fn read(&mut self, max: usize, time: Duration) -> Result<Vec<u8>, Error> {
        if let Some(announced) = self.body.size_hint().exact() {
            let bytes = usize::try_from(announced).unwrap_or(usize::MAX);
            if bytes > max {
                return Err(Error::too_large("the body", Some(bytes), max));
            }
        }
        timeout(time, self.collect(max)).await.unwrap_or_else(|_| {
            Err(Error::new(
                Code::BodyTimeout,
                format!(
                    "the body did not end within {time:?}; to stream events, send content type \
                     text/event-stream or application/x-ndjson"
                ),
            ))
        })
    }

    /// Reads the rest of the body and drops it, within limits.
    ///
    /// An answer that is sent while input is unread may never arrive: the close of such a socket resets the
    /// connection, and the reset discards bytes that the client has not read yet.
    pub(crate) async fn discard(&mut self) {
        if self.held_back {
            return;
        }
        let rest = async {
            let mut bytes = 0;
            while let Some(Ok(chunk)) = self.chunk().await {
                bytes += chunk.len();
                if bytes > DISCARD_BYTES_MAX {
                    return;
                }
            }
        };
        // A time-out is as good as the end of the body.
        let _in_time = timeout(DISCARD_TIME_MAX, rest).await;
    }

    async fn collect(&mut self, max: usize) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        while let Some(chunk) = self.chunk().await {
            let chunk =
                chunk.map_err(|BrokenOff| Error::new(Code::BadBody, "the body broke off"))?;
            if bytes.len() + chunk.len() > max {
                return Err(Error::too_large("the body", None, max));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }
}

/// Returns the bytes as text.
///
/// # Errors
/// The bytes are not UTF-8.
pub(crate) fn text(what: &str, bytes: Vec<u8>) -> Result<String, Error> {
    String::from_utf8(bytes).map_err(|error| not_utf8(what, error.utf8_error()))
}

pub(crate) fn not_utf8(what: &str, error: Utf8Error) -> Error {
    let offset = error.valid_up_to();
    Error::new(Code::BadBody, format!("{what} is not UTF-8 at byte {offset}"))
}

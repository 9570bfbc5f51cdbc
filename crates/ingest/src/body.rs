//! The body of a request: read as a whole, or thrown away.

use std::str::Utf8Error;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody as _};
use axum::http::{HeaderMap, header};
use http_body_util::BodyExt as _;
use tokio::time::timeout;

use crate::error::{Code, Error};

/// The most that is read only to be thrown away: the body of a client that sends its file in one go,
/// a few times over the default limit.
const DISCARD_BYTES_MAX: usize = 8 * 1024 * 1024;
/// The longest time that is spent on it. An endless body ends here.
const DISCARD_TIME_MAX: Duration = Duration::from_secs(1);

/// The body of a request.
#[derive(Debug, Default)]
pub(crate) struct Upload {
    body: Body,
    /// The publisher holds the body back until it is asked for, which the first read does.
    held_back: bool,
}

/// The connection broke before the body had ended.
#[derive(Debug)]
pub(crate) struct BrokenOff;

impl Upload {
    /// The body that came with these headers.
    pub(crate) fn new(headers: &HeaderMap, body: Body) -> Self {
        Self { body, held_back: headers.contains_key(header::EXPECT) }
    }

    /// The next piece; trailers are an empty one. Cancel-safe: what is not ready stays in the body.
    pub(crate) async fn chunk(&mut self) -> Option<Result<Bytes, BrokenOff>> {
        self.held_back = false;
        let frame = self.body.frame().await?;
        Some(frame.map(|frame| frame.into_data().unwrap_or_default()).map_err(|_| BrokenOff))
    }

    /// Reads to the end, at most `max` bytes in at most `time`.
    ///
    /// # Errors
    /// Too large (found before the first byte if the length is announced), too slow, or broken off.
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
                    "the body did not end within {time:?}; one that streams events has content \
                     type text/event-stream or application/x-ndjson"
                ),
            ))
        })
    }

    /// Reads the rest and drops it, within limits.
    ///
    /// An answer that is sent while input is unread may never arrive: closing such a socket resets
    /// the connection, and the reset overtakes what the client has not read yet.
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
        // Out of time is as good as done.
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

/// The body as text.
///
/// # Errors
/// Not UTF-8.
pub(crate) fn text(what: &str, bytes: Vec<u8>) -> Result<String, Error> {
    String::from_utf8(bytes).map_err(|error| not_utf8(what, error.utf8_error()))
}

pub(crate) fn not_utf8(what: &str, error: Utf8Error) -> Error {
    let offset = error.valid_up_to();
    Error::new(Code::BadBody, format!("{what} is not UTF-8 at byte {offset}"))
}

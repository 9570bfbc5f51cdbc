//! The body of a request: read as a whole, in pieces, or discarded.

use std::str::Utf8Error;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody as _};
use axum::http::{HeaderMap, header};
use futures_util::FutureExt as _;
use http_body_util::BodyExt as _;
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use crate::account::{Account, FREE_BYTES};
use crate::error::{Code, Error};
use crate::wait::{Wait, Waits};

/// Largest part of a body that is read only to discard it: a few times the default limit, for a client that
/// sends a whole file before it reads the answer.
const DISCARD_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Longest time spent on discarding a body. Ends the read of an endless body.
const DISCARD_TIME_MAX: Duration = Duration::from_secs(1);

/// The body of a request.
#[derive(Debug, Default)]
pub(crate) struct Upload {
    body: Body,
    /// The first bytes, or the end, if they are there and not taken yet.
    first: Option<Chunk>,
    /// True if the publisher holds the body back until the server asks for it, which the first read does.
    held_back: bool,
}

/// A piece of a body; `None` at its end.
type Chunk = Option<Result<Bytes, BrokenOff>>;

/// The connection broke before the body had ended.
#[derive(Debug)]
pub(crate) struct BrokenOff;

impl Upload {
    /// Wraps the body that came with these headers.
    pub(crate) fn new(headers: &HeaderMap, body: Body) -> Self {
        Self { body, first: None, held_back: headers.contains_key(header::EXPECT) }
    }

    /// Waits for the first bytes or the end of the body, at most so long, and keeps them.
    ///
    /// # Errors
    /// Neither has come.
    pub(crate) async fn begin(&mut self, time: Duration) -> Result<(), Elapsed> {
        let first = match self.bytes().now_or_never() {
            // Most bodies are there already, and need no timer.
            Some(first) => first,
            None => timeout(time, self.bytes()).await?,
        };
        self.first = Some(first);
        Ok(())
    }

    /// Returns the next piece; trailers are an empty piece. Cancel-safe: a piece that is not ready stays in
    /// the body.
    pub(crate) async fn chunk(&mut self) -> Chunk {
        if let Some(first) = self.first.take() {
            return first;
        }
        self.held_back = false;
        let frame = self.body.frame().await?;
        Some(frame.map(|frame| frame.into_data().unwrap_or_default()).map_err(|_| BrokenOff))
    }

    /// # Errors
    /// The body is announced to have more than `max` bytes.
    pub(crate) fn check_length(&self, max: usize) -> Result<(), Error> {
        let announced = self.body.size_hint().exact().unwrap_or(0);
        match usize::try_from(announced).unwrap_or(usize::MAX) {
            bytes if bytes > max => Err(Error::too_large("the body", Some(bytes), max)),
            _ => Ok(()),
        }
    }

    /// Reads to the end, at most `max` bytes in at most `time`. The bytes are charged to `account` while the
    /// body grows, and stay charged.
    ///
    /// # Errors
    /// The body is too large, takes too long, breaks off, or has no room in the account.
    pub(crate) async fn read(
        &mut self,
        max: usize,
        time: Duration,
        account: &mut Account,
        waits: &Waits,
    ) -> Result<Vec<u8>, Error> {
        if self.body.is_end_stream() {
            // All of it is there, and needs no timer.
            return self.collect(max, account).await;
        }
        let read = timeout(time, self.collect(max, account)).await;
        read.unwrap_or_else(|_| Err(waits.over(Wait::Body, time)))
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

    /// Returns the next piece that is not empty. Cancel-safe.
    async fn bytes(&mut self) -> Chunk {
        loop {
            let chunk = self.chunk().await;
            if !matches!(&chunk, Some(Ok(bytes)) if bytes.is_empty()) {
                return chunk;
            }
        }
    }

    async fn collect(&mut self, max: usize, account: &mut Account) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        while let Some(chunk) = self.chunk().await {
            let chunk =
                chunk.map_err(|BrokenOff| Error::new(Code::BadBody, "the body broke off"))?;
            if bytes.len() + chunk.len() > max {
                return Err(Error::too_large("the body", None, max));
            }
            bytes.extend_from_slice(&chunk);
            if bytes.len() > FREE_BYTES || !self.body.is_end_stream() {
                let held = account.hold(bytes.capacity());
                held.map_err(|full| Error::full(Code::Memory, full))?;
            }
        }
        Ok(bytes)
    }
}

/// Returns the bytes as text, without the byte order mark with which it may begin: the mark says how the text
/// is encoded, is no part of it, and JSON parsers refuse it.
///
/// # Errors
/// The bytes are not UTF-8.
pub(crate) fn text(what: &str, bytes: Vec<u8>) -> Result<String, Error> {
    let text = String::from_utf8(bytes).map_err(|error| not_utf8(what, error.utf8_error()))?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

pub(crate) fn not_utf8(what: &str, error: Utf8Error) -> Error {
    let offset = error.valid_up_to();
    Error::new(Code::BadBody, format!("{what} is not UTF-8 at byte {offset}"))
}

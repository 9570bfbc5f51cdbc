//! The body of a request: read as a whole, or thrown away.

use std::str::Utf8Error;
use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use http_body_util::BodyExt as _;
use tokio::time::timeout;

use crate::error::{Code, Error};

/// The most that is read only to be thrown away: the body of a client that sends its file in one go,
/// a few times over the default limit.
const DISCARD_BYTES_MAX: usize = 8 * 1024 * 1024;
/// The longest time that is spent on it. An endless body ends here.
const DISCARD_TIME_MAX: Duration = Duration::from_secs(1);

/// Reads a body to its end, at most `max` bytes in at most `time`.
///
/// # Errors
/// Too large (found before the first byte if the length is announced), too slow, or broken off.
pub(crate) async fn read(body: &mut Body, max: usize, time: Duration) -> Result<Vec<u8>, Error> {
    if let Some(announced) = body.size_hint().exact() {
        let bytes = usize::try_from(announced).unwrap_or(usize::MAX);
        if bytes > max {
            return Err(Error::too_large("the body", Some(bytes), max));
        }
    }
    timeout(time, collect(body, max)).await.unwrap_or_else(|_| {
        Err(Error::new(
            Code::BodyTimeout,
            format!(
                "the body did not end within {time:?}; one that streams events has content type \
                 text/event-stream or application/x-ndjson"
            ),
        ))
    })
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

/// Reads the rest of a body and drops it, within limits.
///
/// An answer that is sent while input is unread may never arrive: closing such a socket resets the
/// connection, and the reset overtakes what the client has not read yet.
pub(crate) async fn discard(mut body: Body) {
    let rest = async {
        let mut bytes = 0;
        while let Some(Ok(frame)) = body.frame().await {
            bytes += frame.data_ref().map_or(0, bytes::Bytes::len);
            if bytes > DISCARD_BYTES_MAX {
                return;
            }
        }
    };
    // Out of time is as good as done.
    let _in_time = timeout(DISCARD_TIME_MAX, rest).await;
}

async fn collect(body: &mut Body, max: usize) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|_| Error::new(Code::BadBody, "the body broke off before its end"))?;
        if let Some(data) = frame.data_ref() {
            if bytes.len() + data.len() > max {
                return Err(Error::too_large("the body", None, max));
            }
            bytes.extend_from_slice(data);
        }
    }
    Ok(bytes)
}

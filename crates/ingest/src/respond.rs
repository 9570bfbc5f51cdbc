//! The answer to a streaming body: receipts, and the wait for the publisher to read them.

use std::convert::Infallible;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::error::Error;
use crate::receipts::Receipts;
use crate::stream::Stream;
use crate::wait::{RECEIPTS_MAX, Wait};

/// Batches of receipts that wait to be sent: one, and the word that ends the stream.
const AHEAD_MAX: usize = 2;

/// Waits for the first receipts of a stream, then answers with them and all that follow. The status is 200,
/// unless the log stored no event of the first batch. Then it is the status of that error, so that a
/// publisher that reads only the status retries too.
pub(crate) async fn respond(mut stream: Stream) -> Response {
    let first = stream.receipts().await;
    let failure = first.as_ref().and_then(|receipts| receipts.failure.clone());
    let (sender, mut receiver) = mpsc::channel(AHEAD_MAX);
    if first.is_some() {
        // A task of its own: nobody asks a body for more while its publisher reads nothing.
        tokio::spawn(send(stream, sender));
    }
    let rest = stream::poll_fn(move |context| receiver.poll_recv(context));
    let lines = stream::iter(first).chain(rest);
    let lines = lines.map(|receipts| Ok::<_, Infallible>(Bytes::from(receipts.lines)));
    let mut response = Response::new(Body::from_stream(lines));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    // A publisher may wait for a receipt before it sends more, so a proxy must not buffer receipts.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    if let Some(seconds) = failure.as_ref().and_then(Error::retry_after) {
        headers.insert(header::RETRY_AFTER, seconds);
    }
    if let Some(challenge) = failure.as_ref().and_then(Error::challenge) {
        headers.insert(header::WWW_AUTHENTICATE, challenge);
    }
    *response.status_mut() = failure.map_or(StatusCode::OK, |error| error.code().status());
    response
}

/// Sends receipts until the stream is over, the connection is gone, or nobody reads them. The stream reads
/// no more of the body while its receipts wait.
async fn send(mut stream: Stream, sender: mpsc::Sender<Receipts>) {
    let sending = async {
        loop {
            // A stream that has stopped has no more to say, so it waits for no room.
            if !stream.has_stopped() {
                match timeout(RECEIPTS_MAX, sender.reserve_many(AHEAD_MAX)).await {
                    Ok(Ok(room)) => drop(room),
                    Ok(Err(_closed)) => return,
                    Err(_) => {
                        // The room for the last word is there, unless the connection is gone.
                        let _sent = sender.try_send(stream.stop(Wait::Receipts, RECEIPTS_MAX));
                        return;
                    }
                }
            }
            let Some(receipts) = stream.receipts().await else {
                return;
            };
            if sender.try_send(receipts).is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = sender.closed() => {}
        () = sending => {}
    }
}

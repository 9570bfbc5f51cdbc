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
pub(crate) async fn respond(stream: Stream) -> Response {
    let (sender, mut receiver) = mpsc::channel(AHEAD_MAX);
    // A task of its own: nobody asks a body for more while its publisher reads nothing, and nobody at all when the
    // publisher's connection is gone.
    tokio::spawn(send(stream, sender));
    let first = receiver.recv().await;
    let failure = first.as_ref().and_then(|receipts: &Receipts| receipts.failure.clone());
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
    loop {
        // A stream that has stopped has no more to say, so it waits for no room.
        if !stream.has_stopped() {
            match timeout(RECEIPTS_MAX, sender.reserve_many(AHEAD_MAX)).await {
                Ok(Ok(room)) => drop(room),
                Ok(Err(_closed)) => break,
                Err(_) => {
                    // The room for the last word is there, unless the connection is gone.
                    let _sent = sender.try_send(stream.stop(Wait::Receipts, RECEIPTS_MAX));
                    break;
                }
            }
        }
        let items = tokio::select! {
            // The body comes first, because it knows how it has ended. A dropped wait loses at most events that
            // nobody can be told of.
            biased;
            items = stream.items() => items,
            () = sender.closed() => break,
        };
        let Some(items) = items else { break };
        // To its end even if the connection is gone meanwhile: the stream must know its last event.
        let receipts = stream.publish(items).await;
        if sender.try_send(receipts).is_err() {
            break;
        }
    }
    drop(sender);
    stream.leave().await;
}

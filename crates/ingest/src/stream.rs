//! A body that streams events for as long as it likes, and the receipts that stream back.
//!
//! One loop: take what has arrived, append it as one batch, answer for each event, and only then take
//! more. So a quick publisher gets batches and a slow one an answer at once, an event never overtakes
//! another, and what is held is one batch and one line. A publisher that does not read its receipts is
//! after a while not read from either: it must read while it sends.
//!
//! The loop stops at the first error that asks to try again: the events behind it would overtake the
//! one that is to be sent again. What was gathered in the same append has an answer each of its own.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use event_log::{Append, Mark, NewEvent};
use futures_util::{FutureExt as _, StreamExt as _, stream};
use metrics::IntGauge;
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::yield_now;
use tokio_util::sync::CancellationToken;

use crate::appender::{Answer, Appender, transient};
use crate::body::{BrokenOff, Upload};
use crate::error::{Code, Error};
use crate::head::Head;
use crate::media::Media;
use crate::{Config, ndjson, sse};

/// Makes events of the pieces of a body.
pub(crate) trait Decode: Send {
    /// Takes the next piece, once [`Decode::take`] has nothing left.
    fn push(&mut self, chunk: Bytes);
    /// The next event that is complete.
    fn take(&mut self) -> Option<Item>;
    /// What the end of the body completes, or cuts off: then it is an error.
    fn finish(&mut self) -> Option<Item>;
}

/// An event in a body, or what is wrong with it.
#[derive(Debug)]
pub(crate) struct Item {
    /// The line it stands in or begins with, from 1.
    pub(crate) line: u64,
    pub(crate) event: Result<Append, Error>,
}

/// A body that streams events.
pub(crate) struct Stream {
    upload: Upload,
    decoder: Box<dyn Decode>,
    appender: Arc<Appender>,
    drain: CancellationToken,
    batch_max: usize,
    phase: Phase,
    /// Ends the topic when the body has ended well.
    end: Option<Append>,
    /// Taken, but not to be appended together with what came before it.
    held: Option<Item>,
    /// The line of the last item.
    line: u64,
    _slot: Slot,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Reading,
    /// The body has ended; the topic may have to.
    Ending,
    /// The publisher has been told to stop.
    Discarding,
    Over,
}

/// What a wait for the body brought.
enum Input {
    Chunk(Bytes),
    End,
    Broken,
    Drain,
}

/// The place of a stream among those that are served at a time.
#[derive(Debug)]
pub(crate) struct Slot {
    gauge: IntGauge,
    _permit: OwnedSemaphorePermit,
}

/// Receipts for a batch, a line each.
struct Receipts {
    lines: Vec<u8>,
    /// The error that stops the stream, if none of the batch was stored.
    failure: Option<Error>,
}

/// The most bytes of data gathered for one append, the event that passes it included: what Redis is
/// sent at once, and what each of many streams may hold.
const BATCH_BYTES_MAX: usize = 1024 * 1024;

impl Stream {
    /// A stream of the kind and to the topic that `head` names.
    pub(crate) fn new(
        head: Head,
        upload: Upload,
        config: &Config,
        appender: Arc<Appender>,
        slot: Slot,
    ) -> Self {
        let end = head.topic.clone().filter(|_| head.end).map(|topic| {
            let trace = head.trace.clone();
            let event = NewEvent { mark: Mark::End, trace, ..NewEvent::default() };
            Append { topic, event, key: None }
        });
        let max = config.event_bytes_max;
        let decoder: Box<dyn Decode> = match (head.media, &head.topic) {
            (Media::Sse, Some(topic)) => Box::new(sse::Decoder::new(topic.clone(), head, max)),
            _ => Box::new(ndjson::Decoder::new(head, max)),
        };
        Self {
            upload,
            decoder,
            appender,
            drain: config.drain.clone(),
            batch_max: config.batch_max.max(1),
            phase: Phase::Reading,
            end,
            held: None,
            line: 0,
            _slot: slot,
        }
    }

    /// Waits for the first receipts, then answers with them and all that follow. The status is 200
    /// unless the log took nothing of what came first: then it is that error's, so that those who
    /// look at the status only try again too.
    pub(crate) async fn respond(mut self) -> Response {
        let first = self.receipts().await;
        let failure = first.as_ref().and_then(|receipts| receipts.failure.clone());
        let rest = stream::unfold(self, async |mut stream| {
            let receipts = stream.receipts().await?;
            Some((receipts, stream))
        });
        let receipts = stream::iter(first).chain(rest);
        let lines = receipts.map(|receipts| Ok::<_, Infallible>(Bytes::from(receipts.lines)));
        let mut response = Response::new(Body::from_stream(lines));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
        // A proxy that gathers receipts would hold them back from a publisher that waits for them.
        headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
        if let Some(seconds) = failure.as_ref().and_then(Error::retry_after) {
            headers.insert(header::RETRY_AFTER, seconds);
        }
        *response.status_mut() = failure.map_or(StatusCode::OK, |error| error.code().status());
        response
    }

    /// The receipts for the next batch; `None` at the end.
    async fn receipts(&mut self) -> Option<Receipts> {
        loop {
            let items = match self.phase {
                Phase::Reading => self.gather().await,
                Phase::Ending => self.end(),
                Phase::Discarding => {
                    self.phase = Phase::Over;
                    self.upload.discard().await;
                    return None;
                }
                Phase::Over => return None,
            };
            if !items.is_empty() {
                return Some(self.publish(items).await);
            }
        }
    }

    /// Takes events: waits for the first, then all that have arrived, within the bounds of a batch.
    async fn gather(&mut self) -> Vec<Item> {
        if self.drain.is_cancelled() {
            return vec![self.draining()];
        }
        let mut items: Vec<_> = self.held.take().into_iter().collect();
        let mut bytes = items.iter().map(Item::bytes).sum::<usize>();
        while items.len() < self.batch_max && bytes < BATCH_BYTES_MAX {
            if let Some(item) = self.decoder.take() {
                self.line = item.line;
                if item.ends_topic() && !items.is_empty() {
                    // If the log fails what comes before, the topic must not be at its end.
                    self.held = Some(item);
                    break;
                }
                bytes += item.bytes();
                items.push(item);
                continue;
            }
            let input = match items.is_empty() {
                true => self.input().await,
                false => match self.chunk_at_hand().await {
                    Some(input) => input,
                    None => break,
                },
            };
            match input {
                Input::Chunk(chunk) => self.decoder.push(chunk),
                Input::End => {
                    self.phase = Phase::Ending;
                    self.held = self.decoder.finish();
                    break;
                }
                Input::Broken => {
                    self.phase = Phase::Over;
                    break;
                }
                Input::Drain => return vec![self.draining()],
            }
        }
        items
    }

    /// What is left when the body has ended: its last event, and by itself the end of the topic. A
    /// body that was cut off within an event did not end well.
    fn end(&mut self) -> Vec<Item> {
        if let Some(item) = self.held.take() {
            self.line = item.line;
            if item.event.is_err() {
                self.end = None;
            }
            return vec![item];
        }
        self.phase = Phase::Over;
        self.end.take().map(|end| Item { line: self.line, event: Ok(end) }).into_iter().collect()
    }

    async fn publish(&mut self, items: Vec<Item>) -> Receipts {
        let (lines, events): (Vec<_>, Vec<_>) =
            items.into_iter().map(|item| (item.line, item.event)).unzip();
        let answers = self.appender.publish(events).await;
        let stop = transient(&answers);
        if stop.is_some() {
            self.phase = Phase::Discarding;
        }
        let failure = stop.filter(|_| answers.iter().all(Result::is_err)).cloned();
        Receipts { lines: receipt_lines(&lines, &answers), failure }
    }

    /// The next piece of the body, or the end of this node. Both arms are cancel-safe.
    async fn input(&mut self) -> Input {
        let drain = self.drain.clone();
        tokio::select! {
            // A body that always has more must not keep the node from stopping.
            biased;
            () = drain.cancelled() => Input::Drain,
            input = self.chunk() => input,
        }
    }

    /// The next piece of the body if it has arrived. The connection reads a piece when the last one was
    /// taken, and needs a turn for it.
    async fn chunk_at_hand(&mut self) -> Option<Input> {
        match self.chunk().now_or_never() {
            None => {
                yield_now().await;
                self.chunk().now_or_never()
            }
            input => input,
        }
    }

    async fn chunk(&mut self) -> Input {
        match self.upload.chunk().await {
            Some(Ok(chunk)) => Input::Chunk(chunk),
            Some(Err(BrokenOff)) => Input::Broken,
            None => Input::End,
        }
    }

    fn draining(&self) -> Item {
        let message = "this node is stopping; send the rest to another";
        Item { line: self.line, event: Err(Error::new(Code::Draining, message)) }
    }
}

impl Item {
    fn bytes(&self) -> usize {
        self.event.as_ref().map_or(0, |append| append.event.data.len())
    }

    fn ends_topic(&self) -> bool {
        self.event.as_ref().is_ok_and(|append| append.event.mark != Mark::Open)
    }
}

impl Slot {
    /// A place, counted in `gauge` until it is dropped.
    pub(crate) fn new(permit: OwnedSemaphorePermit, gauge: IntGauge) -> Self {
        gauge.inc();
        Self { gauge, _permit: permit }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}

fn receipt_lines(lines: &[u64], answers: &[Answer]) -> Vec<u8> {
    let mut text = Vec::new();
    for (line, answer) in lines.iter().zip(answers) {
        match answer {
            Ok(ack) => serde_json::to_writer(&mut text, ack),
            Err(error) => {
                serde_json::to_writer(&mut text, &json!({ "error": error.wire(), "line": line }))
            }
        }
        .expect("a receipt is JSON, and a vector takes it");
        text.push(b'\n');
    }
    text
}

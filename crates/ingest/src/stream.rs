//! A body that streams events without end, and the receipts that stream back.
//!
//! One loop takes the events that have arrived, appends them as one batch, answers for each event, and only
//! then takes more. A fast publisher therefore gets batches, a slow publisher gets an answer at once, events
//! keep their order, and the loop holds one batch and one line. If a publisher does not read its receipts,
//! the loop stops reading its body, so a publisher must read while it sends.
//!
//! The loop stops at the first error that asks for a retry, because later events would otherwise be stored
//! before the one that is retried. Events of the same append each have an answer of their own.

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

use crate::Config;
use crate::appender::{Answer, Appender, transient};
use crate::body::{BrokenOff, Upload};
use crate::decode::{Decode, Item};
use crate::error::{Code, Error};
use crate::head::RequestHead;
use crate::media::Media;
use crate::ndjson::NdjsonDecoder;
use crate::sse::SseDecoder;

/// A body that streams events.
pub(crate) struct Stream {
    upload: Upload,
    decoder: Box<dyn Decode>,
    appender: Arc<Appender>,
    drain: CancellationToken,
    batch_max: usize,
    phase: Phase,
    /// The append that ends the topic after a body that ended cleanly.
    end: Option<Append>,
    /// An event that must not be in one append with the events before it.
    held: Option<Item>,
    /// The line of the last item.
    line: u64,
    _slot: Slot,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Reading,
    /// The body has ended, and perhaps the topic ends too.
    Ending,
    /// The publisher was told to stop; the rest of its body is dropped.
    Discarding,
    Over,
}

/// The result of a wait for the body.
enum Input {
    Chunk(Bytes),
    End,
    Broken,
    Drain,
}

/// One of the limited number of concurrent streams.
#[derive(Debug)]
pub(crate) struct Slot {
    gauge: IntGauge,
    _permit: OwnedSemaphorePermit,
}

/// The receipts of a batch, one per line.
struct Receipts {
    lines: Vec<u8>,
    /// The error that stops the stream, if no event of the batch was stored.
    failure: Option<Error>,
}

/// Data after which a batch takes no further event, in bytes. Bounds the size of one append to Redis, and
/// the memory of each of many streams.
const BATCH_BYTES_MAX: usize = 1024 * 1024;

impl Stream {
    /// Makes a stream with the form and the topic that `head` names.
    pub(crate) fn new(
        head: RequestHead,
        upload: Upload,
        config: &Config,
        appender: Arc<Appender>,
        slot: Slot,
    ) -> Self {
        let end = head.topic.clone().filter(|_| head.end).map(|topic| {
            let trace = head.trace.clone();
            let event = NewEvent { mark: Mark::End, trace, ..NewEvent::default() };
            Append::new(topic, event)
        });
        let max = config.event_bytes_max;
        let decoder: Box<dyn Decode> = match (head.media, &head.topic) {
            (Media::Sse, Some(topic)) => Box::new(SseDecoder::new(topic.clone(), head, max)),
            _ => Box::new(NdjsonDecoder::new(head, max)),
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

    /// Waits for the first receipts, then answers with them and all that follow. The status is 200, unless
    /// the log stored no event of the first batch. Then it is the status of that error, so that a publisher
    /// that reads only the status retries too.
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
        // A publisher may wait for a receipt before it sends more, so a proxy must not buffer receipts.
        headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
        if let Some(seconds) = failure.as_ref().and_then(Error::retry_after) {
            headers.insert(header::RETRY_AFTER, seconds);
        }
        *response.status_mut() = failure.map_or(StatusCode::OK, |error| error.code().status());
        response
    }

    /// Returns the receipts of the next batch, or `None` at the end.
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

    /// Gathers a batch: waits for the first event, then takes all that have arrived, within the bounds.
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
                    // The topic must not end if the append of the events before its end fails.
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

    /// Returns the rest after the body has ended: its last event, then in a call of its own the end of the
    /// topic. The topic does not end if the body was cut off within an event.
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

    /// Waits for the next piece of the body, or for the drain of this node. Both arms are cancel-safe.
    async fn input(&mut self) -> Input {
        let drain = self.drain.clone();
        tokio::select! {
            // The drain comes first, because a body that always has more must not keep the node from
            // stopping.
            biased;
            () = drain.cancelled() => Input::Drain,
            input = self.chunk() => input,
        }
    }

    /// Returns the next piece of the body if it has arrived. The connection's task reads a piece only after
    /// the last one was taken, so this lets that task run once.
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
        let message = "this node is stopping; send the rest to another node";
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
    /// Counts a stream in `gauge` until the slot is dropped.
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
                serde_json::to_writer(&mut text, &json!({ "error": error.body(), "line": line }))
            }
        }
        .expect("a receipt is JSON, and a vector takes it");
        text.push(b'\n');
    }
    text
}

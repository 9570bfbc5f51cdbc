//! A body that streams events without end, and the receipts that stream back.
//!
//! One loop takes the events that have arrived, appends them as one batch, answers for each event, and only
//! then takes more. A fast publisher therefore gets batches, a slow publisher gets an answer at once, events
//! keep their order, and the loop holds one batch and one line. If a publisher does not read its receipts,
//! the loop stops reading its body, so a publisher must read while it sends.
//!
//! The loop stops at the first error that asks for a retry, because later events would otherwise be stored
//! before the one that is retried. Events of the same append each have an answer of their own.

use std::sync::Arc;
use std::time::Duration;

use event_log::{Append, BreakReason, Mark, NewEvent};

use crate::Config;
use crate::appender::{Answer, Appender};
use crate::breaks::{Breaks, Unfinished};
use crate::decode::{Decode, Item};
use crate::error::{Code, Error};
use crate::head::RequestHead;
use crate::media::Media;
use crate::ndjson::NdjsonDecoder;
use crate::publisher::Publisher;
use crate::receipts::Receipts;
use crate::slots::StreamSlot;
use crate::source::{Input, Source};
use crate::sse::SseDecoder;
use crate::wait::Wait;

/// A body that streams events.
pub(crate) struct Stream {
    publisher: Publisher,
    source: Source,
    decoder: Box<dyn Decode>,
    appender: Arc<Appender>,
    batch_max: usize,
    phase: Phase,
    /// The append that ends the topic after a body that ended cleanly.
    end: Option<Append>,
    breaks: Arc<Breaks>,
    /// The topic of the query.
    unfinished: Option<Unfinished>,
    /// Set if the publisher broke off.
    broken: Option<BreakReason>,
    /// An event that must not be in one append with the events before it.
    held: Option<Item>,
    /// The line of the last item.
    line: u64,
    _slot: StreamSlot,
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

/// Data after which a batch takes no further event, in bytes. Bounds the size of one append to Redis, and
/// the memory of each of many streams.
const BATCH_BYTES_MAX: usize = 1024 * 1024;

impl Stream {
    /// Makes a stream of a party with the form and the topic that `head` names.
    pub(crate) fn new(
        head: RequestHead,
        publisher: Publisher,
        source: Source,
        config: &Config,
        (appender, breaks): (Arc<Appender>, Arc<Breaks>),
        slot: StreamSlot,
    ) -> Self {
        let end = head.topic.clone().filter(|_| head.end).map(|topic| {
            let trace = head.trace.clone();
            let event = NewEvent { mark: Mark::End, trace, ..NewEvent::default() };
            Append::new(topic, event)
        });
        let unfinished = head.topic.clone().map(|topic| Unfinished {
            topic,
            on_break: head.on_break.unwrap_or_default(),
            trace: head.trace.clone(),
            last: None,
        });
        let max = config.event_bytes_max;
        let decoder: Box<dyn Decode> = match (head.media, &head.topic) {
            (Media::Sse, Some(topic)) => Box::new(SseDecoder::new(topic.clone(), head, max)),
            _ => Box::new(NdjsonDecoder::new(head, max)),
        };
        Self {
            publisher,
            source,
            decoder,
            appender,
            batch_max: config.batch_max.max(1),
            phase: Phase::Reading,
            end,
            breaks,
            unfinished,
            broken: None,
            held: None,
            line: 0,
            _slot: slot,
        }
    }

    /// Waits for the events of the next batch, each for [`publish`](Self::publish); `None` at the end.
    pub(crate) async fn items(&mut self) -> Option<Vec<Item>> {
        loop {
            let items = match self.phase {
                Phase::Reading => self.gather().await,
                Phase::Ending => self.end(),
                Phase::Discarding => {
                    self.phase = Phase::Over;
                    self.source.discard().await;
                    return None;
                }
                Phase::Over => return None,
            };
            if !items.is_empty() {
                return Some(items);
            }
        }
    }

    /// Gathers a batch: waits for the first event, then takes all that have arrived, within the bounds.
    async fn gather(&mut self) -> Vec<Item> {
        if let Some(error) = self.source.draining().or_else(|| self.publisher.over()) {
            return vec![self.error(error)];
        }
        let mut items: Vec<_> = self.held.take().into_iter().collect();
        let mut bytes = items.iter().map(Item::bytes).sum::<usize>();
        while items.len() < self.batch_max && bytes < BATCH_BYTES_MAX {
            if let Some(item) = self.decoder.take() {
                self.line = item.line;
                self.source.event();
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
                true => self.wait().await,
                false => match self.source.at_hand().await {
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
                    self.broken = Some(BreakReason::Disconnected);
                    break;
                }
                Input::Stop(error) => {
                    if error.code() == Code::BodyTimeout {
                        self.broken = Some(BreakReason::Timeout);
                    }
                    return vec![self.error(error)];
                }
            }
        }
        items
    }

    /// Waits for the next piece of the body, but not beyond the publisher's right.
    async fn wait(&mut self) -> Input {
        let (bytes, unfinished) = (self.decoder.bytes(), self.decoder.unfinished());
        let wait = self.source.wait(bytes, unfinished);
        self.publisher.within(wait).await.unwrap_or_else(Input::Stop)
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

    /// Returns true if the publisher was told to stop, or the body is over.
    pub(crate) fn has_stopped(&self) -> bool {
        matches!(self.phase, Phase::Discarding | Phase::Over)
    }

    /// Returns the receipts of a stream that ends because a wait was too long.
    pub(crate) fn stop(&mut self, wait: Wait, max: Duration) -> Receipts {
        self.phase = Phase::Over;
        self.broken = Some(BreakReason::Timeout);
        let error = self.source.over(wait, max);
        Receipts::new(&[self.line], &[Err(error)], None)
    }

    /// Leaves the topic as a publisher does that broke off, if this one did. Call it when nothing more is read or
    /// said.
    pub(crate) async fn leave(mut self) {
        if self.phase == Phase::Reading && self.source.was_cut_off().await {
            self.broken = Some(BreakReason::Disconnected);
        }
        if let (Some(unfinished), Some(reason)) = (self.unfinished, self.broken) {
            self.breaks.tell(&self.publisher, unfinished, reason).await;
        }
    }

    /// Appends a batch, and returns its receipts.
    pub(crate) async fn publish(&mut self, items: Vec<Item>) -> Receipts {
        let bytes = items.iter().map(Item::bytes).sum::<usize>() + self.decoder.bytes();
        let charged = self.source.charge(bytes);
        let (lines, events): (Vec<_>, Vec<_>) = items
            .into_iter()
            .map(|item| (item.line, item.event.and_then(|event| charged.clone().map(|()| event))))
            .unzip();
        let answers = self.appender.publish(&self.publisher, events).await;
        self.note(&answers);
        let errors = answers.iter().filter_map(|answer| answer.as_ref().err());
        let stop = errors.into_iter().find(|error| error.code().ends_stream());
        if stop.is_some() {
            self.phase = Phase::Discarding;
        }
        let failure = stop.filter(|_| answers.iter().all(Result::is_err)).cloned();
        Receipts::new(&lines, &answers, failure)
    }

    /// Notes the last event of the query's topic that is stored.
    fn note(&mut self, answers: &[Answer]) {
        let Some(Unfinished { topic, last, .. }) = &mut self.unfinished else { return };
        let mut stored = answers.iter().filter_map(|answer| answer.as_ref().ok());
        let newest = stored.rfind(|ack| ack.is_of(topic)).map(|ack| ack.position);
        *last = newest.max(*last);
    }

    fn error(&self, error: Error) -> Item {
        Item { line: self.line, event: Err(error) }
    }
}

impl Item {
    fn bytes(&self) -> usize {
        self.event.as_ref().map_or(0, |append| append.event.data.len())
    }

    fn ends_topic(&self) -> bool {
        self.event.as_ref().is_ok_and(|append| append.event.mark.ends())
    }
}

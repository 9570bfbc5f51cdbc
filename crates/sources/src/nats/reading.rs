//! A reading of a stream: messages as they come, and the holes between them.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer::{PullConsumer, pull};
use async_nats::jetstream::{Message, stream};
use async_trait::async_trait;
use event_log::{EventType, NewEvent};
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::Nats;
use super::origin::Stamp;
use super::stream::{away, nanoseconds};
use crate::place::Place;
use crate::source::{BATCH_MAX, Failure, Item, Lag, Reading};

/// Time between two looks at a stream of which nothing comes.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Most bytes of a refused payload that are shown.
const EXCERPT_BYTES: usize = 4096;

/// A consumer and its messages.
pub(super) struct StreamReading {
    reader: Reader,
    /// Items that the next call returns: two at most, a hole and the message behind it.
    ready: VecDeque<Item>,
    /// The failure that comes after what is ready.
    failed: Option<Failure>,
    stream: stream::Stream,
    consumer: PullConsumer,
    messages: pull::Stream,
    /// Cancelled when the connection is lost.
    lost: CancellationToken,
    look: Instant,
}

/// Makes items of messages.
pub(super) struct Reader {
    pub(super) nats: Arc<Nats>,
    pub(super) era: u64,
    /// When the stream was made.
    pub(super) created: i64,
    /// True if a number that is missing is a message that is missing.
    pub(super) is_whole: bool,
    /// The last sequence that has become an item.
    pub(super) last: u64,
    /// The time of the message with this sequence.
    pub(super) time: i64,
    /// Messages that the consumer has sent and that have become items.
    pub(super) taken: u64,
    /// Messages that the stream has after the last.
    pub(super) pending: u64,
}

impl StreamReading {
    pub(super) fn new(
        reader: Reader,
        first: Option<Item>,
        stream: stream::Stream,
        consumer: PullConsumer,
        messages: pull::Stream,
        lost: CancellationToken,
    ) -> Self {
        let ready = first.into_iter().collect();
        let look = Instant::now() + LOOK_EVERY;
        Self { reader, ready, failed: None, stream, consumer, messages, lost, look }
    }

    fn take<E: std::fmt::Display>(&mut self, message: Option<Result<Message, E>>) {
        let taken = match message {
            Some(Ok(message)) => self.reader.items(&message),
            Some(Err(error)) => Err(Failure::Away(format!("the messages end: {error}"))),
            None => Err(Failure::Away("the messages end".to_owned())),
        };
        match taken {
            Ok((hole, item)) => self.ready.extend(hole.into_iter().chain([item])),
            Err(failure) => self.failed = Some(failure),
        }
    }

    /// Compares the stream with the consumer, if nothing comes: what is behind the last message and will not come is told.
    async fn look(&mut self) -> Result<Option<Item>, Failure> {
        let state = self.stream.get_info().await.map_err(away)?.state;
        // Asked second: a message that it does not know of is behind the state.
        let info = self.consumer.get_info().await.map_err(away)?;
        let is_at_end =
            info.num_pending == 0 && info.delivered.consumer_sequence == self.reader.taken;
        if !is_at_end || state.last_sequence <= self.reader.last {
            return Ok(None);
        }
        let time = nanoseconds(state.last_timestamp);
        Ok(Some(self.reader.pass(state.last_sequence, time)))
    }
}

#[async_trait]
impl Reading for StreamReading {
    async fn next(&mut self) -> Result<Vec<Item>, Failure> {
        loop {
            // Nothing is awaited from here to the return, so nothing is lost.
            while self.ready.len() + 2 <= BATCH_MAX && self.failed.is_none() {
                match self.messages.next().now_or_never() {
                    Some(message) => self.take(message),
                    None => break,
                }
            }
            if !self.ready.is_empty() {
                return Ok(self.ready.drain(..).collect());
            }
            if let Some(failure) = self.failed.take() {
                return Err(failure);
            }
            tokio::select! {
                biased;
                // A stream, of which a dropped `next` takes nothing.
                message = self.messages.next() => self.take(message),
                () = self.lost.cancelled() => {
                    return Err(Failure::Away("the connection was lost".to_owned()));
                }
                // A look that is broken off is begun anew by the next call.
                () = sleep_until(self.look) => {
                    let passed = self.look().await?;
                    self.look = Instant::now() + LOOK_EVERY;
                    self.ready.extend(passed);
                }
            }
        }
    }

    async fn stored(&mut self, _up_to: &Place) -> Result<(), Failure> {
        Ok(())
    }

    fn lag(&self) -> Lag {
        Lag { events: Some(self.reader.pending), bytes: None }
    }
}

impl Reader {
    /// The item of a message, and the hole before it.
    fn items(&mut self, message: &Message) -> Result<(Option<Item>, Item), Failure> {
        let info = message.info().map_err(away)?;
        let (sequence, taken) = (info.stream_sequence, info.consumer_sequence);
        if taken != self.taken + 1 {
            let (last, next) = (self.taken, taken);
            return Err(Failure::Away(format!("after message {last} of the consumer came {next}")));
        }
        if sequence <= self.last {
            let last = self.last;
            return Err(Failure::Away(format!(
                "after sequence {last} of the stream came {sequence}"
            )));
        }
        let time = nanoseconds(info.published);
        let is_hole = self.is_whole && sequence > self.last + 1;
        let hole = is_hole.then(|| self.pass(sequence - 1, time - 1));
        (self.last, self.time) = (sequence, time);
        (self.taken, self.pending) = (taken, info.pending);
        let place = self.place();
        let item = match self.event(message) {
            Ok((topic, event)) => Item::Event { topic, event, place },
            Err(reason) => {
                let payload = &message.payload[..message.payload.len().min(EXCERPT_BYTES)];
                let excerpt = String::from_utf8_lossy(payload).into_owned();
                Item::Bad { excerpt, reason, place }
            }
        };
        Ok((hole, item))
    }

    /// Goes to a sequence although no message came up to there: they are lost, or were not asked for.
    fn pass(&mut self, sequence: u64, time: i64) -> Item {
        let missed = sequence - self.last;
        (self.last, self.time) = (sequence, time);
        let place = self.place();
        if self.is_whole {
            let reason = format!("the stream has removed {missed} messages before they were read");
            Item::Gap { missed: Some(missed), reason, place }
        } else {
            Item::Passed(place)
        }
    }

    fn place(&self) -> Place {
        Stamp { created: self.created, time: self.time }.place(self.era, self.last)
    }

    fn event(&self, message: &Message) -> Result<(event_log::Topic, NewEvent), String> {
        let subject = message.subject.as_str();
        let topic = self.nats.topic.render(|field| match field {
            "subject" => Some(Cow::Borrowed(subject)),
            "stream" => Some(Cow::Borrowed(&self.nats.stream)),
            _ => None,
        });
        let topic = topic.map_err(|error| format!("subject {subject:?}: {error}"))?;
        let header = &*self.nats.type_header;
        let kind = message.headers.as_ref().and_then(|headers| headers.get(header));
        let kind = kind.map(|kind| EventType::new(kind.as_str())).transpose();
        let kind = kind.map_err(|error| format!("header {header}: {error}"))?;
        let payload = &message.payload;
        let data = std::str::from_utf8(payload).map_err(|error| {
            format!("the payload of {} bytes is not UTF-8: {error}", payload.len())
        })?;
        Ok((topic, NewEvent { kind, data: data.into(), ..NewEvent::default() }))
    }
}

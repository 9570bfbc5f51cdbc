//! The waits for a publisher, each of which has an end.

use std::time::Duration;

use metrics::{Counters, Registry, label};
use tokio::time::Instant;

use crate::error::{Code, Error};

/// Longest time until the first bytes of a body that is read as a whole. A request that waits for them
/// costs its HTTP/2 stream or its connection.
pub(crate) const FIRST_BYTES_MAX: Duration = Duration::from_secs(10);
/// Longest time until a streaming body has sent its first event: a slow source has as long to begin.
pub(crate) const FIRST_EVENT_MAX: Duration = Duration::from_secs(30);
/// Longest time without a byte of a streaming body that has sent an event. A source may be silent for long,
/// and most send a comment or a blank line meanwhile; a publisher that is told to come back loses nothing.
pub(crate) const IDLE_MAX: Duration = Duration::from_hours(1);
/// Longest time from the first byte of a streamed event to its last.
pub(crate) const EVENT_MAX: Duration = Duration::from_hours(1);
/// Longest time that receipts wait to be read, while the network is full of those before.
pub(crate) const RECEIPTS_MAX: Duration = Duration::from_mins(1);

label! {
    /// The waits for a publisher.
    pub(crate) enum Wait as "wait" {
        /// For the first bytes of a body that is read as a whole.
        FirstBytes => "first_bytes",
        /// For the end of such a body.
        Body => "body",
        /// For the first event of a streaming body.
        FirstEvent => "first_event",
        /// For the next bytes of a streaming body.
        Idle => "idle",
        /// For the end of a streamed event.
        Event => "event",
        /// For the publisher to read its receipts.
        Receipts => "receipts",
    }
}

/// Counts the waits that were too long.
#[derive(Debug)]
pub(crate) struct Waits(Counters<Wait>);

/// The times of a streaming body.
#[derive(Debug)]
pub(crate) struct Clock {
    began: Instant,
    has_sent_event: bool,
    /// The line at which the unfinished event began, and the time at which it was first seen.
    unfinished: Option<(u64, Instant)>,
}

impl Waits {
    pub(crate) fn new(registry: &Registry) -> Self {
        let help = "Bodies that ingest stopped to wait for, by the wait that was too long.";
        Self(registry.counters("publish_timeouts_total", help))
    }

    /// Counts a wait that was too long, and returns its error. `max` is the longest time.
    pub(crate) fn over(&self, wait: Wait, max: Duration) -> Error {
        self.0.of(wait).inc();
        let message = match wait {
            Wait::FirstBytes => format!("no byte of the body arrived within {max:?}"),
            Wait::Body => format!(
                "the body did not end within {max:?}; to stream events, send content type \
                 text/event-stream or application/x-ndjson"
            ),
            Wait::FirstEvent => format!("the stream had no event within {max:?}"),
            Wait::Idle => format!("the stream had no byte for {max:?}; send the rest again"),
            Wait::Event => format!("the event did not end within {max:?}"),
            Wait::Receipts => format!(
                "the receipts were not read for {max:?}; send all lines without a receipt again"
            ),
        };
        Error::new(Code::BodyTimeout, message)
    }
}

impl Clock {
    /// Starts when the request has come.
    pub(crate) const fn new(began: Instant) -> Self {
        Self { began, has_sent_event: false, unfinished: None }
    }

    /// Notes that the body has sent an event, even a bad one.
    pub(crate) const fn event(&mut self) {
        self.has_sent_event = true;
    }

    /// Returns the wait for more bytes that ends first, its end, and its longest time. `unfinished` is the
    /// line at which the body's unfinished event begins.
    pub(crate) fn wait(&mut self, unfinished: Option<u64>) -> (Wait, Instant, Duration) {
        let now = Instant::now();
        self.unfinished = unfinished.map(|line| match self.unfinished {
            Some((before, since)) if before == line => (line, since),
            _ => (line, now),
        });
        if !self.has_sent_event {
            return (Wait::FirstEvent, self.began + FIRST_EVENT_MAX, FIRST_EVENT_MAX);
        }
        let idle = now + IDLE_MAX;
        match self.unfinished {
            Some((_, since)) if since + EVENT_MAX < idle => {
                (Wait::Event, since + EVENT_MAX, EVENT_MAX)
            }
            _ => (Wait::Idle, idle, IDLE_MAX),
        }
    }
}

//! One open event stream: a cursor, and how its steps look on the wire.
//!
//! Its memory is constant: it holds a cursor and the bytes of at most one page, and makes the next
//! only when it is asked, which is when the client has taken the last.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use event_log::{Cursor, Event, Limit, Outcome, Step};
use tokio::time::{Instant, sleep_until};

use crate::connections::Admission;
use crate::control;
use crate::drain::Lifetime;
use crate::frame::{HEARTBEAT, Shape};
use crate::gateway::Shared;
use crate::metrics::{Close, Resumed};
use crate::request::Style;

/// A subscriber's event stream.
#[derive(Debug)]
pub(crate) struct Subscriber {
    gateway: Arc<Shared>,
    admission: Admission,
    cursor: Cursor,
    outcome: Outcome,
    /// The client's cursor as it came, to be shown in a gap if it was not understood.
    brought: Option<String>,
    style: Style,
    lifetime: Lifetime,
    heartbeat: Duration,
    next_heartbeat: Instant,
    opened_ms: u64,
    stage: Stage,
    /// Whether the cursor has moved since an id was last sent.
    id_is_behind: bool,
    /// Whether the reader has been at the tail.
    caught_up: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Opening,
    Open,
    Closed(Close),
}

/// The most that is written at once: enough that a reader that is behind costs a system call for
/// hundreds of events, little enough that one that stalls pins only this.
const PAGE: Limit = Limit { events: 512, bytes: 64 * 1024 };

impl Subscriber {
    pub(crate) fn new(
        gateway: Arc<Shared>,
        admission: Admission,
        (cursor, outcome): (Cursor, Outcome),
        brought: Option<String>,
        style: Style,
        heartbeat: Duration,
    ) -> Self {
        let lifetime = Lifetime::new(gateway.phase.subscribe(), gateway.config.max_age);
        // Spread, so that clients who came together are not written to together for ever.
        let next_heartbeat = Instant::now() + heartbeat.mul_f64(0.5 + 0.5 * fastrand::f64());
        Self {
            gateway,
            admission,
            cursor,
            outcome,
            brought,
            style,
            lifetime,
            heartbeat,
            next_heartbeat,
            opened_ms: now_ms(),
            stage: Stage::Opening,
            id_is_behind: false,
            caught_up: false,
        }
    }

    /// What is to be written next; `None` when the stream is over. Waits for it.
    ///
    /// Cancel-safe: what moves the cursor is returned in the same moment.
    pub(crate) async fn next(&mut self) -> Option<Bytes> {
        let bytes = match self.stage {
            Stage::Opening => self.open(),
            Stage::Open => self.go_on().await?,
            Stage::Closed(_) => return None,
        };
        self.next_heartbeat = Instant::now() + self.heartbeat;
        self.admission.connection.bytes.fetch_add(bytes.len() as u64, Relaxed);
        Some(bytes)
    }

    fn open(&mut self) -> Bytes {
        self.stage = Stage::Open;
        let config = &self.gateway.config;
        let mut out = BytesMut::from(&HEARTBEAT[..]);
        let retry_ms = control::jittered(config.retry);
        control::put_ready(&mut out, self.outcome, &config.node, retry_ms, &self.cursor.wire());
        out.freeze()
    }

    async fn go_on(&mut self) -> Option<Bytes> {
        loop {
            // In this order, so that a reader for whom there is always something is handed away all
            // the same. Each arm may be dropped at any await: see `over` and `Cursor::next`.
            tokio::select! {
                biased;
                reason = self.lifetime.over() => return Some(self.hand_away(reason)),
                step = self.cursor.next(PAGE) => {
                    if step_is_finished(&step) {
                        self.stage = Stage::Closed(Close::End);
                        return None;
                    }
                    if let Some(bytes) = self.deliver(&step) {
                        return Some(bytes);
                    }
                }
                () = sleep_until(self.next_heartbeat) => return Some(self.beat()),
            }
        }
    }

    fn hand_away(&mut self, reason: Close) -> Bytes {
        self.stage = Stage::Closed(reason);
        let retry_ms = control::jittered(self.gateway.config.retry);
        let mut out = BytesMut::new();
        control::put_reconnect(&mut out, reason, retry_ms, Some(&self.cursor.wire()));
        out.freeze()
    }

    fn beat(&mut self) -> Bytes {
        if !std::mem::take(&mut self.id_is_behind) {
            return HEARTBEAT;
        }
        let mut out = BytesMut::new();
        control::put_cursor(&mut out, &self.cursor.wire());
        out.freeze()
    }

    /// The bytes of a step, if this subscriber wants any of it.
    fn deliver(&mut self, step: &Step) -> Option<Bytes> {
        let bytes = match step {
            Step::Events { topic, events } => self.deliver_events(*topic, events),
            Step::Gap { topic, gap } => {
                self.gateway.metrics.gaps.of(gap.reason.into()).inc();
                let name = self.cursor.topics().nth(*topic).expect("a step is of a topic");
                let json = control::gap_json(name, gap, self.brought.as_deref());
                let mut out = BytesMut::new();
                control::put_gap(&mut out, &json, &self.cursor.wire());
                Some(out.freeze())
            }
            Step::End { topic } => {
                let name = self.cursor.topics().nth(*topic).expect("a step is of a topic");
                let mut out = BytesMut::new();
                control::put_end(&mut out, name, &self.cursor.wire());
                Some(out.freeze())
            }
            Step::Finished => None,
        };
        self.id_is_behind = bytes.is_none();
        bytes
    }

    fn deliver_events(&mut self, topic: usize, events: &[Event]) -> Option<Bytes> {
        let shape = if self.style.envelope { Shape::Envelope } else { Shape::Plain };
        let mut wanted = events.iter().filter(|event| self.style.wants(event.kind())).peekable();
        let first = wanted.next();
        let bytes = match first {
            None => None,
            Some(first) if wanted.peek().is_none() && !self.cursor.is_several() => {
                Some(shape.frame(first).clone())
            }
            Some(first) => {
                let mut out = BytesMut::with_capacity(events.len() * shape.frame(first).len());
                for event in std::iter::once(first).chain(wanted) {
                    match self.cursor.is_several() {
                        true => {
                            let id = self.cursor.wire_at(topic, event.position());
                            shape.put_frame(&mut out, event, &id);
                        }
                        false => out.extend_from_slice(shape.frame(event)),
                    }
                }
                Some(out.freeze())
            }
        };
        self.count(events);
        bytes
    }

    fn count(&mut self, events: &[Event]) {
        let metrics = &self.gateway.metrics;
        let wanted = events.iter().filter(|event| self.style.wants(event.kind()));
        let (mut count, mut replayed) = (0, 0);
        for event in wanted {
            count += 1;
            replayed += u64::from(event.position().ms < self.opened_ms);
        }
        metrics.delivered.inc_by(count);
        metrics.replayed.inc_by(replayed);
        let connection = &self.admission.connection;
        connection.events.fetch_add(count, Relaxed);
        let lag = self.cursor.lag();
        connection.lag.store(lag, Relaxed);
        if let Some(last) = events.last().filter(|last| last.position().ms >= self.opened_ms) {
            let age_ms = now_ms().saturating_sub(last.position().ms);
            metrics.delivery_latency_seconds.observe(age_ms as f64 / 1000.0);
        }
        if lag == 0 && !self.caught_up {
            self.caught_up = true;
            if Resumed::of(self.outcome).is_some() {
                metrics.replay_seconds.observe(connection.age().as_secs_f64());
            }
        }
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let reason = match self.stage {
            Stage::Closed(reason) => reason,
            // Nobody reads any more.
            Stage::Opening | Stage::Open => Close::Client,
        };
        let connection = &self.admission.connection;
        self.gateway.metrics.closed.of(reason).inc();
        self.gateway.metrics.age_seconds.observe(connection.age().as_secs_f64());
        tracing::debug!(
            reason = metrics::Label::as_str(reason),
            age_seconds = connection.age().as_secs(),
            events = connection.events.load(Relaxed),
            bytes = connection.bytes.load(Relaxed),
            "connection closed"
        );
    }
}

const fn step_is_finished(step: &Step) -> bool {
    matches!(step, Step::Finished)
}

/// Milliseconds since 1970, to compare with the log's.
fn now_ms() -> u64 {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}

//! One open event stream: a cursor, and the bytes of its steps.
//!
//! The memory of a subscriber is constant: a cursor and the bytes of at most one page. The writer polls for
//! the next page when the client has taken the last one.

mod account;
mod bounds;
mod presence;

use std::borrow::Cow;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use access::Grant;
use bytes::{Bytes, BytesMut};
use event_log::{Cursor, Event, Events, Limit, Opened, Outcome, Part, Position, Step, Topic};
use futures_util::FutureExt as _;
use tokio::time::{Instant, Sleep};

use crate::alarm::{Alarm, Ring};
use crate::connections::{Admission, Connection};
use crate::control::{self, BreakReport, ControlEvent, GapReport, Ready};
use crate::drain::Lifetime;
use crate::frame::{Framing, HEARTBEAT, Shape, put_retry};
use crate::gateway::Shared;
use crate::metrics::Close;
use crate::presence::Attendance;
use crate::request::{Control, Heartbeat, Manner, Style};
use crate::{hub, tickets, whereabouts};

/// A subscriber's event stream.
#[derive(Debug)]
pub(crate) struct Subscriber {
    gateway: Arc<Shared>,
    admission: Admission,
    cursor: Cursor,
    outcome: Outcome,
    shape: Shape,
    framing: Framing,
    alarm: Alarm,
    stage: Stage,
    /// Set when the cursor has moved since the last id was sent.
    id_is_behind: bool,
    /// Set when the reader has reached the tail. Events before that are a replay.
    caught_up: bool,
    /// Set when the last poll was pending.
    waited: bool,
    /// Set when it is time to see that the client is still there.
    doubt: bool,
    rare: Option<Box<Rare>>,
}

/// State that most subscribers do not have.
#[derive(Debug, Default)]
struct Rare {
    /// The client's cursor as sent.
    brought: Option<Box<str>>,
    /// The filter.
    style: Style,
    manner: Manner,
    /// Gaps at the opening that the subscriber is not to be told in the stream.
    told_gaps: usize,
    /// Breaks of publishers at the opening that the subscriber is not to be told in the stream.
    told_breaks: Vec<(Topic, Position)>,
    /// The pause before a reconnect, until the first event has brought it to a client that gets no control
    /// events.
    retry_ms: Option<u64>,
    /// Parts that the client's cursor does not know, until the client is told.
    new_parts: Vec<Part>,
    /// Set while the client waits because it has used up its replay rate.
    pause: Option<Pin<Box<Sleep>>>,
    /// The grant of a ticket, if the stream's control events carry tickets.
    renews: Option<Arc<Grant>>,
    /// The part in the presence of the topics.
    part: Option<Attendance>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Opening,
    Open,
    Closed(Close),
}

/// The target of the log lines about a connection, which have a level of their own: debug for the line at
/// the opening, info for the line at the close.
pub(crate) const CONNECTION: &str = "tailwater::connection";

/// Room for the first bytes of a stream of one topic: a comment and an event with the cursor, twice.
const BEGINNING_BYTES: usize = 256;

impl Subscriber {
    pub(crate) fn new(
        gateway: Arc<Shared>,
        admission: Admission,
        opened: Opened,
        brought: Option<String>,
        (style, manner, framing): (Style, Manner, Framing),
        renews: Option<Arc<Grant>>,
        part: Option<Attendance>,
    ) -> Self {
        let Opened { cursor, outcome, gaps, new_parts, broken } = opened;
        let lifetime = Lifetime::new(gateway.phase.subscribe(), gateway.config.max_age)
            .within(admission.connection.principal.left());
        let shape = match (&style.hub, style.envelope) {
            (Some(_), _) => Shape::Update,
            (None, true) => Shape::Envelope,
            (None, false) => Shape::Plain,
        };
        let is_rare = brought.is_some()
            || style.types.is_some()
            || style.hub.is_some()
            || renews.is_some()
            || part.is_some()
            || manner != Manner::default();
        let rare = is_rare.then(|| {
            // The head of a mute stream has it.
            let has_retry =
                matches!(manner.control, Control::Comment | Control::Off) && style.hub.is_none();
            let retry_ms = has_retry.then(|| control::jittered(gateway.config.retry));
            Box::new(Rare {
                brought: brought.map(Into::into),
                style,
                manner,
                told_breaks: match manner.control {
                    Control::Off => broken.into_iter().map(|(topic, at, _)| (topic, at)).collect(),
                    Control::Event | Control::Comment | Control::Mute => Vec::new(),
                },
                told_gaps: if manner.control == Control::Off { gaps.len() } else { 0 },
                retry_ms,
                new_parts,
                pause: None,
                renews,
                part,
            })
        });
        let silence = manner.silence.unwrap_or(gateway.config.heartbeat);
        let subscriber = Self {
            gateway,
            admission,
            cursor,
            outcome,
            shape,
            framing,
            alarm: Alarm::new(lifetime, silence),
            stage: Stage::Opening,
            id_is_behind: false,
            caught_up: false,
            waited: false,
            doubt: false,
            rare,
        };
        tracing::debug!(
            target: CONNECTION,
            connection = subscriber.admission.connection.id,
            client = %subscriber.admission.connection.whereabouts.peer(),
            forwarded_for = subscriber.admission.connection.whereabouts.forwarded_for.as_deref(),
            sub = subscriber.subject().as_deref(),
            topics = subscriber.admission.connection.texts().count(),
            outcome = outcome.as_str(),
            from = subscriber.from(),
            "connection opened"
        );
        subscriber
    }

    /// Returns the next bytes to write, or `None` at the end of the stream.
    ///
    /// Cancel-safe: the cursor moves only in the moment in which the bytes of its step are returned.
    pub(crate) async fn next(&mut self) -> Option<Bytes> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Returns the next bytes if no wait is needed for them. A read of the log that this begins goes on
    /// with the next poll; a writer that turns to other work first calls [`cancel_read`](Self::cancel_read).
    pub(crate) fn next_now(&mut self) -> Option<Bytes> {
        self.next().now_or_never().flatten()
    }

    /// Drops the read of the log that is under way, so that it keeps no connection from other readers.
    pub(crate) fn cancel_read(&mut self) {
        self.cursor.cancel_read();
    }

    /// Polls for the next bytes to write; `None` is the end of the stream. No read of the log is under way
    /// when bytes are returned, so a client that stalls holds no connection of the log.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            let next = match self.stage {
                Stage::Opening => self.begin(),
                Stage::Open => ready!(self.poll_step(cx)),
                Stage::Closed(_) => return Poll::Ready(None),
            };
            if let Some(bytes) = next {
                return Poll::Ready(Some(self.written(bytes)));
            }
        }
    }

    /// The connection, as drain and metrics see it.
    pub(crate) const fn connection(&self) -> &Arc<Connection> {
        &self.admission.connection
    }

    /// Ends the stream without another word, unless it has ended.
    pub(crate) fn close(&mut self, reason: Close) {
        if !matches!(self.stage, Stage::Closed(_)) {
            self.stage = Stage::Closed(reason);
        }
    }

    /// Returns true if it is time to see that the client is still there.
    pub(crate) const fn takes_doubt(&mut self) -> bool {
        std::mem::replace(&mut self.doubt, false)
    }

    /// Returns true if events are waiting for this subscriber.
    pub(crate) fn is_behind(&self) -> bool {
        self.cursor.lag() > 0
    }

    /// The manner of the stream.
    fn manner(&self) -> Manner {
        self.rare.as_ref().map_or_else(Manner::default, |rare| rare.manner)
    }

    /// Returns true if the body is not to end cleanly: the client is to come back, and has asked to be told so.
    pub(crate) fn breaks_off(&self) -> bool {
        self.manner().aborts && self.stage != Stage::Closed(Close::End)
    }

    fn begin(&mut self) -> Option<Bytes> {
        self.stage = Stage::Open;
        self.progress();
        let config = &self.gateway.config;
        let manner = self.manner();
        let mut out = BytesMut::with_capacity(BEGINNING_BYTES);
        if manner.heartbeat != Heartbeat::Off {
            out.extend_from_slice(&HEARTBEAT);
        }
        if self.shape == Shape::Update && manner.control != Control::Event {
            put_retry(&mut out, control::jittered(config.retry));
        }
        if matches!(manner.control, Control::Event | Control::Comment) {
            let silence = manner.silence.unwrap_or(config.heartbeat);
            let new_parts = self.rare.as_mut().map(|rare| std::mem::take(&mut rare.new_parts));
            let new_parts = new_parts.unwrap_or_default();
            let cursor = self.id();
            let ready = Ready {
                cursor: &cursor,
                heartbeat: (manner.heartbeat != Heartbeat::Off).then_some(silence),
                new_topics: new_parts.iter().flat_map(Part::texts).collect(),
                node: &config.node,
                outcome: self.outcome.as_str(),
                // A page whose stream breaks off without a word has a minute for the next one.
                ticket: self.ticket(self.alarm.ends().saturating_duration_since(Instant::now())),
            };
            let ready = ControlEvent::ready(ready, control::jittered(config.retry));
            self.put_control(&mut out, ready, &cursor);
        }
        (!out.is_empty()).then(|| self.framing.wrap(out.freeze()))
    }

    fn written(&mut self, bytes: Bytes) -> Bytes {
        self.alarm.put_off();
        self.admission.connection.bytes.add(bytes.len());
        self.gateway.metrics.delivered_bytes.inc_by(bytes.len() as u64);
        bytes
    }

    /// Polls for the bytes of the next step or of the alarm; `None` for a step without bytes for this
    /// subscriber.
    ///
    /// A reader that was waiting usually wakes for an event, and checks the alarm after the write. A reader
    /// that always finds a step checks the alarm first, or the alarm would never ring.
    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(rare) = &mut self.rare
            && let Some(part) = &mut rare.part
            && let Poll::Ready(news) = part.poll_next(cx)
        {
            return Poll::Ready(self.tell(&news));
        }
        if let Some(rare) = &mut self.rare
            && let Some(pause) = &mut rare.pause
        {
            if pause.as_mut().poll(cx).is_pending() {
                return self.poll_alarm(cx).map(|ring| self.answer(ring));
            }
            rare.pause = None;
        }
        let had_waited = std::mem::replace(&mut self.waited, true);
        if !had_waited && let Poll::Ready(ring) = self.poll_alarm(cx) {
            return Poll::Ready(self.answer(ring));
        }
        if let Poll::Ready(step) = self.cursor.poll_next(Limit::PAGE, cx) {
            self.waited = false;
            return Poll::Ready(self.deliver(step));
        }
        match had_waited {
            true => self.poll_alarm(cx).map(|ring| self.answer(ring)),
            false => Poll::Pending,
        }
    }

    fn poll_alarm(&mut self, cx: &mut Context<'_>) -> Poll<Ring> {
        self.alarm.poll(&self.admission.connection, cx)
    }

    fn answer(&mut self, ring: Ring) -> Option<Bytes> {
        self.doubt = true;
        // The cursor is not polled until the client has taken these bytes.
        let bytes = match ring {
            Ring::Look => return None,
            Ring::Over(reason) => self.hand_away(reason),
            Ring::Heartbeat => self.beat(),
        };
        self.cursor.cancel_read();
        bytes
    }

    fn hand_away(&mut self, reason: Close) -> Option<Bytes> {
        self.stage = Stage::Closed(reason);
        let retry_ms = control::jittered(self.gateway.config.retry);
        let ticket = match reason {
            // It would open a stream for some seconds at most.
            Close::Revoked | Close::TokenExpired => None,
            _ => self.ticket(Duration::from_millis(retry_ms)),
        };
        self.control(|_| ControlEvent::reconnect(reason, retry_ms, ticket))
    }

    /// A ticket for the stream after this one, which can be opened until a minute after `time`.
    fn ticket(&self, time: Duration) -> Option<String> {
        let grant = self.rare.as_ref()?.renews.as_ref()?;
        let topics: Vec<_> = self.admission.connection.texts().collect();
        tickets::renew(&self.gateway.config.access, grant, &topics, time)
    }

    fn beat(&mut self) -> Option<Bytes> {
        self.id_is_behind |= self.cursor.pass_by();
        let Manner { heartbeat, control, .. } = self.manner();
        match heartbeat {
            Heartbeat::Event => self.control(|cursor| ControlEvent::heartbeat(cursor)),
            _ if self.id_is_behind && control == Control::Event => {
                self.control(|cursor| ControlEvent::cursor(cursor))
            }
            Heartbeat::Comment => Some(self.framing.wrap(HEARTBEAT)),
            Heartbeat::Off => {
                self.alarm.put_off();
                None
            }
        }
    }

    /// The bytes of a step, or `None` if the step has no bytes for this subscriber.
    fn deliver(&mut self, step: Step) -> Option<Bytes> {
        let bytes = match step {
            Step::Events { place, events } => self.deliver_events(place, events),
            Step::Gap { place, gap } => {
                self.gateway.metrics.gaps.of(gap.reason).inc();
                if self.is_silent() {
                    self.pass_gap();
                    None
                } else {
                    let part = self.cursor.part(place);
                    let gap = GapReport::new(part.name(), &gap, self.brought());
                    self.control(|_| ControlEvent::gap(gap))
                }
            }
            Step::Broken { entry, .. } if self.is_silent() => {
                self.pass_break(&entry);
                None
            }
            Step::Broken { entry, reason, .. } => {
                let report = BreakReport::new(entry.topic(), reason);
                self.control(|_| ControlEvent::broken(report))
            }
            Step::Reopened { place } => {
                let reopened = ControlEvent::reopened(self.cursor.part(place).name());
                self.control(|_| reopened)
            }
            Step::End { place } => {
                let end = ControlEvent::end(self.cursor.part(place).name());
                self.control(|_| end)
            }
            Step::Finished => {
                self.stage = Stage::Closed(Close::End);
                return None;
            }
        };
        self.progress();
        bytes
    }

    fn deliver_events(&mut self, place: usize, mut events: Events) -> Option<Bytes> {
        if !self.caught_up {
            self.pay(&events);
        }
        let reached = events.last().map(Event::position);
        if let Some(rare) = &self.rare {
            events.retain(|event| rare.style.wants_event(event));
        }
        self.id_is_behind = events.last().map(Event::position) != reached;
        self.count(&events);
        let shape = self.shape;
        let is_shared = !self.cursor.is_several()
            && self.rare.as_ref().is_none_or(|rare| rare.retry_ms.is_none());
        match &events[..] {
            [] => None,
            [only] if is_shared => Some(self.framing.one(shape, only)),
            events if is_shared => Some(self.join(events, shape)),
            events => Some(self.adapt(place, events, shape)),
        }
    }

    /// Returns true if the stream has no control events.
    fn is_silent(&self) -> bool {
        matches!(self.manner().control, Control::Off | Control::Mute)
    }

    /// Passes a gap of which a stream without control events cannot tell. The client has heard of those at the
    /// opening from the head of the answer; for another it has to come back.
    fn pass_gap(&mut self) {
        match &mut self.rare {
            Some(rare) if rare.manner.control == Control::Mute => {}
            Some(rare) if rare.told_gaps > 0 => rare.told_gaps -= 1,
            _ => self.stage = Stage::Closed(Close::Gap),
        }
    }

    /// Passes the break of a publisher of which a stream without control events cannot tell, as a gap.
    fn pass_break(&mut self, entry: &Event) {
        let entry = (entry.topic().clone(), entry.position());
        let is_told = self.rare.as_ref().is_some_and(|rare| {
            rare.manner.control == Control::Mute || rare.told_breaks.contains(&entry)
        });
        if !is_told {
            self.stage = Stage::Closed(Close::Broken);
        }
    }

    /// The frames of several events, in one buffer.
    fn join(&self, events: &[Event], shape: Shape) -> Bytes {
        let size = events.iter().map(|event| shape.chunk(event).len()).sum();
        let mut out = BytesMut::with_capacity(size);
        events.iter().for_each(|event| self.framing.put(&mut out, shape, event));
        out.freeze()
    }

    /// The frames of events that are not as every reader gets them: with a cursor of several topics as the id, or
    /// with the first `retry`.
    fn adapt(&mut self, place: usize, events: &[Event], shape: Shape) -> Bytes {
        let mut retry_ms = self.rare.as_mut().and_then(|rare| rare.retry_ms.take());
        let id_len = if self.cursor.is_several() { self.cursor.wire().len() } else { 0 };
        let size = events.iter().map(|event| shape.chunk(event).len() + id_len).sum();
        let mut out = BytesMut::with_capacity(size);
        for event in events {
            let id = self.cursor.wire_at(place, event.position());
            shape.put_frame(&mut out, event, retry_ms.take(), id);
        }
        self.framing.wrap(out.freeze())
    }

    /// A control event, whose id is the cursor; `None` in a stream without them.
    fn control(&mut self, event: impl FnOnce(&str) -> ControlEvent<'_>) -> Option<Bytes> {
        self.cursor.pass_by();
        self.id_is_behind = false;
        let cursor = self.id();
        let mut out = BytesMut::new();
        self.put_control(&mut out, event(&cursor), &cursor);
        (!out.is_empty()).then(|| self.framing.wrap(out.freeze()))
    }

    fn put_control(&self, out: &mut BytesMut, event: ControlEvent<'_>, cursor: &str) {
        match self.manner().control {
            Control::Event => event.put(out, Some(cursor)),
            Control::Comment => event.put_comment(out),
            Control::Off | Control::Mute => {}
        }
    }

    /// The id of a control event: a text with which the client can come back.
    fn id(&self) -> String {
        let wire = self.cursor.wire();
        let is_of_hub = self.shape == Shape::Update;
        is_of_hub.then(|| hub::id_of(&wire)).flatten().unwrap_or(wire)
    }

    /// The client's cursor for the log lines, unless it was invalid: an invalid cursor may be any text, even
    /// a secret.
    fn from(&self) -> Option<&str> {
        self.brought().filter(|_| self.outcome != Outcome::Invalid)
    }

    /// The subject for the log lines.
    fn subject(&self) -> Option<Cow<'_, str>> {
        let subject = self.admission.connection.principal.subject()?;
        Some(whereabouts::subject(subject, self.gateway.config.hash_subjects))
    }

    fn brought(&self) -> Option<&str> {
        self.rare.as_ref()?.brought.as_deref()
    }

    /// Records the cursor's progress.
    fn progress(&mut self) {
        let connection = &self.admission.connection;
        connection.stands(self.cursor.passed());
        if !self.caught_up && self.cursor.lag() == 0 {
            self.caught_up = true;
            if self.brought().is_some() {
                self.gateway.metrics.replay_seconds.observe(self.admission.age().as_secs_f64());
            }
        }
    }
}

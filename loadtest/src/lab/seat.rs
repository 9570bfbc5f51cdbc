//! One subscriber: its kind, its server, and its stream.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::time::Instant;

use super::books::Books;
use super::readers::LabShared;
use super::room::{self, RoomPart};
use crate::client::control::Control;
use crate::client::payload::Payload;
use crate::client::position::Position;
use crate::client::sse::{Event, EventSource, OnRefusal, Signal};
use crate::proof::history::Entry;

/// A stream without a byte for this long is dead: two heartbeats of 3 s and some.
const SILENCE_MAX: Duration = Duration::from_secs(8);

/// The first server of a subscriber.
#[derive(Clone, Copy, Debug)]
pub enum Towards {
    /// To this gateway; after a loss to the next one, as through a load balancer.
    Gateway(usize),
    /// Always to this address, behind which this gateway is.
    Wire(SocketAddr, usize),
}

/// The events that a subscriber asks for.
#[derive(Clone, Copy, Debug)]
pub enum Reads {
    /// Those of a topic with a log of its own, by its index.
    Topic(usize),
    /// Those of a part of the space.
    Room(&'static RoomPart),
}

/// The kind of the subscriber.
#[derive(Clone, Copy, Debug)]
pub struct Seat {
    /// The topic or the part of the space that it reads.
    pub reads: Reads,
    /// The address that it connects to.
    pub towards: Towards,
    /// Leaves before the fault and comes back after it.
    pub travels: bool,
    /// Gives up a stream on which not even heartbeats come.
    pub notices_silence: bool,
    /// The time between its events counts for the longest interruption.
    pub is_timed: bool,
}

/// A subscriber at work.
pub(super) struct Listener {
    shared: Arc<LabShared>,
    client: usize,
    seat: Seat,
    gateway: usize,
    has_started: bool,
    /// When the present stream opened, since the epoch.
    opened: Duration,
    /// The gateway has told the stream to reconnect.
    was_sent_away: bool,
    last_event: Option<Instant>,
}

impl Listener {
    pub(super) fn new(shared: Arc<LabShared>, client: usize, seat: Seat) -> Self {
        let (Towards::Gateway(gateway) | Towards::Wire(_, gateway)) = seat.towards;
        Listener {
            shared,
            client,
            seat,
            gateway,
            has_started: false,
            opened: Duration::ZERO,
            was_sent_away: false,
            last_event: None,
        }
    }

    /// Reads until the task is aborted.
    pub(super) async fn listen(mut self) {
        let query = match self.seat.reads {
            Reads::Topic(topic) => format!("topic={}", self.shared.topics[topic]),
            Reads::Room(part) => part.query.to_owned(),
        };
        let path = format!("/v1/events?{query}&heartbeat=3");
        let mut client = EventSource::new(self.addr(), path).on_refusal(OnRefusal::Retry);
        if self.seat.notices_silence {
            client = client.silence_max(SILENCE_MAX);
        }
        let mut away = self.shared.away.subscribe();
        loop {
            if self.seat.travels && *away.borrow_and_update() {
                client.drop_connection();
                self.last_event = None;
                // The sender lives as long as the crowd.
                away.wait_for(|away| !away).await.ok();
            }
            tokio::select! {
                signal = client.next() => self.signal(signal, &mut client),
                _changed = away.changed(), if self.seat.travels => {}
            }
        }
    }

    fn addr(&self) -> SocketAddr {
        match self.seat.towards {
            Towards::Gateway(_) => self.shared.gateways[self.gateway],
            Towards::Wire(addr, _) => addr,
        }
    }

    fn signal(&mut self, signal: Signal, client: &mut EventSource) {
        match signal {
            Signal::Event(event) => self.event(&event),
            Signal::Open { without } => {
                self.opened = self.shared.epoch.elapsed();
                self.was_sent_away = false;
                self.shared.tally().opened(self.client, without);
                if let Some(without) = without {
                    self.shared.books().outage.record(without);
                }
            }
            Signal::Lost => {
                self.shared.tally().lost(self.client);
                self.lost();
                self.go_elsewhere(client);
            }
            Signal::Failed => {
                self.shared.books().failed += 1;
                self.go_elsewhere(client);
            }
            Signal::Refused { status, content_type } => {
                let mut books = self.shared.books();
                books.refused += 1;
                books.odd(|| format!("subscribe: refused with {status} ({content_type})"));
            }
            Signal::Stopped => self.shared.books().odd(|| "told to stop".to_owned()),
        }
    }

    fn lost(&self) {
        let mut books = self.shared.books();
        if self.was_sent_away {
            // Counted by its reason.
        } else if self.shared.was_harmed_since(self.gateway, self.opened) {
            books.broken_by_fault += 1;
        } else {
            books.dropped += 1;
        }
    }

    fn go_elsewhere(&mut self, client: &mut EventSource) {
        if let Towards::Gateway(_) = self.seat.towards {
            self.gateway = (self.gateway + 1) % self.shared.gateways.len();
            client.set_addr(self.addr());
        }
    }

    fn event(&mut self, event: &Event) {
        if event.is_control() {
            return self.control(event);
        }
        let topic = match self.seat.reads {
            Reads::Topic(topic) => topic,
            Reads::Room(part) => return self.room_event(part, event),
        };
        let name = self.shared.topics[topic].as_str();
        let payload = Payload::decode(&event.data).filter(|payload| payload.topic == name);
        let before = self.last_event.replace(Instant::now());
        self.shared.tally().delivered.fetch_add(1, Relaxed);
        let mut books = self.shared.books();
        let Ok(at) = event.id.parse::<Position>() else {
            return books.odd(|| format!("event with the id {:?}", event.id));
        };
        let seq = payload.map(|payload| payload.seq);
        books.history.saw(self.client, Entry::Event { at, seq });
        if !self.seat.is_timed {
            return;
        }
        if let Some(before) = before {
            books.longest_silence = books.longest_silence.max(before.elapsed());
        }
        let sent = payload.map(|payload| self.shared.epoch + payload.sent);
        if let Some(sent) = sent {
            books.delay.record(sent.elapsed());
        }
        // An event may come before its receipt.
        let acknowledged = seq.and_then(|seq| books.acknowledged.get(&(topic, seq)));
        if let Some(wait) = acknowledged.map(Instant::elapsed) {
            books.longest_wait = books.longest_wait.max(wait);
        }
    }

    /// Returns true if its cursor passes events that it does not select.
    const fn passes_by(&self) -> bool {
        matches!(self.seat.reads, Reads::Room(part) if !part.is_whole())
    }

    fn room_event(&self, part: &RoomPart, event: &Event) {
        self.shared.tally().delivered.fetch_add(1, Relaxed);
        let mut books = self.shared.books();
        let Ok(at) = event.id.parse::<Position>() else {
            return books.odd(|| format!("event with the id {:?}", event.id));
        };
        let payload = Payload::decode(&event.data);
        let topic = payload.and_then(|payload| room::index(payload.topic));
        match topic.filter(|topic| part.topics.contains(topic)) {
            Some(topic) => {
                let entry = Entry::Event { at, seq: payload.map(|payload| payload.seq) };
                books.room.read(self.client, topic, &entry);
            }
            None => books.odd(|| format!("{} got {:?}", part.query, event.data)),
        }
    }

    /// Notes an entry that is about a whole log.
    fn saw(&self, books: &mut Books, entry: Entry) {
        match self.seat.reads {
            Reads::Topic(_) => books.history.saw(self.client, entry),
            Reads::Room(_) => books.room.told(self.client, &entry),
        }
    }

    fn control(&mut self, event: &Event) {
        let control = Control::read(event);
        if let Ok(Some(Control::Reconnect(_))) = &control {
            self.was_sent_away = true;
        }
        let mut books = self.shared.books();
        match control {
            Ok(Some(Control::Ready(ready))) => {
                *books.outcomes.entry(ready.outcome).or_default() += 1;
                if !std::mem::replace(&mut self.has_started, true) {
                    self.shared.started.fetch_add(1, Relaxed);
                }
            }
            Ok(Some(Control::Gap(gap))) => {
                let Ok(resume) = event.id.parse() else {
                    return books.odd(|| format!("gap without a cursor: {event:?}"));
                };
                let is_rewind = matches!(gap.reason.as_str(), "rewound" | "reset");
                let missed = match self.seat.reads {
                    Reads::Room(part) if !part.is_whole() => {
                        if gap.missed.is_some() {
                            books.odd(|| format!("an exact number of a selection: {event:?}"));
                        }
                        gap.missed_at_most
                    }
                    _ => gap.missed,
                };
                self.saw(&mut books, Entry::Gap { missed, is_rewind, resume });
                *books.gaps.entry(gap.reason).or_default() += 1;
            }
            Ok(Some(Control::Reconnect(reconnect))) => {
                *books.sent_away.entry(reconnect.reason).or_default() += 1;
            }
            Ok(Some(Control::Other(kind, _))) if self.passes_by() && kind == "tailwater.cursor" => {
                match event.id.parse() {
                    Ok(at) => self.saw(&mut books, Entry::PassedBy { at }),
                    Err(_) => books.odd(|| format!("cursor with the id {:?}", event.id)),
                }
            }
            Ok(Some(Control::End(_) | Control::Other(..)) | None) => {
                books.odd(|| format!("unexpected {event:?}"));
            }
            Err(error) => books.odd(|| format!("{error:#}")),
        }
    }
}

//! One client of the audience: reads a stream and enters each event.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::{AudienceShared, Sabotage};
use crate::client::control::Control;
use crate::client::payload::Payload;
use crate::client::position::Position;
use crate::client::sse::{Event, EventSource, OnRefusal, Signal};
use crate::proof::checker::ClientId;

/// The distance of a replaying client's cursor from the head, in events.
const REPLAYED_EVENTS: usize = 5;

/// A subscriber to one topic.
pub(super) struct Member {
    shared: Arc<AudienceShared>,
    client: ClientId,
    topic: usize,
    /// The last few cursors, for the sabotage that needs them.
    older: VecDeque<String>,
    /// When the present stream opened, since the epoch.
    opened: Duration,
    /// The number of its streams that fell silent.
    silent: u64,
}

impl Member {
    pub(super) fn new(shared: Arc<AudienceShared>, client: ClientId, topic: usize) -> Self {
        let (older, opened) = (VecDeque::new(), Duration::ZERO);
        Member { shared, client, topic, older, opened, silent: 0 }
    }

    /// Listens until the task is aborted.
    pub(super) async fn listen(mut self) {
        let manners = self.shared.manners;
        let mut path = format!("/v1/events?topic={}", self.shared.topics[self.topic]);
        if let Some(heartbeat) = manners.heartbeat {
            path.push_str(&format!("&heartbeat={}", heartbeat.as_secs()));
        }
        let mut client = EventSource::new(self.shared.server.clone(), path)
            .on_refusal(OnRefusal::Retry)
            .answer_timeout(manners.answer_timeout)
            .silence_max(manners.silence_max);
        loop {
            match client.next().await {
                Signal::Event(event) => self.event(&event),
                Signal::Open { without } => {
                    self.opened = self.shared.epoch.elapsed();
                    self.shared.tally.opened(self.client.index(), without);
                    if let Some(without) = without {
                        let mut ledger = self.shared.ledger();
                        ledger.outage.record(without);
                        ledger.overrun.record(without.saturating_sub(client.retry()));
                    }
                }
                Signal::Lost => {
                    self.shared.tally.lost(self.client.index());
                    let silent = client.stats().silent;
                    self.shared.ledger().silent += silent - self.silent;
                    self.silent = silent;
                    self.tamper(&mut client);
                }
                Signal::Failed => self.shared.ledger().failed += 1,
                Signal::Refused { status, content_type } => {
                    let mut ledger = self.shared.ledger();
                    ledger.refused += 1;
                    ledger.odd(|| format!("subscribe: refused with {status} ({content_type})"));
                }
                Signal::Stopped => return,
            }
        }
    }

    fn event(&mut self, event: &Event) {
        if self.shared.sabotage == Sabotage::Replay {
            self.remember(&event.id);
        }
        if event.is_control() {
            return self.control(event);
        }
        let Ok(at) = event.id.parse::<Position>() else {
            let mut ledger = self.shared.ledger();
            return ledger.odd(|| format!("event with the id {:?}", event.id));
        };
        let topic = self.shared.topics[self.topic].as_str();
        let payload = Payload::decode(&event.data).filter(|payload| payload.topic == topic);
        let now = self.shared.epoch.elapsed();
        self.shared.tally.delivered.fetch_add(1, Relaxed);
        let mut ledger = self.shared.ledger();
        ledger.checker.delivered(self.client, at, payload.map(|p| p.seq));
        if let Some(payload) = payload {
            let latency = now.saturating_sub(payload.sent);
            ledger.latency.record(latency);
            if payload.sent >= self.opened {
                ledger.live_latency.record(latency);
            }
        }
        if !event.own_id {
            ledger.odd(|| format!("event without an id of its own: {event:?}"));
        }
    }

    fn control(&self, event: &Event) {
        let mut ledger = self.shared.ledger();
        if !event.own_id {
            ledger.odd(|| format!("control event without an id: {event:?}"));
        }
        match Control::read(event) {
            Ok(Some(Control::Ready(ready))) => {
                match ready.cursor.parse() {
                    Ok(cursor) => ledger.checker.started(self.client, cursor),
                    Err(error) => ledger.odd(|| format!("cursor of {event:?}: {error}")),
                }
                *ledger.outcomes.entry(ready.outcome).or_default() += 1;
            }
            Ok(Some(Control::Gap(gap))) => {
                ledger.checker.gap(self.client, &gap);
            }
            Ok(Some(Control::Reconnect(reconnect))) => {
                *ledger.reasons.entry(reconnect.reason).or_default() += 1;
            }
            Ok(Some(Control::End(_) | Control::Other(..)) | None) => {
                ledger.odd(|| format!("unexpected {event:?}"));
            }
            Err(error) => ledger.odd(|| format!("{error:#}")),
        }
    }

    fn remember(&mut self, id: &str) {
        if self.older.len() > REPLAYED_EVENTS {
            self.older.pop_front();
        }
        self.older.push_back(id.to_owned());
    }

    /// Gives a client the wrong cursor, if this run is to go wrong.
    fn tamper(&self, client: &mut EventSource) {
        match self.shared.sabotage {
            Sabotage::None => {}
            Sabotage::NoResume => client.set_last_event_id(""),
            Sabotage::Replay => {
                if let Some(older) = self.older.front() {
                    client.set_last_event_id(older);
                }
            }
        }
    }
}

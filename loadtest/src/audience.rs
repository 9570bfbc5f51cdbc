//! Thousands of subscribers and the ledger of what they saw.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::checker::{Checker, ClientId, TopicId};
use crate::control::Control;
use crate::histogram::Histogram;
use crate::load::Published;
use crate::payload::Payload;
use crate::position::Position;
use crate::random::Random;
use crate::sse::{Client, Event, OnRefusal, Signal};
use crate::timeline::Tally;

/// A stream without a byte for this long is dead: two heartbeats of 15 s and some.
const SILENCE_MAX: Duration = Duration::from_secs(40);

/// How far back the cursor of a replaying client lies, in events.
const REPLAYED_EVENTS: usize = 5;

/// How many different messages about oddities are kept; the rest is only counted.
const ODDITIES_KEPT: usize = 10;

/// A lie that the clients tell, to prove that the checker notices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Sabotage {
    /// Clients behave.
    #[default]
    None,
    /// Clients reconnect without Last-Event-ID: events must be reported lost.
    NoResume,
    /// Clients reconnect with an older cursor: events must be reported duplicated.
    Replay,
}

/// Everything that is known about a run, behind one lock that is held for some 100 ns.
#[derive(Debug, Default)]
pub struct Ledger {
    /// What was acknowledged and what arrived.
    pub checker: Checker,
    /// From the first attempt to publish to the arrival.
    pub latency: Histogram,
    /// The same for events that were published while their subscriber had a stream.
    pub live_latency: Histogram,
    /// From the loss of a stream to the next one.
    pub outage: Histogram,
    /// The part of it beyond the retry time that the gateway had asked for.
    pub overrun: Histogram,
    /// `tailwater.ready` by outcome.
    pub outcomes: BTreeMap<String, u64>,
    /// `tailwater.reconnect` by reason.
    pub reasons: BTreeMap<String, u64>,
    /// Attempts to connect that got no answer.
    pub failed: u64,
    /// Answers that would have killed a browser's `EventSource`.
    pub refused: u64,
    /// Events that needed more than one attempt to publish.
    pub retried: u64,
    /// Receipts that said `duplicate`.
    pub duplicate_receipts: u64,
    /// Events that were never acknowledged.
    pub unacknowledged: u64,
    /// Things that must not happen and have no counter: unknown control events and the like.
    pub oddities: BTreeMap<String, u64>,
}

impl Ledger {
    fn odd(&mut self, what: impl FnOnce() -> String) {
        let mut what = what();
        if self.oddities.len() >= ODDITIES_KEPT && !self.oddities.contains_key(&what) {
            "others".clone_into(&mut what);
        }
        *self.oddities.entry(what).or_default() += 1;
    }

    /// The oddities in words, the same ones together.
    pub fn oddities_in_words(&self) -> Vec<String> {
        let words = |(what, count): (&String, &u64)| format!("{count} x {what}");
        self.oddities.iter().map(words).collect()
    }
}

/// The subscribers of a run.
#[derive(Debug)]
pub struct Audience {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    addr: SocketAddr,
    topics: Arc<[String]>,
    topic_ids: Vec<TopicId>,
    sabotage: Sabotage,
    epoch: Instant,
    ledger: Mutex<Ledger>,
    tally: Tally,
}

impl Shared {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().expect("nobody panics with the ledger in hand")
    }
}

impl Audience {
    /// An audience without anybody in it. Payload times count from `epoch`.
    pub fn new(
        addr: SocketAddr,
        topics: Arc<[String]>,
        sabotage: Sabotage,
        epoch: Instant,
    ) -> Self {
        let mut ledger = Ledger::default();
        let topic_ids = topics.iter().map(|_| ledger.checker.add_topic()).collect();
        let shared = Shared {
            addr,
            topics,
            topic_ids,
            sabotage,
            epoch,
            ledger: Mutex::new(ledger),
            tally: Tally::default(),
        };
        Audience { shared: Arc::new(shared), tasks: JoinSet::new() }
    }

    /// Lets clients in, `each` apart, evenly over the topics and in random order.
    pub async fn admit(&mut self, clients: usize, each: Duration, random: &mut Random) {
        let mut topics: Vec<usize> = (0..clients).map(|n| n % self.shared.topics.len()).collect();
        random.shuffle(&mut topics);
        let begin = Instant::now();
        for (index, topic) in (0..).zip(topics) {
            let id = self.shared.topic_ids[topic];
            let client = self.shared.ledger().checker.add_client(id);
            let member = Member {
                shared: Arc::clone(&self.shared),
                client,
                topic,
                older: VecDeque::new(),
                opened: Duration::ZERO,
            };
            self.tasks.spawn(member.listen());
            let due: Duration = each * index;
            // Timers tick in milliseconds; several clients share one.
            if let Some(ahead) = due.checked_sub(begin.elapsed()) {
                sleep(ahead).await;
            }
        }
    }

    /// The topics.
    pub fn topics(&self) -> Arc<[String]> {
        Arc::clone(&self.shared.topics)
    }

    /// The counters.
    pub fn tally(&self) -> &Tally {
        &self.shared.tally
    }

    /// The ledger. Hold it briefly: every delivery waits for it.
    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.shared.ledger()
    }

    /// A function that enters what publishers report.
    pub fn bookkeeper(&self) -> impl Fn(Published) + Clone + Send + 'static {
        let shared = Arc::clone(&self.shared);
        move |published| shared.enter(&published)
    }

    /// Closes all streams. Returns the ledger for good.
    pub async fn dismiss(mut self) -> Ledger {
        self.tasks.shutdown().await;
        std::mem::take(&mut self.shared.ledger())
    }
}

impl Shared {
    fn enter(&self, published: &Published) {
        let mut ledger = self.ledger();
        match &published.outcome {
            Ok(receipt) => {
                let topic = self.topic_ids[published.topic];
                ledger.checker.acknowledged(topic, receipt.at, published.seq);
                ledger.retried += u64::from(receipt.attempts > 1);
                ledger.duplicate_receipts += u64::from(receipt.duplicate);
                if receipt.topic != self.topics[published.topic] {
                    ledger.odd(|| format!("receipt for another topic: {receipt:?}"));
                }
                self.tally.published.fetch_add(1, Relaxed);
            }
            Err(error) => {
                ledger.unacknowledged += 1;
                ledger.odd(|| format!("publish: {error}"));
            }
        }
    }
}

/// One client of the audience.
struct Member {
    shared: Arc<Shared>,
    client: ClientId,
    topic: usize,
    /// The last few cursors, for the sabotage that needs them.
    older: VecDeque<String>,
    /// When the present stream opened, since the epoch.
    opened: Duration,
}

impl Member {
    async fn listen(mut self) {
        let path = format!("/v1/events?topic={}", self.shared.topics[self.topic]);
        let mut client = Client::new(self.shared.addr, path)
            .on_refusal(OnRefusal::Retry)
            .silence_max(SILENCE_MAX);
        loop {
            match client.next().await {
                Signal::Event(event) => self.event(&event),
                Signal::Open { without: None } => self.opened = self.shared.epoch.elapsed(),
                Signal::Open { without: Some(without) } => {
                    self.opened = self.shared.epoch.elapsed();
                    self.shared.tally.reconnects.fetch_add(1, Relaxed);
                    let mut ledger = self.shared.ledger();
                    ledger.outage.record(without);
                    ledger.overrun.record(without.saturating_sub(client.retry()));
                }
                Signal::Lost => {
                    self.shared.tally.lost.fetch_add(1, Relaxed);
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
            Ok(Some(Control::End(_)) | None) => ledger.odd(|| format!("unexpected {event:?}")),
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
    fn tamper(&self, client: &mut Client) {
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

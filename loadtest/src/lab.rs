//! One deployment to break: Redis in some topology, gateways and an ingest, with a proxy between
//! each of them and Redis, publishers at work, and subscribers that keep every delivery.

mod books;
mod deployment;
mod readers;
mod room;
mod seat;
mod setup;
mod topology;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

pub use books::Books;
pub use deployment::Deployment;
pub use readers::LabCrowd;
pub use room::RoomPart;
pub use seat::{Reads, Seat, Towards};
pub(crate) use setup::{CLOCK_FILE, PASSWORD, PASSWORD_FILE, PASSWORD_USER};
pub use setup::{Durability, Server, Setup, Topology};
pub(crate) use topology::wait;

use crate::client::http;
use crate::client::load::{Load, Published};
use crate::client::payload::Payload;
use crate::client::position::Position;
use crate::client::publisher::Publisher;
use crate::machine::{Network, Port, Proxy, Redis, Tailwater};
use crate::random::Random;
use crate::report::timeline::{MarkKind, Timeline, sample};

/// Topics with a steady load, and how many events a second over all of them.
pub const TOPICS: usize = 20;
const RATE: u32 = 500;

/// The topic that is published to by hand: the last one.
pub const BY_HAND: usize = TOPICS;

/// Longer than any fault of the lab.
const PUBLISH_DEADLINE: Duration = Duration::from_secs(60);
const OPEN_DEADLINE: Duration = Duration::from_secs(20);
const SETTLE_DEADLINE: Duration = Duration::from_secs(20);
const READ_DEADLINE: Duration = Duration::from_secs(40);

/// The deployment. Dropping it kills everything.
#[derive(Debug)]
pub struct Lab {
    /// The setup that it was built from.
    pub setup: Setup,
    /// The subscribers.
    pub crowd: LabCrowd,
    /// The gateways, `gw-1` and on.
    pub gateways: Vec<Tailwater>,
    /// The ingest.
    pub ingest: Tailwater,
    /// Between each gateway and Redis, where Redis is one server.
    pub gateway_wires: Vec<Proxy>,
    /// Between the ingest and Redis, likewise.
    pub ingest_wire: Option<Proxy>,
    /// Between slow subscribers and their gateways.
    pub reader_wires: Vec<Proxy>,
    /// The servers; the first began as the primary, or the first of them.
    pub servers: Vec<Redis>,
    /// Sentinels, if there are any.
    pub sentinels: Vec<Redis>,
    /// Chooses moments and victims.
    pub random: Random,
    /// The faults and their effects, over time.
    pub timeline: Arc<Mutex<Timeline>>,
    /// The reasons, besides the judgement, for which the trial is void or failed.
    pub broken: Vec<String>,
    /// Remarks for the report.
    pub notes: Vec<String>,
    /// The link that can be cut, if there is one. Below the programs: it goes last.
    pub network: Option<Network>,
    _buses: Vec<Port>,
    directory: PathBuf,
    by_hand: Option<(Publisher, u32)>,
    load: Option<(CancellationToken, JoinHandle<()>)>,
    sampling: Option<tokio_util::task::AbortOnDropHandle<()>>,
}

impl Lab {
    /// Starts everything but the load, and seats the subscribers.
    ///
    /// # Errors
    /// When something does not start.
    pub async fn start(setup: Setup, directory: PathBuf, seed: u64) -> Result<Lab> {
        if directory.exists() {
            std::fs::remove_dir_all(&directory)?;
        }
        let parts = setup.start(&directory).await?;
        let mut topics: Vec<String> = (1..=TOPICS).map(|n| format!("t-{n:02}")).collect();
        topics.push("by-hand".to_owned());
        let addrs = parts.gateways.iter().map(Tailwater::addr).collect();
        let timeline = Timeline::begin();
        let crowd = LabCrowd::new(addrs, topics.into(), timeline.began());
        let mut lab = Lab {
            setup,
            crowd,
            gateways: parts.gateways,
            ingest: parts.ingest,
            gateway_wires: parts.gateway_wires,
            ingest_wire: parts.ingest_wire,
            reader_wires: Vec::new(),
            servers: parts.servers,
            sentinels: parts.sentinels,
            random: Random::new(seed),
            timeline: Arc::new(Mutex::new(timeline)),
            network: parts.network,
            _buses: parts.buses,
            broken: Vec::new(),
            notes: Vec::new(),
            directory,
            by_hand: None,
            load: None,
            sampling: None,
        };
        lab.seat_everybody();
        lab.wait_seated().await?;
        Ok(lab)
    }

    /// Spreads the subscribers over topics, parts of the space and gateways. Every tenth travels, of the space every fourth; every other one does
    /// without noticing a silent stream, as browsers do.
    fn seat_everybody(&mut self) {
        for index in 0..self.setup.clients {
            let topic = if index % 20 == 7 { BY_HAND } else { index % TOPICS };
            self.crowd.seat(Seat {
                reads: Reads::Topic(topic),
                towards: Towards::Gateway(index / TOPICS % self.gateways.len()),
                travels: index % 10 == 3,
                notices_silence: index % 2 == 0,
                is_timed: topic != BY_HAND && index % 10 != 3,
            });
        }
        for index in 0..self.setup.room_clients {
            self.crowd.seat(Seat {
                reads: Reads::Room(&room::PARTS[index % room::PARTS.len()]),
                towards: Towards::Gateway(index / room::PARTS.len() % self.gateways.len()),
                travels: index % 4 == 3,
                notices_silence: index % 2 == 0,
                is_timed: false,
            });
        }
    }

    /// Waits until every subscriber has a stream.
    ///
    /// # Errors
    /// When a subscriber does not get one.
    pub async fn wait_seated(&self) -> Result<()> {
        let until = Instant::now() + OPEN_DEADLINE;
        while self.crowd.started() < self.crowd.seats() {
            if Instant::now() > until {
                let oddities = self.crowd.books().oddities.in_words().join("; ");
                bail!(
                    "only {} of {} subscribers have a stream: {oddities}",
                    self.crowd.started(),
                    self.crowd.seats()
                );
            }
            sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// Begins to publish.
    pub fn publish(&mut self) {
        let stop = CancellationToken::new();
        let load = Load {
            target: self.ingest.addr().into(),
            topics: self.crowd.topics()[..TOPICS].into(),
            rate: RATE,
            duration: Duration::from_secs(3600),
            event_bytes: self.setup.event_bytes,
            deadline: PUBLISH_DEADLINE,
            run: format!("run-{}", std::process::id()),
            stop: stop.clone(),
        };
        let room = Load {
            topics: room::TOPICS.map(str::to_owned).into(),
            rate: room::RATE,
            run: format!("room-{}", std::process::id()),
            ..load.clone()
        };
        let room = (self.setup.room_clients > 0).then_some(room);
        let epoch = self.crowd.epoch();
        let (keeper, room_keeper) = (self.crowd.bookkeeper(), self.crowd.room_keeper());
        let publishers = async move {
            let room = async {
                if let Some(room) = room {
                    room.run(epoch, room_keeper).await;
                }
            };
            tokio::join!(load.run(epoch, keeper), room);
        };
        self.load = Some((stop, tokio::spawn(publishers)));
        let (crowd, timeline) = (self.crowd.handle(), Arc::clone(&self.timeline));
        let sampling = tokio::spawn(async move {
            let take = |taken| timeline.lock().expect("nobody panics with it in hand").add(taken);
            sample(crowd.tally(), epoch, take).await;
        });
        self.sampling = Some(tokio_util::task::AbortOnDropHandle::new(sampling));
    }

    /// Ends the load and waits until every event has a receipt or was given up.
    ///
    /// # Errors
    /// When the publishers panic.
    pub async fn stop_publishing(&mut self) -> Result<()> {
        let Some((stop, load)) = self.load.take() else { return Ok(()) };
        stop.cancel();
        load.await.context("the publishers panicked")
    }

    /// Publishes so many events to the topic that has no load, one after the other.
    ///
    /// # Errors
    /// When one is not acknowledged.
    pub async fn publish_by_hand(&mut self, count: u32, bytes: usize) -> Result<()> {
        let fresh = || (Publisher::new(self.ingest.addr(), PUBLISH_DEADLINE), 0);
        let (publisher, seq) = self.by_hand.get_or_insert_with(fresh);
        let name = self.crowd.topics()[BY_HAND].clone();
        let keep = self.crowd.bookkeeper();
        for _ in 0..count {
            *seq += 1;
            let payload = Payload { seq: *seq, sent: self.crowd.epoch().elapsed(), topic: &name };
            let key = format!("by-hand-{seq}");
            let outcome = publisher.publish(&name, &key, payload.encode(bytes)).await;
            let failed = outcome.as_ref().err().map(ToString::to_string);
            keep(Published { topic: BY_HAND, seq: *seq, outcome });
            ensure!(failed.is_none(), "by hand: {failed:?}");
        }
        Ok(())
    }

    /// Waits until every subscriber has all events, or was told of a gap, or time is up.
    pub async fn settle(&self) {
        let until = Instant::now() + SETTLE_DEADLINE;
        let unfinished = || {
            let books = self.crowd.books();
            books.history.unfinished() + books.room.unfinished()
        };
        while unfinished() > 0 && Instant::now() < until {
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until the Sentinels have made another server the primary, and returns how long it
    /// took.
    ///
    /// # Errors
    /// When they do not.
    pub async fn wait_promoted(&self, old: SocketAddr) -> Result<Duration> {
        let begin = Instant::now();
        let last = self.sentinels.last().context("no Sentinels")?;
        topology::wait_promoted(last, &self.servers, old).await?;
        Ok(begin.elapsed())
    }

    /// Waits until all Sentinels know a replica of this priority.
    ///
    /// # Errors
    /// When they do not.
    pub async fn wait_preferred(&self, priority: &str) -> Result<()> {
        topology::wait_preferred(&self.sentinels, priority).await
    }

    /// Starts a fail-over as an operator would: Sentinels only.
    ///
    /// # Errors
    /// When they refuse.
    pub async fn fail_over(&self) -> Result<()> {
        topology::fail_over(self.sentinels.last().context("no Sentinels")?).await
    }

    /// Waits until every node of the cluster that answers finds it well.
    ///
    /// # Errors
    /// When they do not.
    pub async fn wait_cluster_well(&self) -> Result<Duration> {
        let begin = Instant::now();
        for server in &self.servers {
            topology::wait("the cluster is well", SETTLE_DEADLINE, async || {
                Ok(topology::is_well(server).await.is_ok_and(|size| size > 0))
            })
            .await?;
        }
        Ok(begin.elapsed())
    }

    /// Reads all topics from their beginnings through a gateway: the events that the log still has.
    ///
    /// # Errors
    /// When a gateway does not answer.
    pub async fn read_back(&self) -> Result<()> {
        for (topic, name) in self.crowd.topics().iter().enumerate() {
            for (seq, at) in self.read_topic_at_last(name).await? {
                self.crowd.books().history.readable(topic, seq, at);
            }
        }
        for (topic, name) in room::TOPICS.iter().enumerate() {
            if self.setup.room_clients == 0 {
                break;
            }
            for (seq, at) in self.read_topic_at_last(name).await? {
                self.crowd.books().room.readable(topic, seq, at);
            }
        }
        Ok(())
    }

    async fn read_topic_at_last(&self, topic: &str) -> Result<HashMap<u32, Position>> {
        let until = Instant::now() + READ_DEADLINE;
        loop {
            match self.read_topic(topic).await {
                Err(_) if Instant::now() < until => sleep(Duration::from_millis(100)).await,
                result => return result,
            }
        }
    }

    async fn read_topic(&self, topic: &str) -> Result<HashMap<u32, Position>> {
        let mut client = http::Client::new(self.gateways[0].addr());
        let (mut events, mut cursor) = (HashMap::new(), String::new());
        loop {
            let from = match cursor.as_str() {
                "" => "from=earliest".to_owned(),
                cursor => format!("last_event_id={cursor}"),
            };
            let path = format!("/v1/events?topic={topic}&limit=1000&wait=0&{from}");
            let accept = [("accept", "application/json")];
            let answer = client.request(hyper::Method::GET, &path, &accept, bytes::Bytes::new());
            let page: Page = answer.await?.json()?;
            if page.events.is_empty() {
                return Ok(events);
            }
            for event in &page.events {
                if let Some(payload) = Payload::decode(&event.data) {
                    events.insert(payload.seq, event.id.parse().context("an id")?);
                }
            }
            cursor = page.cursor;
        }
    }

    /// Ends all streams and the sampling.
    pub async fn dismiss(&mut self) {
        self.sampling = None;
        self.crowd.dismiss().await;
    }

    /// The server that is the primary at the beginning.
    pub fn server(&mut self) -> &mut Redis {
        &mut self.servers[0]
    }

    /// Something was broken.
    pub fn fault(&self, label: &str) {
        self.mark(MarkKind::Fault, label);
    }

    /// Something was mended, or done as an operator would.
    pub fn mend(&self, label: &str) {
        self.mark(MarkKind::Operation, label);
    }

    fn mark(&self, kind: MarkKind, label: &str) {
        self.timeline().mark(kind, label);
    }

    /// The timeline. Hold it briefly.
    pub fn timeline(&self) -> MutexGuard<'_, Timeline> {
        self.timeline.lock().expect("nobody panics with it in hand")
    }

    /// Lets the system run between `min` and `max` seconds: the schedule of the seed.
    pub async fn run_for(&mut self, min: f64, max: f64) {
        let share = (self.random.draw() % 1000) as f64 / 1000.0;
        sleep(Duration::from_secs_f64(min + (max - min) * share)).await;
    }

    /// One of so many, by the seed.
    pub fn choose(&mut self, count: usize) -> usize {
        usize::try_from(self.random.draw() % count as u64).expect("less than a usize")
    }

    /// A fault that did not bite proves nothing: the trial fails.
    pub fn must(&mut self, is_so: bool, what: &str) {
        if !is_so {
            self.broken.push(format!("not as it should be: {what}"));
        }
    }

    /// Something worth telling beside the table.
    pub fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// The directory of this trial's files.
    pub fn directory(&self) -> &std::path::Path {
        &self.directory
    }
}

/// As much of a long-poll's answer as is needed.
#[derive(Deserialize)]
struct Page {
    events: Vec<PageEvent>,
    cursor: String,
}

#[derive(Deserialize)]
struct PageEvent {
    id: String,
    data: String,
}

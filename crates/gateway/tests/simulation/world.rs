//! The state that all actors of a schedule share: the store, the weather and the trace.

use std::collections::BTreeMap;
use std::fmt::{Arguments, Write as _};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use event_log::{Append, AppendError, Event, Receipt, Spaces};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use super::bug::Bug;
use super::deployment::{Deployment, Reads};
use super::dice::{chance, millis};
use super::ensemble::{OUTSIDE, Stage};
use super::node::Node;
use super::server::{Id, State};
use super::store::Store;
use super::weather::Weather;

/// Time between two reports of a replica to its primary.
const ACK: Duration = Duration::from_secs(1);
/// Longest time until a replica that has nothing to take looks again.
const LOOK: Duration = Duration::from_secs(1);

/// The prefix of the space, in schedules that have one.
pub(crate) const SPACE: &str = "s/";

/// Counts by name, of a schedule or of many.
pub(crate) type Tally = BTreeMap<&'static str, u64>;

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) stage: Stage,
    pub(crate) store: Store,
    pub(crate) bug: Option<Bug>,
    pub(crate) deployment: Deployment,
    pub(crate) spaces: Spaces,
    began: Instant,
    /// The log of the primary has grown.
    grown: Notify,
    weather: Mutex<Weather>,
    nodes: Mutex<Vec<Arc<Node>>>,
    trace: Mutex<String>,
    tally: Mutex<Tally>,
    violation: Mutex<Option<String>>,
}

impl World {
    pub(crate) fn new(
        keep: u64,
        weather: Weather,
        deployment: Deployment,
        bug: Option<Bug>,
    ) -> Arc<Self> {
        let spaces = Spaces::new(deployment.has_space.then_some(SPACE)).expect("a prefix");
        let world = Arc::new(Self {
            stage: Stage::default(),
            store: Store::new(keep, &deployment, spaces.clone(), bug),
            bug,
            deployment,
            spaces,
            began: Instant::now(),
            grown: Notify::new(),
            weather: Mutex::new(weather),
            nodes: Mutex::default(),
            trace: Mutex::default(),
            tally: Mutex::default(),
            violation: Mutex::default(),
        });
        if deployment.replicas > 0 {
            (0..=deployment.replicas).for_each(|server| world.replicate(server));
        }
        world
    }

    /// Returns true if no node delivers what a promotion may take back.
    pub(crate) fn delivers_committed(&self) -> bool {
        self.deployment.reads == Reads::Replicas
    }

    /// A node has subscribed to the feed.
    pub(crate) fn join(&self, node: Arc<Node>) {
        self.nodes.lock().unwrap().push(node);
    }

    /// A node has stopped.
    pub(crate) fn leave(&self, node: &Arc<Node>) {
        self.nodes.lock().unwrap().retain(|other| !Arc::ptr_eq(other, node));
    }

    pub(crate) fn nodes(&self) -> Vec<Arc<Node>> {
        self.nodes.lock().unwrap().clone()
    }

    pub(crate) fn weather(&self) -> Weather {
        *self.weather.lock().unwrap()
    }

    /// Ends the faults of the store and of the clients' connections. The feed stays unreliable, because
    /// its last losses are the hardest to notice.
    pub(crate) fn clears_up(&self) {
        let mut weather = self.weather.lock().unwrap();
        *weather = Weather { broken: 0, tired: 0, failed: 0, slow: 0, ..*weather };
        for server in 0..self.store.count() {
            self.store.with(server, |server| {
                (server.away_until, server.cut_until) = (Instant::now(), Instant::now());
                server.turn(State::Running);
            });
        }
    }

    /// Adds an empty replica.
    pub(crate) fn add_replica(self: &Arc<Self>) -> Id {
        let server = self.store.add(chance(self.deployment.promotable));
        self.replicate(server);
        server
    }

    /// Makes a server follow its primary, whenever it is a replica.
    fn replicate(self: &Arc<Self>, server: Id) {
        let world = Arc::clone(self);
        self.stage.spawn(OUTSIDE, async move {
            loop {
                sleep(ACK).await;
                world.store.acknowledge(server);
            }
        });
        let world = Arc::clone(self);
        self.stage.spawn(OUTSIDE, async move {
            loop {
                let is_current = world.store.is_current(server);
                let grown = world.grown.notified();
                if is_current {
                    // A link that is whole again, or another primary, shows at the next look.
                    tokio::select! {
                        biased;
                        () = grown => {}
                        () = sleep(LOOK) => {}
                    }
                }
                sleep(millis(1..world.weather().lag_ms)).await;
                for event in world.store.replicate(server) {
                    if !world.deployment.has_bus {
                        world.notify(server, &event);
                    }
                }
            }
        });
    }

    /// Sends an event's message to the nodes that listen to a server.
    fn notify(&self, server: Id, event: &Event) {
        if self.store.with(server, |server| server.answers()) {
            for node in self.nodes() {
                node.send(server, event);
            }
        }
    }

    /// Sends an event's message to the nodes that listen to another server of the primary, whether or not that has the
    /// event.
    fn send_by_bus(self: &Arc<Self>, event: &Event) {
        for server in (0..self.store.count()).filter(|server| *server != self.store.primary()) {
            let (world, event) = (Arc::clone(self), event.clone());
            let late = millis(0..10);
            self.stage.spawn(OUTSIDE, async move {
                sleep(late).await;
                world.notify(server, &event);
            });
        }
    }

    /// Sends a message to a server or back. Returns true if the message arrives.
    pub(crate) async fn travel(&self, server: Id) -> bool {
        let weather = self.weather();
        let time = if chance(weather.slow) { millis(0..weather.slow_ms) } else { millis(0..3) };
        sleep(time).await;
        if !self.store.with(server, |server| server.answers()) {
            sleep(millis(0..2000)).await;
            return false;
        }
        !chance(weather.failed)
    }

    /// Asks the sentinels. One of them always answers.
    pub(crate) async fn ask_sentinels(&self) -> Id {
        sleep(millis(0..3)).await;
        self.store.named()
    }

    /// Asks the sentinels again. Returns the primary, unless a fail-over is under way that they have not ended.
    pub(crate) async fn confirm(&self) -> Option<Id> {
        sleep(millis(0..3)).await;
        match self.bug {
            Some(Bug::IgnoresTheFailOver) => Some(self.store.named()),
            _ => self.store.confirmed(),
        }
    }

    /// Appends an event and notifies all nodes. The answer may be lost although the event is stored.
    pub(crate) async fn publish(self: &Arc<Self>, append: Append) -> Result<Receipt, AppendError> {
        let lost = || AppendError::Unavailable("lost on the way".to_owned());
        let primary = self.store.named();
        if !self.travel(primary).await || primary != self.store.primary() {
            return Err(lost());
        }
        let (receipt, event) = self.store.append(append)?;
        self.grown.notify_waiters();
        if let Some(event) = event {
            self.notify(primary, &event);
            if self.deployment.has_bus {
                self.send_by_bus(&event);
            }
        }
        if self.travel(primary).await { Ok(receipt) } else { Err(lost()) }
    }

    /// Counts something.
    pub(crate) fn count(&self, what: &'static str, times: u64) {
        *self.tally.lock().unwrap().entry(what).or_default() += times;
    }

    pub(crate) fn tally(&self) -> Tally {
        self.tally.lock().unwrap().clone()
    }

    pub(crate) fn note(&self, what: Arguments<'_>) {
        let mut trace = self.trace.lock().unwrap();
        let now = self.began.elapsed().as_millis();
        writeln!(trace, "{now:>6} {what}").expect("a string accepts every write");
    }

    /// Records that a client was harmed, which ends the schedule.
    pub(crate) fn violated(&self, what: String) {
        self.note(format_args!("VIOLATION {what}"));
        self.violation.lock().unwrap().get_or_insert(what);
    }

    pub(crate) fn violation(&self) -> Option<String> {
        self.violation.lock().unwrap().clone()
    }

    pub(crate) fn trace(&self) -> String {
        self.trace.lock().unwrap().clone()
    }
}

//! A thousand gateways and a hundred thousand topics on a paused clock, to check the formulas of `docs/scale.md`.
//!
//! Cursors and tails are the real ones. Servers and gateways are doubles that count: subscriptions, messages, copies for
//! replicas, and reads. Every reader proves that it got every event once and in order. No time is measured.
//!
//! `make scale` plays the size of the title; the tests play a smaller one.

#![allow(
    clippy::unwrap_used,
    reason = "clippy.toml allows it in tests, but does not see that helpers are"
)]

mod formulas;
mod gateway;
mod servers;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use event_log::{Cursor, Limit, Log, Origin, Step, Topic};
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio::time::sleep;

use formulas::{messages, newly_watching, watching};
use gateway::{Door, Gateway};
use servers::{Servers, Worked};

/// The size of a simulation.
#[derive(Debug, Clone, Copy)]
struct Size {
    gateways: usize,
    /// Topics with one reader each.
    own: usize,
    /// Topics that many read.
    shared: usize,
    /// Readers of each of these.
    readers: usize,
    /// Gateways that die.
    killed: usize,
    /// Largest difference between a count and its formula, relative to the formula. The formulas are means of a random
    /// placement, which varies less the more topics there are.
    tolerance: f64,
}

const FULL: Size =
    Size { gateways: 1000, own: 99_900, shared: 100, readers: 1000, killed: 100, tolerance: 0.01 };
const SMALL: Size =
    Size { gateways: 50, own: 1900, shared: 100, readers: 50, killed: 5, tolerance: 0.03 };

/// The servers that gateways read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// The primary; there are two replicas, which nobody reads.
    Primary,
    /// One of two replicas each.
    Replica,
    /// The same in a cluster, where a message may come before its event.
    ReplicaOfCluster,
    /// One of two replicas each, and an event is delivered when both have it.
    AllReplicas,
}

const REPLICAS: usize = 2;
/// Events of each shared topic in steady state.
const EVENTS: u64 = 10;
/// Events that the readers of shared topics miss when their gateway dies. They fit a tail's window.
const MISSED: u64 = 20;
/// Time within which readers come back.
const RETRY_MS: u64 = 2000;

/// The work of the servers in each part of a simulation.
#[derive(Debug)]
struct Counted {
    open: Worked,
    steady: Worked,
    storm: Worked,
    /// Readers of own topics, and of a shared topic in the mean, whose gateway died.
    moved_own: u64,
    moved_shared: u64,
}

#[test]
fn a_small_cluster_works_as_the_formulas_say() {
    all_ways(SMALL);
}

#[test]
#[ignore = "make scale"]
fn a_thousand_gateways_work_as_the_formulas_say() {
    all_ways(FULL);
}

fn all_ways(size: Size) {
    println!("{size:?}");
    for way in [Way::Primary, Way::Replica, Way::ReplicaOfCluster, Way::AllReplicas] {
        let mut builder = Builder::new_current_thread();
        let runtime = builder.enable_time().start_paused(true).build().unwrap();
        fastrand::seed(16);
        let counted = runtime.block_on(simulate(size, way));
        report(size, way, &counted);
        check(size, way, &counted);
    }
}

async fn simulate(size: Size, way: Way) -> Counted {
    let servers = Servers::new(REPLICAS);
    let gateways: Arc<[_]> = (0..size.gateways).map(|_| way.gateway()).collect();
    let topic = |kind: &str, number: usize| Topic::new(&format!("{kind}/{number}")).unwrap();
    let own: Vec<_> = (0..size.own).map(|number| topic("own", number)).collect();
    let shared: Vec<_> = (0..size.shared).map(|number| topic("shared", number)).collect();
    let repeated = shared.iter().flat_map(|topic| std::iter::repeat_n(topic, size.readers));
    let taken = Arc::new(AtomicU64::new(0));
    let mut readers = JoinSet::new();
    let moved = [Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0))];
    let mut dice = fastrand::Rng::with_seed(16);
    for topic in own.iter().chain(repeated) {
        let reader = Reader {
            topic: topic.clone(),
            dice: dice.fork(),
            gateways: Arc::clone(&gateways),
            servers: Arc::clone(&servers),
            taken: Arc::clone(&taken),
            moved: Arc::clone(&moved[usize::from(topic.as_str().starts_with("shared"))]),
        };
        readers.spawn(reader.run());
    }
    sleep(Duration::from_secs(1)).await;
    let open = servers.worked();

    let own_events = size.own as u64;
    let shared_readers = (size.shared * size.readers) as u64;
    publish(&servers, &own, 1).await;
    publish(&servers, &shared, EVENTS).await;
    until_taken(&taken, own_events + shared_readers * EVENTS).await;
    let steady = servers.worked();

    for gateway in &gateways[..size.killed] {
        servers.forget(gateway);
        gateway.dead.send_replace(true);
    }
    // Its readers notice, and come back later than the events.
    sleep(Duration::from_millis(1)).await;
    publish(&servers, &own, 1).await;
    publish(&servers, &shared, MISSED).await;
    until_taken(&taken, 2 * own_events + shared_readers * (EVENTS + MISSED)).await;
    let storm = servers.worked();
    readers.abort_all();
    Counted {
        open,
        steady: steady - open,
        storm: storm - steady,
        moved_own: moved[0].load(Relaxed),
        moved_shared: moved[1].load(Relaxed),
    }
}

async fn publish(servers: &Servers, topics: &[Topic], count: u64) {
    for topic in topics {
        for _ in 0..count {
            servers.publish(topic).await;
        }
        // Lets the readers run.
        tokio::task::yield_now().await;
    }
}

async fn until_taken(taken: &AtomicU64, count: u64) {
    for _ in 0..100 {
        if taken.load(Relaxed) == count {
            return;
        }
        sleep(Duration::from_millis(100)).await;
    }
    panic!("the readers have {} of {count} events", taken.load(Relaxed));
}

impl Way {
    fn gateway(self) -> Arc<Gateway> {
        let source = fastrand::usize(1..=REPLICAS);
        let others = (1..=REPLICAS).filter(|server| *server != source);
        match self {
            Self::Primary => Gateway::new(0, Vec::new(), false),
            Self::Replica => Gateway::new(source, Vec::new(), false),
            Self::ReplicaOfCluster => Gateway::new(source, Vec::new(), true),
            Self::AllReplicas => Gateway::new(source, others.collect(), true),
        }
    }

    /// The servers of which a gateway chooses its source, and the servers that it asks at each read.
    fn servers_and_asked(self) -> (u64, u64) {
        match self {
            Self::Primary => (1, 1),
            Self::Replica | Self::ReplicaOfCluster => (2, 1),
            Self::AllReplicas => (2, 2),
        }
    }

    /// The reads that a message causes, at all servers together.
    fn reads_a_message(self) -> u64 {
        match self {
            Self::Primary | Self::Replica => 0,
            Self::ReplicaOfCluster | Self::AllReplicas => self.servers_and_asked().1,
        }
    }
}

/// A reader of one topic, which resumes elsewhere when its gateway dies.
struct Reader {
    topic: Topic,
    /// Its own, so that the order in which readers run changes nothing.
    dice: fastrand::Rng,
    gateways: Arc<[Arc<Gateway>]>,
    servers: Arc<Servers>,
    taken: Arc<AtomicU64>,
    moved: Arc<AtomicU64>,
}

impl Reader {
    async fn run(mut self) {
        let mut origin = Origin::Latest;
        let mut last = 0;
        loop {
            let gateway = loop {
                let any = &self.gateways[self.dice.usize(0..self.gateways.len())];
                if !*any.dead.borrow() {
                    break Arc::clone(any);
                }
            };
            let mut dead = gateway.dead.subscribe();
            let door = Arc::new(Door { gateway, servers: Arc::clone(&self.servers) });
            let opened = Cursor::open(door as Arc<dyn Log>, vec![self.topic.clone()], origin);
            let (mut cursor, _) = opened.await.unwrap();
            // Both arms are cancel-safe: a cursor moves only when its step is returned.
            loop {
                let step = tokio::select! {
                    biased;
                    _ = dead.changed() => break,
                    step = cursor.next(Limit { events: 64, bytes: usize::MAX }) => step,
                };
                let Step::Events { events, .. } = step else { panic!("{step:?}") };
                for event in &events {
                    last += 1;
                    assert_eq!(event.position().n, last, "lost, doubled or out of order");
                }
                self.taken.fetch_add(events.len() as u64, Relaxed);
            }
            origin = Origin::Resume(cursor.wire());
            self.moved.fetch_add(1, Relaxed);
            sleep(Duration::from_millis(10 + self.dice.u64(0..RETRY_MS))).await;
        }
    }
}

/// Compares the counts with the formulas of the paper.
fn check(size: Size, way: Way, counted: &Counted) {
    let Counted { open, steady, storm, moved_own, moved_shared } = counted;
    let [gateways, own, shared, readers, killed] =
        [size.gateways, size.own, size.shared, size.readers, size.killed].map(|n| n as f64);
    let near = |what: &str, counted: f64, formula: f64| {
        let difference = (counted - formula).abs();
        assert!(
            difference <= formula * size.tolerance,
            "{way:?}, {what}: {counted}, and the formula says {formula}"
        );
    };
    let (servers, asked) = way.servers_and_asked();
    let (servers, asked) = (servers as f64, asked as f64);
    let watch = watching(gateways, readers);

    // Each pair of a gateway and a topic that it watches has a subscription, and a read that opened it.
    let pairs = own + shared * watch;
    near("subscriptions", open.subscriptions.all() as f64, pairs);
    near("reads to open", open.reads.all() as f64, pairs * asked);

    // In steady state each event is sent to each gateway that watches its topic, and copied to each replica.
    let sent = own * messages(1.0, servers) + EVENTS as f64 * shared * messages(watch, servers);
    near("messages of a server", steady.messages.all() as f64 / servers, sent);
    assert_eq!(steady.copies, events(size) * REPLICAS as u64);
    let messages = steady.messages.all();
    assert_eq!(steady.reads.all(), messages * way.reads_a_message(), "reads a message");
    for work in [open.subscriptions, open.reads, steady.messages, storm.reads] {
        let unread = if way == Way::Primary { work.replicas } else { work.primary };
        assert_eq!(unread, 0, "the work is on the servers that are read");
    }

    // When gateways die there is a read for each topic that a gateway begins to watch, whatever its readers have missed.
    let moved = *moved_shared as f64 / shared;
    let begun =
        *moved_own as f64 + shared * newly_watching(gateways - killed, readers - moved, moved);
    near("reads of the storm", storm_reads(way, storm) as f64, begun * asked);
    let begun = storm.subscriptions.all() * way.servers_and_asked().1;
    assert_eq!(begun, storm_reads(way, storm), "a subscription for each of them");
}

fn events(size: Size) -> u64 {
    size.own as u64 + EVENTS * size.shared as u64
}

/// The reads of a storm, without those that a message causes.
fn storm_reads(way: Way, storm: &Worked) -> u64 {
    storm.reads.all() - storm.messages.all() * way.reads_a_message()
}

/// Prints the counts.
fn report(size: Size, way: Way, counted: &Counted) {
    let Counted { open, steady, storm, moved_own, moved_shared } = counted;
    let (events, subscriptions) = (events(size), open.subscriptions.all());
    println!("{way:?}");
    println!(
        "  open: {subscriptions} subscriptions, {} a gateway",
        subscriptions / size.gateways as u64
    );
    println!(
        "  {events} events: {} messages of the primary, {} of replicas; {} copies; {} reads",
        steady.messages.primary,
        steady.messages.replicas,
        steady.copies,
        steady.reads.all()
    );
    let (moved, reads) = (moved_own + moved_shared, storm_reads(way, storm));
    println!("  {moved} readers move: {reads} reads");
}

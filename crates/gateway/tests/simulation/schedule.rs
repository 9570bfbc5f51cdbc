//! One schedule, determined by a seed and played on a paused clock.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use event_log::{Mark, Topic};
use gateway::Config;
use tokio::runtime::Builder;
use tokio::time::{Instant, sleep};

use super::bug::Bug;
use super::client::Client;
use super::cluster::Cluster;
use super::deployment::{Deployment, Reads, Regime};
use super::dice::{chance, pick};
use super::ensemble::OUTSIDE;
use super::faults;
use super::judge::Judge;
use super::publisher::Publisher;
use super::wanted::Wanted;
use super::weather::Weather;
use super::world::{Tally, World};

/// The result of a schedule.
#[derive(Debug)]
pub(crate) struct Played {
    /// All steps, one on each line.
    pub(crate) trace: String,
    /// The violation, if a client was harmed.
    pub(crate) violation: Option<String>,
    /// The events of the schedule that a reader of a summary wants to know, counted.
    pub(crate) tally: Tally,
}

/// Of three schedules, the one that has a space. The others draw the lots that they drew before there were spaces, so that
/// a seed which has found a fault plays it again.
const WITH_SPACE: u64 = 2;
/// Topics that share a log.
const IN_SPACE: [&str; 4] = ["s/a", "s/b", "s/b/1", "s/c"];
/// Duration of the faults.
const STORM: Duration = Duration::from_secs(40);
/// The filters of clients. Each includes the type of the last events.
const FILTERS: [&[&str]; 2] = [&["a"], &["a", "b"]];
/// Time in which clients must have all events once the faults are over. Several times the longest
/// pause, time-out and audit interval.
const CALM: Duration = Duration::from_mins(3);

/// Plays the schedule of a seed.
pub(crate) fn play(seed: u64, bug: Option<Bug>) -> Played {
    fastrand::seed(seed);
    let mut builder = Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build().expect("a runtime");
    let _entered = runtime.enter();
    let keep = *pick(&[3, 10, 1000]);
    let has_space = bug.map_or(seed % 3 == WITH_SPACE, Bug::needs_a_space);
    let (weather, deployment) = loop {
        let (weather, deployment) = (Weather::draw(), Deployment::draw(has_space));
        if bug.is_none_or(|bug| bug.concerns(&deployment, &weather)) {
            break (weather, deployment);
        }
    };
    let world = World::new(keep, weather, deployment, bug);
    let played = catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(world.stage.play(storm_and_calm(Arc::clone(&world))));
    }));
    if let Err(panic) = played {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
        world.violated(format!("panic: {text}"));
    }
    Played { trace: world.trace(), violation: world.violation(), tally: world.tally() }
}

async fn storm_and_calm(world: Arc<World>) {
    let topics = ["t0", "t1", "t2"].map(|name| Topic::new(name).expect("a name"));
    let topics = topics[..fastrand::usize(1..=3)].to_vec();
    let shared = match world.deployment.has_space {
        true => &IN_SPACE[..fastrand::usize(2..=IN_SPACE.len())],
        false => &[],
    };
    let shared: Vec<_> = shared.iter().map(|name| Topic::new(name).expect("a name")).collect();
    let config = Config {
        max_connections: *pick(&[2, 10_000, 10_000]),
        max_age: *pick(&[Duration::from_secs(20), Duration::from_mins(30)]),
        ..Config::default()
    };
    let (nodes, window, page) = (fastrand::usize(1..=4), *pick(&[1, 1, 4, 16]), *pick(&[1, 3, 50]));
    world.note(format_args!(
        "{:?} {:?} {config:?} topics {topics:?} {shared:?} nodes {nodes} window {window} page {page}",
        world.deployment,
        world.weather(),
    ));
    count_kind(&world);
    let cluster = Cluster::new(&world, config, nodes, window, page);
    let until = Instant::now() + STORM;
    let judges: Vec<_> = (0..fastrand::usize(3..=8))
        .map(|number| cast_client(&world, &cluster, [&topics, &shared], number))
        .collect();
    let topics = [topics, shared].concat();
    let publishing = publish(&world, &topics, until);
    let logs = topics.iter().map(|topic| world.spaces.log_of(topic)).collect();
    world.stage.spawn(OUTSIDE, faults::run(Arc::clone(&world), Arc::clone(&cluster), logs, until));
    while Instant::now() < until && world.violation().is_none() {
        sleep(Duration::from_secs(1)).await;
    }
    world.note(format_args!("calm"));
    world.clears_up();
    cluster.settle();
    while publishing.load(Relaxed) > 0 && world.violation().is_none() {
        sleep(Duration::from_millis(100)).await;
    }
    end(&world, &topics).await;
    converge(&world, &judges).await;
}

/// Counts the schedule by its kind.
fn count_kind(world: &World) {
    let kinds = [
        (world.deployment.replicas > 0, "schedules with replicas"),
        (world.deployment.has_bus, "schedules with messages over a bus"),
        (world.delivers_committed(), "schedules whose nodes all read from replicas"),
        (world.deployment.reads == Reads::Mixed, "schedules whose nodes read from either"),
        (world.deployment.regime == Regime::FailOver, "schedules with fail-overs"),
        (world.deployment.has_space, "schedules with topics that share a log"),
    ];
    kinds.into_iter().filter(|(is, _)| *is).for_each(|(_, kind)| world.count(kind, 1));
}

/// Starts publishers, and returns the counter of those still running.
fn publish(world: &Arc<World>, topics: &[Topic], until: Instant) -> Arc<AtomicUsize> {
    let count = fastrand::usize(1..=3);
    let publishing = Arc::new(AtomicUsize::new(count));
    for number in 0..count {
        let (world, topics) = (Arc::clone(world), topics.to_vec());
        let publisher = Publisher { name: format!("p{number}"), world: Arc::clone(&world), topics };
        let publishing = Arc::clone(&publishing);
        world.stage.spawn(OUTSIDE, async move {
            publisher.run(until).await;
            publishing.fetch_sub(1, Relaxed);
        });
    }
    publishing
}

fn cast_client(
    world: &Arc<World>,
    cluster: &Arc<Cluster>,
    [own, shared]: [&[Topic]; 2],
    number: usize,
) -> Arc<Mutex<Judge>> {
    let mut texts: Vec<_> = own.iter().filter(|_| chance(60)).map(ToString::to_string).collect();
    if !shared.is_empty() && chance(80) {
        if chance(60) {
            texts.clear();
        }
        texts.extend(selectors(shared));
    }
    if texts.is_empty() {
        texts.push(pick(own).to_string());
    }
    let mut query: Vec<_> = texts.iter().map(|text| format!("topic={text}")).collect();
    let polls = chance(25);
    let types: Option<&[&str]> = match chance(70) || polls {
        true => None,
        false => Some(*pick(&FILTERS)),
    };
    query.extend(types.map(|types| format!("types={}", types.join(","))));
    let from = *pick(&["latest", "earliest", "-3"]);
    query.push(format!("from={from}"));
    let query = query.join("&");
    let judge = Judge::new(world, Wanted::all(&query), types, from == "earliest");
    let judge = Arc::new(Mutex::new(judge));
    let client = Client {
        name: format!("c{number}"),
        world: Arc::clone(world),
        cluster: Arc::clone(cluster),
        judge: Arc::clone(&judge),
        parts: Wanted::all(&query),
        query,
        slow: chance(30),
        bad_line: chance(50),
        polls,
        last_event_id: String::new(),
        retry: Duration::from_secs(3),
    };
    world.note(format_args!("{} asks for {} polls {polls}", client.name, client.query));
    world.stage.spawn(OUTSIDE, client.run());
    judge
}

/// The topics and patterns of a subscriber of a space.
fn selectors(topics: &[Topic]) -> Vec<String> {
    let topic = || pick(topics).to_string();
    match fastrand::u32(0..7) {
        0 | 1 => vec![topic()],
        2 => vec![topic(), topic()],
        3 => vec!["s/*".to_owned()],
        4 => vec!["s/**".to_owned()],
        5 => vec!["s/b/*".to_owned()],
        _ => vec!["s/b/**".to_owned(), topic()],
    }
}

/// Publishes the last event of each topic, of a type that all filters include. Some topics then end.
async fn end(world: &Arc<World>, topics: &[Topic]) {
    let publisher =
        Publisher { name: "last".to_owned(), world: Arc::clone(world), topics: topics.to_vec() };
    for (number, topic) in (0..).zip(topics) {
        let mark = match world.spaces.has(topic) {
            true => Mark::Open,
            false => *pick(&[Mark::Open, Mark::Last, Mark::End]),
        };
        if mark == Mark::End {
            publisher.publish(topic, 100 + number, Some("a"), Mark::Open).await;
        }
        publisher.publish(topic, number, Some("a"), mark).await;
    }
}

/// Waits until every client has all events.
async fn converge(world: &Arc<World>, judges: &[Arc<Mutex<Judge>>]) {
    let deadline = Instant::now() + CALM;
    while world.violation().is_none() {
        let late = judges.iter().position(|judge| {
            let judge = judge.lock().unwrap();
            !judge.is_current() && !judge.finished
        });
        let Some(late) = late else { return };
        if Instant::now() >= deadline {
            let stands = judges[late].lock().unwrap().stands();
            return world.violated(format!("c{late} is stuck {stands}"));
        }
        sleep(Duration::from_millis(500)).await;
    }
}

//! Faults, drawn at random one after another.

use std::sync::Arc;
use std::time::Duration;

use event_log::LogName;
use tokio::time::{Instant, sleep};

use super::cluster::{Cluster, Up};
use super::deployment::Regime;
use super::dice::{chance, millis, pick};
use super::ensemble::OUTSIDE;
use super::history::Loss;
use super::server::{Id, State};
use super::world::World;

/// Largest error of a server's clock, in milliseconds.
const SKEW_MS: i64 = 4000;

/// Causes faults until a given time.
pub(crate) async fn run(
    world: Arc<World>,
    cluster: Arc<Cluster>,
    logs: Vec<LogName>,
    until: Instant,
) {
    loop {
        sleep(millis(100..6000)).await;
        if Instant::now() >= until {
            return;
        }
        let replicas = world.deployment.replicas > 0;
        match fastrand::u32(0..if replicas { 17 } else { 10 }) {
            0..5 => befall_node(&world, &cluster, fastrand::usize(0..cluster.len())),
            5..7 => {
                let time = millis(1..8000);
                world.note(format_args!("the store is away for {time:?}"));
                world.store.goes_away(time);
            }
            7 | 12 => {
                let (log, keep) = (pick(&logs), fastrand::u64(0..4));
                world.note(format_args!("{log} is trimmed to {keep}"));
                world.store.trim(log, keep);
            }
            8..10 => befall_store(&world, until),
            10 | 11 | 13 if world.deployment.regime == Regime::FailOver => {
                befall_store(&world, until)
            }
            _ => befall_replica(&world, fastrand::usize(0..world.store.count())),
        }
    }
}

fn befall_node(world: &Arc<World>, cluster: &Arc<Cluster>, slot: usize) {
    let Some(Up { node, .. }) = cluster.up(slot) else { return };
    let group = node.group;
    let kinds = if world.deployment.replicas > 0 { 7 } else { 5 };
    match fastrand::u32(0..kinds) {
        0 | 1 => {
            cluster.kill(slot, group);
            cluster.start_later(slot, millis(0..10_000));
        }
        2 => {
            world.note(format_args!("gateway {slot} drains"));
            cluster.drain(slot, [2000, 5000, 10_000].map(|most| millis(0..most)));
        }
        3 => {
            let time = millis(100..30_000);
            world.note(format_args!("gateway {slot} is frozen for {time:?}"));
            world.stage.freeze(group);
            let stage = world.stage.clone();
            world.stage.spawn(OUTSIDE, async move {
                sleep(time).await;
                stage.thaw(group);
            });
        }
        4 => {
            world.note(format_args!("gateway {slot} loses its feed"));
            node.lose_feed();
        }
        _ => {
            let time = millis(5000..30_000);
            world.note(format_args!("gateway {slot} hears of no replicas for {time:?}"));
            node.goes_blind(time);
        }
    }
}

/// Longest time in milliseconds from a promotion until the sentinels name the new primary: less than the time after
/// which a node stops to wait for a replica that its primary has not named any more.
const NAMED_AFTER_MS: u64 = 2000;
/// Most servers of a schedule.
const SERVERS_MAX: usize = 6;

fn befall_replica(world: &Arc<World>, server: Id) {
    if server == world.store.primary() || world.store.with(server, |s| s.state()) != State::Running
    {
        return;
    }
    match fastrand::u32(0..12) {
        0..3 => stop(world, server, State::Frozen, "is frozen"),
        3 | 4 => stop(world, server, State::Stopped, "stops"),
        5..8 => {
            let time = pause();
            world.note(format_args!("server {server} is cut off from its primary for {time:?}"));
            world.count("cuts of a replica's link", 1);
            world.store.with(server, |server| server.cut_until = Instant::now() + time);
        }
        8 | 9 if world.store.remove(server) => {
            world.note(format_args!("server {server} is removed"));
            world.count("replicas removed", 1);
        }
        _ if world.store.count() < SERVERS_MAX => {
            let added = world.add_replica();
            world.note(format_args!("server {added} is added"));
            world.count("replicas added", 1);
        }
        _ => {}
    }
}

/// Shorter and longer than the silence after which a replica is left.
fn pause() -> Duration {
    millis(100..*pick(&[2000, 2000, 10_000]))
}

/// Stops a server for a while.
fn stop(world: &Arc<World>, server: Id, state: State, what: &str) {
    let time = pause();
    world.note(format_args!("server {server} {what} for {time:?}"));
    world.count("replicas frozen or stopped", 1);
    world.store.with(server, |server| server.turn(state));
    let store = Arc::clone(world);
    world.stage.spawn(OUTSIDE, async move {
        sleep(time).await;
        run_again(&store, server);
    });
}

fn run_again(world: &Arc<World>, server: Id) {
    world.store.with(server, |server| server.turn(State::Running));
}

/// Promotes a replica: on demand, or after the primary was killed or frozen. The old primary comes back as a replica.
async fn promote(world: Arc<World>, until: Instant) {
    let old = world.store.primary();
    if chance(80) {
        // The network fails before the primary does.
        let time = millis(100..1800);
        for server in (0..world.store.count()).filter(|_| chance(60)) {
            world.store.with(server, |server| server.cut_until = Instant::now() + time * 2);
        }
        sleep(time).await;
    }
    if chance(50) {
        let state = *pick(&[State::Frozen, State::Frozen, State::Stopped]);
        world.note(format_args!("the primary {old} is lost: {state:?}"));
        world.store.with(old, |server| server.turn(state));
        sleep(millis(500..3000)).await;
    }
    // Before the time in which all faults are over.
    while Instant::now() < until {
        let Some(replica) = world.store.candidate() else {
            sleep(millis(100..1000)).await;
            continue;
        };
        let promoted = world.store.promote(replica, fastrand::i64(-SKEW_MS..=SKEW_MS));
        world.note(format_args!("server {replica} is promoted: {promoted:?}"));
        world.count("promotions", 1);
        world.count("events lost in promotions", promoted.lost);
        if promoted.loss == Loss::Promotion {
            world.count("promotions of a replica that every node knew", 1);
        }
        break;
    }
    // The old primary thaws before its fall is known, and after.
    let thaw = Arc::clone(&world);
    world.stage.spawn(OUTSIDE, async move {
        sleep(millis(0..1500)).await;
        run_again(&thaw, old);
    });
    sleep(millis(0..NAMED_AFTER_MS)).await;
    world.store.name();
    world.note(format_args!("server {} is named as the primary", world.store.named()));
    let mut servers: Vec<_> = (0..world.store.count()).collect();
    fastrand::shuffle(&mut servers);
    for server in servers {
        sleep(millis(0..1500)).await;
        world.store.follow(server);
    }
    world.store.end_fail_over();
}

fn befall_store(world: &Arc<World>, until: Instant) {
    match world.deployment.regime {
        Regime::Steady => {}
        Regime::FailOver if world.deployment.replicas > 0 => {
            if world.store.begin_fail_over() {
                world.stage.spawn(OUTSIDE, promote(Arc::clone(world), until));
            }
        }
        Regime::FailOver => {
            let (tail, skew_ms) = (millis(0..3000), fastrand::i64(-SKEW_MS..=SKEW_MS));
            let lost = world.store.fail_over(tail, skew_ms);
            world.note(format_args!("the store fails over, {lost} events are lost"));
            world.store.goes_away(millis(1..3000));
            for node in world.nodes() {
                node.lose_feed();
            }
        }
        Regime::Wipe => {
            world.note(format_args!("the store is wiped"));
            world.store.flush();
        }
        Regime::Clock => {
            let ms = fastrand::i64(-3_600_000..=3_600_000);
            world.note(format_args!("the clock jumps by {ms} ms"));
            world.store.jump(ms);
        }
    }
}

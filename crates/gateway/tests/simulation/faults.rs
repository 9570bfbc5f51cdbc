//! Faults, drawn at random one after another.

use std::sync::Arc;

use event_log::Topic;
use tokio::time::{Instant, sleep};

use super::cluster::{Cluster, Up};
use super::dice::{millis, pick};
use super::ensemble::OUTSIDE;
use super::world::World;

/// The kind of fault that affects the numbering of topics. A schedule has one kind only: a position can
/// reveal a fail-over or a wipe, or survive a clock that steps back, but not several of these at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Regime {
    /// No such fault.
    Steady,
    /// Servers that lack the newest entries take over. Their clocks are wrong by less than the fence.
    FailOver,
    /// The store is wiped.
    Wipe,
    /// The clock steps back and forth by up to an hour.
    Clock,
}

impl Regime {
    pub(crate) const ALL: [Self; 4] = [Self::Steady, Self::FailOver, Self::Wipe, Self::Clock];
}

/// Largest error of a server's clock, in milliseconds.
const SKEW_MS: i64 = 4000;

/// Causes faults until a given time.
pub(crate) async fn run(
    world: Arc<World>,
    cluster: Arc<Cluster>,
    topics: Vec<Topic>,
    regime: Regime,
    until: Instant,
) {
    loop {
        sleep(millis(100..6000)).await;
        if Instant::now() >= until {
            return;
        }
        match fastrand::u32(0..10) {
            0..5 => befall_node(&world, &cluster, fastrand::usize(0..cluster.len())),
            5..7 => {
                let time = millis(1..8000);
                world.note(format_args!("the store is away for {time:?}"));
                world.store.goes_away(time);
            }
            7 => {
                let (topic, keep) = (pick(&topics), fastrand::u64(0..4));
                world.note(format_args!("{topic} is trimmed to {keep}"));
                world.store.trim(topic, keep);
            }
            _ => befall_store(&world, regime),
        }
    }
}

fn befall_node(world: &Arc<World>, cluster: &Arc<Cluster>, slot: usize) {
    let Some(Up { node, .. }) = cluster.up(slot) else { return };
    let group = node.group;
    match fastrand::u32(0..5) {
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
        _ => {
            world.note(format_args!("gateway {slot} loses its feed"));
            node.lose_feed();
        }
    }
}

fn befall_store(world: &Arc<World>, regime: Regime) {
    match regime {
        Regime::Steady => {}
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

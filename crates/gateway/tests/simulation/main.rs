//! A deterministic simulation of the whole product in one process, on a paused clock, with faults.
//!
//! Several real gateways each have their own view of one simulated store. Publishers publish, and
//! clients behave like browsers. A seed determines the cluster, the weather and the faults. A judge
//! knows the true history and checks every client. The same seed gives the same schedule, byte for byte.
//!
//! `make simulate` plays more schedules than CI does. `make simulate SEED=7 SCHEDULES=1 TRACE=FILE`
//! plays one schedule again and writes every step to a file.

#![allow(
    clippy::unwrap_used,
    reason = "clippy.toml allows it in tests, but does not see that helpers are"
)]

mod bug;
mod client;
mod cluster;
mod cursor;
mod dice;
mod ensemble;
mod faults;
mod history;
mod judge;
mod node;
mod publisher;
mod schedule;
mod store;
mod world;

use bug::Bug;
use schedule::play;

/// Schedules that CI plays, shared by the threads below.
const SCHEDULES: u64 = 500;
/// Threads that play the schedules.
const THREADS: u64 = 2;
/// Number of schedules that must suffice to find a planted bug.
const PATIENCE: u64 = 400;
/// Number of trace lines that a failure prints.
const SHOWN: usize = 60;

#[test]
fn no_schedule_harms_a_client() {
    let (from, count) = (setting("SEED", 0), setting("SCHEDULES", SCHEDULES));
    let harm = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let mut seeds = (from..from + count).filter(move |seed| seed % THREADS == thread);
                scope.spawn(move || seeds.find_map(harm))
            })
            .collect();
        threads.into_iter().filter_map(|thread| thread.join().unwrap()).min()
    });
    let Some((seed, violation)) = harm else {
        return write_trace(from);
    };
    write_trace(seed);
    let trace = play(seed, None).trace;
    let lines: Vec<_> = trace.lines().collect();
    let tail = lines[lines.len().saturating_sub(SHOWN)..].join("\n");
    let again = format!(
        "to repeat with every step in FILE: make simulate SEED={seed} SCHEDULES=1 TRACE=FILE"
    );
    panic!("{tail}\nseed {seed}: {violation}\n{again}");
}

fn harm(seed: u64) -> Option<(u64, String)> {
    play(seed, None).violation.map(|violation| (seed, violation))
}

fn write_trace(seed: u64) {
    if let Some(file) = text("TRACE") {
        let folder = std::path::Path::new(&file).parent().expect("a file is in a folder");
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(file, play(seed, None).trace).unwrap();
    }
}

#[test]
fn the_same_seed_gives_the_same_schedule() {
    for seed in 0..20 {
        let (first, again) = (play(seed, None).trace, play(seed, None).trace);
        assert!(first.lines().count() > 50, "seed {seed} does nothing: {first}");
        let differ = first.lines().zip(again.lines()).find(|(one, other)| one != other);
        assert_eq!(differ, None, "seed {seed}");
        assert_eq!(first, again, "seed {seed}");
        assert_ne!(first, play(seed + 1, None).trace, "seed {seed}");
    }
}

#[test]
fn every_planted_bug_is_found() {
    for bug in Bug::ALL {
        let found = (0..PATIENCE).find_map(|seed| Some((seed, play(seed, Some(bug)).violation?)));
        let (seed, violation) = found.unwrap_or_else(|| panic!("{bug:?} was not found"));
        println!("{bug:?} shows with seed {seed}: {violation}");
    }
}

#[test]
fn schedules_contain_every_kind_of_fault() {
    let traces: String = (0..PATIENCE).map(|seed| play(seed, None).trace).collect();
    let faults =
        "dies|drains|frozen|loses its feed|cut off|away|fails over|wiped|clock jumps|trimmed to";
    let told = "live|exact|trimmed|rewound|reset|overload|unavailable|drain\\|max_age\\|cursor|end|has it all";
    for what in faults.split('|').chain(told.split('|')) {
        assert!(traces.contains(what), "{what:?} never happens");
    }
}

fn setting(name: &str, default: u64) -> u64 {
    text(name).map_or(default, |value| value.parse().expect("a number"))
}

#[allow(clippy::disallowed_methods, reason = "how many schedules is for whoever runs the test")]
fn text(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

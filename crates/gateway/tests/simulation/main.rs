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
mod deployment;
mod dice;
mod ensemble;
mod faults;
mod history;
mod judge;
mod node;
mod publisher;
mod schedule;
mod server;
mod store;
mod wanted;
mod weather;
mod wire;
mod world;

use bug::Bug;
use schedule::{Played, play};
use world::Tally;

/// Schedules that CI plays, shared by the threads below.
const SCHEDULES: u64 = 500;
/// Threads that play the schedules.
const THREADS: u64 = 2;
/// Number of schedules that must suffice to find a planted bug.
const PATIENCE: u64 = 200;
/// Seeds beyond those of CI that have found a fault. They are played for ever.
const FOUND: [u64; 7] = [2824, 6189, 7696, 12_298, 20_114, 45_031, 117_729];
/// Number of trace lines that a failure prints.
const SHOWN: usize = 60;

#[test]
fn no_schedule_harms_a_client() {
    let (from, count) = (setting("SEED", 0), setting("SCHEDULES", SCHEDULES));
    let played: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let seeds = (from..from + count).filter(move |seed| seed % THREADS == thread);
                scope.spawn(move || play_all(seeds))
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let Some((seed, violation)) = played.iter().filter_map(|(harm, _)| harm.clone()).min() else {
        print_summary(count, played.into_iter().map(|(_, tally)| tally));
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

/// Plays schedules up to the first one that harms a client.
fn play_all(seeds: impl Iterator<Item = u64>) -> (Option<(u64, String)>, Tally) {
    let mut sum = Tally::new();
    for seed in seeds {
        let Played { violation, tally, .. } = play(seed, None);
        if let Some(violation) = violation {
            return (Some((seed, violation)), sum);
        }
        tally.into_iter().for_each(|(what, count)| *sum.entry(what).or_default() += count);
    }
    (None, sum)
}

/// Prints the counts of all schedules, for people.
fn print_summary(schedules: u64, tallies: impl Iterator<Item = Tally>) {
    let mut sum = Tally::new();
    tallies.flatten().for_each(|(what, count)| *sum.entry(what).or_default() += count);
    println!("{schedules:>10} schedules");
    sum.iter().for_each(|(what, count)| println!("{count:>10} {what}"));
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
fn no_schedule_harms_a_client_again_that_once_did() {
    for seed in FOUND {
        let violation = play(seed, None).violation;
        assert_eq!(violation, None, "make simulate SEED={seed} SCHEDULES=1 TRACE=FILE");
    }
}

#[test]
fn every_planted_bug_is_found() {
    let (some, others) = Bug::ALL.split_at(Bug::ALL.len() / 2);
    let missed = std::thread::scope(|scope| {
        let threads = [some, others].map(|bugs| scope.spawn(|| not_found(bugs)));
        threads.map(|thread| thread.join().unwrap()).concat()
    });
    assert_eq!(missed, [], "not found in {PATIENCE} schedules");
}

fn not_found(bugs: &[Bug]) -> Vec<Bug> {
    let missed = bugs.iter().filter(|bug| {
        let found = (0..PATIENCE).find_map(|seed| Some((seed, play(seed, Some(**bug)).violation?)));
        if let Some((seed, violation)) = &found {
            println!("{bug:?} shows with seed {seed}: {violation}");
        }
        found.is_none()
    });
    missed.copied().collect()
}

#[test]
fn schedules_contain_every_kind_of_fault() {
    let traces: String = (0..PATIENCE).map(|seed| play(seed, None).trace).collect();
    let faults =
        "dies|drains|frozen|loses its feed|cut off|away|fails over|wiped|clock jumps|trimmed to";
    let of_servers = "is promoted|is named|stops|cut off from its primary|is removed|is added|\
        hears of no replicas|reads from";
    let told = "live|exact|trimmed|rewound|reset|overload|unavailable|drain\\|max_age\\|cursor|end|has it all";
    for what in [faults, of_servers, told].iter().flat_map(|words| words.split('|')) {
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

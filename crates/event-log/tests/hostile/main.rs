//! Cursors on hostile nodes lose, repeat and reorder nothing.
//!
//! A seed draws each schedule, which runs on a paused clock, so a failing seed fails again.

mod bug;
mod node;
mod schedule;
mod scripted;

use bug::Bug;
use schedule::run;

/// Schedules in each of the tests below, which run in parallel.
const SEEDS: u64 = 1000;
/// Seeds within which a planted bug must have shown.
const PATIENCE: u64 = 100;

fn no_schedule_harms_a_reader(from: u64) {
    for seed in from..from + SEEDS {
        if let Err(why) = run(seed, None) {
            panic!("seed {seed}: {why}");
        }
    }
}

#[test]
fn no_schedule_harms_a_reader_1() {
    no_schedule_harms_a_reader(0);
}

#[test]
fn no_schedule_harms_a_reader_2() {
    no_schedule_harms_a_reader(SEEDS);
}

#[test]
fn no_schedule_harms_a_reader_3() {
    no_schedule_harms_a_reader(2 * SEEDS);
}

#[test]
fn no_schedule_harms_a_reader_4() {
    no_schedule_harms_a_reader(3 * SEEDS);
}

#[test]
fn the_same_seed_is_the_same_schedule() {
    for seed in 0..20 {
        let first = run(seed, None).expect("no harm");
        assert!(first.len() > 10, "seed {seed} does nothing: {first:?}");
        assert_eq!(first, run(seed, None).expect("no harm"), "seed {seed}");
        assert_ne!(first, run(seed + 1, None).expect("no harm"), "seed {seed}");
    }
}

#[test]
fn every_planted_bug_is_reported() {
    for bug in Bug::ALL {
        let report = (0..PATIENCE).find_map(|seed| run(seed, Some(bug)).err());
        assert!(report.is_some(), "{bug:?} was not reported by {PATIENCE} schedules");
    }
}

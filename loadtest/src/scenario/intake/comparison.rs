//! The report of the ways: medians, and their ratios to single requests through one ingest.

use serde_json::json;

use super::{IntakeCost, IntakeWay, Options};
use crate::report::{Comparison, Figure, grouped, line};

type ReadCost = fn(&IntakeCost) -> Option<f64>;

const QUANTITIES: [(&str, usize, ReadCost); 5] = [
    ("Redis, CPU us an event", 2, |c| Some(c.redis_us)),
    ("one core of Redis, events/s", 0, |c| Some(1e6 / c.redis_us)),
    ("ingest, CPU us an event", 2, |c| Some(c.ingest_us)),
    ("both on one core, events/s", 0, |c| Some(c.rate)),
    ("events a run of the script", 1, |c| Some(c.run_events)),
];

pub(super) fn report(options: &Options, rounds: &[(IntakeWay, Vec<IntakeCost>)]) -> Comparison {
    // A node may have appended events of its own, so more may be stored.
    let missing: u64 = rounds
        .iter()
        .flat_map(|(_, all)| all)
        .map(|cost| cost.acknowledged.saturating_sub(cost.stored))
        .sum();
    let mut failures = Vec::new();
    if missing > 0 {
        failures.push(format!("{missing} events acknowledged and not stored"));
    }
    let costs: Vec<&[IntakeCost]> = rounds.iter().map(|(_, all)| all.as_slice()).collect();
    let lines =
        QUANTITIES.iter().filter_map(|(name, digits, read)| line(name, *digits, &costs, *read));
    let raw: Vec<_> =
        rounds.iter().map(|(way, all)| json!({ "way": way.name(), "rounds": all })).collect();
    Comparison {
        scenario: super::NAME.to_owned(),
        summary: format!(
            "Events of {} bytes to {} topics an ingest, closed loop: {} connections with a POST at a \
             time, or {} with {} lines of NDJSON at a time, to every ingest. Medians of {} interleaved \
             rounds, in brackets the ratio to the first column. Redis and the ingests share core {}, \
             the publishers are on core {}; the intake of a core of Redis is 1 s / its CPU an event.",
            options.event_bytes,
            grouped(options.topics as u64),
            options.publishers,
            options.streams,
            options.lines,
            options.rounds,
            options.cores.server_cores,
            options.cores.driver_core,
        ),
        failures,
        verdict: vec![Figure::zero("acknowledged and not stored", missing)],
        goals: Vec::new(),
        columns: rounds.iter().map(|(way, _)| way.name()).collect(),
        lines: lines.collect(),
        raw: json!(raw),
    }
}

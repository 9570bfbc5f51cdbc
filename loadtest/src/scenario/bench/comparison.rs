//! The report of the rounds: medians, ratios, and the counts that must be zero.

use serde_json::json;

use super::round::BenchMeasured;
use super::{Options, goals, quantity};
use crate::cost::contender::Contender;
use crate::report::{Comparison, Figure, grouped, line};

/// The measurements of each server, round by round.
pub(super) type Rounds = [(Contender, Vec<BenchMeasured>)];

/// Puts the report together from all rounds of all servers.
pub(super) fn report(options: &Options, rounds: &Rounds) -> Comparison {
    let sum = |count: fn(&BenchMeasured) -> u64| {
        rounds.iter().filter(|(who, _)| who.is_ours()).flat_map(|(_, all)| all).map(count).sum()
    };
    let (lost, repeated) = (sum(|m| m.lost), sum(|m| m.repeated));
    let mut failures = Vec::new();
    if lost + repeated > 0 {
        failures.push(format!("Tailwater: {lost} events lost, {repeated} repeated"));
    }
    let verdict = vec![
        Figure::zero("lost by Tailwater", lost),
        Figure::zero("repeated by Tailwater", repeated),
    ];
    let columns: Vec<&[BenchMeasured]> = rounds.iter().map(|(_, all)| all.as_slice()).collect();
    let lines = quantity::ALL.iter().filter_map(|q| line(q.name, q.digits, &columns, q.read));
    let raw: Vec<_> =
        rounds.iter().map(|(who, all)| json!({ "server": who, "rounds": all })).collect();
    Comparison {
        scenario: "bench".to_owned(),
        summary: summary(options, rounds),
        failures,
        verdict,
        goals: goals::all(rounds),
        columns: rounds.iter().map(|(who, _)| who.name().to_owned()).collect(),
        lines: lines.collect(),
        raw: json!(raw),
    }
}

fn summary(options: &Options, rounds: &Rounds) -> String {
    let first = rounds.first().map_or("none", |(who, _)| who.name());
    format!(
        "{} readers of one topic, {} bytes an event, {} events/s and then {} in flight; {} topics \
         with a reader each. Medians of {} interleaved rounds, in brackets the ratio to {first}. CPU \
         is that of all the server's processes, on cores {} ({} for two-cores); the driver runs on \
         core {}.",
        grouped(options.readers as u64),
        options.event_bytes,
        options.rate,
        options.in_flight,
        grouped(options.topics as u64),
        options.rounds,
        options.cores.server_cores,
        options.two_cores,
        options.cores.driver_core,
    )
}

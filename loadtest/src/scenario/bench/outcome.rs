//! What the rounds came to: medians, ratios, and what must be zero.

use serde_json::json;

use super::round::Measured;
use super::{Options, goals, quantity};
use crate::contender::Contender;
use crate::report::{Cell, Comparison, Figure, Line, grouped};

/// What each server was measured to need, round by round.
pub(super) type Rounds = [(Contender, Vec<Measured>)];

/// Puts the report together from all rounds of all servers.
pub(super) fn report(options: &Options, rounds: &Rounds) -> Comparison {
    let sum = |count: fn(&Measured) -> u64| {
        rounds.iter().filter(|(who, _)| who.is_ours()).flat_map(|(_, all)| all).map(count).sum()
    };
    let (lost, repeated) = (sum(|m| m.lost), sum(|m| m.repeated));
    let mut failures = Vec::new();
    if lost + repeated > 0 {
        failures.push(format!("Tailwater: {lost} events lost, {repeated} repeated"));
    }
    let mut verdict = vec![
        Figure::zero("lost by Tailwater", lost),
        Figure::zero("repeated by Tailwater", repeated),
    ];
    verdict.extend(goals::figures(rounds));
    let raw: Vec<_> =
        rounds.iter().map(|(who, all)| json!({ "server": who, "rounds": all })).collect();
    Comparison {
        scenario: "bench".to_owned(),
        summary: summary(options, rounds),
        failures,
        verdict,
        columns: rounds.iter().map(|(who, _)| who.name().to_owned()).collect(),
        lines: quantity::ALL.iter().filter_map(|quantity| line(quantity, rounds)).collect(),
        raw: json!(raw),
    }
}

fn summary(options: &Options, rounds: &Rounds) -> String {
    let first = rounds.first().map_or("nobody", |(who, _)| who.name());
    format!(
        "{} readers of one topic, {} bytes an event, {} events/s and then {} in flight; {} topics \
         with a reader each. Medians of {} interleaved rounds, in brackets the ratio to {first}. CPU \
         is that of all the server's processes, on core {}; the driver runs on core {}.",
        grouped(options.readers as u64),
        options.event_bytes,
        options.rate,
        options.in_flight,
        grouped(options.topics as u64),
        options.rounds,
        options.server_core,
        options.driver_core,
    )
}

fn line(quantity: &quantity::Quantity, rounds: &Rounds) -> Option<Line> {
    let base = rounds.first().map(|(_, all)| all.as_slice()).unwrap_or_default();
    let cell = |(_, all): &(Contender, Vec<Measured>)| {
        let value = median(all, quantity.read)?;
        Some(Cell { value, ratio: ratio(all, base, quantity.read) })
    };
    let cells: Vec<_> = rounds.iter().map(cell).collect();
    let is_measured = cells.iter().any(Option::is_some);
    is_measured.then(|| Line { name: quantity.name.to_owned(), digits: quantity.digits, cells })
}

type Read = fn(&Measured) -> Option<f64>;

/// The median over the rounds.
pub(super) fn median(rounds: &[Measured], read: Read) -> Option<f64> {
    middle(rounds.iter().filter_map(read).collect())
}

/// The median of the ratios within each round.
pub(super) fn ratio(rounds: &[Measured], base: &[Measured], read: Read) -> Option<f64> {
    let ratio = |(own, base): (&Measured, &Measured)| {
        let base = read(base).filter(|base| *base > 0.0)?;
        Some(read(own)? / base)
    };
    middle(rounds.iter().zip(base).filter_map(ratio).collect())
}

fn middle(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied()
}

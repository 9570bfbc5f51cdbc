//! What the rounds came to: medians, ratios, and what must be zero.

use serde_json::json;

use super::Options;
use super::round::Measured;
use crate::contender::Contender;
use crate::report::{Figure, Report, grouped};

type Read = fn(&Measured) -> Option<f64>;

/// What is measured: its name, its unit's digits, and where it stands.
const QUANTITIES: [(&str, usize, Read); 23] = [
    ("fan-out, CPU us a delivery", 2, |m| m.fixed_us),
    ("fan-out, latency p50 ms", 1, |m| m.fixed_latency.map(|l| l.p50_ms)),
    ("fan-out, latency p99 ms", 1, |m| m.fixed_latency.map(|l| l.p99_ms)),
    ("fan-out, latency max ms", 1, |m| m.fixed_latency.map(|l| l.max_ms)),
    ("pressure, CPU us a delivery", 3, |m| m.pressure_us),
    ("pressure, deliveries a second", 0, |m| m.pressure_rate),
    ("pressure, events a read", 1, |m| m.pressure_batch),
    ("idle, RSS bytes a connection", 0, |m| m.rss_bytes),
    ("idle, PSS bytes a connection", 0, |m| m.pss_bytes),
    ("connect, CPU us", 1, |m| m.connect_us),
    ("resume, CPU us an event", 3, |m| m.resume_us),
    ("topics, CPU us an event", 1, |m| m.topics.map(|t| t.full_us)),
    ("topics, of that Redis, us", 1, |m| m.topics.map(|t| t.full_redis_us)),
    ("topics, events a second", 0, |m| m.topics.map(|t| t.full_rate)),
    ("topics at 30 %, CPU us an event", 1, |m| m.topics.map(|t| t.part_us)),
    ("topics at 30 %, latency p50 ms", 2, |m| m.topics.map(|t| t.part_latency.p50_ms)),
    ("topics at 30 %, latency p99 ms", 2, |m| m.topics.map(|t| t.part_latency.p99_ms)),
    ("topics by lines, CPU us an event", 1, |m| m.lines.map(|t| t.full_us)),
    ("topics by lines, of that Redis, us", 1, |m| m.lines.map(|t| t.full_redis_us)),
    ("topics by lines, events a second", 0, |m| m.lines.map(|t| t.full_rate)),
    ("topics by lines at 30 %, CPU us an event", 1, |m| m.lines.map(|t| t.part_us)),
    ("topics by lines at 30 %, latency p50 ms", 2, |m| m.lines.map(|t| t.part_latency.p50_ms)),
    ("topics by lines at 30 %, latency p99 ms", 2, |m| m.lines.map(|t| t.part_latency.p99_ms)),
];

/// Puts the report together from all rounds of all servers.
pub(super) fn report(options: &Options, rounds: &[(Contender, Vec<Measured>)]) -> Report {
    let sum = |count: fn(&Measured) -> u64| {
        rounds.iter().filter(|(who, _)| who.is_ours()).flat_map(|(_, all)| all).map(count).sum()
    };
    let (lost, repeated) = (sum(|m| m.lost), sum(|m| m.repeated));
    let mut failures = Vec::new();
    if lost + repeated > 0 {
        failures.push(format!("Tailwater: {lost} events lost, {repeated} repeated"));
    }
    let floor = rounds.iter().find(|(who, _)| *who == Contender::Floor).map(|(_, all)| all);
    let groups = QUANTITIES.iter().filter_map(|(name, digits, read)| {
        let figures = rounds.iter().filter_map(|(who, all)| {
            let value = median(all, *read)?;
            let base = floor.and_then(|all| median(all, *read)).filter(|base| *base > 0.0);
            let ratio = base.map_or_else(String::new, |base| format!("{:8.2} x", value / base));
            let value = format!("{value:12.digits$} {ratio:>10}");
            Some(Figure::plain(&format!("{name}: {}", who.name()), value))
        });
        let figures: Vec<_> = figures.collect();
        (!figures.is_empty()).then(|| ((*name).to_owned(), figures))
    });
    let groups: Vec<_> = groups.collect();
    let raw: Vec<_> =
        rounds.iter().map(|(who, all)| json!({ "server": who, "rounds": all })).collect();
    Report {
        scenario: "bench".to_owned(),
        summary: format!(
            "{} readers of one topic, {} bytes an event, {} events a second and then {} in flight; \
             medians of {} interleaved rounds, and their ratio to the floor's. CPU time is the \
             server's on core {}; the driver runs on core {}.",
            grouped(options.readers as u64),
            options.event_bytes,
            options.rate,
            options.in_flight,
            options.rounds,
            options.server_core,
            options.driver_core,
        ),
        failures,
        verdict: vec![
            Figure::zero("lost by Tailwater", lost),
            Figure::zero("repeated by Tailwater", repeated),
        ],
        groups,
        marks: Vec::new(),
        plots: Vec::new(),
        raw: json!(raw),
    }
}

fn median(rounds: &[Measured], read: Read) -> Option<f64> {
    let mut values: Vec<f64> = rounds.iter().filter_map(read).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied()
}

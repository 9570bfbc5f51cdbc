//! What the styles came to: medians, and their ratios to polling every second.

use serde_json::json;

use super::Options;
use super::style::{Cost, Style};
use crate::report::{Comparison, Figure, Line, grouped, line};

type Read = fn(&Cost) -> Option<f64>;

const QUANTITIES: [(&str, usize, Read); 8] = [
    ("CPU us a user and event", 2, |c| Some(c.cpu_us)),
    ("bytes to a user, an event", 0, |c| Some(c.bytes_down)),
    ("bytes from a user, an event", 0, |c| Some(c.bytes_up)),
    ("latency p50 ms", 1, |c| Some(c.latency.p50_ms)),
    ("latency p99 ms", 1, |c| Some(c.latency.p99_ms)),
    ("latency p99.9 ms", 1, |c| Some(c.latency.p999_ms)),
    ("latency max ms", 1, |c| Some(c.latency.max_ms)),
    ("RSS bytes a user", 0, |c| Some(c.rss_bytes)),
];

pub(super) fn report(options: &Options, rounds: &[(Style, Vec<Cost>)]) -> Comparison {
    let sum = |count: fn(&Cost) -> u64| rounds.iter().flat_map(|(_, all)| all).map(count).sum();
    let (lost, repeated): (u64, u64) = (sum(|c| c.lost), sum(|c| c.repeated));
    let mut failures = Vec::new();
    if lost + repeated > 0 {
        failures.push(format!("{lost} events lost, {repeated} repeated"));
    }
    let costs: Vec<&[Cost]> = rounds.iter().map(|(_, all)| all.as_slice()).collect();
    let lines =
        QUANTITIES.iter().filter_map(|(name, digits, read)| line(name, *digits, &costs, *read));
    let raw: Vec<_> =
        rounds.iter().map(|(style, all)| json!({ "style": style.name(), "rounds": all })).collect();
    let lines: Vec<Line> = lines.collect();
    Comparison {
        scenario: "styles".to_owned(),
        summary: format!(
            "{} users of one topic, {} events/s of {} bytes for {}. Medians of {} rounds, in brackets \
             the ratio to polling every second. CPU is the server's. Bytes are those of HTTP and \
             WebSocket; the headers of TCP and IP come on top, to each message. The server for \
             WebSocket is a reference program.",
            grouped(options.users as u64),
            options.rate,
            options.event_bytes,
            humantime::format_duration(options.time),
            options.rounds,
        ),
        failures,
        verdict: vec![Figure::zero("lost", lost), Figure::zero("repeated", repeated)],
        columns: rounds.iter().map(|(style, _)| style.name().to_owned()).collect(),
        lines,
        raw: json!(raw),
    }
}

//! What the transports came to: medians, and their ratios to plain HTTP/1.1.

use super::cost::Cost;
use super::{Options, Trial};
use crate::report::{Comparison, Quantity, grouped};

const QUANTITIES: [Quantity<Cost>; 7] = [
    ("CPU us a delivery", 2, |c| Some(c.cpu_us)),
    ("connect, CPU us a stream", 1, |c| Some(c.connect_us)),
    ("RSS bytes a stream, idle", 0, |c| Some(c.idle_bytes)),
    ("RSS bytes a stream, after the events", 0, |c| Some(c.used_bytes)),
    ("RSS bytes a stream, not read", 0, |c| c.stalled_bytes),
    ("latency p50 ms", 1, |c| Some(c.latency.p50_ms)),
    ("latency p99 ms", 1, |c| Some(c.latency.p99_ms)),
];

pub(super) fn report(options: &Options, rounds: &[(Trial, Vec<Cost>)]) -> Comparison {
    let sum = |count: fn(&Cost) -> u64| rounds.iter().flat_map(|(_, all)| all).map(count).sum();
    let summary = format!(
        "{} streams of one topic, {} events/s of {} bytes for {}; x{} means so many streams a \
         connection. Medians of {} interleaved rounds, in brackets the ratio to the first \
         column. CPU and memory are the server's, on core {}; every TLS handshake is a full one. \
         The clients run on core {}.",
        grouped(options.readers as u64),
        options.rate,
        options.event_bytes,
        humantime::format_duration(options.time),
        options.streams,
        options.rounds,
        options.cores.server_cores,
        options.cores.driver_core,
    );
    let columns: Vec<_> =
        rounds.iter().map(|(trial, all)| (trial.name(), all.as_slice())).collect();
    let losses = (sum(|c| c.lost), sum(|c| c.repeated));
    Comparison::of(super::NAME, summary, &columns, &QUANTITIES, losses)
}

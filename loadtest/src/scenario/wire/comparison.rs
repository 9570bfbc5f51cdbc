//! The report of the transports: medians, their ratios to plain HTTP/1.1, and the goals.

use super::cost::WireCost;
use super::trial::{WireMeasured, WireTrial};
use super::{Options, goals};
use crate::report::{Comparison, Quantity, grouped};

pub(super) const CPU: Quantity<WireMeasured> =
    ("CPU us a delivery", 2, |m| m.streams.map(|c| c.cpu_us));
pub(super) const IDLE: Quantity<WireMeasured> =
    ("idle, RSS bytes a stream", 0, |m| m.streams.map(|c| c.idle_bytes));
pub(super) const FULL_SHARE: Quantity<WireMeasured> =
    ("back, % full handshakes", 0, |m| m.reconnect.map(|r| r.full_share));

/// The CPU time of a client that comes back, divided by the time of a new one.
pub(super) const BACK: Quantity<WireMeasured> =
    ("back / new", 2, |m| m.reconnect.map(|r| r.return_us / r.full_us));

const QUANTITIES: [Quantity<WireMeasured>; 11] = [
    CPU,
    ("connect, CPU us a stream", 1, |m| m.streams.map(|c| c.connect_us)),
    IDLE,
    ("used, RSS bytes a stream", 0, |m| m.streams.map(|c| c.used_bytes)),
    ("unread, RSS bytes a stream", 0, |m| m.streams.and_then(|c| c.stalled_bytes)),
    ("p50 ms", 1, |m| m.streams.map(|c| c.latency.p50_ms)),
    ("p99 ms", 1, |m| m.streams.map(|c| c.latency.p99_ms)),
    ("new, CPU us", 1, |m| m.reconnect.map(|r| r.full_us)),
    ("back, CPU us", 1, |m| m.reconnect.map(|r| r.return_us)),
    BACK,
    FULL_SHARE,
];

pub(super) fn report(options: &Options, rounds: &[(WireTrial, Vec<WireMeasured>)]) -> Comparison {
    let costs = || rounds.iter().flat_map(|(_, all)| all).filter_map(|measured| measured.streams);
    let sum = |count: fn(WireCost) -> u64| costs().map(count).sum();
    let summary = format!(
        "{} streams of one topic, {} events/s of {} bytes for {}; x{} means so many streams a \
         connection. Medians of {} interleaved rounds, in brackets the ratio to the first trial. \
         CPU and memory are the server's, on cores {} ({} for \"two cores\"); every TLS handshake is \
         a full one, except in \"reconnect\": there {} clients connect to a node (\"new\") and as \
         many come back from another node with its tickets (\"back\"). The clients run on core {}.",
        grouped(options.readers as u64),
        options.rate,
        options.event_bytes,
        humantime::format_duration(options.time),
        options.streams,
        options.rounds,
        options.cores.server_cores,
        options.two_cores,
        grouped(options.returns as u64),
        options.cores.driver_core,
    );
    let columns: Vec<_> =
        rounds.iter().map(|(trial, all)| (trial.name(), all.as_slice())).collect();
    let losses = (sum(|c| c.lost), sum(|c| c.repeated));
    let goals = goals::all(options.streams, rounds);
    Comparison { goals, ..Comparison::of(super::NAME, summary, &columns, &QUANTITIES, losses) }
}

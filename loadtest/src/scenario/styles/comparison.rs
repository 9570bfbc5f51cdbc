//! The report of the styles: medians, and their ratios to polling every second.

use super::Options;
use super::style::{Style, StyleCost};
use crate::report::{Comparison, Quantity, grouped};

const QUANTITIES: [Quantity<StyleCost>; 8] = [
    ("CPU us a user and event", 2, |c| Some(c.cpu_us)),
    ("bytes to a user, an event", 0, |c| Some(c.bytes_down)),
    ("bytes from a user, an event", 0, |c| Some(c.bytes_up)),
    ("latency p50 ms", 1, |c| Some(c.latency.p50_ms)),
    ("latency p99 ms", 1, |c| Some(c.latency.p99_ms)),
    ("latency p99.9 ms", 1, |c| Some(c.latency.p999_ms)),
    ("latency max ms", 1, |c| Some(c.latency.max_ms)),
    ("RSS bytes a user", 0, |c| Some(c.rss_bytes)),
];

pub(super) fn report(options: &Options, rounds: &[(Style, Vec<StyleCost>)]) -> Comparison {
    let sum =
        |count: fn(&StyleCost) -> u64| rounds.iter().flat_map(|(_, all)| all).map(count).sum();
    let summary = format!(
        "{} users of one topic, {} events/s of {} bytes for {}. Medians of {} rounds, in brackets \
         the ratio to polling every second. CPU is the server's. Bytes are those of HTTP and \
         WebSocket; the headers of TCP and IP come on top, to each message. The server for \
         WebSocket is a reference program.",
        grouped(options.users as u64),
        options.rate,
        options.event_bytes,
        humantime::format_duration(options.time),
        options.rounds,
    );
    let columns: Vec<_> =
        rounds.iter().map(|(style, all)| (style.name().to_owned(), all.as_slice())).collect();
    let losses = (sum(|c| c.lost), sum(|c| c.repeated));
    Comparison::of("styles", summary, &columns, &QUANTITIES, losses)
}

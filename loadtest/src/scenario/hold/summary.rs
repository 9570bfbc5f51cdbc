//! The held connections and their memory, as a report.

use serde_json::json;

use super::worker::HoldSeen;
use super::{Held, Options};
use crate::report::{Figure, Report, grouped, millis};

pub(super) fn report(options: &Options, held: &Held) -> Report {
    let sum = |count: fn(&HoldSeen) -> u64| held.seen.iter().map(count).sum::<u64>();
    let (delivered, lost, repeated) = (sum(|s| s.delivered), sum(|s| s.lost), sum(|s| s.repeated));
    let missing = (options.connections as u64).saturating_sub(held.open);
    let verdict = vec![
        Figure::plain("connections", grouped(held.open)),
        Figure::zero("connections missing", missing),
        Figure::zero("lost", lost),
        Figure::zero("repeated", repeated),
    ];
    let bad = verdict.iter().filter(|figure| figure.is_good == Some(false));
    let failures = bad.map(|figure| format!("{} {}", figure.value, figure.name)).collect();
    let each = |bytes: [u64; 2]| (bytes[1] as f64 - bytes[0] as f64) / held.open as f64;
    let bytes = |name: &str, bytes: f64| Figure::plain(name, grouped(bytes.max(0.0) as u64));
    let user = each(held.memory.map(|memory| memory.pss));
    // Both ends of every connection are on this machine.
    let kernel = each(held.kernel.map(|kernel| kernel.slab)) / 2.0;
    let memory = vec![
        bytes("gateways, PSS, bytes a connection", user),
        bytes("gateways, RSS, bytes a connection", each(held.memory.map(|memory| memory.rss))),
        bytes("kernel, objects, bytes a socket", kernel),
        bytes("kernel, buffers, bytes a socket", each(held.kernel.map(|k| k.buffers)) / 2.0),
        bytes("both, bytes a connection", user + kernel),
    ];
    let us = |cpu: super::Cpu, count: u64| {
        format!("{:.1} us", cpu.all.as_secs_f64() * 1e6 / count.max(1) as f64)
    };
    let worst = |read: fn(&HoldSeen) -> f64| held.seen.iter().map(read).fold(0.0, f64::max);
    let work = vec![
        Figure::plain("CPU a connect", us(held.connect, held.open)),
        Figure::plain("CPU a delivery", us(held.deliver, delivered)),
        Figure::plain("latency p50, worst gateway", millis(worst(|s| s.latency.p50_ms))),
        Figure::plain("latency p99, worst gateway", millis(worst(|s| s.latency.p99_ms))),
        Figure::plain("latency max", millis(worst(|s| s.latency.max_ms))),
    ];
    Report {
        scenario: "hold".to_owned(),
        summary: format!(
            "{} connections at {} gateways on core {}, from as many drivers on core {}; then {} \
             events for every connection, {} a second. Kernel memory is half of the growth of the machine's: \
             both ends of each connection are here.",
            grouped(held.open),
            held.gateways,
            options.cores.server_cores,
            options.cores.driver_core,
            options.events,
            options.rate,
        ),
        failures,
        verdict,
        groups: vec![("Memory".to_owned(), memory), ("Work".to_owned(), work)],
        marks: Vec::new(),
        plots: Vec::new(),
        raw: json!({ "memory": held.memory, "kernel": held.kernel, "seen": held.seen }),
    }
}

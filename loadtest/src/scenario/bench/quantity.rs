//! The quantities of the report: name, digits, and field of a measurement.

use super::round::BenchMeasured;

/// One line of the report.
pub(super) struct BenchQuantity {
    pub(super) name: &'static str,
    pub(super) digits: usize,
    pub(super) read: fn(&BenchMeasured) -> Option<f64>,
}

const fn quantity(
    name: &'static str,
    digits: usize,
    read: fn(&BenchMeasured) -> Option<f64>,
) -> BenchQuantity {
    BenchQuantity { name, digits, read }
}

/// All of them, in the order of the report.
pub(super) const ALL: &[BenchQuantity] = &[
    FANOUT,
    quantity("fan-out at 30 %, p50 ms", 1, |m| m.part_latency.map(|l| l.p50_ms)),
    quantity("fan-out at 30 %, p99 ms", 1, |m| m.part_latency.map(|l| l.p99_ms)),
    quantity("fan-out at 30 %, p99.9 ms", 1, |m| m.part_latency.map(|l| l.p999_ms)),
    quantity("fan-out at 30 %, max ms", 1, |m| m.part_latency.map(|l| l.max_ms)),
    PRESSURE,
    quantity("pressure, deliveries/s", 0, |m| m.pressure_rate),
    quantity("pressure, events a read", 1, |m| m.pressure_batch),
    MILLION_SHARE,
    quantity("million, CPU us a delivery", 3, |m| m.million.map(|m| m.us)),
    quantity("million, p50 ms", 1, |m| m.million.map(|m| m.latency.p50_ms)),
    MILLION_P99,
    quantity("million, p99.9 ms", 1, |m| m.million.map(|m| m.latency.p999_ms)),
    quantity("million, max ms", 1, |m| m.million.map(|m| m.latency.max_ms)),
    IDLE_RSS,
    quantity("idle, PSS bytes a connection", 0, |m| m.pss_bytes),
    CONNECT,
    RETURN,
    VERIFY,
    RESUME,
    COLD_READS,
    quantity("scale, few: CPU us a delivery", 2, |m| m.scale.map(|s| s.few_us)),
    quantity("scale, many: CPU us a delivery", 2, |m| m.scale.map(|s| s.many_us)),
    SCALE,
    TOPICS,
    quantity("topics, of that Redis us", 1, |m| m.topics.map(|t| t.full_redis_us)),
    quantity("topics, events/s", 0, |m| m.topics.map(|t| t.full_rate)),
    quantity("topics at 30 %, CPU us an event", 1, |m| m.topics.map(|t| t.part_us)),
    quantity("topics at 30 %, p50 ms", 2, |m| m.topics.map(|t| t.part_latency.p50_ms)),
    quantity("topics at 30 %, p99 ms", 2, |m| m.topics.map(|t| t.part_latency.p99_ms)),
    quantity("topics by lines, CPU us an event", 1, |m| m.lines.map(|t| t.full_us)),
    quantity("topics by lines, of that Redis us", 1, |m| m.lines.map(|t| t.full_redis_us)),
    quantity("topics by lines, events/s", 0, |m| m.lines.map(|t| t.full_rate)),
    quantity("topics by lines at 30 %, CPU us an event", 1, |m| m.lines.map(|t| t.part_us)),
    quantity("topics by lines at 30 %, p50 ms", 2, |m| m.lines.map(|t| t.part_latency.p50_ms)),
    quantity("topics by lines at 30 %, p99 ms", 2, |m| m.lines.map(|t| t.part_latency.p99_ms)),
    quantity("private, CPU us an event", 1, |m| m.private.map(|f| f.us)),
    quantity("private, events/s", 0, |m| m.private.map(|f| f.rate)),
    SELECTIONS,
    quantity("selections, few: CPU us an event", 1, |m| m.selections.map(|s| s.few_us)),
    quantity("selections, by a pattern too: CPU us a delivery", 2, |m| {
        m.selections.map(|s| s.pattern_us)
    }),
    SELECTIONS_GROWTH,
    INTAKE,
    quantity("publishing, events/s", 0, |m| m.intake.map(|f| f.rate)),
    quantity("publishing, CPU us an event", 1, |m| m.intake.map(|f| f.us)),
    quantity("publishing, of that Redis us", 1, |m| m.intake.map(|f| f.redis_us)),
    quantity("publishing by lines, events/s", 0, |m| m.intake_lines.map(|f| f.rate)),
    quantity("publishing by lines, CPU us an event", 1, |m| m.intake_lines.map(|f| f.us)),
    quantity("publishing by lines, of that Redis us", 1, |m| m.intake_lines.map(|f| f.redis_us)),
    quantity("steady, events/s", 0, |m| m.steady.map(|s| s.rate)),
    quantity("steady, CPU us an event", 1, |m| m.steady.map(|s| s.us)),
    STEADY_P50,
    STEADY_P99,
    quantity("steady, p99.9 ms", 2, |m| m.steady.map(|s| s.latency.p999_ms)),
    quantity("steady, max ms", 2, |m| m.steady.map(|s| s.latency.max_ms)),
];

pub(super) const FANOUT: BenchQuantity = quantity("fan-out, CPU us a delivery", 2, |m| m.fixed_us);
pub(super) const PRESSURE: BenchQuantity =
    quantity("pressure, CPU us a delivery", 3, |m| m.pressure_us);
pub(super) const MILLION_SHARE: BenchQuantity =
    quantity("million, % delivered in time", 1, |m| m.million.map(|m| m.share * 100.0));
pub(super) const MILLION_LATE: BenchQuantity =
    quantity("million, % late", 2, |m| m.million.map(|m| 100.0 - m.share * 100.0));
pub(super) const MILLION_P99: BenchQuantity =
    quantity("million, p99 ms", 1, |m| m.million.map(|m| m.latency.p99_ms));
pub(super) const IDLE_RSS: BenchQuantity =
    quantity("idle, RSS bytes a connection", 0, |m| m.rss_bytes);
pub(super) const CONNECT: BenchQuantity = quantity("connect, CPU us", 1, |m| m.connect_us);
pub(super) const RETURN: BenchQuantity = quantity("connect again, CPU us", 1, |m| m.return_us);
pub(super) const VERIFY: BenchQuantity =
    quantity("one verification alone, CPU us", 1, |m| m.verify_us);
pub(super) const RESUME: BenchQuantity = quantity("resume, CPU us an event", 3, |m| m.resume_us);
pub(super) const COLD_READS: BenchQuantity =
    quantity("cold resume of a page, Redis reads", 0, |m| m.cold_reads);
pub(super) const SCALE: BenchQuantity =
    quantity("scale, many / few", 2, |m| m.scale.map(|s| s.many_us / s.few_us));
pub(super) const TOPICS: BenchQuantity =
    quantity("topics, CPU us an event", 1, |m| m.topics.map(|t| t.full_us));
/// For a server that takes no lines, the cost of its requests.
pub(super) const LINES: BenchQuantity =
    quantity("topics by lines, CPU us an event", 1, |m| m.lines.or(m.topics).map(|t| t.full_us));
pub(super) const SELECTIONS: BenchQuantity =
    quantity("selections, many: CPU us an event", 1, |m| m.selections.map(|s| s.many_us));
pub(super) const SELECTIONS_GROWTH: BenchQuantity =
    quantity("selections, many / few", 2, |m| m.selections.map(|s| s.many_us / s.few_us));
/// By the clock: a server that waits for its disk uses no CPU.
pub(super) const INTAKE: BenchQuantity =
    quantity("publishing, clock us an event", 1, |m| m.intake.map(|f| 1e6 / f.rate));
pub(super) const STEADY_P50: BenchQuantity =
    quantity("steady, p50 ms", 2, |m| m.steady.map(|s| s.latency.p50_ms));
pub(super) const STEADY_P99: BenchQuantity =
    quantity("steady, p99 ms", 2, |m| m.steady.map(|s| s.latency.p99_ms));

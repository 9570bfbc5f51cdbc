//! Exposes the counts of the Redis log as metrics. `redis-log` itself knows no Prometheus.

use std::sync::Arc;

use event_log::Retention;
use metrics::Registry;
use redis_log::{AppendFailure, Op, Stats};

/// Exposes the limits of a topic's history, so that alerts can compare them with missed events.
pub(crate) fn register_retention(registry: &Registry, retention: &Retention) {
    let age = i64::try_from(retention.age.as_secs()).unwrap_or(i64::MAX);
    registry.gauge("history_age_seconds", "Age at which an event is dropped.").set(age);
    let events = i64::try_from(retention.events).unwrap_or(i64::MAX);
    registry.gauge("history_events", "Events kept of a topic.").set(events);
}

/// Exposes the counts of the Redis log.
pub(crate) fn register(registry: &Registry, stats: &Arc<Stats>) {
    for op in Op::ALL {
        let stats = Arc::clone(stats);
        let label = Some(("op", op.as_str()));
        let help = "Operations of the log that failed.";
        registry.counter_fn("log_errors_total", help, label, move || stats.errors(op));
    }
    let counter = |name, help, read: fn(&Stats) -> u64| {
        let stats = Arc::clone(stats);
        registry.counter_fn(name, help, None, move || read(&stats));
    };
    for reason in AppendFailure::ALL {
        let stats = Arc::clone(stats);
        let label = Some(("kind", reason.as_str()));
        let help = "Events that Redis did not store, by the kind of the failure.";
        let read = move || stats.append_failures(reason);
        registry.counter_fn("log_append_failures_total", help, label, read);
    }
    counter("log_asked_total", "Questions to Redis for readers, repairs and audits.", Stats::asked);
    let asked = Arc::clone(stats);
    registry.seconds_fn("log_asked_seconds_total", "Time of these questions.", move || {
        asked.asked_time().as_secs_f64()
    });
    counter("log_reconnects_total", "Reconnects of the feed.", Stats::reconnects);
    counter("log_retries_total", "Appends that were sent to Redis again.", Stats::retries);
    counter("log_append_batches_total", "Batches of appends sent to Redis.", Stats::batches);
    counter("log_append_batch_events_total", "Events in those batches.", Stats::batched);
    counter(
        "log_topology_changes_total",
        "Changes of the primaries that were noticed.",
        Stats::topology_changes,
    );
    counter(
        "log_refusals_total",
        "Commands that Redis refused: a right is missing, or the password is wrong.",
        Stats::refusals,
    );
    counter(
        "log_full_total",
        "Events that Redis refused because it has no memory left for them.",
        Stats::full,
    );
    counter("log_repairs_total", "Gaps in the feed that were filled from the log.", Stats::repairs);
    counter(
        "log_audit_finds_total",
        "Topics whose newest event the feed had missed.",
        Stats::audit_finds,
    );
    counter("log_reads_total", "Pages read for readers outside the window.", Stats::reads);
    counter("log_replayed_events_total", "Events in those pages.", Stats::replayed);
    let gauge = |name, help, read: fn(&Stats) -> f64| {
        let stats = Arc::clone(stats);
        registry.gauge_fn(name, help, move || read(&stats));
    };
    gauge("log_memory_bytes", "Memory that the fullest primary of Redis uses.", |s| {
        s.memory().used as f64
    });
    gauge("log_memory_max_bytes", "Its maxmemory; 0 for none.", |s| s.memory().max as f64);
    gauge("log_topics", "Topics that this node watches.", |s| s.topics() as f64);
    gauge(
        "log_primaries_read",
        "Primaries that are read although --read-from names replicas.",
        |s| s.primaries_read() as f64,
    );
    gauge(
        "log_replicas_awaited",
        "Other replicas that must have an event before it is delivered.",
        |s| s.replicas_awaited() as f64,
    );
    gauge("log_evicts", "1 if Redis may evict events and idempotency keys.", |s| {
        f64::from(u8::from(s.evicts()))
    });
    gauge("log_connected", "1 while the feed is connected.", |s| {
        f64::from(u8::from(s.connected()))
    });
}

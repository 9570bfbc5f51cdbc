//! The counts of a source, for metrics and for its state.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use metrics::Registry;
use serde::Serialize;

use crate::source::Lag;

/// The activity of a copier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// Another relay leads.
    #[default]
    Standby,
    /// The source is being opened.
    Connecting,
    /// Events are copied as they come.
    Copying,
    /// A rule of the operator has stopped it.
    Stopped,
    /// The source has come to its end.
    Ended,
}

/// The counts of a source. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stats(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    copied: AtomicU64,
    duplicates: AtomicU64,
    refused: AtomicU64,
    gaps: AtomicU64,
    missed: AtomicU64,
    reconnects: AtomicU64,
    failures: AtomicU64,
    now: Mutex<Now>,
}

#[derive(Debug, Default, Clone)]
struct Now {
    state: State,
    lag: Lag,
    error: Option<String>,
}

/// One of the counts.
type CountOf = fn(&Counts) -> &AtomicU64;
/// A number of the state.
type ValueOf = fn(&Now) -> f64;

/// The counts at a moment, as JSON.
#[derive(Debug, Serialize)]
pub(crate) struct Snapshot<'a> {
    pub(crate) source: &'a str,
    pub(crate) kind: &'static str,
    pub(crate) node: &'a str,
    pub(crate) state: State,
    pub(crate) copied: u64,
    pub(crate) duplicates: u64,
    pub(crate) refused: u64,
    pub(crate) gaps: u64,
    pub(crate) missed: u64,
    pub(crate) reconnects: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) lag_events: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) lag_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

/// The longest error that is shown, in bytes.
const ERROR_BYTES_MAX: usize = 500;

impl Stats {
    pub(crate) fn copied(&self) {
        self.0.copied.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn duplicate(&self) {
        self.0.duplicates.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn refused(&self) {
        self.0.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn gap(&self, missed: Option<u64>) {
        self.0.gaps.fetch_add(1, Ordering::Relaxed);
        self.0.missed.fetch_add(missed.unwrap_or(0), Ordering::Relaxed);
    }

    pub(crate) fn reconnected(&self) {
        self.0.reconnects.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes a failure, which is shown until the source is copied again.
    pub(crate) fn failed(&self, error: &str) {
        self.0.failures.fetch_add(1, Ordering::Relaxed);
        let end = error.floor_char_boundary(ERROR_BYTES_MAX);
        self.now(|now| now.error = Some(error[..end].to_owned()));
    }

    pub(crate) fn enter(&self, state: State) {
        self.now(|now| {
            now.state = state;
            if state == State::Standby {
                // The relay that leads knows how far the copy is.
                now.lag = Lag::default();
            }
            if state == State::Copying {
                now.error = None;
            }
        });
    }

    pub(crate) fn behind(&self, lag: Lag) {
        self.now(|now| now.lag = lag);
    }

    #[cfg(test)]
    pub(crate) fn state(&self) -> State {
        self.now(|now| now.state)
    }

    fn now<T>(&self, change: impl FnOnce(&mut Now) -> T) -> T {
        change(&mut self.0.now.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn snapshot<'a>(
        &self,
        source: &'a str,
        kind: &'static str,
        node: &'a str,
    ) -> Snapshot<'a> {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let Now { state, lag, error } = self.now(|now| now.clone());
        Snapshot {
            source,
            kind,
            node,
            state,
            copied: read(&self.0.copied),
            duplicates: read(&self.0.duplicates),
            refused: read(&self.0.refused),
            gaps: read(&self.0.gaps),
            missed: read(&self.0.missed),
            reconnects: read(&self.0.reconnects),
            lag_events: lag.events,
            lag_bytes: lag.bytes,
            error,
        }
    }

    /// Exposes the counts under the name of the source.
    pub(crate) fn register(&self, registry: &Registry, source: &str) {
        let label = ("source", source);
        let counters: [(&str, &str, CountOf); 7] = [
            ("source_events_total", "Events that were copied from a source.", |c| &c.copied),
            ("source_duplicates_total", "Events of a source that the log had already.", |c| {
                &c.duplicates
            }),
            ("source_refused_total", "Records that cannot be events.", |c| &c.refused),
            ("source_gaps_total", "Times that a source had lost events.", |c| &c.gaps),
            (
                "source_missed_total",
                "Events that a source had lost, as far as it told the number.",
                |c| &c.missed,
            ),
            ("source_reconnects_total", "Times that a source was opened again.", |c| &c.reconnects),
            ("source_failures_total", "Failures of a source.", |c| &c.failures),
        ];
        for (name, help, count) in counters {
            let stats = self.clone();
            registry.counter_fn(name, help, Some(label), move || {
                count(&stats.0).load(Ordering::Relaxed)
            });
        }
        let gauges: [(&str, &str, ValueOf); 5] = [
            ("source_copying", "1 while this node copies the source.", |now| {
                f64::from(u8::from(now.state == State::Copying))
            }),
            ("source_stopped", "1 if a rule of the operator has stopped the source.", |now| {
                f64::from(u8::from(now.state == State::Stopped))
            }),
            ("source_ended", "1 if the source has come to its end.", |now| {
                f64::from(u8::from(now.state == State::Ended))
            }),
            ("source_lag_events", "Events that the source has and that are not copied.", |now| {
                now.lag.events.map_or(f64::NAN, |events| events as f64)
            }),
            ("source_lag_bytes", "Bytes that the source keeps for this copy.", |now| {
                now.lag.bytes.map_or(f64::NAN, |bytes| bytes as f64)
            }),
        ];
        for (name, help, value) in gauges {
            let stats = self.clone();
            registry.gauge_fn_of(name, help, label, move || stats.now(|now| value(now)));
        }
    }
}

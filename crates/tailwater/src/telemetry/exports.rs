//! The fate of traces: counts of the spans that the receiver took and did not take, and a log line at each
//! change from one to the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use metrics::Registry;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};

/// The counts, and the state.
#[derive(Debug, Default)]
pub(super) struct Exports {
    exported: AtomicU64,
    dropped: AtomicU64,
    failing: AtomicBool,
}

/// An exporter that is watched.
#[derive(Debug)]
pub(super) struct Watched<E> {
    exporter: E,
    exports: Arc<Exports>,
}

impl Exports {
    pub(super) fn watch<E>(self: &Arc<Self>, exporter: E) -> Watched<E> {
        Watched { exporter, exports: Arc::clone(self) }
    }

    pub(super) fn register(self: &Arc<Self>, registry: &Registry) {
        let exports = Arc::clone(self);
        let help = "Spans that the receiver of traces has taken.";
        registry.counter_fn("traces_exported_total", help, None, move || {
            exports.exported.load(Ordering::Relaxed)
        });
        let exports = Arc::clone(self);
        let help = "Spans that are lost because the receiver of traces did not take them.";
        registry.counter_fn("traces_dropped_total", help, None, move || {
            exports.dropped.load(Ordering::Relaxed)
        });
        let exports = Arc::clone(self);
        let help = "1 unless the last batch of spans was lost.";
        registry.gauge_fn("traces_exporting", help, move || {
            f64::from(u8::from(!exports.failing.load(Ordering::Relaxed)))
        });
    }

    fn note(&self, spans: usize, result: &OTelSdkResult) {
        let count = if result.is_ok() { &self.exported } else { &self.dropped };
        count.fetch_add(spans as u64, Ordering::Relaxed);
        let was_failing = self.failing.swap(result.is_err(), Ordering::Relaxed);
        match result {
            Err(error) if !was_failing => {
                tracing::warn!(%error, spans, "traces are not exported; the next line comes when they are again");
            }
            Ok(()) if was_failing => tracing::info!("traces are exported again"),
            _ => {}
        }
    }
}

impl<E: SpanExporter> SpanExporter for Watched<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let result = self.exporter.export(batch).await;
        self.exports.note(spans, &result);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_sdk::error::OTelSdkError;

    use super::*;

    #[test]
    fn each_batch_is_counted_and_the_last_one_is_the_state() {
        let exports = Exports::default();
        let refused = Err(OTelSdkError::InternalFailure("401".to_owned()));
        exports.note(3, &Ok(()));
        exports.note(4, &refused);
        exports.note(5, &refused);
        assert!(exports.failing.load(Ordering::Relaxed));
        exports.note(6, &Ok(()));
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        assert_eq!((read(&exports.exported), read(&exports.dropped)), (9, 9));
        assert!(!exports.failing.load(Ordering::Relaxed));
    }
}

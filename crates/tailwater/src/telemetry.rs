//! Log lines on standard error, and traces over OTLP.
//!
//! Sets up `tracing` for the whole process. Absent: metrics and the code that continues a publisher's
//! trace, which are in the crate `metrics`.

mod exports;
mod levels;
mod lines;
mod otel;
mod otlp;

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use metrics::{Registry, trace};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use exports::Exports;
use levels::BadLevels;
pub(crate) use levels::Levels;
use lines::Lines;
pub(crate) use otel::Otel;

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    Text,
    /// One JSON object per line
    Json,
}

/// The configuration of logs and traces.
#[derive(Debug, Clone)]
pub(crate) struct TelemetryConfig {
    pub(crate) format: LogFormat,
    /// Levels in the syntax of `tracing`: `info`, `gateway=debug,info`.
    pub(crate) levels: String,
    /// The receiver of traces.
    pub(crate) otel: Otel,
    /// The share of the traces begun here that are exported, 0 to 1, if a flag says it. The `traceparent` of
    /// a request decides for its own trace.
    pub(crate) otlp_ratio: Option<f64>,
    /// `service.name` of the traces.
    pub(crate) service: &'static str,
    /// `service.instance.id` of the traces.
    pub(crate) node: String,
}

/// The reason why logs or traces could not be set up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TelemetryError {
    #[error(transparent)]
    Levels(#[from] BadLevels),
    #[error("traces cannot be exported")]
    Otlp(#[source] anyhow::Error),
    #[error("cannot start the thread that writes logs")]
    Thread(#[from] std::io::Error),
    #[error("telemetry is already set up in this process")]
    Twice(#[from] tracing_subscriber::util::TryInitError),
}

impl TelemetryConfig {
    /// Validates the levels and the endpoint, and changes nothing. Call it outside any async runtime,
    /// like [`Telemetry::init`].
    pub(crate) fn check(&self) -> Result<(), TelemetryError> {
        levels::parse(&self.levels)?;
        let exporter = self.otel.receiver.as_ref().map(otlp::exporter).transpose();
        exporter.map(drop).map_err(TelemetryError::Otlp)
    }
}

/// The logs and traces of this process. [`Telemetry::shutdown`] flushes both.
#[derive(Debug)]
pub(crate) struct Telemetry {
    traces: Option<Traces>,
    lines: Lines,
    levels: Levels,
}

/// The source of traces, and their fate.
#[derive(Debug)]
struct Traces {
    provider: SdkTracerProvider,
    exports: Arc<Exports>,
}

/// The longest wait at shutdown for the receiver of traces.
const TRACES_FLUSH_MAX: Duration = Duration::from_secs(3);
/// The longest wait at shutdown for the reader of standard error.
const LINES_FLUSH_MAX: Duration = Duration::from_secs(1);

impl Telemetry {
    /// Sets up the logs, and the traces if there is an endpoint, for the whole process.
    ///
    /// Call it outside any async runtime: the exporter's thread has a blocking HTTP client.
    pub(crate) fn init(config: &TelemetryConfig) -> Result<Self, TelemetryError> {
        let (levels, filter) = Levels::new(&config.levels)?;
        let lines = Lines::to(std::io::stderr())?;
        let log = tracing_subscriber::fmt::layer()
            .with_writer(lines.clone())
            .with_ansi(std::io::stderr().is_terminal());
        let log = match config.format {
            LogFormat::Text => log.boxed(),
            LogFormat::Json => log.json().flatten_event(true).boxed(),
        };
        let exports = Arc::<Exports>::default();
        let receiver = config.otel.receiver.as_ref();
        let provider = receiver.map(|receiver| otlp::provider(receiver, config, &exports));
        let provider = provider.transpose().map_err(TelemetryError::Otlp)?;
        let traces = provider.as_ref().map(|provider| {
            let tracer = provider.tracer(config.service);
            let spans = Targets::new()
                .with_default(LevelFilter::INFO)
                .with_target(trace::TARGET, LevelFilter::DEBUG);
            // Source locations and thread names are of no use in traces.
            tracing_opentelemetry::layer()
                .with_tracer(tracer)
                .with_location(false)
                .with_threads(false)
                .with_tracked_inactivity(false)
                .with_filter(spans)
        });
        tracing_subscriber::registry().with(log.with_filter(filter)).with(traces).try_init()?;
        let traces = provider.map(|provider| Traces { provider, exports });
        Ok(Self { traces, lines, levels })
    }

    /// Returns a handle that reads and changes the log levels.
    pub(crate) fn levels(&self) -> Levels {
        self.levels.clone()
    }

    /// Registers the counts of log lines and of spans.
    pub(crate) fn register(&self, registry: &Registry) {
        if let Some(traces) = &self.traces {
            traces.exports.register(registry);
        }
        let lines = self.lines.clone();
        let help = "Log lines dropped because standard error was not read.";
        registry.counter_fn("stderr_lines_dropped_total", help, None, move || lines.dropped());
    }

    /// Sends the remaining traces, for at most 3 seconds, and writes the remaining log lines, for at
    /// most one.
    pub(crate) fn shutdown(self) {
        let flushed =
            self.traces.map(|traces| traces.provider.shutdown_with_timeout(TRACES_FLUSH_MAX));
        if let Some(Err(error)) = flushed {
            tracing::warn!(%error, "traces were not flushed");
        }
        self.lines.flush(LINES_FLUSH_MAX);
    }
}

//! Logs, and traces by OTLP.

use std::io::IsTerminal as _;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::levels::{self, BadLevels, Levels};
use crate::lines::Lines;
use crate::{Registry, trace};

/// How logs are written to standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What to set up.
#[derive(Debug, Clone)]
pub struct TelemetryConfig {
    /// The form of the logs.
    pub format: LogFormat,
    /// Which levels, in the syntax of `tracing`: `info`, `gateway=debug,info`.
    pub levels: String,
    /// The base URL of an OTLP/HTTP receiver, such as `http://collector:4318`; without it, no traces.
    pub otlp_endpoint: Option<String>,
    /// The share of the traces that begin here which are kept, 0 to 1. Who comes with a trace has
    /// decided.
    pub otlp_ratio: f64,
    /// `service.name` of the traces.
    pub service: &'static str,
    /// `service.instance.id` of the traces.
    pub node: String,
}

/// Why telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The levels do not parse.
    #[error(transparent)]
    Levels(#[from] BadLevels),
    /// The exporter refuses its configuration.
    #[error("OTLP endpoint {endpoint:?}")]
    Otlp {
        /// What was given.
        endpoint: String,
        /// What is wrong with it.
        source: opentelemetry_otlp::ExporterBuildError,
    },
    /// There is no thread to write logs.
    #[error("no thread for the logs")]
    Thread(#[from] std::io::Error),
    /// Telemetry was set up before in this process.
    #[error("telemetry is set up already")]
    Twice(#[from] tracing_subscriber::util::TryInitError),
}

impl TelemetryConfig {
    /// Whether it could be set up. Changes nothing; like [`Telemetry::init`] not for async code.
    ///
    /// # Errors
    /// Bad levels or a bad endpoint.
    pub fn check(&self) -> Result<(), TelemetryError> {
        levels::parse(&self.levels)?;
        self.otlp_endpoint.as_deref().map_or(Ok(()), |endpoint| exporter(endpoint).map(drop))
    }
}

/// Logs and traces while they are written; flushes them when it is shut down.
#[derive(Debug)]
pub struct Telemetry {
    traces: Option<SdkTracerProvider>,
    lines: Lines,
    levels: Levels,
}

/// The longest that a shutdown waits for the receiver of traces.
const TRACES_FLUSH_MAX: Duration = Duration::from_secs(3);
/// The longest that it waits for the reader of the logs.
const LINES_FLUSH_MAX: Duration = Duration::from_secs(1);

impl Telemetry {
    /// Sets up the logs, and the traces if there is an endpoint, for the whole process. To be called
    /// outside of any async runtime: the exporter's thread has a blocking client of its own.
    ///
    /// # Errors
    /// Bad levels, a bad endpoint, or a second call.
    pub fn init(config: &TelemetryConfig) -> Result<Self, TelemetryError> {
        let (levels, filter) = Levels::new(&config.levels)?;
        let lines = Lines::to(std::io::stderr())?;
        let log = tracing_subscriber::fmt::layer()
            .with_writer(lines.clone())
            .with_ansi(std::io::stderr().is_terminal());
        let log = match config.format {
            LogFormat::Text => log.boxed(),
            LogFormat::Json => log.json().flatten_event(true).boxed(),
        };
        let provider = config.otlp_endpoint.as_deref().map(|e| provider(e, config)).transpose()?;
        let traces = provider.as_ref().map(|provider| {
            let tracer = provider.tracer(config.service);
            let spans = Targets::new()
                .with_default(LevelFilter::INFO)
                .with_target(trace::TARGET, LevelFilter::DEBUG);
            // What the spans say is enough: where they are in the code, and on which threads, is not
            // for those who read them.
            tracing_opentelemetry::layer()
                .with_tracer(tracer)
                .with_location(false)
                .with_threads(false)
                .with_tracked_inactivity(false)
                .with_filter(spans)
        });
        tracing_subscriber::registry().with(log.with_filter(filter)).with(traces).try_init()?;
        Ok(Self { traces: provider, lines, levels })
    }

    /// Changes what is logged.
    #[must_use]
    pub fn levels(&self) -> Levels {
        self.levels.clone()
    }

    /// Counts in `registry` what is not logged for want of a reader.
    pub fn register(&self, registry: &Registry) {
        let lines = self.lines.clone();
        let help = "Lines of the logs that were dropped because nobody took them.";
        registry.counter_fn("stderr_lines_dropped_total", help, None, move || lines.dropped());
    }

    /// Sends what traces are left, for at most 3 seconds, and writes what lines are, for one.
    pub fn shutdown(self) {
        let flushed = self.traces.map(|traces| traces.shutdown_with_timeout(TRACES_FLUSH_MAX));
        if let Some(Err(error)) = flushed {
            tracing::warn!(%error, "traces were not flushed");
        }
        self.lines.flush(LINES_FLUSH_MAX);
    }
}

fn exporter(endpoint: &str) -> Result<SpanExporter, TelemetryError> {
    SpanExporter::builder()
        .with_http()
        .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
        .build()
        .map_err(|source| TelemetryError::Otlp { endpoint: endpoint.to_owned(), source })
}

fn provider(endpoint: &str, config: &TelemetryConfig) -> Result<SdkTracerProvider, TelemetryError> {
    let resource = Resource::builder()
        .with_service_name(config.service)
        .with_attribute(KeyValue::new("service.instance.id", config.node.clone()))
        .build();
    let ratio = Sampler::TraceIdRatioBased(config.otlp_ratio);
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(exporter(endpoint)?)
        .with_resource(resource)
        .with_sampler(Sampler::ParentBased(Box::new(ratio)))
        .build())
}

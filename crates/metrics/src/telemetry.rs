//! Logs, and traces by OTLP.

use std::io::IsTerminal as _;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tracing_subscriber::filter::{EnvFilter, LevelFilter, Targets};
use tracing_subscriber::layer::{Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::trace;

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
    #[error("log levels {levels:?}")]
    Levels {
        /// What was given.
        levels: String,
        /// What is wrong with it.
        source: tracing_subscriber::filter::ParseError,
    },
    /// The exporter refuses its configuration.
    #[error("OTLP endpoint {endpoint:?}")]
    Otlp {
        /// What was given.
        endpoint: String,
        /// What is wrong with it.
        source: opentelemetry_otlp::ExporterBuildError,
    },
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
        self.filter()?;
        self.otlp_endpoint.as_deref().map_or(Ok(()), |endpoint| exporter(endpoint).map(drop))
    }

    fn filter(&self) -> Result<EnvFilter, TelemetryError> {
        EnvFilter::try_new(&self.levels)
            .map_err(|source| TelemetryError::Levels { levels: self.levels.clone(), source })
    }
}

/// Flushes traces when it is shut down.
#[derive(Debug)]
pub struct Telemetry(Option<SdkTracerProvider>);

/// The longest that a shutdown waits for the receiver of traces.
const FLUSH_MAX: Duration = Duration::from_secs(3);

impl Telemetry {
    /// Sets up the logs, and the traces if there is an endpoint, for the whole process. To be called
    /// outside of any async runtime: the exporter's thread has a blocking client of its own.
    ///
    /// # Errors
    /// Bad levels, a bad endpoint, or a second call.
    pub fn init(config: &TelemetryConfig) -> Result<Self, TelemetryError> {
        let levels = config.filter()?;
        let lines = tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .with_ansi(std::io::stderr().is_terminal());
        let lines = match config.format {
            LogFormat::Text => lines.boxed(),
            LogFormat::Json => lines.json().flatten_event(true).boxed(),
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
        tracing_subscriber::registry().with(traces).with(lines.with_filter(levels)).try_init()?;
        Ok(Self(provider))
    }

    /// Sends what traces are left, for at most 3 seconds.
    pub fn shutdown(self) {
        if let Some(Err(error)) = self.0.map(|provider| provider.shutdown_with_timeout(FLUSH_MAX)) {
            tracing::warn!(%error, "traces were not flushed");
        }
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

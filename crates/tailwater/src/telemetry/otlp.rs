//! The exporter of traces: OTLP over HTTP.

use opentelemetry::KeyValue;
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};

use super::{TelemetryConfig, TelemetryError};

/// Returns an exporter to the receiver with this base URL.
pub(super) fn exporter(endpoint: &str) -> Result<SpanExporter, TelemetryError> {
    SpanExporter::builder()
        .with_http()
        .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
        .build()
        .map_err(|source| TelemetryError::Otlp { endpoint: endpoint.to_owned(), source })
}

/// Returns a provider that exports in batches, from a thread of its own.
pub(super) fn provider(
    endpoint: &str,
    config: &TelemetryConfig,
) -> Result<SdkTracerProvider, TelemetryError> {
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

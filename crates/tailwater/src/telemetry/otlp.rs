//! The exporter of traces: OTLP over HTTP.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use opentelemetry::KeyValue;
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use reqwest::{Certificate, Identity, blocking};

use super::TelemetryConfig;
use super::exports::Exports;
use super::otel::Receiver;

/// Returns an exporter to a receiver.
///
/// # Errors
/// A file cannot be used, or a variable of the exporter.
pub(super) fn exporter(receiver: &Receiver) -> Result<SpanExporter> {
    let builder = SpanExporter::builder()
        .with_http()
        .with_http_client(client(receiver)?)
        .with_endpoint(&receiver.url);
    builder.build().with_context(|| format!("OTLP endpoint {:?}", receiver.url))
}

fn client(receiver: &Receiver) -> Result<blocking::Client> {
    let mut client = blocking::Client::builder().timeout(receiver.answer_max);
    if let Some(file) = &receiver.authority {
        let named = || format!("OTEL_EXPORTER_OTLP_CERTIFICATE {}", file.display());
        for authority in Certificate::from_pem_bundle(&read(file)?).with_context(named)? {
            client = client.add_root_certificate(authority);
        }
    }
    if let Some((certificate, key)) = &receiver.identity {
        let named = || {
            format!(
                "the client certificate {} and its key {}",
                certificate.display(),
                key.display()
            )
        };
        let pem = [read(key)?, read(certificate)?].concat();
        client = client.identity(Identity::from_pem(&pem).with_context(named)?);
    }
    // The client starts a runtime of its own, which no other runtime may surround.
    let built = std::thread::scope(|scope| scope.spawn(|| client.build()).join());
    let built = built.map_err(|_| anyhow::anyhow!("the HTTP client of traces panicked"))?;
    built.context("cannot build the HTTP client of traces")
}

fn read(file: &Path) -> Result<Vec<u8>> {
    std::fs::read(file).with_context(|| file.display().to_string())
}

/// Returns a provider that exports in batches, from a thread of its own.
pub(super) fn provider(
    receiver: &Receiver,
    config: &TelemetryConfig,
    exports: &Arc<Exports>,
) -> Result<SdkTracerProvider> {
    let mut resource = Resource::builder()
        .with_attribute(KeyValue::new("service.instance.id", config.node.clone()));
    if !config.otel.names_service {
        resource = resource.with_service_name(config.service);
    }
    let mut provider = SdkTracerProvider::builder()
        .with_batch_exporter(exports.watch(exporter(receiver)?))
        .with_resource(resource.build());
    // Without a ratio the SDK follows OTEL_TRACES_SAMPLER, and samples every trace without that.
    if let Some(ratio) = config.otlp_ratio {
        let ratio = Sampler::TraceIdRatioBased(ratio);
        provider = provider.with_sampler(Sampler::ParentBased(Box::new(ratio)));
    }
    Ok(provider.build())
}

//! A receiver of traces: OTLP over HTTP, with the protobuf messages of OpenTelemetry itself.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::post;
use bytes::Bytes;
use flate2::read::GzDecoder;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, span::SpanKind};
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A receiver on a port of its own.
pub(crate) struct Receiver {
    endpoint: String,
    received: Arc<Mutex<Vec<Bytes>>>,
    serving: JoinHandle<()>,
}

/// The parts of a span that the tests check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) service: String,
    pub(crate) node: String,
    pub(crate) name: String,
    pub(crate) kind: SpanKind,
    /// `<trace>-<span>`, in hex.
    pub(crate) id: String,
    /// The parent, in the same form. Without a parent, the part after the dash is empty.
    pub(crate) parent: String,
    pub(crate) links: Vec<String>,
    pub(crate) attributes: BTreeMap<String, String>,
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        Self::at("127.0.0.1:0".parse().unwrap()).await
    }

    pub(crate) async fn at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let received = Arc::<Mutex<Vec<Bytes>>>::default();
        let router =
            Router::new().route("/v1/traces", post(receive)).with_state(Arc::clone(&received));
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { endpoint, received, serving }
    }

    /// Returns the value for `--otlp-endpoint`.
    pub(crate) fn endpoint(&self) -> String {
        self.endpoint.clone()
    }

    /// Returns all received bytes.
    pub(crate) fn raw(&self) -> Vec<u8> {
        self.received.lock().unwrap().concat()
    }

    /// Returns the spans with a given name.
    pub(crate) fn spans(&self, name: &str) -> Vec<Span> {
        let received = self.received.lock().unwrap();
        let requests = received.iter().map(|body| {
            ExportTraceServiceRequest::decode(body.clone()).expect("it was decoded before")
        });
        let spans = requests.flat_map(|request| request.resource_spans).flat_map(spans);
        spans.filter(|span| span.name == name).collect()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn receive(
    State(received): State<Arc<Mutex<Vec<Bytes>>>>,
    headers: HeaderMap,
    mut body: Bytes,
) -> Result<Vec<u8>, StatusCode> {
    // As a collector behind a gate.
    if headers.get("api-key").is_some_and(|key| key != "s3cret") {
        return Err(StatusCode::UNAUTHORIZED);
    }
    if headers.get(header::CONTENT_ENCODING).is_some_and(|encoding| encoding == "gzip") {
        let mut plain = Vec::new();
        GzDecoder::new(&body[..]).read_to_end(&mut plain).map_err(|_| StatusCode::BAD_REQUEST)?;
        body = plain.into();
    }
    let is_protobuf = headers[header::CONTENT_TYPE] == "application/x-protobuf";
    if !is_protobuf || ExportTraceServiceRequest::decode(body.clone()).is_err() {
        return Err(StatusCode::BAD_REQUEST);
    }
    received.lock().unwrap().push(body);
    Ok(ExportTraceServiceResponse::default().encode_to_vec())
}

fn spans(resource_spans: ResourceSpans) -> Vec<Span> {
    let resource = attributes(&resource_spans.resource.unwrap().attributes);
    let spans = resource_spans.scope_spans.into_iter().flat_map(|scope| scope.spans);
    spans
        .map(|span| Span {
            service: resource["service.name"].clone(),
            node: resource["service.instance.id"].clone(),
            kind: span.kind(),
            id: id(&span.trace_id, &span.span_id),
            parent: id(&span.trace_id, &span.parent_span_id),
            links: span.links.iter().map(|link| id(&link.trace_id, &link.span_id)).collect(),
            attributes: attributes(&span.attributes),
            name: span.name,
        })
        .collect()
}

fn attributes(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |attribute: &KeyValue| match attribute.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        Value::IntValue(number) => Some(number.to_string()),
        _ => None,
    };
    attributes.iter().filter_map(|kv| Some((kv.key.clone(), text(kv)?))).collect()
}

fn id(trace: &[u8], span: &[u8]) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    format!("{}-{}", hex(trace), hex(span))
}

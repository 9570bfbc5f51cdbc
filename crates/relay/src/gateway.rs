//! Answers of the gateway on the same node to requests that reached the relay.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderName};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, Uri};
use axum::response::Response;
use event_log::{Position, Topic};
use futures_util::future::BoxFuture;
use limits::Peer;

use crate::names;

/// The gateway on the same log, which answers `GET /v1/events`. Cheap to clone.
#[derive(Clone)]
pub struct Gateway(Arc<dyn Fn(Request, Peer) -> BoxFuture<'static, Response> + Send + Sync>);

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

impl Gateway {
    /// A gateway that answers requests in this way.
    pub fn new(
        answer: impl Fn(Request, Peer) -> BoxFuture<'static, Response> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(answer))
    }

    /// Subscribes the party that has sent a request to the answer in a topic: after a position, or else as its
    /// `Last-Event-ID` says, or else from the beginning.
    pub(crate) async fn subscribe(
        &self,
        parts: &Parts,
        topic: &Topic,
        after: Option<Position>,
    ) -> Response {
        let unknown = || Peer::new(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)));
        let peer = parts.extensions.get::<Peer>().copied().unwrap_or_else(unknown);
        let mut request = Request::new(Body::empty());
        *request.method_mut() = Method::GET;
        *request.version_mut() = parts.version;
        *request.uri_mut() = Uri::try_from(names::location(topic)).expect("a location is a path");
        let headers = request.headers_mut();
        headers.clone_from(&parts.headers);
        // They are for the upstream.
        for name in [AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE] {
            headers.remove(name);
        }
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        if let Some(after) = after {
            headers.insert(LAST_EVENT_ID, names::header(&after.to_string()));
        }
        (self.0)(request, peer).await
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gateway")
    }
}

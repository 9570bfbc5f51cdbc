//! The door of a node with a gateway: the only way in for a request for events.
//!
//! A [`Door`] takes connections ([`Door::accept`]) and single requests that a general HTTP server has
//! parsed ([`Door::answer`]). It gives away neither a router nor a service, so nothing can be layered
//! over subscriptions: a layer would miss the streams that never meet a router (docs/adr/0009).

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{BoxError, Extension};
use limits::{ConnectionId, Peer};
use mercure::discovery::{self, Facts, METADATA_TYPE};
use tower::ServiceExt as _;

use crate::console;
use crate::frame::Framing;
use crate::gateway::{Gateway, Shared};
use crate::handler::{self, Asked, Via};
use crate::head::SubscriptionHead;
use crate::{hub, subscribers, subscriptions, tickets};

/// The resource that clients subscribe to.
pub(crate) const PATH: &str = "/v1/events";

/// Everything that a node with a gateway serves. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Door {
    pub(crate) gateway: Gateway,
    routes: Router,
}

impl Gateway {
    /// Opens the door: `GET`, `HEAD` and preflights of `/v1/events` and of the Mercure hub, `POST /v1/subscriptions`,
    /// `/v1/tickets`, `GET` of the members of topics, the console, and the routes of `others`. A layer over `others` stays
    /// over those.
    ///
    /// # Panics
    /// `others` has one of these routes as well.
    #[must_use]
    pub fn door(&self, others: Router) -> Door {
        let events = get(subscribe).head(describe);
        let events = Router::new()
            .route(PATH, events)
            .route(subscriptions::PATH, post(subscriptions::subscribe))
            .route(subscribers::PATH, get(subscribers::count))
            .route(tickets::PATH, post(tickets::give).delete(tickets::take_back));
        let events = match &self.0.config.mercure {
            Some(settings) => events
                .route(hub::PATH, get(subscribe).head(describe))
                .route(&settings.hub.metadata_path(), get(hub_metadata)),
            None => events,
        };
        let events = events.with_state(Arc::clone(&self.0));
        let routes = others.merge(console::router(&self.0.config)).merge(events);
        Door { gateway: self.clone(), routes }
    }
}

impl Door {
    /// The rules by which a request is answered at all. [`Door::accept`] keeps to them, and whoever calls
    /// [`Door::answer`] checks them before.
    #[must_use]
    pub fn site(&self) -> &cors::SiteRules {
        &self.gateway.0.config.site
    }

    /// Answers a request that a general HTTP server has parsed, from `peer`, which the routes find as
    /// an extension of the request.
    pub async fn answer<B>(&self, mut request: axum::http::Request<B>, peer: Peer) -> Response
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let (method, path) = (request.method(), request.uri().path());
        let members_of = subscribers::topic_of(&self.gateway.0, method, path);
        let is_ours = [PATH, subscriptions::PATH, subscribers::PATH, tickets::PATH].contains(&path)
            || (path == hub::PATH && self.gateway.0.config.mercure.is_some())
            || members_of.is_some();
        let origin = request.headers().get(header::ORIGIN).map(HeaderValue::as_bytes);
        if request.method() == Method::OPTIONS
            && is_ours
            && let Some(headers) = self.gateway.0.config.cors.preflight(origin)
        {
            return headers.into_response();
        }
        if let Some(topic) = members_of {
            let parts = request.into_parts().0;
            return subscribers::list(&self.gateway.0, &parts, topic, peer).await;
        }
        let cors = self.gateway.0.config.cors.grant(origin);
        request.extensions_mut().insert(peer);
        let Ok(mut response) = self.routes.clone().oneshot(request.map(Body::new)).await;
        // No handler has seen a method that there is not.
        if is_ours && response.status() == StatusCode::METHOD_NOT_ALLOWED {
            cors.put(response.headers_mut());
        }
        response
    }
}

async fn subscribe(
    State(gateway): State<Arc<Shared>>,
    Extension(peer): Extension<Peer>,
    request: Request,
) -> Response {
    let asked = read(&gateway, &request.into_parts().0, peer);
    handler::answer(&gateway, asked).await.map(|content| content.into_body(peer.connection))
}

/// Answers as a GET would be answered, without a subscription.
async fn describe(
    State(gateway): State<Arc<Shared>>,
    Extension(peer): Extension<Peer>,
    request: Request,
) -> Response {
    let asked = read(&gateway, &request.into_parts().0, peer);
    handler::describe(&gateway, asked).await.map(|content| content.into_body(peer.connection))
}

/// Tells which tokens the hub takes.
async fn hub_metadata(State(gateway): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    let Some(settings) = &gateway.config.mercure else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let body = discovery::metadata(&settings.hub, &Facts::default());
    let mut response = ([(header::CONTENT_TYPE, METADATA_TYPE)], body).into_response();
    let origin = headers.get(header::ORIGIN).map(HeaderValue::as_bytes);
    gateway.config.cors.grant(origin).put(response.headers_mut());
    response
}

impl Door {
    /// Returns true if a connection has a stream that [`answer`](Self::answer) opened, while
    /// [`overdue`](Self::overdue) waits.
    #[must_use]
    pub fn has_streams(&self, connection: ConnectionId) -> bool {
        self.gateway.0.ends.has_streams(connection)
    }

    /// Waits until a stream that [`answer`](Self::answer) opened on this connection is past its end,
    /// because its client takes nothing. The server then closes the connection. Call it before the first
    /// request is served.
    pub fn overdue(&self, connection: ConnectionId) -> impl Future<Output = ()> + Send + use<> {
        let gateway = Arc::clone(&self.gateway.0);
        let watched = gateway.ends.watch(connection);
        async move { watched.overdue(&gateway.phase).await }
    }
}

/// Reads a request that the general server has parsed.
fn read(gateway: &Shared, parts: &Parts, peer: Peer) -> Asked {
    let via = Via { peer, version: parts.version, framing: Framing::None };
    Asked::parse(gateway, &SubscriptionHead::of(parts), via)
}

#[cfg(test)]
mod tests;

//! Accepts connections and serves a site on them: HTTP/1.1 and HTTP/2, in clear or over TLS.

mod activity;
mod attentive;
mod connection;
#[cfg(target_os = "linux")]
mod deferred;
mod encrypted;
mod gate;
mod listen;
mod proxy_header;
mod punctual;

use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_TYPE, ORIGIN, X_CONTENT_TYPE_OPTIONS};
use axum::response::{IntoResponse as _, Response};
use axum::{Json, Router};
use cors::SiteRules;
use gateway::Door;
use hyper::Request;
use hyper::body::Incoming;
use limits::Peer;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

pub(crate) use gate::Gate;
pub(crate) use listen::{is_lacking, listen};

use crate::tls::Tls;
use crate::workers::Workers;

/// The pause after a failed accept. The usual cause is a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Tells a server to end.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ending {
    /// Once cancelled, HTTP/2 clients are sent GOAWAY: a client that is told to come back then opens
    /// another connection, which a load balancer sends elsewhere. (Over HTTP/1.1 the responses close the
    /// connection.) New connections are accepted and served.
    pub(crate) last_requests: CancellationToken,
    /// Once cancelled, no further connection is accepted.
    pub(crate) stop: CancellationToken,
}

impl Ending {
    /// Ends the server.
    pub(crate) fn stop(&self) {
        self.last_requests.cancel();
        self.stop.cancel();
    }
}

/// The services behind a listening socket.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    pub(crate) entry: Entry,
    /// Encrypts the connections, if they are to be encrypted.
    pub(crate) tls: Option<Arc<Tls>>,
    pub(crate) gate: Arc<Gate>,
}

/// The way in for requests.
#[derive(Debug, Clone)]
pub(crate) enum Entry {
    /// A gateway's door, with everything else that the node serves behind it.
    Door(Door),
    /// Routes of a node without a gateway, and the requests that they answer at all.
    Routes(Router, SiteRules),
}

impl Entry {
    async fn answer(&self, mut request: Request<Incoming>, peer: Peer) -> Response {
        if let Err(refusal) = self.site().check(&request) {
            let origin = request.headers().get(ORIGIN).map(HeaderValue::as_bytes);
            let mut response = refused(&refusal);
            self.site().grant(origin).put(response.headers_mut());
            return response;
        }
        match self {
            Self::Door(door) => door.answer(request, peer).await,
            Self::Routes(routes, _) => {
                request.extensions_mut().insert(peer);
                let Ok(response) = routes.clone().oneshot(request.map(Body::new)).await;
                response
            }
        }
    }

    /// Waits until the connection has to be closed, because one of its streams takes nothing and is past
    /// its end.
    fn overdue(&self, peer: Peer) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        match self {
            Self::Door(door) => Box::pin(door.overdue(peer.connection)),
            Self::Routes(..) => Box::pin(pending()),
        }
    }

    /// Returns true if the connection has event streams.
    fn has_streams(&self, peer: Peer) -> bool {
        match self {
            Self::Door(door) => door.has_streams(peer.connection),
            Self::Routes(..) => false,
        }
    }

    /// Returns true for an answer that streams from a relay's upstream.
    fn is_relayed(response: &Response) -> bool {
        response.extensions().get::<relay::Streamed>().is_some()
    }

    /// Returns true for an answer that the door counts among a connection's streams.
    fn is_event_stream(response: &Response) -> bool {
        if Self::is_relayed(response) {
            return false;
        }
        let kind = response.headers().get(CONTENT_TYPE);
        kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"))
    }

    fn site(&self) -> &SiteRules {
        match self {
            Self::Door(door) => door.site(),
            Self::Routes(_, site) => site,
        }
    }
}

/// Answers a request that the node must not answer.
fn refused(refusal: &cors::Refusal) -> Response {
    let error = json!({ "code": refusal.code(), "message": refusal.to_string() });
    let nosniff = [(X_CONTENT_TYPE_OPTIONS, "nosniff")];
    (refusal.status(), nosniff, Json(json!({ "error": error }))).into_response()
}

/// Serves on `workers` until it is told to stop, then lets open requests finish for at most `grace`.
pub(crate) async fn serve(
    listener: TcpListener,
    site: Site,
    workers: Workers,
    ending: Ending,
    grace: Duration,
) {
    listen::prepare(&listener);
    let mut turns = workers.turns();
    while let Some(accepted) = ending.stop.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((stream, address)) => {
                let peer = Peer::new(address);
                let Some(place) = site.gate.admit(peer) else { continue };
                let (site, ending) = (site.clone(), ending.clone());
                turns.next().serve(stream, move |stream, tasks| {
                    connection::serve(stream, (peer, place), site, ending, tasks)
                });
            }
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    if timeout(grace, workers.all_closed()).await.is_err() {
        tracing::warn!(left = workers.open(), "closing connections that did not finish");
    }
}

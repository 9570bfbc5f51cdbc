//! The operators' port: metrics, liveness, readiness, the connections with the greatest lag, the sources, and the log
//! levels.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, Request, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use event_log::{Log, Topic};
use futures_util::StreamExt as _;
use gateway::Gateway;
use metrics::Registry;
use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::debug_gate::DebugGate;
use crate::sources_page;
use crate::telemetry::Levels;

/// The parts of a node that the operators' port reports on.
#[derive(Debug, Clone)]
pub(crate) struct Admin {
    pub(crate) registry: Registry,
    pub(crate) log: Arc<dyn Log>,
    /// The gateway, on a node that serves subscribers.
    pub(crate) gateway: Option<Gateway>,
    /// True once the revocations of the log were read.
    pub(crate) revocations: watch::Receiver<bool>,
    pub(crate) levels: Levels,
    /// Cancelled when the node begins to leave.
    pub(crate) leaving: CancellationToken,
    pub(crate) debug: DebugGate,
}

/// The longest time that readiness waits for the log.
const LOG_MAX: Duration = Duration::from_secs(2);
/// Maximum number of connections in a list.
const LISTED_MAX: usize = 1000;
/// Largest body that changes the log levels, in bytes: a hundred modules.
const LEVELS_BYTES_MAX: usize = 4096;
/// The longest time until such a body has come.
const LEVELS_MAX: Duration = Duration::from_secs(5);

#[derive(Debug, Deserialize)]
struct Listed {
    #[serde(default = "default_listed")]
    limit: usize,
}

const fn default_listed() -> usize {
    20
}

impl Admin {
    pub(crate) fn router(self) -> Router {
        let debug = Router::new()
            .route("/debug/connections", get(connections))
            .route("/debug/log", get(levels).put(set_levels))
            .route("/debug/sources", get(sources))
            .route_layer(from_fn_with_state(self.debug.clone(), guard));
        Router::new()
            .route("/metrics", get(metrics))
            // A process that answers is alive, because a restart does not help a node without its log.
            .route("/livez", get("ok\n"))
            .route("/readyz", get(ready))
            .merge(debug)
            .with_state(self)
    }
}

async fn metrics(State(admin): State<Admin>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], admin.registry.expose())
}

async fn ready(State(admin): State<Admin>) -> Response {
    let ready = match &admin.gateway {
        _ if admin.leaving.is_cancelled() => Err("draining".to_owned()),
        _ if !*admin.revocations.borrow() => {
            Err("the revocations have not been read yet".to_owned())
        }
        Some(gateway) => gateway.ready().map_err(|not_ready| not_ready.to_string()),
        None => log_answers(&*admin.log).await,
    };
    match ready {
        Ok(()) => "ok\n".into_response(),
        Err(reason) => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n")).into_response()
        }
    }
}

async fn log_answers(log: &dyn Log) -> Result<(), String> {
    let topic = Topic::reserved("ready").map_err(|bad| bad.to_string())?;
    match timeout(LOG_MAX, log.bounds(&topic)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("the log did not answer within {} s", LOG_MAX.as_secs())),
    }
}

async fn connections(State(admin): State<Admin>, Query(listed): Query<Listed>) -> Response {
    match &admin.gateway {
        Some(gateway) => axum::Json(gateway.laggards(listed.limit.min(LISTED_MAX))).into_response(),
        None => (StatusCode::NOT_FOUND, "this node serves no subscribers\n").into_response(),
    }
}

/// Answers the states of all sources on the log, for a program as JSON and for a browser as a page.
async fn sources(State(admin): State<Admin>, headers: HeaderMap) -> Response {
    let states = match sources::states(&*admin.log).await {
        Ok(states) => states,
        Err(error) => {
            return (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")).into_response();
        }
    };
    let accepted = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    if accepted.is_some_and(|accepted| accepted.contains("text/html")) {
        sources_page::page(&states, SystemTime::now()).into_response()
    } else {
        axum::Json(states).into_response()
    }
}

async fn levels(State(admin): State<Admin>) -> String {
    admin.levels.get() + "\n"
}

/// Changes the levels of the logs until the next change or the end of the process.
async fn set_levels(State(admin): State<Admin>, body: Body) -> Response {
    let levels = match read_levels(body).await {
        Ok(levels) => levels,
        Err((status, text)) => return (status, text).into_response(),
    };
    match admin.levels.set(levels.trim()) {
        Ok(()) => (admin.levels.get() + "\n").into_response(),
        Err(bad) => (StatusCode::BAD_REQUEST, format!("{bad}\n")).into_response(),
    }
}

/// Reads the body of a request that changes the levels.
async fn read_levels(body: Body) -> Result<String, (StatusCode, String)> {
    let read = async {
        let (mut chunks, mut levels) = (body.into_data_stream(), Vec::new());
        while let Some(chunk) = chunks.next().await {
            let broken = |error| (StatusCode::BAD_REQUEST, format!("the body broke: {error}\n"));
            levels.extend_from_slice(&chunk.map_err(broken)?);
            if levels.len() > LEVELS_BYTES_MAX {
                let text = format!("the levels have more than {LEVELS_BYTES_MAX} bytes\n");
                return Err((StatusCode::PAYLOAD_TOO_LARGE, text));
            }
        }
        let foreign = |_| (StatusCode::BAD_REQUEST, "the levels are not UTF-8\n".to_owned());
        String::from_utf8(levels).map_err(foreign)
    };
    timeout(LEVELS_MAX, read).await.unwrap_or_else(|_| {
        let text = format!("the levels did not come within {} s\n", LEVELS_MAX.as_secs());
        Err((StatusCode::REQUEST_TIMEOUT, text))
    })
}

/// Answers the clients that may not use `/debug`.
async fn guard(State(gate): State<DebugGate>, request: Request<Body>, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let head = Request::from_parts(parts, ());
    if let Some(refusal) = gate.refusal(&head).await {
        return refusal;
    }
    next.run(Request::from_parts(head.into_parts().0, body)).await
}

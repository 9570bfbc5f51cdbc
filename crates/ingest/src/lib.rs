//! The publishers' side: takes events over HTTP and appends them to a [`Log`].
//!
//! `POST /v1/events` takes one event, a CloudEvent, a batch of them, or a body that streams events for
//! as long as it likes. What is answered with an id is stored; what is not stored is answered with an
//! error that says whether to try again. `GET /v1/topics/{topic}` says what there is of a topic.
//!
//! A source of server-sent events becomes a topic by
//! `curl -N SOURCE | curl -T . -H 'content-type: text/event-stream' 'INGEST/v1/events?topic=T'`. With
//! `-T -` it works as well, but that curl prints a receipt only when it has more to send.
//!
//! Where to look: `publish.rs` is the handler, `head.rs` what a request asks for, `appender.rs` the one
//! way to the log, `stream.rs` the loop of the bodies that do not end, `error.rs` every status.
//!
//! Never touches Redis, the environment or the subscribers; keeps nothing between two requests.

mod appender;
mod body;
mod cloudevents;
mod config;
mod cross_origin;
mod error;
mod event;
mod head;
mod json;
mod lines;
mod media;
mod ndjson;
mod publish;
mod sse;
mod stream;
mod topics;
mod trace;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};
use event_log::Log;

pub use config::Config;

use cross_origin::allow;
use publish::Ingest;

const EVENTS: &str = "/v1/events";
const TOPIC: &str = "/v1/topics/{*topic}";

/// The routes of ingest: `POST` and `PUT /v1/events`, `GET /v1/topics/{topic}`, and their preflights if
/// the configuration allows pages of other origins.
///
/// `PUT` is `POST`, since `curl -T -` sends it, the one way to make curl stream its standard input. No
/// route answers `GET /v1/events`: that is the gateway's, which merges with this router. There is no
/// fallback, for the same reason.
pub fn router(config: Config, log: Arc<dyn Log>, registry: &metrics::Registry) -> Router {
    let cors = config.cors.clone();
    let routes = Router::new()
        .route(EVENTS, post(publish::publish).put(publish::publish))
        .route(TOPIC, get(topics::show))
        .with_state(Arc::new(Ingest::new(config, log, registry)));
    allow(routes, [EVENTS, TOPIC], cors)
}

//! Ingest, the service for publishers: takes events over HTTP and appends them to a [`Log`].
//!
//! `POST /v1/events` takes one event, a CloudEvent, a batch of CloudEvents, or an endless body that streams
//! events. An answer with an id means that the event is stored. Any other answer is an error, which says if a
//! retry makes sense. `GET /v1/topics/{topic}` describes a topic, `DELETE` deletes it, and `POST` opens it again.
//!
//! This command turns a source of server-sent events into a topic:
//! `curl -N SOURCE | curl -T . -H 'content-type: text/event-stream' 'INGEST/v1/events?topic=T'`. `-T -`
//! works as well, but then curl prints a receipt only when it has more to send.
//!
//! Where to look: `publish.rs` is the handler, `hub.rs` is the one of a Mercure hub, `head.rs` parses a request's head, `appender.rs` is the only
//! access to the log, `stream.rs` is the loop of streaming bodies, `error.rs` chooses every status.
//!
//! Never touches Redis, the environment or the subscribers. Keeps no state between two requests.

mod account;
mod appender;
mod attributes;
mod body;
mod breaks;
mod client;
mod cloudevents;
mod config;
mod copied;
mod cross_origin;
mod decode;
mod error;
mod event;
#[cfg(feature = "fuzz")]
#[doc(hidden)]
pub mod fuzz;
mod head;
mod hub;
mod json;
mod lines;
mod media;
mod ndjson;
mod new_topics;
mod outcome;
mod publish;
mod publish_rate;
mod publisher;
mod receipts;
mod respond;
mod revoke;
mod slots;
mod source;
mod sse;
mod stream;
mod topics;
mod trace;
mod wait;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};
use event_log::Log;

pub use config::Config;

use cross_origin::allow;
use publish::Ingest;

const EVENTS: &str = "/v1/events";
const TOPIC: &str = "/v1/topics/{*topic}";
const REVOCATIONS: &str = "/v1/revocations";
const HUB: &str = mercure::Hub::PATH;

/// The routes of ingest: `POST` of a Mercure hub if it serves one, `POST` and `PUT /v1/events`, `GET`, `DELETE` and `POST /v1/topics/{topic}`,
/// `POST /v1/revocations`, and their preflights if the configuration allows pages of other origins.
///
/// `PUT` does the same as `POST`, because `curl -T -` sends it, and curl streams its standard input in no
/// other way. No route answers `GET /v1/events`, because the gateway does and its router merges with this
/// one. For the same reason there is no fallback.
pub fn router(config: Config, log: Arc<dyn Log>, registry: &metrics::Registry) -> Router {
    let (cors, has_hub) = (config.cors.clone(), config.mercure.is_some());
    let routes = Router::new()
        .route(EVENTS, post(publish::publish).put(publish::publish))
        .route(TOPIC, get(topics::show).delete(topics::delete).post(topics::reopen))
        .route(REVOCATIONS, post(revoke::revoke));
    let routes = if has_hub { routes.route(HUB, post(hub::publish)) } else { routes };
    let routes = routes.with_state(Arc::new(Ingest::new(config, log, registry)));
    match has_hub {
        true => allow(routes, [EVENTS, TOPIC, REVOCATIONS, HUB], cors),
        false => allow(routes, [EVENTS, TOPIC, REVOCATIONS], cors),
    }
}

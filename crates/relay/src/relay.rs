//! From a request to its answer.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::response::{IntoResponse as _, Response};
use axum::routing::delete;
use event_log::Log;
use futures_util::future::join;
use metrics::Registry;
use tokio::time::timeout;

use crate::cancel::cancel;
use crate::config::Config;
use crate::error::Refusal;
use crate::gateway::Gateway;
use crate::outcome::{Answered, Way};
use crate::shared::{Asked, Shared};
use crate::whole::Whole;
use crate::{demo, keys, names, orders};

/// Passes requests on to an upstream, and stores the answers that stream. Clones are cheap and share one relay.
#[derive(Debug, Clone)]
pub struct Relay(Arc<Shared>);

/// The resource of topics, which the gateway serves for reading.
const EVENTS: &str = "/v1/events";
/// The longest time for the ends of all answers when the node stops.
const STOP_MAX: Duration = Duration::from_secs(5);

impl Relay {
    /// Makes a relay that stores answers in `log`, which `gateway` serves, with metrics in `registry`.
    ///
    /// # Errors
    /// The client of the upstream cannot be built: the machine has no certificate authorities.
    pub fn new(
        config: Config,
        log: Arc<dyn Log>,
        gateway: Gateway,
        registry: &Registry,
    ) -> Result<Self, reqwest::Error> {
        Ok(Self(Arc::new(Shared::new(config, log, gateway, registry)?)))
    }

    /// Follows the orders of other relays, and ends the answers of those that are gone, until it is dropped.
    pub async fn run(&self) {
        join(orders::follow(&self.0.log, &self.0.running), self.0.roll.run()).await;
    }

    /// The routes of a relay: every path that the gateway does not have, `DELETE /v1/events`, and a page at
    /// `/relay/`.
    pub fn router(&self) -> Router {
        Router::new()
            .route(EVENTS, delete(cancel))
            .fallback(answer)
            .with_state(Arc::clone(&self.0))
            .merge(demo::router())
    }

    /// Waits until no answer is read from the upstream any more, at most for `window`. Those that are left then end
    /// as broken, so that no reader waits for them.
    pub async fn drain(&self, window: Duration) {
        let tasks = &self.0.running.tasks;
        tasks.close();
        if timeout(window, tasks.wait()).await.is_err() {
            tracing::info!(left = self.0.running.len(), "ending answers that did not finish");
            self.0.running.stop();
            // An answer ends within the time of an append.
            if timeout(STOP_MAX, tasks.wait()).await.is_err() {
                // Another relay ends those that are left.
                return;
            }
        }
        self.0.roll.leave().await;
    }
}

/// The handler.
async fn answer(State(relay): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let answered = Box::pin(relay.answer(parts, body)).await;
    match answered {
        Ok((way, response)) => {
            relay.metrics.requests.of(way.into()).inc();
            response
        }
        Err(error) => {
            relay.metrics.requests.of(Answered::Refused).inc();
            error.into_response()
        }
    }
}

impl Shared {
    async fn answer(
        self: &Arc<Self>,
        parts: Parts,
        body: Body,
    ) -> Result<(Way, Response), Refusal> {
        if let Some(resumed) = self.adapted(&parts).await? {
            return Ok(resumed);
        }
        let key = keys::key(&parts).map(<[u8]>::to_vec);
        let (topic, ids) = (names::new_topic(), self.gives_ids(&parts));
        if key.is_none() && !self.looks_into(&parts) {
            let observers = self.namers(&parts, None);
            return self.pass_on(Asked { parts, topic, ids, observers }, streaming(body)).await;
        }
        let held = self.hold(&parts)?;
        let whole = Whole::read(body, self.config.request_bytes_max, held).await?;
        let observers = self.namers(&parts, Some(&whole));
        let asked = Asked { parts, topic, ids, observers };
        let Some(key) = key else {
            let (body, _held) = whole.into_body();
            return self.pass_on(asked, body).await;
        };
        self.keyed(asked, &key, whole).await
    }
}

/// A body that goes to the upstream as it comes.
fn streaming(body: Body) -> reqwest::Body {
    reqwest::Body::wrap_stream(body.into_data_stream())
}

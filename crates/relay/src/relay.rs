//! From a request to its answer.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method};
use axum::response::{IntoResponse as _, Response};
use axum::routing::delete;
use event_log::{Log, Topic};
use futures_util::future::join;
use limits::{Client, Held, Peer};
use metrics::Registry;
use tokio::time::timeout;

use crate::answer::Answer;
use crate::cancel::cancel;
use crate::config::Config;
use crate::decode::{Decoder, Form};
use crate::error::Error;
use crate::metrics::Metrics;
use crate::observer::Observe;
use crate::outcome::{Answered, Outcome, Way};
use crate::roll::Roll;
use crate::running::Running;
use crate::store::Store;
use crate::subscribe::Gateway;
use crate::tee::tee;
use crate::upstream::Upstream;
use crate::whole::Whole;
use crate::{headers, keys, names, orders};

/// Passes requests on to an upstream, and stores the answers that stream. Clones are cheap and share one relay.
#[derive(Debug, Clone)]
pub struct Relay(pub(crate) Arc<Shared>);

/// State that all requests share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) running: Arc<Running>,
    pub(crate) gateway: Gateway,
    metrics: Arc<Metrics>,
    roll: Roll,
    upstream: Upstream,
}

/// A request to the upstream.
pub(crate) struct Asked {
    pub(crate) parts: Parts,
    /// The topic of its answer, if that streams.
    pub(crate) topic: Topic,
    /// The parties that look at the answer.
    pub(crate) observers: Vec<Box<dyn Observe>>,
}

/// Marks a response that is an answer of the upstream which streams: its length is not known, and a client that
/// ends its side of the connection has left.
#[derive(Debug, Clone, Copy)]
pub struct Streamed;

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
        let upstream = Upstream::new(&config)?;
        let running = Running::new(&config, registry);
        let metrics = Arc::new(Metrics::register(registry, &running));
        let roll = Roll::new(&log);
        Ok(Self(Arc::new(Shared { config, log, running, gateway, metrics, roll, upstream })))
    }

    /// Follows the orders of other relays, and ends the answers of those that are gone, until it is dropped.
    pub async fn run(&self) {
        join(orders::follow(&self.0.log, &self.0.running), self.0.roll.run()).await;
    }

    /// The routes of a relay: every path that the gateway does not have, and `DELETE /v1/events`.
    pub fn router(&self) -> Router {
        Router::new().route(EVENTS, delete(cancel)).fallback(answer).with_state(Arc::clone(&self.0))
    }
}

impl Relay {
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
    async fn answer(self: &Arc<Self>, parts: Parts, body: Body) -> Result<(Way, Response), Error> {
        if let Some(resumed) = self.adapted(&parts).await? {
            return Ok(resumed);
        }
        let key = keys::key(&parts).map(<[u8]>::to_vec);
        let topic = names::new_topic();
        if key.is_none() && !self.looks_into(&parts) {
            let observers = self.namers(&parts, None);
            return self.pass_on(Asked { parts, topic, observers }, streaming(body)).await;
        }
        let held = self.hold(&parts)?;
        let whole = Whole::read(body, self.config.request_bytes_max, held).await?;
        let observers = self.namers(&parts, Some(&whole));
        let asked = Asked { parts, topic, observers };
        let Some(key) = key else {
            let (body, _held) = whole.into_body();
            return self.pass_on(asked, body).await;
        };
        self.keyed(asked, &key, whole).await
    }

    /// Passes a request on, and stores its answer if that streams.
    pub(crate) async fn pass_on(
        &self,
        asked: Asked,
        body: reqwest::Body,
    ) -> Result<(Way, Response), Error> {
        let peer = asked.parts.extensions.get::<Peer>().map(|peer| peer.address);
        let upstream = self.upstream.send(&asked.parts, body, peer).await?;
        let has_body = upstream.status().is_success() && asked.parts.method != Method::HEAD;
        let form = Form::of(upstream.headers()).filter(|_| has_body);
        Ok(match form {
            Some(form) => self.store(form, asked, upstream),
            None => (Way::Passed, passed(upstream)),
        })
    }

    /// Returns a place in the memory for the party that has sent a request.
    pub(crate) fn hold(&self, parts: &Parts) -> Result<Held, Error> {
        let held = self.config.rules.memory.take(client(parts, self), 0);
        held.map_err(|full| Error::Full(full.to_string()))
    }

    /// Stores an answer while its caller gets it.
    fn store(&self, form: Form, asked: Asked, upstream: reqwest::Response) -> (Way, Response) {
        let Asked { parts, topic, mut observers } = asked;
        observers.push(self.roll.keeper());
        let client = client(&parts, self);
        let places = self.running.begin(topic.clone(), client);
        let places =
            places.and_then(|place| Ok((place, self.config.rules.memory.take(client, 0)?)));
        let (place, held) = match places {
            Ok(places) => places,
            Err(full) => {
                // A caller is better off with an answer that cannot be resumed than with none.
                tracing::debug!(%full, "an answer is passed on without a topic");
                self.metrics.answers.of(Outcome::Passed).inc();
                return (Way::Passed, passed(upstream));
            }
        };
        let (tap, body) = tee(held, upstream.content_length());
        let mut response = Response::new(Body::new(body));
        *response.status_mut() = upstream.status();
        *response.headers_mut() = upstream.headers().clone();
        let location = names::header(&names::location(&topic));
        headers::name(response.headers_mut(), &names::header(topic.as_str()), &location);
        response.extensions_mut().insert(Streamed);
        let answer = Answer {
            upstream,
            decoder: Decoder::new(form, self.config.event_bytes_max),
            store: Store::new(Arc::clone(&self.log), topic),
            tap,
            place,
            detached: self.config.detached,
            observers,
            metrics: Arc::clone(&self.metrics),
        };
        drop(self.running.tasks.spawn(answer.run()));
        (Way::Stored(form), response)
    }
}

/// The upstream's answer as it came.
fn passed(upstream: reqwest::Response) -> Response {
    axum::http::Response::from(upstream).map(Body::new)
}

/// A body that goes to the upstream as it comes.
fn streaming(body: Body) -> reqwest::Body {
    reqwest::Body::wrap_stream(body.into_data_stream())
}

/// The party that a request is counted for.
fn client(parts: &Parts, relay: &Shared) -> Client {
    let Some(peer) = parts.extensions.get::<Peer>() else { return Client::TRUSTED };
    let of = |name: &str| parts.headers.get_all(name).iter().map(HeaderValue::as_bytes);
    let lists = (of("x-forwarded-for"), of("forwarded"));
    relay.config.rules.proxies.client(*peer, lists.0, lists.1)
}

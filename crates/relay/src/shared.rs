//! The state of a relay, and the way of a request to the upstream and back.

use std::sync::Arc;

use axum::body::Body;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::Response;
use event_log::{Log, Position, Topic};
use limits::{Client, Held, Peer};
use metrics::Registry;

use crate::answer::Answer;
use crate::config::Config;
use crate::decode::{Decoder, Form};
use crate::error::Refusal;
use crate::gateway::Gateway;
use crate::metrics::Metrics;
use crate::observer::Observe;
use crate::outcome::{Outcome, Way};
use crate::roll::Roll;
use crate::running::Running;
use crate::store::Store;
use crate::tee::{TapBody, tee};
use crate::upstream::Upstream;
use crate::{headers, names};

/// State that all requests share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) running: Arc<Running>,
    pub(crate) gateway: Gateway,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) roll: Roll,
    upstream: Upstream,
}

/// A request to the upstream.
pub(crate) struct Asked {
    pub(crate) parts: Parts,
    /// The topic of its answer, if that streams.
    pub(crate) topic: Topic,
    /// True if the caller is to get cursors as the ids of events.
    pub(crate) ids: bool,
    /// The parties that look at the answer.
    pub(crate) observers: Vec<Box<dyn Observe>>,
}

/// Marks a response that is an answer of the upstream which streams: its length is not known, and a client that
/// ends its side of the connection has left.
#[derive(Debug, Clone, Copy)]
pub struct Streamed;

impl Shared {
    /// Makes the state of a relay.
    ///
    /// # Errors
    /// The client of the upstream cannot be built.
    pub(crate) fn new(
        config: Config,
        log: Arc<dyn Log>,
        gateway: Gateway,
        registry: &Registry,
    ) -> Result<Self, reqwest::Error> {
        let upstream = Upstream::new(&config)?;
        let running = Running::new(&config, registry);
        let metrics = Arc::new(Metrics::register(registry, &running));
        let roll = Roll::new(&log);
        Ok(Self { config, log, running, gateway, metrics, roll, upstream })
    }

    /// Passes a request on, and stores its answer if that streams.
    pub(crate) async fn pass_on(
        &self,
        asked: Asked,
        body: reqwest::Body,
    ) -> Result<(Way, Response), Refusal> {
        let peer = asked.parts.extensions.get::<Peer>().map(|peer| peer.address);
        let upstream = self.upstream.send(&asked.parts, body, peer).await?;
        let has_body = upstream.status().is_success() && asked.parts.method != Method::HEAD;
        let form = Form::of(upstream.headers()).filter(|_| has_body);
        Ok(match form {
            Some(form) => self.store(form, asked, upstream).await,
            None => (Way::Passed, passed(upstream)),
        })
    }

    /// Returns a place in the memory for the party that has sent a request.
    pub(crate) fn hold(&self, parts: &Parts) -> Result<Held, Refusal> {
        let held = self.config.rules.memory.take(self.client(parts), 0);
        held.map_err(|full| Refusal::Full(full.to_string()))
    }

    /// The party that a request is counted for.
    fn client(&self, parts: &Parts) -> Client {
        let Some(peer) = parts.extensions.get::<Peer>() else { return Client::TRUSTED };
        let of = |name: &str| parts.headers.get_all(name).iter().map(HeaderValue::as_bytes);
        self.config.rules.proxies.client(*peer, of("x-forwarded-for"), of("forwarded"))
    }

    /// Stores an answer while its caller gets it.
    async fn store(
        &self,
        form: Form,
        asked: Asked,
        upstream: reqwest::Response,
    ) -> (Way, Response) {
        let Asked { parts, topic, ids, mut observers } = asked;
        observers.push(self.roll.keeper());
        let client = self.client(&parts);
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
        for observer in &mut observers {
            observer.head(upstream.headers());
        }
        let (tap, body) = tee(held, upstream.content_length());
        let (status, mut headers) = (upstream.status(), upstream.headers().clone());
        let location = names::header(&names::location(&topic));
        headers::name(&mut headers, &names::header(topic.as_str()), &location);
        let answer = Answer {
            upstream,
            decoder: Decoder::new(form, self.config.event_bytes_max),
            store: Store::new(Arc::clone(&self.log), topic.clone()),
            tap,
            place,
            detached: self.config.detached,
            observers,
            metrics: Arc::clone(&self.metrics),
        };
        drop(self.running.tasks.spawn(answer.run()));
        let mut response = match form == Form::Events && ids {
            true => self.with_ids(&parts, &topic, body).await,
            false => streamed(Body::new(body)),
        };
        if response.extensions().get::<Streamed>().is_none() {
            headers.remove(CONTENT_LENGTH);
        }
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        (Way::Stored(form), response)
    }

    /// Gives the caller the events of the topic, whose ids are cursors, instead of the upstream's bytes.
    async fn with_ids(&self, parts: &Parts, topic: &Topic, body: TapBody) -> Response {
        let events = self.gateway.subscribe(parts, topic, Some(Position::START)).await;
        if events.status() != StatusCode::OK {
            // The gateway is full, or the party may not read the topic.
            tracing::debug!(status = %events.status(), "an answer has no cursors");
            return streamed(Body::new(body));
        }
        events.map(|events| body.replaced_by(events))
    }
}

/// An answer of the upstream which streams.
fn streamed(body: Body) -> Response {
    let mut response = Response::new(body);
    response.extensions_mut().insert(Streamed);
    response
}

/// The upstream's answer as it came.
fn passed(upstream: reqwest::Response) -> Response {
    let mut response = axum::http::Response::from(upstream).map(Body::new);
    let kind = response.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    if kind.is_some_and(|kind| kind.starts_with(b"text/event-stream")) {
        response.extensions_mut().insert(Streamed);
    }
    response
}

//! `POST /v1/events`: parses a request, appends its events and answers.

use std::sync::Arc;
use std::time::Duration;

use access::Right;
use access::audit::Action;
use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::X_CONTENT_TYPE_OPTIONS;
use axum::response::{IntoResponse as _, Response};
use event_log::{Append, AppendError, Log, Mark};
use metrics::{Counters, Registry, label};
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::account::Account;
use crate::appender::{Answer, Appender};
use crate::body::Upload;
use crate::breaks::{Breaks, OnBreak};
use crate::error::{Code, Error, NOSNIFF};
use crate::event::event;
use crate::head::RequestHead;
use crate::media::Media;
use crate::publisher::Publisher;
use crate::respond::respond;
use crate::slots::Slots;
use crate::source::Source;
use crate::stream::Stream;
use crate::wait::{Clock, FIRST_BYTES_MAX, FIRST_EVENT_MAX, Wait, Waits};
use crate::{Config, body, cloudevents, trace};

/// The state that all requests share.
#[derive(Debug)]
pub(crate) struct Ingest {
    pub(crate) config: Config,
    pub(crate) appender: Arc<Appender>,
    breaks: Arc<Breaks>,
    pub(crate) slots: Slots,
    pub(crate) waits: Arc<Waits>,
    pub(crate) answers: Counters<StatusClass>,
}

label! {
    /// The class of an answer's status.
    pub(crate) enum StatusClass as "status" {
        /// The request was accepted, or an event of its body was.
        Success => "2xx",
        /// The publisher must change something, or send less.
        ClientError => "4xx",
        /// The publisher may retry.
        ServerError => "5xx",
    }
}

impl From<StatusCode> for StatusClass {
    fn from(status: StatusCode) -> Self {
        match status.as_u16() {
            ..400 => Self::Success,
            400..500 => Self::ClientError,
            500.. => Self::ServerError,
        }
    }
}

impl Ingest {
    pub(crate) fn new(config: Config, log: Arc<dyn Log>, registry: &Registry) -> Self {
        let appender = Arc::new(Appender::new(log, &config, registry));
        let breaks = Arc::new(Breaks::new(Arc::clone(&appender), registry));
        let slots = Slots::new(&config, registry);
        let answers =
            registry.counters("publishes_total", "Requests of publishers, by the answer.");
        Self { config, appender, breaks, slots, waits: Arc::new(Waits::new(registry)), answers }
    }

    async fn answer(
        &self,
        head: RequestHead,
        publisher: Publisher,
        upload: &mut Upload,
    ) -> Result<Response, Error> {
        let account = Account::new(Arc::clone(&self.config.rules.memory), publisher.client);
        match head.media {
            Media::Data | Media::CloudEvent | Media::BinaryCloudEvent | Media::CloudEvents => {
                self.whole(&head, &publisher, account, upload).await
            }
            Media::Lines | Media::Sse => self.stream(head, publisher, account, upload).await,
        }
    }

    /// Answers a streaming body with a stream of receipts.
    async fn stream(
        &self,
        head: RequestHead,
        publisher: Publisher,
        account: Account,
        upload: &mut Upload,
    ) -> Result<Response, Error> {
        let clock = Clock::new(Instant::now());
        self.first(Wait::FirstEvent, FIRST_EVENT_MAX, &publisher, upload).await?;
        let slot = self
            .slots
            .stream(publisher.client)
            .inspect_err(|error| self.appender.refused(error))?;
        let (waits, drain) = (Arc::clone(&self.waits), self.config.drain.clone());
        let source = Source::new(std::mem::take(upload), account, clock, waits, drain);
        let parts = (Arc::clone(&self.appender), Arc::clone(&self.breaks));
        let stream = Stream::new(head, publisher, source, &self.config, parts, slot);
        Ok(respond(stream).await)
    }

    /// Answers a body that is read as a whole.
    async fn whole(
        &self,
        head: &RequestHead,
        publisher: &Publisher,
        mut account: Account,
        upload: &mut Upload,
    ) -> Result<Response, Error> {
        let event_max = self.config.event_bytes_max;
        let is_batch = head.media == Media::CloudEvents;
        let max = if is_batch { self.config.batch_bytes_max.max(event_max) } else { event_max };
        let refused = |error: &Error| self.appender.refused(error);
        upload.check_length(max).inspect_err(refused)?;
        self.first(Wait::FirstBytes, FIRST_BYTES_MAX, publisher, upload).await?;
        let _place = self.slots.request(publisher.client).inspect_err(refused)?;
        let time = self.config.body_timeout;
        let bytes = upload.read(max, time, &mut account, &self.waits);
        let bytes = publisher.within(bytes).await.inspect_err(refused)?;
        if is_batch {
            let text = bytes.and_then(|bytes| body::text("the body", bytes));
            let events = text.and_then(|text| cloudevents::batch(&text, head, event_max));
            let events = events.inspect_err(refused)?;
            let at_once = self.config.batch_max;
            return batch_response(
                &self.appender.publish_in_order(publisher, events, at_once).await,
            );
        }
        let event = bytes.and_then(|bytes| self.event(head, bytes));
        let answer = self.appender.publish(publisher, vec![event]).await.pop();
        let ack = answer.expect("one event has one answer")?;
        if head.expects_event && head.media != Media::Data {
            return Ok(StatusCode::NO_CONTENT.into_response());
        }
        Ok(Json(ack).into_response())
    }

    /// Waits for the first bytes of a body.
    pub(crate) async fn first(
        &self,
        wait: Wait,
        max: Duration,
        publisher: &Publisher,
        upload: &mut Upload,
    ) -> Result<(), Error> {
        let begun = publisher.within(upload.begin(max)).await;
        let begun = begun.inspect_err(|error| self.appender.refused(error))?;
        begun.map_err(|_| self.waits.over(wait, max))
    }

    /// Returns the one event of a body.
    fn event(&self, head: &RequestHead, bytes: Vec<u8>) -> Result<Append, Error> {
        let max = self.config.event_bytes_max;
        if head.media == Media::BinaryCloudEvent {
            return cloudevents::binary(bytes, head, max);
        }
        let text = body::text("the body", bytes)?;
        if head.media == Media::CloudEvent {
            return cloudevents::one(&text, head, max);
        }
        let event = event(text.into(), head.kind.clone(), head.end, head.trace.clone(), max)?;
        let topic = head.topic.clone().expect("a head without a topic was refused");
        let append = Append::new(topic, event);
        Ok(match head.key.clone() {
            Some(key) => append.keyed(key),
            None => append,
        })
    }
}

/// The handler.
pub(crate) async fn publish(State(ingest): State<Arc<Ingest>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let mut upload = Upload::new(&parts.headers, body);
    let mut head = RequestHead::parse(&parts);
    let span = trace::span(&mut head);
    let answer = async {
        let publisher = Publisher::admit(&parts, &ingest.config, Action::Publish).await;
        let refused = |error: &Error| ingest.appender.refused(error);
        let (head, publisher) = (head.inspect_err(refused)?, publisher.inspect_err(refused)?);
        if head.topic.is_none() {
            publisher.check_some().inspect_err(refused)?;
        }
        if let Some(topic) = &head.topic {
            // Before the body is read. Each event is checked where it is appended.
            let may_end = head.end || head.on_break == Some(OnBreak::End);
            let right = if may_end { Right::End } else { Right::Publish };
            publisher.check(right, topic).inspect_err(refused)?;
            if may_end && ingest.appender.log.spaces().has(topic) {
                let mark = Mark::End;
                let error = AppendError::InSpace { topic: topic.clone(), mark }.into();
                return Err(error).inspect_err(refused);
            }
        }
        ingest.answer(head, publisher, &mut upload).await
    };
    let mut response = match answer.instrument(span.clone()).await {
        Ok(response) => response,
        Err(error) => {
            // Under overload, reading the rest of the body costs too much work. A slow body costs too much
            // time.
            if !matches!(error.code(), Code::TooManyRequests | Code::BodyTimeout) {
                upload.discard().await;
            }
            error.into_response()
        }
    };
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    trace::answered(&span, response.status());
    ingest.answers.of(response.status().into()).inc();
    response
}

/// Returns the answer to a batch: a receipt or an error for each event. If no event was stored and a retry
/// may store them, or the publisher's right has ended, the answer is that error alone, so that a publisher
/// reads it from the status.
fn batch_response(answers: &[Answer]) -> Result<Response, Error> {
    let none_stored = answers.iter().all(Result::is_err);
    let mut errors = answers.iter().filter_map(|answer| answer.as_ref().err());
    if let (true, Some(error)) = (none_stored, errors.find(|error| error.code().ends_stream())) {
        return Err(error.clone());
    }
    let receipts: Vec<_> = answers
        .iter()
        .enumerate()
        .map(|(index, answer)| match answer {
            Ok(ack) => serde_json::json!(ack),
            Err(error) => serde_json::json!({ "error": error.body(), "index": index }),
        })
        .collect();
    Ok(Json(serde_json::json!({ "receipts": receipts })).into_response())
}

//! `POST /v1/events`: parses a request, appends its events and answers.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use event_log::{Append, Log};
use metrics::Registry;
use tokio::sync::Semaphore;
use tracing::Instrument as _;

use crate::appender::{self, Answer, Appender};
use crate::body::Upload;
use crate::error::{Code, Error};
use crate::event::event;
use crate::head::RequestHead;
use crate::media::Media;
use crate::stream::{Slot, Stream};
use crate::{Config, body, cloudevents, trace};

/// The state that all requests share.
#[derive(Debug)]
pub(crate) struct Ingest {
    pub(crate) config: Config,
    pub(crate) appender: Arc<Appender>,
    requests: Semaphore,
    streams: Arc<Semaphore>,
}

impl Ingest {
    pub(crate) fn new(config: Config, log: Arc<dyn Log>, registry: &Registry) -> Self {
        let appender = Arc::new(Appender::new(log, config.append_timeout, registry));
        let semaphore = |max: usize| Semaphore::new(max.min(Semaphore::MAX_PERMITS));
        let requests = semaphore(config.requests_max);
        let streams = Arc::new(semaphore(config.streams_max));
        Self { config, appender, requests, streams }
    }

    async fn answer(&self, head: RequestHead, upload: &mut Upload) -> Result<Response, Error> {
        match head.media {
            Media::Data | Media::CloudEvent | Media::CloudEvents => self.whole(&head, upload).await,
            Media::Lines | Media::Sse => self.stream(head, upload).await,
        }
    }

    /// Answers a streaming body with a stream of receipts.
    async fn stream(&self, head: RequestHead, upload: &mut Upload) -> Result<Response, Error> {
        let Ok(permit) = Arc::clone(&self.streams).try_acquire_owned() else {
            let error = too_many("streams", self.config.streams_max);
            self.appender.refused(&error);
            return Err(error);
        };
        let upload = std::mem::take(upload);
        let slot = Slot::new(permit, self.appender.streams.clone());
        Ok(Stream::new(head, upload, &self.config, Arc::clone(&self.appender), slot)
            .respond()
            .await)
    }

    /// Answers a body that is read as a whole.
    async fn whole(&self, head: &RequestHead, upload: &mut Upload) -> Result<Response, Error> {
        let Ok(_permit) = self.requests.try_acquire() else {
            let error = too_many("requests", self.config.requests_max);
            self.appender.refused(&error);
            return Err(error);
        };
        if head.media == Media::CloudEvents {
            return self.batch(head, upload).await;
        }
        let event = self.event(head, upload).await;
        let answer = self.appender.publish(vec![event]).await.pop();
        let ack = answer.expect("one event has one answer")?;
        Ok(Json(ack).into_response())
    }

    /// Reads the one event of a body.
    async fn event(&self, head: &RequestHead, upload: &mut Upload) -> Result<Append, Error> {
        let max = self.config.event_bytes_max;
        let text = self.text(upload, max).await?;
        if head.media == Media::CloudEvent {
            return cloudevents::one(&text, head, max);
        }
        let event = event(text.into(), head.kind.clone(), head.end, head.trace.clone(), max)?;
        let topic = head.topic.clone().expect("a head without a topic was refused");
        Ok(Append { key: head.key.clone(), ..Append::new(topic, event) })
    }

    async fn batch(&self, head: &RequestHead, upload: &mut Upload) -> Result<Response, Error> {
        let bytes_max = self.config.batch_bytes_max.max(self.config.event_bytes_max);
        let events = match self.text(upload, bytes_max).await {
            Ok(text) => cloudevents::batch(&text, head, self.config.event_bytes_max),
            Err(error) => Err(error),
        };
        let events = events.inspect_err(|error| self.appender.refused(error))?;
        batch_response(&self.appender.publish_in_order(events, self.config.batch_max).await)
    }

    async fn text(&self, upload: &mut Upload, max: usize) -> Result<String, Error> {
        body::text("the body", upload.read(max, self.config.body_timeout).await?)
    }
}

/// The handler.
pub(crate) async fn publish(State(ingest): State<Arc<Ingest>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let mut upload = Upload::new(&parts.headers, body);
    let mut head = RequestHead::parse(&parts);
    let span = trace::span(&mut head);
    let answer = async {
        let head = head.inspect_err(|error| ingest.appender.refused(error))?;
        ingest.answer(head, &mut upload).await
    };
    let response = match answer.instrument(span.clone()).await {
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
    trace::answered(&span, response.status());
    response
}

/// Returns the answer to a batch: a receipt or an error for each event. If no event was stored and a retry
/// may store them, the answer is that error alone, so that a publisher that reads only the status retries.
fn batch_response(answers: &[Answer]) -> Result<Response, Error> {
    let none_stored = answers.iter().all(Result::is_err);
    if let (true, Some(error)) = (none_stored, appender::transient(answers)) {
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

fn too_many(what: &str, max: usize) -> Error {
    Error::new(Code::TooManyRequests, format!("too many concurrent {what}; the limit is {max}"))
}

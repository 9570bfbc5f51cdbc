//! `GET`, `DELETE` and `POST /v1/topics/{topic}`: describes a topic, deletes it, and opens it again.

use std::sync::Arc;

use access::Right;
use access::audit::Action;
use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::http::header::X_CONTENT_TYPE_OPTIONS;
use axum::response::{IntoResponse, Response};
use event_log::{Append, Bounds, LogName, Mark, NewEvent, Position, Receipt, Topic};
use serde::Serialize;
use tokio::time::timeout;

use crate::appender::Ack;
use crate::error::{Code, Error, NOSNIFF};
use crate::publish::Ingest;
use crate::publisher::Publisher;

/// The body of the answer.
#[derive(Debug, Serialize)]
pub(crate) struct TopicBody {
    /// The topic, or the pattern of all topics of a space.
    topic: String,
    /// The log that the topic shares with others, of which the rest is.
    #[serde(skip_serializing_if = "Option::is_none")]
    space: Option<String>,
    head: Option<String>,
    oldest: Option<String>,
    length: u64,
    ended: bool,
    broken: bool,
}

/// Handles the request. The topic is the rest of the path, with slashes and escapes.
pub(crate) async fn show(
    State(ingest): State<Arc<Ingest>>,
    topic: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    let (parts, _no_body) = request.into_parts();
    let described = async {
        let publisher = Publisher::admit(&parts, &ingest.config, Action::Describe).await?;
        Ok(Json(describe(&ingest, &publisher, topic).await?))
    };
    answer(described.await)
}

/// Handles the request to delete a topic.
pub(crate) async fn delete(
    State(ingest): State<Arc<Ingest>>,
    topic: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    let (parts, _no_body) = request.into_parts();
    let deleted = async {
        let publisher = Publisher::admit(&parts, &ingest.config, Action::Delete).await?;
        let topic = owned(&publisher, topic)?;
        let receipt = change(&ingest, &publisher, &topic, Mark::Deleted).await?;
        if receipt.duplicate { Err(unknown(&topic)) } else { Ok(StatusCode::NO_CONTENT) }
    };
    answer(deleted.await)
}

/// Handles the request to open an ended topic again.
pub(crate) async fn reopen(
    State(ingest): State<Arc<Ingest>>,
    topic: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    let (parts, _no_body) = request.into_parts();
    let opened = async {
        let publisher = Publisher::admit(&parts, &ingest.config, Action::Reopen).await?;
        let topic = owned(&publisher, topic)?;
        if parts.uri.query() != Some("reopen=true") {
            let message = "a topic takes reopen=true and nothing else; publish to /v1/events";
            return Err(Error::new(Code::BadParameter, message));
        }
        let receipt = change(&ingest, &publisher, &topic, Mark::Reopened).await?;
        match receipt.position.n {
            0 => Err(unknown(&topic)),
            _ => Ok(Json(Ack::new(&topic, receipt))),
        }
    };
    answer(opened.await)
}

/// The response of a request for a topic.
fn answer(result: Result<impl IntoResponse, Error>) -> Response {
    let mut response = result.into_response();
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    response
}

/// Returns the topic of the path if the party may publish to it and end it, and so may change it as a whole: with
/// both rights it could replace all events and end the topic anyway.
fn owned(
    publisher: &Publisher,
    topic: Result<Path<String>, PathRejection>,
) -> Result<Topic, Error> {
    let topic = named(topic)?;
    publisher.check(Right::Publish, &topic)?;
    publisher.check(Right::End, &topic)?;
    Ok(topic)
}

/// Changes a topic as a whole.
async fn change(
    ingest: &Ingest,
    publisher: &Publisher,
    topic: &Topic,
    mark: Mark,
) -> Result<Receipt, Error> {
    let _place = ingest.slots.request(publisher.client)?;
    let event = NewEvent { mark, ..NewEvent::default() };
    let receipt = ingest.appender.append_once(Append::new(topic.clone(), event)).await?;
    if !receipt.duplicate {
        publisher.record_asked(topic);
    }
    Ok(receipt)
}

fn named(topic: Result<Path<String>, PathRejection>) -> Result<Topic, Error> {
    let Path(topic) = topic.map_err(bad_path)?;
    Ok(Topic::new(&topic)?)
}

#[expect(clippy::needless_pass_by_value, reason = "it maps an error")]
fn bad_path(bad: PathRejection) -> Error {
    Error::new(Code::BadTopic, format!("the path: {}", bad.body_text()))
}

fn unknown(topic: &LogName) -> Error {
    Error::new(Code::UnknownTopic, format!("the log has no topic {topic}"))
}

async fn describe(
    ingest: &Ingest,
    publisher: &Publisher,
    topic: Result<Path<String>, PathRejection>,
) -> Result<TopicBody, Error> {
    let Path(name) = topic.map_err(bad_path)?;
    let spaces = ingest.appender.log.spaces();
    let (named, log) = match LogName::parse(&name).filter(LogName::is_space) {
        Some(space) if spaces.log_of(&space.prefix()) == space => (space.clone(), space),
        _ => {
            let topic = Topic::new(&name)?;
            ((*topic).clone(), spaces.log_of(&topic))
        }
    };
    // The same answer for a topic that exists and one that does not.
    if !publisher.grant.allows(Right::Publish, named.as_str()) {
        publisher.check(Right::Subscribe, &named)?;
    }
    let _place = ingest.slots.request(publisher.client)?;
    let bounds = timeout(ingest.config.append_timeout, ingest.appender.log.bounds(&log))
        .await
        .map_err(|_| {
        let time = ingest.config.append_timeout;
        Error::new(Code::LogUnavailable, format!("the log did not answer within {time:?}"))
    })??;
    match bounds {
        Some(bounds) => Ok(TopicBody::new(&named, &log, bounds)),
        None => Err(unknown(&named)),
    }
}

impl TopicBody {
    fn new(
        topic: &LogName,
        log: &LogName,
        Bounds { head, oldest, length, ended, broken }: Bounds,
    ) -> Self {
        let space = (topic != log).then(|| log.to_string());
        // A break concerns one topic, and the last entry of a space may be of another.
        let broken = broken && !log.is_space();
        Self {
            topic: topic.to_string(),
            space,
            head: (head != Position::START).then(|| head.to_string()),
            oldest: oldest.map(|oldest| oldest.to_string()),
            length,
            ended,
            broken,
        }
    }
}

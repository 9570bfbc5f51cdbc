//! The OpenAI clients: `responses.retrieve(id, stream=True, starting_after=N)` and `responses.cancel(id)`.
//!
//! Every event of a response has a `sequence_number`, and the first one, `response.created`, has the response and
//! its id. A response that the relay does not know is asked of the upstream.

use async_trait::async_trait;
use axum::Json;
use axum::http::Method;
use axum::http::request::Parts;
use axum::response::{IntoResponse as _, Response};
use event_log::{Event, Limit, Log, NewEvent, Position, ReadError, Seek, Topic};
use serde::Deserialize;
use serde_json::Value;

use super::Names;
use crate::adapter::Adapter;
use crate::error::Refusal;
use crate::observer::Observe;
use crate::shared::Shared;

/// The part of an event that says where it stands.
#[derive(Debug, Deserialize)]
struct Numbered {
    sequence_number: u64,
}

/// The part of `response.created` that counts.
#[derive(Debug, Deserialize)]
struct Created {
    response: Value,
}

/// The type of the event that names a response.
const CREATED: &str = "response.created";

/// Notes the id of a response.
struct ResponseNamer {
    names: Names,
    is_done: bool,
}

pub(super) fn namer(adapter: &Adapter, relay: &Shared, parts: &Parts) -> Box<dyn Observe> {
    Box::new(ResponseNamer { names: Names::of(adapter, relay, parts), is_done: false })
}

#[async_trait]
impl Observe for ResponseNamer {
    async fn events(&mut self, topic: &Topic, events: &[NewEvent]) {
        if self.is_done {
            return;
        }
        let is_created =
            |event: &&NewEvent| event.kind.as_ref().is_some_and(|kind| kind.as_str() == CREATED);
        let Some(event) = events.iter().find(is_created) else { return };
        self.is_done = true;
        let created: Option<Created> = serde_json::from_str(&event.data).ok();
        let response = created.map(|created| created.response).unwrap_or_default();
        if let Some(id) = response["id"].as_str() {
            self.names.note(id, topic).await;
        }
    }
}

impl Shared {
    /// Answers a request about a response that is stored.
    pub(super) async fn openai(
        &self,
        adapter: &Adapter,
        parts: &Parts,
        rest: &str,
    ) -> Result<Option<Response>, Refusal> {
        let mut steps = rest.split('/').skip(1);
        let (Some(id), verb, None) = (steps.next(), steps.next(), steps.next()) else {
            return Ok(None);
        };
        let is_retrieval = parts.method == Method::GET && verb.is_none() && wants_stream(parts);
        let is_cancel = parts.method == Method::POST && verb == Some("cancel");
        if !is_retrieval && !is_cancel {
            return Ok(None);
        }
        let Some(topic) = Names::of(adapter, self, parts).topic(id).await? else { return Ok(None) };
        if is_cancel {
            return self.cancel_response(&topic).await;
        }
        let after = match starting_after(parts) {
            Some(number) => Some(position(&*self.log, &topic, number).await?),
            None => None,
        };
        Ok(Some(self.gateway.subscribe(parts, &topic, after).await))
    }

    /// Cancels a response that is not complete, and answers with the response as it was created.
    async fn cancel_response(&self, topic: &Topic) -> Result<Option<Response>, Refusal> {
        let is_over = self.log.bounds(topic).await?.is_none_or(|bounds| bounds.ended);
        if is_over {
            return Ok(None);
        }
        let page = self.log.read(topic, Position::START, Limit::ONE).await?;
        let created = page
            .events
            .first()
            .and_then(|event| serde_json::from_str::<Created>(event.data()).ok());
        self.cancel(topic).await?;
        let mut response = created.map(|created| created.response).unwrap_or_default();
        response["status"] = Value::from("cancelled");
        Ok(Some(Json(response).into_response()))
    }
}

/// Returns the position of the last event whose number is not above this one.
async fn position(log: &dyn Log, topic: &Topic, number: u64) -> Result<Position, ReadError> {
    if let Some(position) = guessed(log, topic, number).await? {
        return Ok(position);
    }
    let mut after = Position::START;
    loop {
        let page = log.read(topic, after, Limit::PAGE).await?;
        if let Some(gap) = page.gap {
            after = gap.resume;
            continue;
        }
        let passed = page.events.iter().take_while(|event| sequence(event) <= Some(number));
        let count = passed.inspect(|event| after = event.position()).count();
        if count < page.events.len() || page.events.is_empty() {
            return Ok(after);
        }
    }
}

/// Looks at the event that has this number if every event has one, and they begin at 0.
async fn guessed(log: &dyn Log, topic: &Topic, number: u64) -> Result<Option<Position>, ReadError> {
    let Some(bounds) = log.bounds(topic).await? else { return Ok(None) };
    let Some(later) = bounds.head.n.checked_sub(number.saturating_add(1)) else { return Ok(None) };
    let sought = log.seek(topic, Seek::Last(later + 1)).await?;
    let page = log.read(topic, sought.position, Limit::ONE).await?;
    let found = page.events.first().filter(|event| sequence(event) == Some(number));
    Ok(found.map(Event::position))
}

/// The number of an event. An event without one belongs to the one before it.
fn sequence(event: &Event) -> Option<u64> {
    let numbered: Option<Numbered> = serde_json::from_str(event.data()).ok();
    numbered.map(|numbered| numbered.sequence_number)
}

fn query<'a>(parts: &'a Parts, name: &'a str) -> Option<std::borrow::Cow<'a, str>> {
    let query = parts.uri.query().unwrap_or_default().as_bytes();
    form_urlencoded::parse(query).find(|(own, _)| own == name).map(|(_, value)| value)
}

fn wants_stream(parts: &Parts) -> bool {
    query(parts, "stream").is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

fn starting_after(parts: &Parts) -> Option<u64> {
    query(parts, "starting_after")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use event_log::{Append, MemoryLog, Retention};

    use super::*;

    async fn log(numbers: &[Option<u64>]) -> (Arc<dyn Log>, Topic) {
        let log: Arc<dyn Log> = Arc::new(MemoryLog::new(Retention::default()));
        let topic = Topic::new("t").unwrap();
        for number in numbers {
            let data = number.map_or("{}".to_owned(), |n| format!("{{\"sequence_number\":{n}}}"));
            let event = NewEvent { data: data.into(), ..NewEvent::default() };
            log.append(vec![Append::new(topic.clone(), event)]).await.pop().unwrap().unwrap();
        }
        (log, topic)
    }

    async fn found(numbers: &[Option<u64>], number: u64) -> u64 {
        let (log, topic) = log(numbers).await;
        position(&*log, &topic, number).await.unwrap().n
    }

    #[tokio::test]
    async fn a_number_stands_for_the_event_that_has_it() {
        let plain: Vec<_> = (0..1000).map(Some).collect();
        for number in [0, 1, 513, 999] {
            assert_eq!(found(&plain, number).await, number + 1);
        }
        assert_eq!(found(&plain, 5000).await, 1000, "beyond the newest event");
    }

    #[tokio::test]
    async fn numbers_with_holes_are_searched() {
        let holes = [Some(3), None, Some(5), Some(9), Some(10)];
        for (number, n) in [(0, 0), (3, 2), (4, 2), (5, 3), (8, 3), (9, 4), (99, 5)] {
            assert_eq!(found(&holes, number).await, n, "{number}");
        }
    }
}

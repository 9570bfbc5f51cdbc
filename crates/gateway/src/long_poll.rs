//! The same cursor loop, answered once: for clients that cannot keep a stream open.

use std::time::Duration;

use axum::http::{HeaderName, header};
use axum::response::{IntoResponse, Response};
use event_log::{Cursor, Event, Limit, Step};
use serde::Serialize;
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use crate::control::gap_json;
use crate::drain::Phase;
use crate::envelope;
use crate::gateway::Shared;
use crate::request::Style;

/// The headers of an answer.
pub(crate) const HEADERS: [(HeaderName, &str); 2] =
    [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];

/// What a long-poll has found so far.
#[derive(Debug, Default)]
struct Answer {
    events: Vec<Event>,
    /// Bytes of the events.
    weight: usize,
    gaps: Vec<Value>,
}

/// The rest of an answer, behind its events.
#[derive(Serialize)]
struct End {
    /// To be brought with the next request.
    cursor: String,
    gaps: Vec<Value>,
    /// Whether all topics have ended.
    ended: bool,
}

/// Bytes of events in one answer; the first comes whatever its size.
const BYTES_MAX: usize = 1024 * 1024;
/// The time to read what there is, of a client that would not wait for what there is not.
const READ_MAX: Duration = Duration::from_secs(5);

/// Answers with what there is, or with the first that comes within the wait. A log that does not
/// answer is waited for like an event: an empty answer has a cursor, from which nothing is lost.
pub(crate) async fn answer(
    gateway: &Shared,
    mut cursor: Cursor,
    brought: Option<String>,
    style: Style,
    wait: Duration,
    limit: usize,
) -> Response {
    let now = Instant::now();
    let (deadline, read_deadline) = (now + wait, now + wait.max(READ_MAX));
    let mut answer = Answer::default();
    while answer.events.len() < limit && answer.weight < BYTES_MAX {
        let page = Limit { events: limit - answer.events.len(), bytes: BYTES_MAX - answer.weight };
        let step = match timeout_at(read_deadline, cursor.try_next(page)).await {
            Ok(Ok(Some(step))) => Some(step),
            Ok(Ok(None) | Err(_)) if answer.is_empty() => {
                timeout_at(deadline, wait_for(gateway, &mut cursor, page)).await.ok().flatten()
            }
            Ok(_) | Err(_) => None,
        };
        match step {
            Some(Step::Events { mut events, .. }) => {
                events.retain(|event| style.wants(event.kind()));
                answer.weight += events.iter().map(Event::weight).sum::<usize>();
                answer.events.extend(events);
            }
            Some(Step::Gap { topic, gap }) => {
                gateway.metrics.gaps.of(gap.reason).inc();
                let name = cursor.topics().nth(topic).expect("a step is of a topic");
                answer.gaps.push(gap_json(name, &gap, brought.as_deref()));
            }
            Some(Step::End { .. }) => {}
            Some(Step::Finished) | None => break,
        }
    }
    gateway.metrics.long_polls.inc();
    gateway.metrics.delivered.inc_by(answer.events.len() as u64);
    (HEADERS, answer.into_json(&cursor)).into_response()
}

/// The next step; `None` if this gateway is about to stop, so that its waiting clients ask another.
async fn wait_for(gateway: &Shared, cursor: &mut Cursor, page: Limit) -> Option<Step> {
    let mut phase = gateway.phase.subscribe();
    // What there is comes first. Both may be dropped at any await: one has found nothing then, the
    // other changes nothing.
    tokio::select! {
        biased;
        step = cursor.next(page) => Some(step),
        _ = phase.wait_for(|phase| matches!(phase, Phase::HandingAway { .. })) => None,
    }
}

impl Answer {
    const fn is_empty(&self) -> bool {
        self.events.is_empty() && self.gaps.is_empty()
    }

    /// The answer's body: the events as they are encoded already, then the rest.
    fn into_json(self, cursor: &Cursor) -> Vec<u8> {
        let mut json = br#"{"events":["#.to_vec();
        for (i, event) in self.events.iter().enumerate() {
            json.extend_from_slice(if i == 0 { b"" } else { b"," });
            json.extend_from_slice(envelope::of(event));
        }
        json.extend_from_slice(b"],");
        let end = End { cursor: cursor.wire(), gaps: self.gaps, ended: cursor.is_finished() };
        let end = serde_json::to_vec(&end).expect("strings and numbers always serialise");
        // Behind its opening brace: it goes on in the object that the events began.
        json.extend_from_slice(&end[1..]);
        json
    }
}

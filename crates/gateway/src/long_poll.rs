//! The same cursor loop, answered once: for clients that cannot keep a stream open.

use std::sync::Arc;
use std::time::Duration;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use event_log::{Cursor, Limit, Step};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::time::{Instant, timeout_at};

use crate::control::gap_json;
use crate::drain::Phase;
use crate::envelope;
use crate::gateway::Shared;
use crate::request::Style;

/// What a long-poll is answered.
#[derive(Debug, Default, Serialize)]
struct Answer {
    events: Vec<Box<RawValue>>,
    /// To be brought with the next request.
    cursor: String,
    gaps: Vec<Value>,
    /// Whether all topics have ended.
    ended: bool,
}

/// Bytes of events in one answer; the first comes whatever its size.
const BYTES_MAX: usize = 1024 * 1024;

/// Answers with what there is, or with the first that comes within the wait.
pub(crate) async fn answer(
    gateway: Arc<Shared>,
    mut cursor: Cursor,
    brought: Option<String>,
    style: Style,
    wait: Duration,
    limit: usize,
) -> Response {
    let deadline = Instant::now() + wait;
    let mut phase = gateway.phase.subscribe();
    let mut answer = Answer::default();
    let mut room = BYTES_MAX;
    while answer.events.len() < limit && room > 0 {
        let page = Limit { events: limit - answer.events.len(), bytes: room };
        let step = if answer.is_empty() {
            let waited = async {
                // A gateway that is about to stop has its waiting clients ask another one.
                tokio::select! {
                    step = cursor.next(page) => Some(step),
                    _ = phase.wait_for(|p| matches!(p, Phase::HandingAway { .. })) => None,
                }
            };
            timeout_at(deadline, waited).await.ok().flatten()
        } else {
            // What there is goes out now; an answer must not wait for the log once it holds events.
            cursor.try_next(page).await.ok().flatten()
        };
        match step {
            Some(Step::Events { events, .. }) => {
                for event in events.iter().filter(|event| style.wants(event.kind())) {
                    room = room.saturating_sub(event.weight());
                    let json = String::from_utf8_lossy(envelope::of(event)).into_owned();
                    answer.events.push(RawValue::from_string(json).expect("an envelope is JSON"));
                }
            }
            Some(Step::Gap { topic, gap }) => {
                gateway.metrics.gaps.of(gap.reason.into()).inc();
                let name = cursor.topics().nth(topic).expect("a step is of a topic");
                answer.gaps.push(gap_json(name, &gap, brought.as_deref()));
            }
            Some(Step::End { .. }) => {}
            Some(Step::Finished) | None => break,
        }
    }
    answer.ended = cursor.is_finished();
    answer.cursor = cursor.wire();
    gateway.metrics.long_polls.inc();
    gateway.metrics.delivered.inc_by(answer.events.len() as u64);
    let json = serde_json::to_vec(&answer).expect("strings and numbers always serialise");
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (headers, json).into_response()
}

impl Answer {
    const fn is_empty(&self) -> bool {
        self.events.is_empty() && self.gaps.is_empty()
    }
}

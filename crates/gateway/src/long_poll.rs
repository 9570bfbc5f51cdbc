//! Long-poll: one response from a cursor, for clients that cannot keep a stream open.

use std::time::Duration;

use axum::http::{HeaderName, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use event_log::{Cursor, Event, Limit, Step};
use limits::Client;
use serde::Serialize;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::connections::Admission;
use crate::control::{BreakReport, GapReport};
use crate::drain::Phase;
use crate::error::{NOSNIFF, Refusal};
use crate::gateway::Shared;
use crate::metrics::Reject;
use crate::replay::Payer;
use crate::request::Style;
use crate::{envelope, held_bytes, replay};

/// The headers of a response.
pub(crate) const HEADERS: [(HeaderName, &str); 3] =
    [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store"), NOSNIFF];

/// The events, gaps and breaks that a long-poll has found.
#[derive(Debug, Default)]
struct Answer {
    events: Vec<Event>,
    /// Bytes of the events.
    weight: usize,
    gaps: Vec<GapReport>,
    broken: Vec<BreakReport>,
}

/// The rest of the body after the events.
#[derive(Serialize)]
struct End {
    /// The cursor for the next request.
    cursor: String,
    gaps: Vec<GapReport>,
    /// The publishers that broke off.
    broken: Vec<BreakReport>,
    /// True if all topics have ended.
    ended: bool,
}

/// Most bytes of events in one response; the first event is sent whatever its size.
const BYTES_MAX: usize = 1024 * 1024;
/// The longest time to read existing events for a client that does not wait for new ones.
const READ_MAX: Duration = Duration::from_secs(5);

/// Responds with the existing events, or with the first event within the wait. A log that cannot be read
/// counts as a log without events: the empty response has a cursor, so the client loses nothing.
pub(crate) async fn answer(
    gateway: &Shared,
    client: Client,
    admission: &Admission,
    mut cursor: Cursor,
    brought: Option<String>,
    style: Style,
    (wait, limit): (Duration, usize),
) -> Response {
    let now = Instant::now();
    let left = admission.connection.principal.left();
    let most = |wait: Duration| now + left.map_or(wait, |left| wait.min(left));
    let (deadline, read_deadline) = (most(wait), most(wait.max(READ_MAX)));
    let mut answer = Answer::default();
    let is_replay = cursor.lag() > 0;
    let payer = admission.connection.payer();
    if is_replay && !is_out_of_debt(gateway, payer, read_deadline).await {
        return (HEADERS, answer.into_json(&cursor)).into_response();
    }
    while answer.events.len() < limit && answer.weight < BYTES_MAX {
        let page = Limit { events: limit - answer.events.len(), bytes: BYTES_MAX - answer.weight };
        let step = match timeout_at(read_deadline, cursor.try_next(page)).await {
            Ok(Ok(Some(step))) => Some(step),
            Ok(Ok(None) | Err(_)) if answer.is_empty() => {
                timeout_at(deadline, wait_for(gateway, admission, &mut cursor, page))
                    .await
                    .ok()
                    .flatten()
            }
            Ok(_) | Err(_) => None,
        };
        match step {
            Some(Step::Events { mut events, .. }) => {
                if is_replay {
                    gateway.replay.spend(payer, replay::weight(&events));
                }
                events.retain(|event| style.wants(event.kind()));
                answer.weight += events.iter().map(Event::weight).sum::<usize>();
                answer.events.extend(events);
            }
            Some(Step::Gap { place, gap }) => {
                gateway.metrics.gaps.of(gap.reason).inc();
                let part = cursor.part(place);
                answer.gaps.push(GapReport::new(part.name(), &gap, brought.as_deref()));
            }
            Some(Step::Broken { entry, reason, .. }) => {
                answer.broken.push(BreakReport::new(entry.topic(), reason));
            }
            Some(Step::Reopened { .. } | Step::End { .. }) => {}
            Some(Step::Finished) | None => break,
        }
    }
    // The next request need not look at what this one has passed by. A body that is full has passed nothing by.
    if answer.events.len() < limit {
        cursor.pass_by();
    }
    let delivered = answer.events.len() as u64;
    let json: Bytes = answer.into_json(&cursor).into();
    let bytes = json.len() as u64;
    match held_bytes::count(&gateway.config.rules.memory, client, json) {
        Ok(json) => {
            gateway.metrics.long_polls.inc();
            gateway.metrics.delivered.inc_by(delivered);
            gateway.metrics.delivered_bytes.inc_by(bytes);
            (HEADERS, json).into_response()
        }
        // The client has its cursor, so it loses nothing.
        Err(full) => {
            gateway.metrics.rejected.of(Reject::Overload).inc();
            Refusal::from(full).into_response()
        }
    }
}

/// Waits until the client has some of its replay rate again. Returns false if that takes longer than
/// until `deadline`.
async fn is_out_of_debt(gateway: &Shared, payer: Payer, deadline: Instant) -> bool {
    let until = Instant::now() + gateway.replay.spend(payer, 0);
    if until > Instant::now() {
        gateway.metrics.replay_waits.inc();
        sleep_until(until.min(deadline)).await;
    }
    until <= deadline
}

/// Waits for the next step. Returns `None` when this gateway drains, so that its waiting clients go to
/// another, and when the client's right is revoked.
async fn wait_for(
    gateway: &Shared,
    admission: &Admission,
    cursor: &mut Cursor,
    page: Limit,
) -> Option<Step> {
    let (mut phase, mut revoked) = (gateway.phase.subscribe(), gateway.revoked.subscribe());
    let is_revoked = |_: &u64| admission.connection.is_revoked();
    // Steps come before the drain. Both arms are cancel-safe: a dropped `next` has moved no position, and
    // `wait_for` only reads.
    tokio::select! {
        biased;
        step = cursor.next(page) => Some(step),
        _ = phase.wait_for(|phase| matches!(phase, Phase::HandingAway { .. })) => None,
        _ = revoked.wait_for(is_revoked) => None,
    }
}

impl Answer {
    const fn is_empty(&self) -> bool {
        self.events.is_empty() && self.gaps.is_empty() && self.broken.is_empty()
    }

    /// The body: the encoded events, then the rest.
    fn into_json(self, cursor: &Cursor) -> Vec<u8> {
        let mut json = br#"{"events":["#.to_vec();
        for (i, event) in self.events.iter().enumerate() {
            json.extend_from_slice(if i == 0 { b"" } else { b"," });
            json.extend_from_slice(envelope::of(event));
        }
        json.extend_from_slice(b"],");
        let end = End {
            cursor: cursor.wire(),
            gaps: self.gaps,
            broken: self.broken,
            ended: cursor.is_finished(),
        };
        let end = serde_json::to_vec(&end).expect("strings and numbers always serialise");
        // Without the opening brace: the object began before the events.
        json.extend_from_slice(&end[1..]);
        json
    }
}

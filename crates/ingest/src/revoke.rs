//! `POST /v1/revocations`: takes a right back before its time.
//!
//! A revocation is an event of a reserved topic, which every node reads from its beginning when it starts and
//! follows from then on. It is acknowledged when the log holds it.

use std::sync::Arc;
use std::time::Duration;

use access::audit::Action;
use access::{REVOCATIONS_TOPIC, Revocation, Timestamp, TooManyRevocations};
use axum::Json;
use axum::extract::{Request, State};
use axum::http::header::X_CONTENT_TYPE_OPTIONS;
use axum::response::{IntoResponse as _, Response};
use event_log::{Append, NewEvent, Topic};
use serde::Deserialize;

use crate::account::Account;
use crate::body::{self, Upload};
use crate::error::{Code, Error, NOSNIFF};
use crate::publish::Ingest;
use crate::publisher::Publisher;

/// The body of a request.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    sub: Option<String>,
    jti: Option<String>,
    /// RFC 3339.
    until: Option<String>,
}

/// The largest body, in bytes.
const BODY_BYTES_MAX: usize = 4096;
/// The time for which a revocation holds that names none.
const UNTIL_DEFAULT: Duration = Duration::from_hours(24);
/// The longest time for which one holds: as long as a preset lets a token live.
const UNTIL_MAX: Duration = Duration::from_hours(31 * 24);

/// Handles the request.
pub(crate) async fn revoke(State(ingest): State<Arc<Ingest>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let mut upload = Upload::new(&parts.headers, body);
    let answer = async {
        if ingest.config.access.is_open() {
            return Err(Error::new(
                Code::AccessOff,
                "this node demands no tokens, so it revokes none",
            ));
        }
        let publisher = Publisher::admit(&parts, &ingest.config, Action::Revoke).await?;
        publisher.check_admin()?;
        let wanted = read(&ingest, &publisher, &mut upload).await?;
        store(&ingest, &publisher, wanted).await
    };
    let mut response = match answer.await {
        Ok(revocation) => Json(revocation).into_response(),
        Err(error) => {
            upload.discard().await;
            error.into_response()
        }
    };
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    response
}

async fn read(
    ingest: &Ingest,
    publisher: &Publisher,
    upload: &mut Upload,
) -> Result<Revocation, Error> {
    let _place = ingest.slots.request(publisher.client)?;
    let mut account = Account::new(Arc::clone(&ingest.config.rules.memory), publisher.client);
    let time = ingest.config.body_timeout;
    let bytes = upload.read(BODY_BYTES_MAX, time, &mut account, &ingest.waits);
    let bytes = publisher.within(bytes).await??;
    let text = body::text("the body", bytes)?;
    let bad = |message: String| Error::new(Code::BadBody, message);
    let wanted: Wanted = serde_json::from_str(&text).map_err(|error| {
        bad(format!("the body is no revocation, as {{\"sub\":\"ann\"}}: {error}"))
    })?;
    let now = Timestamp::now();
    let until = match wanted.until {
        None => now.later(UNTIL_DEFAULT),
        Some(text) => Timestamp::parse(&text)
            .ok_or_else(|| bad(format!("until is {text:?}; it must be as 2026-01-31T12:00:00Z")))?,
    };
    if until <= now || until > now.later(UNTIL_MAX) {
        return Err(bad(format!(
            "until must be in the future, and at most {} days from now",
            UNTIL_MAX.as_secs() / 86_400
        )));
    }
    Revocation::new(wanted.sub, wanted.jti, until).map_err(|error| bad(error.to_string()))
}

/// Stores a revocation, and returns the one that holds now: an earlier one may hold longer.
async fn store(
    ingest: &Ingest,
    publisher: &Publisher,
    wanted: Revocation,
) -> Result<Revocation, Error> {
    let known = ingest.config.access.revocations();
    let full = |full: TooManyRevocations| Error::new(Code::TooManyRevocations, full.to_string());
    known.check_room(&wanted.revoked, ingest.config.revocations_max).map_err(full)?;
    let topic = Topic::reserved(REVOCATIONS_TOPIC).map_err(Error::from)?;
    let event = NewEvent { data: wanted.to_json().into(), ..NewEvent::default() };
    if let Some(error) = publisher.over() {
        return Err(error);
    }
    ingest.appender.append_own(Append::new(topic, event)).await?;
    // The node hears of it again when it reads the topic, which also ends streams.
    known.add(&wanted).map_err(full)?;
    publisher.record_revocation(&wanted);
    let until = known.until(&wanted.revoked).unwrap_or(wanted.until);
    Ok(Revocation { until, ..wanted })
}

//! An answer of JSON lines that is read again in its own form. A gateway serves event streams only.

use std::sync::Arc;

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use event_log::{Cursor, Limit, Log, Mark, Origin, Seek, Step, Topic};
use futures_util::stream;

use crate::error::Refusal;
use crate::tee::BrokenOff;

/// Answers with the lines in a topic, as they come.
pub(crate) async fn lines(log: &Arc<dyn Log>, topic: &Topic) -> Response {
    let origin = Origin::Seek(Seek::Earliest);
    match Cursor::open(Arc::clone(log), vec![topic.clone()], origin).await {
        Err(error) => Refusal::from(error).into_response(),
        Ok((cursor, _)) => {
            let pieces = stream::unfold(Some(cursor), |cursor| async move {
                let mut cursor = cursor?;
                match piece(cursor.next(Limit::PAGE).await) {
                    Ok(None) => None,
                    Ok(Some(piece)) => Some((Ok(piece), Some(cursor))),
                    Err(broken) => Some((Err(broken), None)),
                }
            });
            ([(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(pieces)).into_response()
        }
    }
}

/// The lines of one step. `None` is the end of the answer.
fn piece(step: Step) -> Result<Option<String>, BrokenOff> {
    let events = match step {
        Step::Events { events, .. } => events,
        Step::Gap { .. } | Step::Broken { .. } => return Err(BrokenOff),
        Step::Reopened { .. } => return Ok(Some(String::new())),
        Step::End { .. } | Step::Finished => return Ok(None),
    };
    let mut lines = String::new();
    for event in events.iter().filter(|event| event.mark() != Mark::End) {
        // The relay's own last event: the answer did not come to its end.
        if event.mark() == Mark::Last {
            return Err(BrokenOff);
        }
        lines.extend([event.data(), "\n"]);
    }
    Ok(Some(lines))
}

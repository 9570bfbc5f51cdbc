//! An event as its publisher means it.

use event_log::{EventType, Mark, NewEvent, TraceParent};

use crate::error::Error;

/// The event with this data. An event that ends its topic and has no data is no event: it only ends
/// the topic, and its type has nothing to name.
///
/// # Errors
/// More than `max` bytes of data.
pub(crate) fn event(
    data: Box<str>,
    kind: Option<EventType>,
    end: bool,
    trace: Option<TraceParent>,
    max: usize,
) -> Result<NewEvent, Error> {
    if data.len() > max {
        return Err(Error::too_large("the event's data", Some(data.len()), max));
    }
    let (kind, mark) = match (end, data.is_empty()) {
        (false, _) => (kind, Mark::Open),
        (true, false) => (kind, Mark::Last),
        (true, true) => (None, Mark::End),
    };
    Ok(NewEvent { kind, data, mark, trace })
}

//! Builds an event from the parts that its publisher sent.

use event_log::{EventType, Mark, NewEvent, TraceParent};

use crate::error::Error;

/// Returns the event with this data. If it ends its topic and has no data, subscribers receive only the end
/// of the topic, so the type is dropped.
///
/// # Errors
/// The data has more than `max` bytes.
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
    Ok(NewEvent { kind, data, mark, trace, extra: None })
}

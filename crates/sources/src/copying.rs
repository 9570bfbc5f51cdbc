//! The options of a copy, which all kinds of sources have.

use event_log::Topic;

use crate::template::Template;

/// The options of a copier, which all kinds have.
#[derive(Debug, Clone)]
pub(crate) struct Copying {
    /// The name of the source.
    #[cfg_attr(not(feature = "mqtt"), expect(dead_code, reason = "only MQTT makes a name of it"))]
    pub(crate) source: String,
    pub(crate) topic: Template,
    pub(crate) on_error: OnError,
    pub(crate) on_gap: OnGap,
    /// The largest event, in bytes.
    pub(crate) event_bytes_max: usize,
}

/// The rule about what cannot be an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OnError {
    /// The source stops before it.
    Stop,
    /// It is counted, and the source goes on.
    Skip,
    /// It is stored in this topic, with the reason.
    DeadLetter(Topic),
}

/// The rule about events that the source has lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OnGap {
    /// The source stops before the events that follow.
    Stop,
    /// Readers of this topic are told, and the source goes on.
    Tell(Topic),
}

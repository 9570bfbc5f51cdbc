//! The ends of answers, for the metrics and for the readers of a topic.

use metrics::label;

use crate::decode::Form;

label! {
    /// The end of an answer that streams.
    pub(crate) enum Outcome as "outcome" {
        /// The upstream ended the answer, and all of it is stored.
        Complete => "complete",
        /// The upstream broke the answer off.
        Cut => "cut",
        /// Somebody cancelled the answer.
        Cancelled => "cancelled",
        /// The caller has left, and the answer took longer than it may without one.
        Abandoned => "abandoned",
        /// The node stopped.
        Stopped => "stopped",
        /// An event was none that a topic can hold, or the log did not store it.
        Unstorable => "unstorable",
        /// There was no room for the answer, so it was passed on without a topic.
        Passed => "passed",
    }
}

/// The relay's way to answer a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// The upstream's answer, as it came.
    Passed,
    /// The upstream's answer, which is stored as well.
    Stored(Form),
    /// The answer to an earlier request with the same idempotency key.
    Joined,
    /// A stored answer, for a client that resumes or stops it in its own way.
    Resumed,
}

label! {
    /// The relay's way to answer a request, for the metrics.
    pub(crate) enum Answered as "way" {
        /// As [`Way::Passed`].
        Passed => "passed",
        /// As [`Way::Stored`].
        Stored => "stored",
        /// As [`Way::Joined`].
        Joined => "joined",
        /// As [`Way::Resumed`].
        Resumed => "resumed",
        /// An error of the relay.
        Refused => "refused",
    }
}

impl From<Way> for Answered {
    fn from(way: Way) -> Self {
        match way {
            Way::Passed => Self::Passed,
            Way::Stored(_) => Self::Stored,
            Way::Joined => Self::Joined,
            Way::Resumed => Self::Resumed,
        }
    }
}

impl Outcome {
    /// The sentence for readers of a topic whose answer did not come to its end.
    pub(crate) const fn message(self) -> &'static str {
        match self {
            Self::Complete => "the answer is complete",
            Self::Cut => "the upstream broke the answer off",
            Self::Cancelled => "the answer was cancelled",
            Self::Abandoned => "the answer took longer than it may after its caller has left",
            Self::Stopped => "the relay stopped before the answer was complete",
            Self::Unstorable => "the rest of the answer could not be stored",
            Self::Passed => "the answer is not stored",
        }
    }
}

//! The outcome of an event that a publisher sent, as the metrics count it.

use metrics::label;

label! {
    /// The outcome of an event that a publisher sent.
    pub(crate) enum Outcome as "outcome" {
        /// The log stored it.
        Stored => "stored",
        /// The log held an event with the same key already.
        Duplicate => "duplicate",
        /// The publisher must change the event or send fewer bytes.
        Refused => "refused",
        /// The log did not take the event; the publisher may retry.
        Unavailable => "unavailable",
    }
}

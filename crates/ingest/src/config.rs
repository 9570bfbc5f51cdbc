//! The limits of ingest.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// What ingest takes, and for how long it waits.
#[derive(Debug, Clone)]
pub struct Config {
    /// The most bytes in the data of one event.
    pub event_bytes_max: usize,
    /// The most bytes in the body of a batch that is parsed as a whole: a batch of CloudEvents.
    /// A body that streams has no such limit.
    pub batch_bytes_max: usize,
    /// The most events gathered for one append.
    pub batch_max: usize,
    /// The most requests with a body that is read as a whole, at a time. With
    /// [`event_bytes_max`](Self::event_bytes_max) it bounds the memory that they hold.
    pub requests_max: usize,
    /// The most bodies that stream events, at a time. Each has at most one append in flight, and holds
    /// a batch (1 MiB of data and one event) and a line (6 times the largest event, for its escapes).
    pub streams_max: usize,
    /// How long the log may take for an append before the publisher is told to try again.
    pub append_timeout: Duration,
    /// How long a body that is read as a whole may take. A body that streams may idle for ever.
    pub body_timeout: Duration,
    /// Cancelled when the node stops: bodies that stream are then told, in their receipts, to send
    /// the rest elsewhere. Everything else is short and is served to its end.
    pub drain: CancellationToken,
    /// The origins whose pages may publish, besides ingest's own.
    pub cors: cors::Policy,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            event_bytes_max: 256 * 1024,
            batch_bytes_max: 1024 * 1024,
            batch_max: 64,
            requests_max: 1024,
            streams_max: 1024,
            append_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            drain: CancellationToken::new(),
            cors: cors::Policy::default(),
        }
    }
}

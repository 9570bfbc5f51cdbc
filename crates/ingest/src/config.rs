//! The limits of ingest.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// The limits of requests, and the longest waits.
#[derive(Debug, Clone)]
pub struct Config {
    /// Largest data of one event, in bytes.
    pub event_bytes_max: usize,
    /// Largest body of a batch that is parsed as a whole (a batch of CloudEvents), in bytes.
    /// A streaming body has no such limit.
    pub batch_bytes_max: usize,
    /// Largest number of events in one append.
    pub batch_max: usize,
    /// Largest number of concurrent requests whose body is read as a whole. Together with
    /// [`event_bytes_max`](Self::event_bytes_max) this bounds the memory of their bodies.
    pub requests_max: usize,
    /// Largest number of concurrent streaming bodies. Each has at most one append in flight, and holds a
    /// batch (1 MiB of data and one event) and a line (6 times the largest event, because of escapes).
    pub streams_max: usize,
    /// Longest wait for an append, after which the publisher is told to retry.
    pub append_timeout: Duration,
    /// Longest time to read a body that is read as a whole. A streaming body may be idle for ever.
    pub body_timeout: Duration,
    /// Cancelled when the node stops. The receipts of streaming bodies then ask their publishers to send the
    /// rest to another node. All other requests are short and are served to their end.
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

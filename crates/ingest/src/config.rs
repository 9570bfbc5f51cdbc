//! The limits of ingest.

use std::sync::Arc;
use std::time::Duration;

use limits::Rules;
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
    /// Largest number of concurrent requests whose body is read as a whole, and of those that ask about a
    /// topic. Quota `publishes`.
    pub requests_max: usize,
    /// Largest number of concurrent streaming bodies. Each has at most one append in flight. Quota
    /// `publish_streams`.
    pub streams_max: usize,
    /// New topics a second that all publishers of this node may begin. One address may begin its share. A
    /// burst of 10 seconds' worth is allowed. Topics that exist take events without a limit.
    pub new_topics: u32,
    /// Events a second that one subject may publish on this node, with a burst of 10 seconds' worth.
    pub subject_publish_rate: u32,
    /// Bytes of events a second that one subject may publish on this node, with the same burst.
    pub subject_publish_bytes: u64,
    /// New topics an hour that one subject may begin on this node, all of them at once.
    pub subject_new_topics: u32,
    /// The decisions about publishers.
    pub access: access::Access,
    /// Revocations that may hold at a time: fewer than the log keeps events of a topic, because every node
    /// reads them there.
    pub revocations_max: usize,
    /// The way to count clients, and the memory of their bodies.
    pub rules: Rules,
    /// Longest wait for an append, after which the publisher is told to retry.
    pub append_timeout: Duration,
    /// Longest time to read a body that is read as a whole, once its first bytes are there.
    pub body_timeout: Duration,
    /// Cancelled when the node stops. The receipts of streaming bodies then ask their publishers to send the
    /// rest to another node. All other requests are short and are served to their end.
    pub drain: CancellationToken,
    /// The Mercure hub that it serves, if it serves one.
    pub mercure: Option<Arc<mercure::Settings>>,
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
            new_topics: u32::MAX,
            subject_new_topics: 1_000_000,
            subject_publish_rate: 250_000,
            subject_publish_bytes: 256 * 1024 * 1024,
            access: access::Access::open(&metrics::Registry::new()),
            revocations_max: access::Revocations::MAX,
            rules: Rules::default(),
            append_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            drain: CancellationToken::new(),
            mercure: None,
            cors: cors::Policy::default(),
        }
    }
}

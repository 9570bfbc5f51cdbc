//! The upstream and the limits of a relay.

use std::time::Duration;

use limits::Rules;
use reqwest::Url;

use crate::adapter::Adapter;

/// The upstream, the limits of its answers, and the longest waits.
#[derive(Debug, Clone)]
pub struct Config {
    /// The URL to which the paths of requests are appended: http or https, without a query.
    pub upstream: Url,
    /// The scheme by which clients reach this node, which the upstream is told.
    pub scheme: &'static str,
    /// The fate of an answer whose caller has left.
    pub detached: Detached,
    /// Largest number of answers that are stored at a time. Quota `answers`.
    pub answers_max: usize,
    /// Largest event of an answer, in bytes.
    pub event_bytes_max: usize,
    /// Largest body of a request that is read as a whole: one with an idempotency key, or one in which an
    /// adapter looks for a name. In bytes.
    pub request_bytes_max: usize,
    /// Longest silence of the upstream: before the head of its answer, and between two pieces of its body.
    pub silence_max: Duration,
    /// The ways of other clients to resume.
    pub adapters: Vec<Adapter>,
    /// The decisions about the parties that cancel answers.
    pub access: access::Access,
    /// The way to count clients, and the memory for them.
    pub rules: Rules,
    /// The origins whose pages may cancel answers, besides the node's own.
    pub cors: cors::Policy,
}

/// The fate of an answer whose caller has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detached {
    /// The upstream is read on for this time.
    For(Duration),
    /// The request to the upstream is cancelled.
    Cancel,
}

impl Config {
    /// The defaults for an upstream, without access rules and other limits.
    #[must_use]
    pub fn new(upstream: Url) -> Self {
        Self {
            upstream,
            scheme: "http",
            detached: Detached::For(Duration::from_mins(10)),
            answers_max: 1024,
            event_bytes_max: 256 * 1024,
            request_bytes_max: 32 * 1024 * 1024,
            silence_max: Duration::from_mins(10),
            adapters: Vec::new(),
            access: access::Access::open(&metrics::Registry::new()),
            rules: Rules::default(),
            cors: cors::Policy::default(),
        }
    }
}

//! Parties that look at an answer while it is stored: they note names under which it can be found.

use async_trait::async_trait;
use axum::http::HeaderMap;
use event_log::{NewEvent, Topic};

/// Looks at an answer.
#[async_trait]
pub(crate) trait Observe: Send {
    /// Looks at the headers of the upstream's answer.
    fn head(&mut self, _headers: &HeaderMap) {}

    /// Learns that an answer is stored in a topic.
    async fn begun(&mut self, _topic: &Topic) {}

    /// Looks at the next events, before they are stored.
    async fn events(&mut self, _topic: &Topic, _events: &[NewEvent]) {}

    /// Learns that the topic has ended.
    async fn ended(&mut self) {}
}

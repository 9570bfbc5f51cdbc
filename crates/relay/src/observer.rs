//! Parties that look at an answer while it is stored: they note names under which it can be found.

use async_trait::async_trait;
use event_log::NewEvent;

use crate::outcome::Outcome;

/// Looks at an answer.
#[async_trait]
pub(crate) trait Observe: Send {
    /// Looks at the next events, before they are stored.
    async fn events(&mut self, events: &[NewEvent]);

    /// Learns how the answer has ended, after its topic has.
    async fn ended(&mut self, outcome: Outcome);
}

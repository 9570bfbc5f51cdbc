//! The audit: one line for each thing that a party did or was refused.
//!
//! Lines have the target `tailwater::audit`, so that an operator can send them elsewhere or leave them out. They
//! name subjects, keys and topics, and never a credential.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use metrics::Label as _;

use crate::{Grant, Reason, Timestamp};

/// A thing that a party does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Reads topics.
    Subscribe,
    /// Publishes events.
    Publish,
    /// Ends a topic.
    End,
    /// Deletes a topic.
    Delete,
    /// Opens an ended topic again.
    Reopen,
    /// Asks about a topic.
    Describe,
    /// Takes a ticket.
    Ticket,
    /// Revokes a right.
    Revoke,
}

/// Refusals that are logged in a second. The rest are counted, so that a flood of refusals does not fill a disk.
const REFUSALS_MAX: u64 = 100;

/// The second in which refusals are counted, and their number.
static SECOND: AtomicU64 = AtomicU64::new(0);
static REFUSED: AtomicU64 = AtomicU64::new(0);

impl Action {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Subscribe => "subscribe",
            Self::Publish => "publish",
            Self::End => "end",
            Self::Delete => "delete",
            Self::Reopen => "reopen",
            Self::Describe => "describe",
            Self::Ticket => "ticket",
            Self::Revoke => "revoke",
        }
    }
}

/// Records that a party did something. Publishing is recorded at level debug, because it is frequent.
pub fn allowed(
    action: Action,
    grant: &Grant,
    topics: impl fmt::Display,
    client: impl fmt::Display,
) {
    let (sub, kid) = (grant.principal().subject(), grant.key());
    let (action, decision) = (action, "allowed");
    match action {
        Action::Publish | Action::Subscribe | Action::Describe => {
            tracing::debug!(target: TARGET, action = action.as_str(), sub, kid, %topics, decision, %client);
        }
        Action::End | Action::Delete | Action::Reopen | Action::Ticket | Action::Revoke => {
            tracing::info!(target: TARGET, action = action.as_str(), sub, kid, %topics, decision, %client);
        }
    }
}

/// Records that a party was refused something.
pub fn refused(
    action: Action,
    grant: Option<&Grant>,
    topics: impl fmt::Display,
    reason: Reason,
    client: impl fmt::Display,
) {
    let now = Timestamp::now().as_seconds();
    if SECOND.swap(now, Relaxed) != now {
        let left_out = REFUSED.swap(0, Relaxed).saturating_sub(REFUSALS_MAX);
        if left_out > 0 {
            tracing::info!(target: TARGET, left_out, "more refusals came than are recorded");
        }
    }
    if REFUSED.fetch_add(1, Relaxed) >= REFUSALS_MAX {
        return;
    }
    let sub = grant.and_then(|grant| grant.principal().subject());
    let kid = grant.and_then(Grant::key);
    let (action, reason, decision) = (action.as_str(), reason.as_str(), "refused");
    tracing::info!(target: TARGET, action, sub, kid, %topics, decision, reason, %client);
}

/// The target of the lines.
const TARGET: &str = "tailwater::audit";

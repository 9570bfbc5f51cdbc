//! The bounds that credentials set for their party.

use serde::{Deserialize, Serialize};

/// Bounds of a party, which may only be lower than those of the node. `None` leaves the node's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Quotas {
    /// Streams at a time, on all nodes together; 0 allows none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub streams: Option<u32>,
    /// Topics that its streams watch at a time on each node; 0 allows none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topics: Option<u32>,
    /// Events a second on each node; 0 allows none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub publish_rate: Option<u32>,
    /// Bytes of events a second on each node; 0 allows none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub publish_bytes: Option<u64>,
    /// New topics an hour on each node; 0 allows none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new_topics: Option<u32>,
    /// Bytes of missed events a second on each node; 0 counts as the least that a node gives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replay_bytes: Option<u64>,
}

impl Quotas {
    /// Returns true if the credentials set no bound.
    pub(crate) fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

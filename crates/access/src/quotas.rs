//! The bounds that credentials set for their party.

use serde::Deserialize;

/// Bounds of a party, which may only be lower than those of the node. `None` leaves the node's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quotas {
    /// Streams at a time, on all nodes together; 0 allows none.
    pub streams: Option<u32>,
}

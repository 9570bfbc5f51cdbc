//! The settings of a hub.

use crate::hub::Hub;
use crate::name::Space;

/// The settings of a hub, the same on all nodes that serve it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The public URL.
    pub hub: Hub,
    /// The topics of the log that are the hub's.
    pub space: Space,
    /// True if a subscriber needs no token for updates that are not private.
    pub is_anonymous_allowed: bool,
    /// True if a request of 0.x may have its token in the query, which others log.
    pub is_query_token_allowed: bool,
}

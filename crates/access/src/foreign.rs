//! The tokens of another protocol, which the keys of this node verify.

use std::sync::Arc;

use serde_json::Value;

use crate::Grant;

/// A token of another protocol: its signature is right, and its claims are those of its issuer.
#[derive(Debug, Clone)]
pub struct Foreign {
    /// The party, its deadline, and the rights that Tailwater's own claims bring. A token without an end ends never, and
    /// one without a subject is a party of its own.
    pub grant: Arc<Grant>,
    /// All claims; null for the token of a machine, which has none.
    pub claims: Value,
    /// The type in its header.
    pub kind: Option<String>,
}

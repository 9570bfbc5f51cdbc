//! The tokens of issuers.

use std::sync::Arc;

use crate::Grant;
use crate::denied::{Carrier, Reason};

/// The issuers of tokens, and their keys.
#[derive(Debug, Default)]
pub struct Tokens {}

impl Tokens {
    /// Verifies a token and returns what it grants. Waits only if a key has to be fetched.
    ///
    /// # Errors
    /// The token is refused.
    pub(crate) async fn verify(
        &self,
        _token: &str,
        _carrier: Carrier,
    ) -> Result<Arc<Grant>, Reason> {
        Err(Reason::UnknownKey)
    }
}

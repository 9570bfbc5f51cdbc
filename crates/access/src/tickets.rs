//! Tickets and stream cookies: short-lived copies of a grant, which every node can check.

use crate::Grant;
use crate::denied::Reason;

/// Issues and checks tickets and stream cookies.
#[derive(Debug)]
pub struct Tickets {}

/// The form of a copy of a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// In the query of a URL.
    Ticket,
    /// In a cookie.
    Cookie,
}

impl Tickets {
    /// Returns true if a text has the form of a ticket or a stream cookie.
    #[must_use]
    pub(crate) fn made(_text: &str) -> bool {
        false
    }

    /// Checks a ticket or a stream cookie.
    ///
    /// # Errors
    /// It is refused.
    pub(crate) fn verify(&self, _text: &str, _form: Form) -> Result<Grant, Reason> {
        Err(Reason::UnknownKey)
    }
}

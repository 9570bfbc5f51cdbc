//! The agreement of all nodes on the spaces of a store.
//!
//! The spaces decide the log of a topic, so a node with others would write where nobody reads. The first node with
//! spaces leaves them in the store, and every node compares.

use std::sync::{Mutex, PoisonError};

use event_log::{BadSpace, Spaces};

use crate::error::Failure;
use crate::pace::OnceAMinute;

/// What a node knows of the agreement.
#[derive(Debug, Default)]
pub(crate) struct Agreement {
    /// The other spaces, as the last look found them.
    broken: Mutex<Option<Failure>>,
    warned: OnceAMinute,
}

impl Agreement {
    /// Refuses every operation while the store has other spaces than this node.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        match &*self.broken.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(failure) => Err(failure.clone()),
            None => Ok(()),
        }
    }

    /// Takes the result of a look at the store.
    pub(crate) fn note(&self, found: &Result<(), Failure>) {
        let broken = found.as_ref().err().filter(|f| matches!(f, Failure::Spaces { .. })).cloned();
        if let Some(failure) = &broken
            && self.warned.is_due()
        {
            tracing::error!(%failure, "this node serves nothing");
        }
        *self.broken.lock().unwrap_or_else(PoisonError::into_inner) = broken;
    }
}

/// Begins the text in the store.
const SPACES: &str = "spaces ";

/// The spaces as a text for the store.
pub(crate) fn text(spaces: &Spaces) -> String {
    format!("{SPACES}{}", spaces.prefixes().collect::<Vec<_>>().join(" "))
}

/// Reads such a text.
pub(crate) fn parse(text: &str) -> Result<Spaces, BadSpace> {
    Spaces::new(text.trim_start_matches(SPACES).split(' ').filter(|prefix| !prefix.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_read_back_from_the_store() {
        for prefixes in [&["orders/", "a/b/"][..], &[]] {
            let spaces = Spaces::new(prefixes.iter().copied()).unwrap();
            assert_eq!(parse(&text(&spaces)), Ok(spaces));
        }
        assert!(parse("spaces orders").is_err());
    }
}

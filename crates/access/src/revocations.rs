//! Rights that were taken back before their time.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use crate::{Principal, Timestamp, principal};

/// The one that a revocation concerns.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Revoked {
    /// Everything of a subject.
    Subject(Box<str>),
    /// The token with this id.
    Token(Box<str>),
}

/// A right that was taken back, until a time after which nothing needs to be remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// The one that it concerns.
    pub revoked: Revoked,
    /// The time until which it holds.
    pub until: Timestamp,
}

/// The revocations that a node knows.
#[derive(Debug, Default)]
pub struct Revocations(RwLock<Known>);

#[derive(Debug, Default)]
struct Known {
    subjects: HashMap<Box<str>, Timestamp>,
    tokens: HashMap<u64, Timestamp>,
}

impl Revocations {
    /// Revocations that a node remembers.
    pub const MAX: usize = 10_000;

    /// Adds a revocation, and forgets those whose time is over.
    ///
    /// # Errors
    /// The node remembers [`MAX`](Self::MAX) already.
    pub fn add(&self, revocation: &Revocation) -> Result<(), Full> {
        let now = Timestamp::now();
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known.subjects.retain(|_, until| *until > now);
        known.tokens.retain(|_, until| *until > now);
        if revocation.until <= now {
            return Ok(());
        }
        let until = match &revocation.revoked {
            _ if known.subjects.len() + known.tokens.len() >= Self::MAX => return Err(Full),
            Revoked::Subject(subject) => known.subjects.entry(subject.clone()),
            Revoked::Token(id) => {
                let until = known.tokens.entry(principal::hash(id)).or_insert(revocation.until);
                *until = revocation.until.max(*until);
                return Ok(());
            }
        }
        .or_insert(revocation.until);
        *until = revocation.until.max(*until);
        Ok(())
    }

    /// Returns true if the right of a party was taken back.
    #[must_use]
    pub fn concern(&self, principal: &Principal) -> bool {
        let Some(subject) = principal.subject() else { return false };
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if known.subjects.is_empty() && known.tokens.is_empty() {
            return false;
        }
        let now = Timestamp::now();
        let holds = |until: Option<&Timestamp>| until.is_some_and(|until| *until > now);
        let token = principal.token();
        holds(known.subjects.get(subject)) || token.is_some_and(|id| holds(known.tokens.get(&id)))
    }
}

/// A node remembers as many revocations as it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many revocations; the limit is {max}", max = Revocations::MAX)]
pub struct Full;

//! Rights that were taken back before their time.

use std::collections::HashMap;
use std::fmt;
use std::sync::{PoisonError, RwLock};

use serde::{Deserialize, Serialize};

use crate::{Principal, Timestamp, principal};

/// The reserved topic whose events are revocations.
pub const REVOCATIONS_TOPIC: &str = "revocations";

/// The one that a revocation concerns.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Revoked {
    /// Everything of a subject.
    #[serde(rename = "sub")]
    Subject(Box<str>),
    /// The token with this id.
    #[serde(rename = "jti")]
    Token(Box<str>),
}

/// A right that was taken back, until a time after which nothing needs to be remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// The one that it concerns.
    #[serde(flatten)]
    pub revoked: Revoked,
    /// The time until which it holds.
    pub until: Timestamp,
}

/// A text that is no revocation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRevocation {
    /// It names nobody, or two.
    #[error("a revocation names one of sub and jti")]
    One,
    /// The name is empty or too long.
    #[error("the name has {0} bytes; it must have 1 to {NAME_BYTES_MAX}")]
    Length(usize),
}

/// The revocations that a node knows.
#[derive(Debug, Default)]
pub struct Revocations(RwLock<Remembered>);

#[derive(Debug, Default)]
struct Remembered {
    subjects: HashMap<Box<str>, Timestamp>,
    /// By the hash of an id, with the id.
    tokens: HashMap<u64, (Box<str>, Timestamp)>,
}

/// A node remembers as many revocations as it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many revocations hold at present; the limit is {max}", max = Revocations::MAX)]
pub struct TooManyRevocations;

/// The longest name, in bytes.
const NAME_BYTES_MAX: usize = 256;

impl Revocation {
    /// A revocation of a subject or of a token.
    ///
    /// # Errors
    /// It names nobody, or two, or the name is empty or too long.
    pub fn new(
        subject: Option<String>,
        token: Option<String>,
        until: Timestamp,
    ) -> Result<Self, BadRevocation> {
        let revoked = match (subject, token) {
            (Some(subject), None) => Revoked::Subject(subject.into()),
            (None, Some(token)) => Revoked::Token(token.into()),
            _ => return Err(BadRevocation::One),
        };
        match revoked.name().len() {
            length if length == 0 || length > NAME_BYTES_MAX => Err(BadRevocation::Length(length)),
            _ => Ok(Self { revoked, until }),
        }
    }

    /// The data of its event.
    ///
    /// # Panics
    /// Never: its parts are plain.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a name and a time are JSON")
    }

    /// Reads the data of an event; `None` if it is no revocation.
    #[must_use]
    pub fn from_json(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }
}

impl Revoked {
    fn name(&self) -> &str {
        match self {
            Self::Subject(name) | Self::Token(name) => name,
        }
    }
}

impl fmt::Display for Revocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.revoked {
            Revoked::Subject(name) => write!(f, "sub {name:?}"),
            Revoked::Token(name) => write!(f, "jti {name:?}"),
        }
    }
}

impl Revocations {
    /// Revocations that a node remembers.
    pub const MAX: usize = 10_000;

    /// Adds a revocation, and forgets those whose time is over.
    ///
    /// # Errors
    /// The node remembers [`MAX`](Self::MAX) others.
    pub fn add(&self, revocation: &Revocation) -> Result<(), TooManyRevocations> {
        let now = Timestamp::now();
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known.forget(now);
        if revocation.until <= now {
            return Ok(());
        }
        let until = match &revocation.revoked {
            Revoked::Subject(subject) => {
                if known.len() >= Self::MAX && !known.subjects.contains_key(subject) {
                    return Err(TooManyRevocations);
                }
                known.subjects.entry(subject.clone()).or_insert(revocation.until)
            }
            Revoked::Token(id) => {
                let hash = principal::hash(id);
                if known.len() >= Self::MAX && !known.tokens.contains_key(&hash) {
                    return Err(TooManyRevocations);
                }
                let (_, until) =
                    known.tokens.entry(hash).or_insert_with(|| (id.clone(), revocation.until));
                until
            }
        };
        *until = revocation.until.max(*until);
        Ok(())
    }

    /// # Errors
    /// The node remembers [`MAX`](Self::MAX) already.
    pub fn check_room(&self) -> Result<(), TooManyRevocations> {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known.forget(Timestamp::now());
        if known.len() < Self::MAX { Ok(()) } else { Err(TooManyRevocations) }
    }

    /// Those that hold.
    #[must_use]
    pub fn all(&self) -> Vec<Revocation> {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known.forget(Timestamp::now());
        let subjects = known.subjects.iter().map(|(subject, until)| Revocation {
            revoked: Revoked::Subject(subject.clone()),
            until: *until,
        });
        let tokens = known
            .tokens
            .values()
            .map(|(id, until)| Revocation { revoked: Revoked::Token(id.clone()), until: *until });
        subjects.chain(tokens).collect()
    }

    /// The number of revocations that hold.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Returns true if none holds.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns true if the right of a party was taken back.
    #[must_use]
    pub fn concern(&self, principal: &Principal) -> bool {
        let Some(subject) = principal.subject() else { return false };
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if known.len() == 0 {
            return false;
        }
        let now = Timestamp::now();
        let holds = |until: Option<&Timestamp>| until.is_some_and(|until| *until > now);
        let token = principal.token();
        holds(known.subjects.get(subject))
            || token.is_some_and(|id| holds(known.tokens.get(&id).map(|(_, until)| until)))
    }
}

impl Remembered {
    fn len(&self) -> usize {
        self.subjects.len() + self.tokens.len()
    }

    fn forget(&mut self, now: Timestamp) {
        self.subjects.retain(|_, until| *until > now);
        self.tokens.retain(|_, (_, until)| *until > now);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn revocation(subject: Option<&str>, token: Option<&str>, seconds: u64) -> Revocation {
        let until = Timestamp::now().later(Duration::from_secs(seconds));
        let text = |text: &str| text.to_owned();
        Revocation::new(subject.map(text), token.map(text), until).unwrap()
    }

    #[test]
    fn a_subject_or_a_token_is_revoked_until_its_time() {
        let revocations = Revocations::default();
        let (ann, bob) =
            (Principal::new("ann", Some("a"), None), Principal::new("bob", Some("b"), None));
        assert!(!revocations.concern(&ann));
        revocations.add(&revocation(Some("ann"), None, 100)).unwrap();
        revocations.add(&revocation(None, Some("b"), 100)).unwrap();
        assert!(revocations.concern(&ann) && revocations.concern(&bob));
        assert!(!revocations.concern(&Principal::new("bob", Some("c"), None)));
        assert!(!revocations.concern(&Principal::ANONYMOUS));
        revocations.add(&revocation(Some("eve"), None, 0)).unwrap();
        assert!(!revocations.concern(&Principal::new("eve", None, None)));
        assert_eq!(revocations.len(), 2);
    }

    #[test]
    fn a_later_time_extends_and_an_earlier_one_does_not_shorten() {
        let revocations = Revocations::default();
        revocations.add(&revocation(Some("ann"), None, 100)).unwrap();
        revocations.add(&revocation(Some("ann"), None, 0)).unwrap();
        assert!(revocations.concern(&Principal::new("ann", None, None)));
        assert_eq!(revocations.len(), 1);
    }

    #[test]
    fn the_number_is_bounded() {
        let revocations = Revocations::default();
        for number in 0..Revocations::MAX {
            revocations.add(&revocation(None, Some(&number.to_string()), 100)).unwrap();
        }
        assert_eq!(revocations.add(&revocation(Some("ann"), None, 100)), Err(TooManyRevocations));
        assert_eq!(revocations.check_room(), Err(TooManyRevocations));
        assert!(revocations.add(&revocation(None, Some("1"), 200)).is_ok(), "it is known");
    }

    #[test]
    fn a_revocation_is_one_line_of_json() {
        let one = revocation(Some("ann"), None, 100);
        let text = one.to_json();
        assert!(text.starts_with(r#"{"sub":"ann","until":"2"#), "{text}");
        assert_eq!(Revocation::from_json(&text).map(|read| read.revoked), Some(one.revoked));
        assert_eq!(Revocation::from_json("{}"), None);
        let two = Revocation::new(Some("a".to_owned()), Some("b".to_owned()), Timestamp::now());
        assert_eq!(two, Err(BadRevocation::One));
        let empty = Revocation::new(Some(String::new()), None, Timestamp::now());
        assert_eq!(empty, Err(BadRevocation::Length(0)));
    }
}

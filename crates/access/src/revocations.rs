//! Rights that were taken back before their time.

use std::collections::HashMap;
use std::fmt;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

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
    /// By the hash of an id, which a principal keeps instead of the id.
    tokens: HashMap<u64, Timestamp>,
    /// The time at which those that are over are forgotten again.
    sweep: Option<Timestamp>,
}

/// As many revocations hold as may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{limit} revocations hold at present, and no more may (--history-events / 2, at most {max})", max = Revocations::MAX)]
pub struct TooManyRevocations {
    /// The largest number.
    pub limit: usize,
}

/// The longest name, in bytes.
const NAME_BYTES_MAX: usize = 256;
/// Revocations that a node remembers: twice as many as may hold, because nodes take some at the same time
/// before they hear of each other's.
const REMEMBERED_MAX: usize = 2 * Revocations::MAX;
/// The time between two looks for revocations that are over. Each look goes through all.
const SWEEP_EVERY: Duration = Duration::from_mins(1);

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
    /// Revocations that may hold at a time.
    pub const MAX: usize = 10_000;

    /// Adds a revocation. One that is over changes nothing, and none is shortened.
    ///
    /// # Errors
    /// The node remembers twice [`MAX`](Self::MAX) others.
    pub fn add(&self, revocation: &Revocation) -> Result<(), TooManyRevocations> {
        let now = Timestamp::now();
        let mut known = self.write();
        known.forget(now);
        if revocation.until <= now {
            return Ok(());
        }
        let until = match known.until(&revocation.revoked) {
            Some(until) => until.max(revocation.until),
            None if known.len() < REMEMBERED_MAX => revocation.until,
            None => return Err(TooManyRevocations { limit: REMEMBERED_MAX }),
        };
        known.set(&revocation.revoked, until);
        Ok(())
    }

    /// Checks that one more may hold, if at most `limit` may. One that holds already needs no room.
    ///
    /// # Errors
    /// So many others hold.
    pub fn check_room(&self, revoked: &Revoked, limit: usize) -> Result<(), TooManyRevocations> {
        let (known, now) = (self.read(), Timestamp::now());
        let holds = known.until(revoked).is_some_and(|until| until > now);
        (holds || known.holding(now) < limit).then_some(()).ok_or(TooManyRevocations { limit })
    }

    /// The time until which something is revoked, if it is.
    #[must_use]
    pub fn until(&self, revoked: &Revoked) -> Option<Timestamp> {
        self.read().until(revoked).filter(|until| *until > Timestamp::now())
    }

    /// The number of revocations that hold.
    #[must_use]
    pub fn len(&self) -> usize {
        self.read().holding(Timestamp::now())
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
        let known = self.read();
        if known.len() == 0 {
            return false;
        }
        let now = Timestamp::now();
        let holds = |until: Option<&Timestamp>| until.is_some_and(|until| *until > now);
        let token = principal.token();
        holds(known.subjects.get(subject)) || token.is_some_and(|id| holds(known.tokens.get(&id)))
    }

    fn read(&self) -> RwLockReadGuard<'_, Remembered> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Remembered> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Remembered {
    fn len(&self) -> usize {
        self.subjects.len() + self.tokens.len()
    }

    fn holding(&self, now: Timestamp) -> usize {
        let all = self.subjects.values().chain(self.tokens.values());
        all.filter(|until| **until > now).count()
    }

    fn until(&self, revoked: &Revoked) -> Option<Timestamp> {
        let until = match revoked {
            Revoked::Subject(subject) => self.subjects.get(subject),
            Revoked::Token(id) => self.tokens.get(&principal::hash(id)),
        };
        until.copied()
    }

    fn set(&mut self, revoked: &Revoked, until: Timestamp) {
        match revoked {
            Revoked::Subject(subject) => self.subjects.insert(subject.clone(), until),
            Revoked::Token(id) => self.tokens.insert(principal::hash(id), until),
        };
    }

    /// Forgets those that are over, now and then, and always if there may be no room.
    fn forget(&mut self, now: Timestamp) {
        if self.len() < REMEMBERED_MAX && self.sweep.is_some_and(|sweep| now < sweep) {
            return;
        }
        self.sweep = Some(now.later(SWEEP_EVERY));
        self.subjects.retain(|_, until| *until > now);
        self.tokens.retain(|_, until| *until > now);
    }
}

#[cfg(test)]
mod tests {
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
    fn as_many_hold_as_may_and_a_node_remembers_those_that_came_meanwhile() {
        let revocations = Revocations::default();
        let token = |number: usize| revocation(None, Some(&number.to_string()), 100);
        for number in 0..3 {
            let one = token(number);
            assert_eq!(revocations.check_room(&one.revoked, 3), Ok(()));
            revocations.add(&one).unwrap();
        }
        let ann = revocation(Some("ann"), None, 100);
        let full = revocations.check_room(&ann.revoked, 3);
        assert_eq!(full, Err(TooManyRevocations { limit: 3 }));
        assert!(full.unwrap_err().to_string().starts_with("3 revocations hold"));
        assert_eq!(revocations.check_room(&token(1).revoked, 3), Ok(()), "it holds already");

        for number in 3..REMEMBERED_MAX {
            revocations.add(&token(number)).unwrap();
        }
        assert_eq!(revocations.add(&ann), Err(TooManyRevocations { limit: REMEMBERED_MAX }));
        assert_eq!(revocations.add(&revocation(None, Some("1"), 200)), Ok(()), "it is known");
        assert_eq!(revocations.len(), REMEMBERED_MAX);
    }

    #[test]
    fn those_that_are_over_make_room_and_do_not_count() {
        let revocations = Revocations::default();
        let soon = Timestamp::now().later(Duration::from_millis(30));
        for number in 0..REMEMBERED_MAX {
            let brief = Revocation::new(None, Some(number.to_string()), soon).unwrap();
            revocations.add(&brief).unwrap();
        }
        while Timestamp::now() <= soon {
            std::thread::sleep(Duration::from_millis(5));
        }
        let ann = revocation(Some("ann"), None, 100);
        assert_eq!(revocations.len(), 0);
        assert_eq!(revocations.check_room(&ann.revoked, 1), Ok(()));
        assert_eq!(revocations.add(&ann), Ok(()));
        assert_eq!(revocations.until(&ann.revoked), Some(ann.until));
        assert_eq!(revocations.until(&Revoked::Token("1".into())), None);
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

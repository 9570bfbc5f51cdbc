//! The party behind a request, and the time until which its right lasts.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};

use crate::Timestamp;

/// The party behind a request. Small, because every subscription keeps one; cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Principal(Option<Arc<Party>>);

#[derive(Debug, PartialEq, Eq)]
struct Party {
    subject: Box<str>,
    /// The beginning of the SHA-256 of its name.
    subject_hash: u64,
    /// The token's id, as a hash: it is only compared. Zero if it has none.
    token: u64,
    /// The time at which the right ends; the largest time if it does not.
    deadline: Timestamp,
}

/// A deadline that does not come.
const NEVER: Timestamp = Timestamp::from_millis(u64::MAX);

/// Hashes the ids of tokens, with keys that nobody outside this process knows.
static HASHES: LazyLock<RandomState> = LazyLock::new(RandomState::new);

impl Principal {
    /// The party that brought no credentials.
    pub const ANONYMOUS: Self = Self(None);

    /// A party with a name, the id of its token, and the time at which its right ends.
    #[must_use]
    pub fn new(subject: &str, token: Option<&str>, deadline: Option<Timestamp>) -> Self {
        let party = Party {
            subject: subject.into(),
            subject_hash: short_hash(subject),
            token: token.map_or(0, hash),
            deadline: deadline.unwrap_or(NEVER),
        };
        Self(Some(Arc::new(party)))
    }

    /// The name; `None` for a party that brought no credentials.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.0.as_deref().map(|known| &*known.subject)
    }

    /// A number for the name, the same on all nodes, by which quotas count; `None` for a party that brought
    /// no credentials.
    #[must_use]
    pub fn subject_hash(&self) -> Option<u64> {
        self.0.as_deref().map(|known| known.subject_hash)
    }

    /// The time at which the right ends; `None` if it does not.
    #[must_use]
    pub fn deadline(&self) -> Option<Timestamp> {
        self.0.as_deref().map(|known| known.deadline).filter(|deadline| *deadline != NEVER)
    }

    /// The time until the right ends; `None` if it does not.
    #[must_use]
    pub fn left(&self) -> Option<Duration> {
        self.deadline().map(|deadline| deadline.after(Timestamp::now()))
    }

    /// Returns true if the right has ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.left().is_some_and(|left| left.is_zero())
    }

    /// The hash of the token's id, if the token has one.
    pub(crate) fn token(&self) -> Option<u64> {
        self.0.as_deref().map(|known| known.token).filter(|hash| *hash != 0)
    }
}

/// The hash of a token's id. Never zero.
pub(crate) fn hash(id: &str) -> u64 {
    HASHES.hash_one(id).max(1)
}

/// The hash by which logs name a subject: the beginning of its SHA-256, in hexadecimal.
#[must_use]
pub fn hash_of_subject(subject: &str) -> String {
    let hash = digest(&SHA256, subject.as_bytes());
    hash.as_ref().iter().take(HASH_BYTES).map(|byte| format!("{byte:02x}")).collect()
}

/// The first eight bytes of the SHA-256 of a name. Nobody can choose a name for one.
fn short_hash(subject: &str) -> u64 {
    let hash = digest(&SHA256, subject.as_bytes());
    hash.as_ref().iter().take(HASH_BYTES).fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

/// Bytes of a subject's hash in a log: enough that no two subjects of a service share one.
const HASH_BYTES: usize = 8;

//! The parties that have a name.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};
use std::num::NonZeroU64;

/// Identifies a subject on all nodes, by a hash of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubjectId(NonZeroU64);

impl SubjectId {
    /// The subject whose name has this hash. All nodes must use the same one, and nobody may be able to choose
    /// a name for a hash.
    #[must_use]
    pub const fn new(hash: u64) -> Self {
        match NonZeroU64::new(hash) {
            Some(hash) => Self(hash),
            None => Self(NonZeroU64::MAX),
        }
    }

    /// The hash.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0.get()
    }
}

/// A map from subjects.
pub(crate) type SubjectMap<T> = HashMap<SubjectId, T, BuildHasherDefault<SubjectHasher>>;
/// A set of subjects.
pub(crate) type SubjectSet = HashSet<SubjectId, BuildHasherDefault<SubjectHasher>>;

/// Hashes a subject by its id, which is a hash already that nobody can choose.
#[derive(Debug, Default)]
pub(crate) struct SubjectHasher(u64);

impl Hasher for SubjectHasher {
    fn write_u64(&mut self, id: u64) {
        self.0 = id;
    }

    fn write(&mut self, bytes: &[u8]) {
        unreachable!("an id is one number, and not {} bytes", bytes.len());
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

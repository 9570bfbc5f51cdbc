//! The parties that have a name.

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

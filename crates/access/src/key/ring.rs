//! The keys of one source at one time.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};

use super::Key;

/// Keys that may be replaced as a whole.
#[derive(Debug, Default)]
pub struct KeyRing(RwLock<Loaded>);

/// The keys that a ring has now.
#[derive(Debug, Clone, Default)]
pub(crate) struct Loaded {
    /// The keys, in their order.
    pub(crate) keys: Arc<[Key]>,
    /// Another number for each load of this process.
    pub(crate) generation: u64,
}

impl KeyRing {
    /// A ring with these keys.
    #[must_use]
    pub fn new(keys: Vec<Key>) -> Self {
        let ring = Self::default();
        ring.replace(keys);
        ring
    }

    /// Replaces all keys. Tokens that the old ones have verified are verified again.
    pub fn replace(&self, keys: Vec<Key>) {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let loaded = Loaded { keys: keys.into(), generation: NEXT.fetch_add(1, Relaxed) };
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = loaded;
    }

    /// The keys at present.
    #[must_use]
    pub(crate) fn get(&self) -> Loaded {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

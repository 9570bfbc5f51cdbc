//! The grants of tokens that were verified a moment ago.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};

use crate::Grant;

/// The grants by the hash of the whole token.
#[derive(Debug, Default)]
pub(super) struct Verified(Mutex<Ages>);

#[derive(Debug, Default)]
struct Ages {
    /// The keys that have verified all of them.
    generation: u64,
    young: HashMap<Name, Arc<Grant>>,
    /// Those that have not been asked for since the last turn.
    old: HashMap<Name, Arc<Grant>>,
}

/// The hash of a token.
pub(super) type Name = [u8; 32];

/// Tokens of one age. There are two: a token is forgotten when so many others have come after its last use.
const AGE: usize = 1024;

/// The name of a token.
pub(super) fn name(token: &str) -> Name {
    let hash = digest(&SHA256, token.as_bytes());
    hash.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

impl Verified {
    /// The grant of a token that these keys have verified and that is not over.
    pub(super) fn get(&self, name: &Name, generation: u64) -> Option<Arc<Grant>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.generation != generation {
            return None;
        }
        let grant = match all.young.get(name) {
            Some(grant) => Arc::clone(grant),
            None => {
                let grant = all.old.remove(name)?;
                all.keep(*name, Arc::clone(&grant));
                grant
            }
        };
        (!grant.principal().is_over()).then_some(grant)
    }

    /// Remembers the grant of a token.
    pub(super) fn put(&self, name: Name, grant: Arc<Grant>, generation: u64) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.generation != generation {
            *all = Ages { generation, ..Ages::default() };
        }
        all.keep(name, grant);
    }
}

impl Ages {
    fn keep(&mut self, name: Name, grant: Arc<Grant>) {
        if self.young.len() >= AGE {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(name, grant);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(cache: &Verified, text: &str) -> bool {
        cache.get(&name(text), 1).is_some()
    }

    #[test]
    fn the_last_tokens_are_remembered_until_the_keys_change() {
        let (cache, grant) = (Verified::default(), Arc::new(Grant::everything()));
        let put = |text: &str| cache.put(name(text), Arc::clone(&grant), 1);
        put("first");
        for number in 0..AGE {
            put(&number.to_string());
        }
        assert!(known(&cache, "first"), "two ages are kept");
        for number in 0..2 * AGE {
            put(&format!("more {number}"));
        }
        assert!(!known(&cache, "first"));
        assert!(known(&cache, &format!("more {}", 2 * AGE - 1)));
        cache.put(name("new"), grant, 2);
        assert!(!known(&cache, &format!("more {}", 2 * AGE - 1)));
    }
}

//! The grants of tokens that were verified a moment ago.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};

use crate::claims::LEFT_MIN;
use crate::{Grant, Rights};

/// The grants by the hash of the whole token.
#[derive(Debug, Default)]
pub(super) struct Verified(Mutex<Ages>);

#[derive(Debug, Default)]
struct Ages {
    /// The keys that have verified all of them.
    generation: u64,
    young: Age,
    /// Those that have not been asked for since the last turn.
    old: Age,
}

/// Grants of one age.
#[derive(Debug, Default)]
struct Age {
    grants: HashMap<Name, Arc<Grant>>,
    /// About the bytes that they take.
    bytes: usize,
}

/// The hash of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Name([u8; 32]);

/// A part of it tells its place in a map.
impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.first_chunk::<8>().hash(state);
    }
}

/// Tokens of one age. There are two: a token is forgotten when so many others have come after its last use.
/// Few, because a subscriber comes once in half an hour: those that come again at once are publishers, with a
/// request for each event, and long-polls.
const AGE: usize = 256;
/// Bytes of one age: more than so many ordinary grants. Both ages take at most twice as much.
const AGE_BYTES: usize = 256 * 1024;
/// Bytes of a grant beside its texts: the record, its place in the map, and what an allocator adds.
const GRANT_BYTES: usize = size_of::<Grant>() + 160;
/// Bytes of a pattern beside its text.
const PATTERN_BYTES: usize = 32;

/// The name of a token.
pub(super) fn name(token: &str) -> Name {
    let hash = digest(&SHA256, token.as_bytes());
    Name(hash.as_ref().try_into().expect("SHA-256 has 32 bytes"))
}

impl Verified {
    /// The grant of a token that these keys have verified, if it lasts long enough to let anybody in.
    pub(super) fn get(&self, name: &Name, generation: u64) -> Option<Arc<Grant>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.generation != generation {
            return None;
        }
        let grant = match all.young.grants.get(name) {
            Some(grant) => Arc::clone(grant),
            None => {
                let grant = all.old.grants.remove(name)?;
                all.keep(*name, Arc::clone(&grant));
                grant
            }
        };
        let left = grant.principal().left();
        left.is_none_or(|left| left >= LEFT_MIN).then_some(grant)
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
        let bytes = bytes(&grant);
        if self.young.grants.len() >= AGE || self.young.bytes + bytes > AGE_BYTES {
            // The maps keep their room.
            std::mem::swap(&mut self.old, &mut self.young);
            self.young.grants.clear();
            self.young.bytes = 0;
        }
        if self.young.grants.insert(name, grant).is_none() {
            self.young.bytes += bytes;
        }
    }
}

/// About the bytes that a grant takes.
fn bytes(grant: &Grant) -> usize {
    let Rights { subscribe, publish, end, presence } = &grant.rights;
    let patterns = subscribe.iter().chain(publish.iter()).chain(end.iter()).chain(presence.iter());
    let patterns: usize = patterns.map(|one| one.as_str().len() + PATTERN_BYTES).sum();
    let (key, token, member) = (&grant.key, &grant.token, &grant.member);
    let texts = [grant.principal.subject(), key.as_deref(), token.as_deref(), member.as_deref()];
    let texts: usize = texts.into_iter().flatten().map(str::len).sum();
    GRANT_BYTES + patterns + texts
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
        // Fewer than an age has, by count and by bytes.
        for number in 0..200 {
            put(&number.to_string());
        }
        assert!(known(&cache, "first"));
        for number in 0..2 * AGE {
            put(&format!("more {number}"));
        }
        assert!(!known(&cache, "first"));
        assert!(known(&cache, &format!("more {}", 2 * AGE - 1)));
        cache.put(name("new"), grant, 2);
        assert!(!known(&cache, &format!("more {}", 2 * AGE - 1)));
    }

    #[test]
    fn large_grants_take_no_more_than_two_ages_of_bytes() {
        let cache = Verified::default();
        let pattern = format!("a/{}", "b".repeat(150));
        let subscribe = crate::Patterns::new([pattern.as_str(); 64]).unwrap();
        let rights = Rights { subscribe, ..Rights::default() };
        let grant = Arc::new(Grant { rights, ..Grant::everything() });
        for number in 0..AGE {
            cache.put(name(&number.to_string()), Arc::clone(&grant), 1);
        }
        let all = cache.0.lock().unwrap();
        let kept = all.young.grants.len() + all.old.grants.len();
        assert!(kept > 20 && kept * bytes(&grant) <= 2 * AGE_BYTES, "{kept}");
    }
}

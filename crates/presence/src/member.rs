//! A member of a topic.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};

/// The identity of a member: two connections with the same identity are one member.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId([u8; ID_BYTES]);

/// A member of a topic, as others see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its identity.
    pub id: MemberId,
    /// The time at which it joined, in milliseconds since 1970, by the clock of the store.
    pub since: u64,
    /// Its description: one line of text.
    pub info: Arc<str>,
}

/// A text that is no identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no member: an identity has 32 hexadecimal digits")]
pub struct BadMemberId(String);

/// Bytes of an identity: enough that nobody finds two names with the same.
const ID_BYTES: usize = 16;

impl MemberId {
    /// The identity of a name that has several parts: the beginning of the SHA-256 of all of them.
    #[must_use]
    pub fn of(parts: &[&str]) -> Self {
        let mut name = Vec::new();
        for part in parts {
            // The length first, so that no two lists of parts are the same bytes.
            name.extend_from_slice(&(part.len() as u64).to_be_bytes());
            name.extend_from_slice(part.as_bytes());
        }
        let hash = digest(&SHA256, &name);
        let mut id = [0; ID_BYTES];
        id.copy_from_slice(&hash.as_ref()[..ID_BYTES]);
        Self(id)
    }
}

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for MemberId {
    type Err = BadMemberId;

    fn from_str(text: &str) -> Result<Self, BadMemberId> {
        let bad = || BadMemberId(text.chars().take(2 * ID_BYTES + 1).collect());
        let digits = text.as_bytes();
        if digits.len() != 2 * ID_BYTES || !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(bad());
        }
        let number = u128::from_str_radix(text, 16).map_err(|_| bad())?;
        Ok(Self(number.to_be_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_of_all_parts_in_their_order_and_survives_its_text() {
        let id = MemberId::of(&["ann", "tab 1"]);
        assert_ne!(id, MemberId::of(&["ann", "tab 2"]));
        assert_ne!(id, MemberId::of(&["anntab 1", ""]));
        assert_ne!(id, MemberId::of(&["tab 1", "ann"]));
        assert_eq!(id.to_string().parse::<MemberId>().unwrap(), id);
        for bad in ["", "12", &"x".repeat(32), &"+".repeat(32), &"1".repeat(33)] {
            assert!(bad.parse::<MemberId>().is_err(), "{bad}");
        }
    }
}

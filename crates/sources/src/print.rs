//! Short prints of events and keys, by which they are known when they come again.

use std::collections::VecDeque;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha1_smol::Sha1;

/// The first 48 bits of a SHA-1. Two different texts have the same one in one of 2^48 comparisons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Print([u8; 6]);

/// Prints as one text, of 8 characters each.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", from = "String")]
pub(crate) struct Prints(VecDeque<Print>);

impl Print {
    /// The print of several texts.
    pub(crate) fn of(parts: &[&str]) -> Self {
        let mut hash = Sha1::new();
        for part in parts {
            hash.update(&(part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        let bytes = hash.digest().bytes();
        Self(*bytes.first_chunk().expect("a digest of SHA-1 has 20 bytes"))
    }
}

impl Prints {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn len(&self) -> u64 {
        self.0.len() as u64
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Print> {
        self.0.iter().copied()
    }

    /// Adds a print, and keeps so many of the last ones.
    pub(crate) fn add(&mut self, print: Print, kept: u64) {
        self.0.push_back(print);
        while self.len() > kept {
            self.0.pop_front();
        }
    }
}

impl FromIterator<Print> for Prints {
    fn from_iter<I: IntoIterator<Item = Print>>(prints: I) -> Self {
        Self(prints.into_iter().collect())
    }
}

impl From<Prints> for String {
    fn from(prints: Prints) -> Self {
        let bytes: Vec<u8> = prints.0.into_iter().flat_map(|print| print.0).collect();
        URL_SAFE_NO_PAD.encode(bytes)
    }
}

impl From<String> for Prints {
    /// A text that holds no prints is empty.
    fn from(text: String) -> Self {
        let bytes = URL_SAFE_NO_PAD.decode(text).unwrap_or_default();
        bytes.as_chunks().0.iter().copied().map(Print).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_come_back_as_they_were() {
        let mut prints = Prints::default();
        for n in 0..5 {
            prints.add(Print::of(&["id", &n.to_string()]), 3);
        }
        let text = String::from(prints.clone());
        assert_eq!((text.len(), prints.iter().count()), (24, 3));
        assert_eq!(Prints::from(text), prints);
        assert!(Prints::from("no prints".to_owned()).is_empty());
        assert_ne!(Print::of(&["a", "b"]), Print::of(&["ab", ""]));
    }
}

//! Events that must not happen and have no counter, such as an unknown control event.

use std::collections::BTreeMap;

/// The number of different messages that are kept; the rest is only counted.
const KEPT: usize = 10;

/// Messages, the same ones counted together.
#[derive(Debug, Default, serde::Serialize)]
#[serde(transparent)]
pub struct Oddities(BTreeMap<String, u64>);

impl Oddities {
    /// Notes one.
    pub fn note(&mut self, mut what: String) {
        if self.0.len() >= KEPT && !self.0.contains_key(&what) {
            "others".clone_into(&mut what);
        }
        *self.0.entry(what).or_default() += 1;
    }

    /// The number of all messages.
    pub fn count(&self) -> u64 {
        self.0.values().sum()
    }

    /// All of them in words.
    pub fn in_words(&self) -> Vec<String> {
        let words = |(what, count): (&String, &u64)| format!("{count} x {what}");
        self.0.iter().map(words).collect()
    }
}

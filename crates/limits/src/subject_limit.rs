//! A bound of each subject, which its credentials may lower.

use metrics::{Counters, Registry};

use crate::{Full, Part};

/// A bound of each subject, and the count of its refusals.
#[derive(Debug)]
pub struct SubjectLimit {
    terms: SubjectTerms,
    max: u64,
    refused: Counters<Part>,
}

/// The words for a bound of each subject.
#[derive(Debug, Clone, Copy)]
pub struct SubjectTerms {
    /// Its name in metrics, as `subject_streams`.
    pub name: &'static str,
    /// The things that are bounded, as `streams`.
    pub things: &'static str,
    /// The flag that sets it.
    pub flag: &'static str,
    /// The claim that lowers it, for a message.
    pub claim: &'static str,
}

impl SubjectLimit {
    /// A bound of `max` for each subject whose credentials set no lower one.
    ///
    /// # Panics
    /// The registry has a bound of this name.
    #[must_use]
    pub fn new(terms: SubjectTerms, max: u64, registry: &Registry) -> Self {
        let refused = registry.counters_within(
            "limit_refusals_total",
            "Requests and connections that a limit refused, by the part that was full.",
            ("limit", terms.name),
        );
        Self { terms, max, refused }
    }

    /// The bound of a subject whose credentials claim one.
    #[must_use]
    pub fn max(&self, claimed: Option<u64>) -> u64 {
        claimed.unwrap_or(self.max).min(self.max)
    }

    /// Counts a refusal, and returns its error.
    pub fn refuse(&self, claimed: Option<u64>) -> Full {
        self.refused.of(Part::Subject).inc();
        let flag = match claimed {
            Some(claimed) if claimed <= self.max => self.terms.claim,
            _ => self.terms.flag,
        };
        let max = self.max(claimed);
        Full { things: self.terms.things, flag, part: Part::Subject, max }
    }
}

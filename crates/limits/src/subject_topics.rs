//! The topics that each subject's streams watch at once on one node.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metrics::Registry;

use crate::{Full, SubjectId, SubjectLimit, SubjectTerms};

/// The topics of each subject. A topic that two streams watch counts twice.
#[derive(Debug)]
pub struct SubjectTopics {
    limit: SubjectLimit,
    /// A subject that is not here watches none.
    watched: Mutex<HashMap<SubjectId, u64>>,
}

/// The topics of one stream. Dropping it gives them back.
#[derive(Debug)]
pub struct WatchedTopics {
    topics: Arc<SubjectTopics>,
    subject: SubjectId,
    count: u32,
}

const TERMS: SubjectTerms = SubjectTerms {
    name: "subject_topics",
    things: "topics watched",
    flag: "--subject-topics",
    claim: "the claim quotas.topics",
};

impl SubjectTopics {
    /// Counts the topics of subjects, at most `max` each.
    ///
    /// # Panics
    /// The registry has these metrics.
    #[must_use]
    pub fn new(max: u32, registry: &Registry) -> Arc<Self> {
        let limit = SubjectLimit::new(TERMS, u64::from(max), registry);
        Arc::new(Self { limit, watched: Mutex::default() })
    }

    /// Counts `count` topics of a subject; its credentials may set a lower bound.
    ///
    /// # Errors
    /// The subject would watch more than it may.
    pub fn watch(
        self: &Arc<Self>,
        subject: SubjectId,
        count: u32,
        claimed: Option<u32>,
    ) -> Result<WatchedTopics, Full> {
        let claimed = claimed.map(u64::from);
        let mut watched = self.watched();
        let sum = watched.get(&subject).copied().unwrap_or(0) + u64::from(count);
        if sum > self.limit.max(claimed) {
            return Err(self.limit.refuse(claimed));
        }
        watched.insert(subject, sum);
        Ok(WatchedTopics { topics: Arc::clone(self), subject, count })
    }

    fn watched(&self) -> MutexGuard<'_, HashMap<SubjectId, u64>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for WatchedTopics {
    fn drop(&mut self) {
        let mut watched = self.topics.watched();
        let before = watched.get(&self.subject).copied().unwrap_or(0);
        match before.saturating_sub(u64::from(self.count)) {
            0 => watched.remove(&self.subject),
            left => watched.insert(self.subject, left),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: SubjectId = SubjectId::new(1);
    const BOB: SubjectId = SubjectId::new(2);

    #[test]
    fn a_subject_watches_so_many_topics_over_all_its_streams() {
        let topics = SubjectTopics::new(10, &Registry::new());
        let first = topics.watch(ANN, 6, None).unwrap();
        let full = topics.watch(ANN, 5, None).unwrap_err().to_string();
        assert_eq!(
            full,
            "too many topics watched for one subject; the limit is 10 (--subject-topics)"
        );
        let _second = topics.watch(ANN, 4, None).unwrap();
        let _other = topics.watch(BOB, 10, None).unwrap();
        drop(first);
        let full = topics.watch(ANN, 5, Some(8)).unwrap_err().to_string();
        assert!(full.contains("the limit is 8 (the claim quotas.topics)"), "{full}");
        assert!(topics.watch(ANN, 5, Some(100)).is_ok());
    }

    #[test]
    fn nothing_is_kept_of_a_subject_that_watches_nothing() {
        let topics = SubjectTopics::new(10, &Registry::new());
        drop(topics.watch(ANN, 3, None).unwrap());
        assert!(topics.watch(ANN, 1, Some(0)).is_err(), "zero allows none");
        assert!(topics.watched().is_empty());
    }
}

//! Bounds the events and the bytes that one subject publishes in a second on this node.
//!
//! Tokens are taken before an append. An event that the log then refuses, and one that it already has, keep
//! theirs: they cost as much work as any other.

use access::Grant;
use limits::{Rate, SubjectId, SubjectLimit, SubjectRates, SubjectTerms};
use metrics::Registry;

use crate::Config;
use crate::error::{Code, Error};

/// The rates of each subject.
#[derive(Debug)]
pub(crate) struct PublishRate {
    events: Bounded,
    bytes: Bounded,
}

/// The rate of one kind of thing.
#[derive(Debug)]
struct Bounded {
    limit: SubjectLimit,
    rates: SubjectRates,
}

/// Seconds whose events may come at once, so that a pause of a publisher costs nothing.
const BURST_SECONDS: f64 = 10.0;
const EVENTS: SubjectTerms = SubjectTerms {
    name: "subject_publish_rate",
    things: "events a second",
    flag: "--subject-publish-rate",
    claim: "the claim quotas.publish_rate",
};
const BYTES: SubjectTerms = SubjectTerms {
    name: "subject_publish_bytes",
    things: "bytes of events a second",
    flag: "--subject-publish-bytes",
    claim: "the claim quotas.publish_bytes",
};

impl PublishRate {
    pub(crate) fn new(config: &Config, registry: &Registry) -> Self {
        let bounded = |terms, max| Bounded {
            limit: SubjectLimit::new(terms, max, registry),
            rates: SubjectRates::default(),
        };
        Self {
            events: bounded(EVENTS, u64::from(config.subject_publish_rate)),
            bytes: bounded(BYTES, config.subject_publish_bytes),
        }
    }

    /// Takes the tokens of one event with `bytes` of data. A party without a name needs none.
    ///
    /// # Errors
    /// The subject has published as much as it may.
    pub(crate) fn take(&self, grant: &Grant, bytes: usize) -> Result<(), Error> {
        let Some(hash) = grant.principal().subject_hash() else { return Ok(()) };
        let (subject, quotas) = (SubjectId::new(hash), grant.quotas());
        let claimed = quotas.publish_rate.map(u64::from);
        self.events.take(subject, claimed, 1)?;
        self.bytes
            .take(subject, quotas.publish_bytes, bytes as u64)
            .inspect_err(|_| self.events.give_back(subject, claimed, 1))
    }
}

impl Bounded {
    fn take(&self, subject: SubjectId, claimed: Option<u64>, count: u64) -> Result<(), Error> {
        let has_some = self.rates.take(subject, self.rate(claimed), count);
        let full = || Error::full(Code::Quota, self.limit.refuse(claimed));
        has_some.then_some(()).ok_or_else(full)
    }

    fn give_back(&self, subject: SubjectId, claimed: Option<u64>, count: u64) {
        self.rates.give_back(subject, self.rate(claimed), count);
    }

    fn rate(&self, claimed: Option<u64>) -> Rate {
        #[expect(clippy::cast_precision_loss, reason = "a rate need not be exact")]
        let per_second = self.limit.max(claimed) as f64;
        Rate { per_second, burst: per_second * BURST_SECONDS }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use access::{Access, Machines, Page, Rights, Settings, machine_hash};

    use super::*;

    async fn grant(rights: &str) -> Arc<Grant> {
        let everybody = Arc::new(Rights::default());
        let line = format!("{} ann {rights}\n", machine_hash("token-of-ann"));
        let machines = Machines::parse(&line, &everybody).unwrap();
        let settings = Settings { machines, everybody, ..Settings::default() };
        let access = Access::closed(settings, &Registry::new());
        let brought = access.credentials(Some(b"Bearer token-of-ann"), &[], None, Page::Foreign);
        access.admit(&brought).await.unwrap()
    }

    fn publish_rate(events: u32, bytes: u64) -> PublishRate {
        let config = Config {
            subject_publish_rate: events,
            subject_publish_bytes: bytes,
            ..Config::default()
        };
        PublishRate::new(&config, &Registry::new())
    }

    fn taken(rate: &PublishRate, grant: &Grant, bytes: usize) -> (usize, String) {
        let mut count = 0;
        loop {
            match rate.take(grant, bytes) {
                Ok(()) => count += 1,
                Err(error) => return (count, error.to_string()),
            }
            assert!(count <= 10_000, "it is bounded");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_subject_gets_its_rate_and_ten_seconds_of_it_at_once() {
        let (rate, ann) = (publish_rate(3, 1 << 20), grant("{}").await);
        let (count, error) = taken(&rate, &ann, 1);
        assert_eq!(count, 30);
        assert_eq!(
            error,
            "too many events a second for one subject; the limit is 3 (--subject-publish-rate)"
        );
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(taken(&rate, &ann, 1).0, 6);
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_have_a_rate_too_and_an_event_that_they_refuse_uses_no_event() {
        let (rate, ann) = (publish_rate(2, 100), grant("{}").await);
        // Larger than all that is ever there: it is let in once, and paid for afterwards.
        let (count, error) = taken(&rate, &ann, 1500);
        assert_eq!(count, 1);
        assert!(error.contains("bytes of events") && error.contains("100"), "{error}");
        assert!(error.contains("--subject-publish-bytes"), "{error}");
        tokio::time::advance(Duration::from_secs(6)).await;
        let (count, error) = taken(&rate, &ann, 0);
        assert_eq!(count, 20, "all events are there");
        assert!(error.contains("--subject-publish-rate"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_claim_lowers_a_rate_and_never_raises_it() {
        let low = grant(r#"{"quotas":{"publish_rate":1}}"#).await;
        let (count, error) = taken(&publish_rate(3, 1 << 20), &low, 1);
        assert_eq!(count, 10);
        assert!(error.contains("the limit is 1 (the claim quotas.publish_rate)"), "{error}");
        let high = grant(r#"{"quotas":{"publish_rate":1000,"publish_bytes":0}}"#).await;
        let (count, error) = taken(&publish_rate(3, 1 << 20), &high, 1);
        assert_eq!(count, 0);
        assert!(error.contains("the limit is 0 (the claim quotas.publish_bytes)"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_party_without_a_name_needs_no_tokens() {
        let (rate, nobody) = (publish_rate(1, 1), Grant::everything());
        for _ in 0..100 {
            rate.take(&nobody, 1000).unwrap();
        }
    }
}

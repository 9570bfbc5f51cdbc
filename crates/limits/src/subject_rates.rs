//! Rates of subjects on one node.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::bucket::Bucket;
use crate::{Rate, SubjectId};

/// A token bucket for each subject. The rate comes with each request, because credentials may lower it.
#[derive(Debug, Default)]
pub struct SubjectRates(Mutex<Subjects>);

#[derive(Debug, Default)]
struct Subjects {
    /// A subject that is not here has a full bucket. `None` is all subjects beyond [`SUBJECTS_MAX`] together.
    buckets: HashMap<Option<SubjectId>, RatedBucket>,
    /// The time at which full buckets were last dropped.
    swept: Option<Instant>,
}

#[derive(Debug)]
struct RatedBucket {
    bucket: Bucket,
    /// The rate of its last request.
    rate: Rate,
}

/// Subjects that have a bucket of their own at a time, about 5 MB. Those beyond share one.
const SUBJECTS_MAX: usize = 65_536;
/// The number of subjects below which nothing is dropped.
const SWEEP_MIN: usize = 1024;
/// The least time between two sweeps, each of which looks at all subjects.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

impl SubjectRates {
    /// Takes `count` tokens if any is there; the subject may be in debt afterwards, so that a thing that is
    /// larger than the burst is not refused for ever. Returns false if none is there.
    pub fn take(&self, subject: SubjectId, rate: Rate, count: u64) -> bool {
        let now = Instant::now();
        let mut subjects = self.subjects();
        let bucket = subjects.bucket(subject, rate, now);
        let has_some = bucket.tokens(rate, now) > 0.0;
        if has_some {
            bucket.spend(tokens(count));
        }
        has_some
    }

    /// Takes up to `most` whole tokens, and returns their number.
    pub fn take_up_to(&self, subject: SubjectId, rate: Rate, most: u32) -> u32 {
        let now = Instant::now();
        let mut subjects = self.subjects();
        let bucket = subjects.bucket(subject, rate, now);
        let least = bucket.tokens(rate, now).clamp(0.0, f64::from(most)).floor();
        bucket.spend(least);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to `most`")]
        let taken = least as u32;
        taken
    }

    /// Gives tokens back that were not needed.
    pub fn give_back(&self, subject: SubjectId, rate: Rate, count: u64) {
        if count > 0 {
            self.subjects().bucket(subject, rate, Instant::now()).spend(-tokens(count));
        }
    }

    /// Takes tokens, even such as are not there, and returns the time after which the subject is not in debt.
    pub fn spend(&self, subject: SubjectId, rate: Rate, count: u64) -> Duration {
        let now = Instant::now();
        let mut subjects = self.subjects();
        let bucket = subjects.bucket(subject, rate, now);
        let left = bucket.tokens(rate, now) - tokens(count);
        bucket.spend(tokens(count));
        Duration::try_from_secs_f64((-left / rate.per_second).max(0.0)).unwrap_or(Duration::MAX)
    }

    fn subjects(&self) -> MutexGuard<'_, Subjects> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate need not be exact")]
fn tokens(count: u64) -> f64 {
    count as f64
}

impl Subjects {
    fn bucket(&mut self, subject: SubjectId, rate: Rate, now: Instant) -> &mut Bucket {
        self.sweep(now);
        let has_room =
            self.buckets.len() < SUBJECTS_MAX || self.buckets.contains_key(&Some(subject));
        let key = has_room.then_some(subject);
        let new = || RatedBucket { bucket: Bucket::full(rate, now), rate };
        let rated = self.buckets.entry(key).or_insert_with(new);
        rated.rate = rate;
        &mut rated.bucket
    }

    /// Drops full buckets, which are as good as none.
    fn sweep(&mut self, now: Instant) {
        let is_due = self.swept.is_none_or(|last| now - last >= SWEEP_EVERY);
        if is_due && self.buckets.len() >= SWEEP_MIN {
            self.swept = Some(now);
            self.buckets.retain(|_, rated| rated.bucket.tokens(rated.rate, now) < rated.rate.burst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: SubjectId = SubjectId::new(1);
    const BOB: SubjectId = SubjectId::new(2);

    const fn rate(per_second: f64) -> Rate {
        Rate { per_second, burst: per_second * 2.0 }
    }

    async fn pass(seconds: u64) {
        tokio::time::advance(Duration::from_secs(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_debt_is_paid_before_more_is_given_and_costs_no_other_subject() {
        let rates = SubjectRates::default();
        assert!(rates.take(ANN, rate(10.0), 50), "larger than the burst of 20");
        assert!(!rates.take(ANN, rate(10.0), 1));
        assert!(rates.take(BOB, rate(10.0), 1));
        pass(3).await;
        assert!(!rates.take(ANN, rate(10.0), 1), "30 of 30 are paid");
        pass(1).await;
        assert!(rates.take(ANN, rate(10.0), 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lower_rate_counts_from_its_first_request() {
        let rates = SubjectRates::default();
        assert_eq!(rates.take_up_to(ANN, rate(10.0), 5), 5);
        assert_eq!(rates.take_up_to(ANN, rate(2.0), 64), 4);
        rates.give_back(ANN, rate(2.0), 1);
        assert_eq!(rates.take_up_to(ANN, rate(2.0), 64), 1);
        assert_eq!(rates.take_up_to(BOB, rate(0.0), 64), 0);
        assert!(!rates.take(BOB, rate(0.0), 1), "zero allows none");
    }

    #[tokio::test(start_paused = true)]
    async fn the_wait_is_until_the_debt_is_paid() {
        let rates = SubjectRates::default();
        assert_eq!(rates.spend(ANN, rate(100.0), 200), Duration::ZERO);
        assert_eq!(rates.spend(ANN, rate(100.0), 100), Duration::from_secs(1));
        pass(1).await;
        assert_eq!(rates.spend(ANN, rate(100.0), 0), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn subjects_are_bounded_and_full_buckets_are_dropped() {
        let rates = SubjectRates::default();
        for number in 1..100_000 {
            rates.take(SubjectId::new(number), rate(1.0), 1);
        }
        assert!(rates.subjects().buckets.len() <= SUBJECTS_MAX + 1);
        pass(2).await;
        rates.take(ANN, rate(1.0), 1);
        assert_eq!(rates.subjects().buckets.len(), 1);
    }
}

//! The pace of what is repeated: intervals, and pauses between tries.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

/// A growing pause between tries. It is random, so that many nodes do not try at the same time.
#[derive(Debug)]
pub(crate) struct Backoff {
    pause: Duration,
    max: Duration,
}

impl Backoff {
    const MIN: Duration = Duration::from_millis(50);
    const MAX: Duration = Duration::from_secs(2);

    pub(crate) const fn new() -> Self {
        Self::at_most(Self::MAX)
    }

    /// Pauses that do not grow beyond `max`.
    pub(crate) const fn at_most(max: Duration) -> Self {
        Self::between(Self::MIN, max)
    }

    /// Pauses that grow from `min` to `max`.
    pub(crate) const fn between(min: Duration, max: Duration) -> Self {
        Self { pause: min, max }
    }

    /// Returns the next pause.
    pub(crate) fn next(&mut self) -> Duration {
        let pause = self.pause;
        self.pause = (pause * 2).min(self.max);
        pause / 2 + jitter(pause / 2)
    }
}

/// An interval. Tokio refuses a period of zero, which becomes one of a millisecond.
pub(crate) fn every(period: Duration) -> Interval {
    let mut ticks = interval(period.max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Lets one log line through a minute.
#[derive(Debug, Default)]
pub(crate) struct OnceAMinute(Mutex<Option<Instant>>);

impl OnceAMinute {
    /// Returns true if the last line was a minute ago, or there was none.
    pub(crate) fn is_due(&self) -> bool {
        let now = Instant::now();
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = last.is_none_or(|last| now - last >= Duration::from_mins(1));
        if is_due {
            *last = Some(now);
        }
        is_due
    }
}

/// A random duration below `max`.
pub(crate) fn jitter(max: Duration) -> Duration {
    // Each `RandomState` has new keys. They are random enough for a pause.
    let random = RandomState::new().build_hasher().finish() >> 32;
    max.mul_f64(random as f64 / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_line_comes_through_a_minute() {
        let lines = OnceAMinute::default();
        assert!(lines.is_due() && !lines.is_due());
        tokio::time::advance(Duration::from_mins(1)).await;
        assert!(lines.is_due() && !lines.is_due());
    }
}

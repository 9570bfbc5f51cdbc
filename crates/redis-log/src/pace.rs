//! The pace of what is repeated: intervals, and pauses between tries.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};

/// A growing pause between tries. It is random, so that many nodes do not try at the same time.
#[derive(Debug)]
pub(crate) struct Backoff {
    pause: Duration,
}

impl Backoff {
    const MIN: Duration = Duration::from_millis(50);
    const MAX: Duration = Duration::from_secs(2);

    pub(crate) const fn new() -> Self {
        Self { pause: Self::MIN }
    }

    /// Returns the next pause.
    pub(crate) fn next(&mut self) -> Duration {
        let pause = self.pause;
        self.pause = (pause * 2).min(Self::MAX);
        pause / 2 + jitter(pause / 2)
    }
}

/// An interval. Tokio refuses a period of zero, which becomes one of a millisecond.
pub(crate) fn every(period: Duration) -> Interval {
    let mut ticks = interval(period.max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// A random duration below `max`.
pub(crate) fn jitter(max: Duration) -> Duration {
    // Each `RandomState` has new keys. They are random enough for a pause.
    let random = RandomState::new().build_hasher().finish() >> 32;
    max.mul_f64(random as f64 / f64::from(u32::MAX))
}

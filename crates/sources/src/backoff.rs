//! Pauses that grow.

use std::time::Duration;

/// The shortest and the longest pause, each of which is shortened at random by up to a half.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
    most: Duration,
}

const FIRST: Duration = Duration::from_millis(100);

impl Backoff {
    pub(crate) const fn at_most(most: Duration) -> Self {
        Self { next: FIRST, most }
    }

    /// Returns the next pause.
    pub(crate) fn next(&mut self) -> Duration {
        let pause = self.next.mul_f64(0.5 + fastrand::f64() / 2.0);
        self.next = (self.next * 2).min(self.most);
        pause
    }
}

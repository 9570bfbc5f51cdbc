//! Giving connections away before this gateway stops.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::metrics::Close;

/// What this gateway is doing with its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Serving.
    Serving,
    /// Serving still, while load balancers learn that it will not for long.
    Leaving,
    /// Each connection is told to come back elsewhere, at a moment of its own within the window.
    HandingAway { window: Duration },
}

/// When a connection is over, unless its client leaves first.
#[derive(Debug)]
pub(crate) struct Lifetime {
    phase: watch::Receiver<Phase>,
    ends: Instant,
    reason: Close,
}

impl Lifetime {
    /// A lifetime of `max_age`, give or take a fifth, so that connections that came together do not
    /// leave together.
    pub(crate) fn new(phase: watch::Receiver<Phase>, max_age: Duration) -> Self {
        let jitter = 0.8 + 0.4 * fastrand::f64();
        Self { phase, ends: Instant::now() + max_age.mul_f64(jitter), reason: Close::MaxAge }
    }

    /// Waits until it is over. Cancel-safe: what it learns it keeps.
    pub(crate) async fn over(&mut self) -> Close {
        loop {
            // The end that was set first: a drain that begins in the same moment comes too late. Both
            // arms may be dropped: they only wait.
            tokio::select! {
                biased;
                () = sleep_until(self.ends) => return self.reason,
                Ok(phase) = self.phase.wait_for(|p| matches!(p, Phase::HandingAway { .. })),
                    if self.reason != Close::Drain =>
                {
                    if let Phase::HandingAway { window } = *phase {
                        self.ends = self.ends.min(Instant::now() + window.mul_f64(fastrand::f64()));
                    }
                    self.reason = Close::Drain;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_drain_spreads_the_ends_over_its_window() {
        let (phase, receiver) = watch::channel(Phase::Serving);
        let window = Duration::from_secs(30);
        let mut ends = Vec::new();
        for _ in 0..300 {
            let mut life = Lifetime::new(receiver.clone(), Duration::from_mins(30));
            phase.send_replace(Phase::HandingAway { window });
            let start = Instant::now();
            assert_eq!(life.over().await, Close::Drain);
            ends.push(start.elapsed());
        }
        assert!(ends.iter().all(|end| *end <= window + Duration::from_millis(1)));
        for third in 0..3 {
            let (from, to) = (window / 3 * third, window / 3 * (third + 1));
            let share = ends.iter().filter(|end| (from..to).contains(end)).count();
            assert!(share > 50, "{share} of 300 in third {third}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn age_ends_a_connection_within_a_fifth() {
        let (_phase, receiver) = watch::channel(Phase::Serving);
        let start = Instant::now();
        let mut life = Lifetime::new(receiver, Duration::from_secs(100));
        assert_eq!(life.over().await, Close::MaxAge);
        assert!((80..=120).contains(&start.elapsed().as_secs()));
    }
}
